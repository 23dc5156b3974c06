//! How soon the page answers its user while a large file arrives.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker, output_folder};
use serde_json::{Value, json};

use crate::figures::seed_one;
use crate::report::{Figure, Report, median};

/// Somebody who types fast.
const BETWEEN_KEYS: Duration = Duration::from_millis(150);
/// Answers that come sooner than this, in milliseconds, are not told apart.
const PROMPT: f64 = 16.0;
/// Microseconds between two looks at what the page is doing.
const SAMPLING: u32 = 500;

/// What arrives while keys are pressed.
#[derive(Clone, Copy)]
pub(crate) struct Typing {
    /// The file's length.
    pub(crate) bytes: u64,
    /// Whether what the page does meanwhile is written down. That slows it down.
    pub(crate) profiled: bool,
}

impl Default for Typing {
    fn default() -> Self {
        Self { bytes: 1 << 30, profiled: false }
    }
}

/// From now on: how long each task that is long (50 ms, W3C Long Tasks) takes, and how long after each key that is not answered within
/// 16 ms its effect is painted (W3C Event Timing; in steps of 8 ms).
const OBSERVE: &str = "
    window.tasks = [];
    window.keysBefore = performance.eventCounts.get('keydown');
    window.answers = [];
    new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: 'longtask' });
    new PerformanceObserver((list) => window.answers.push(...list.getEntries()
            .filter((event) => event.name === 'keydown').map((event) => event.duration)))
        .observe({ type: 'event', durationThreshold: 16 });";

const TAKE: &str = "return { tasks: window.tasks, answers: window.answers,
    keys: performance.eventCounts.get('keydown') - window.keysBefore }";

/// Keys pressed in the page while a file arrives: how soon they are answered, and how many of the page's tasks are long.
pub(crate) async fn input(report: &mut Report, typing: Typing) -> Result<()> {
    eprintln!("==> input: keys pressed while {} MiB arrive; load average {}", typing.bytes / MIB, load());
    let (mut usual, mut slowest, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let (mut longest, mut long) = (Vec::new(), Vec::new());
    let samples = Scratch::new()?;
    let file = samples.file("input.bin", typing.bytes, 7)?;
    for _ in 0..report.runs {
        let tracker = Tracker::start()?;
        let url = tracker.url_with("lang=en");
        let (seeder, page) = tokio::try_join!(Page::open(&url), Page::open(&url))?;
        let hash = seed_one(&seeder, &file).await?;
        page.add(&hash).await?;
        page.wait_for_torrent(&hash, "on its way", |torrent| torrent.pieces.have > 0).await?;
        if typing.profiled {
            page.devtools("Profiler.enable", json!({})).await?;
            page.devtools("Profiler.setSamplingInterval", json!({ "interval": SAMPLING })).await?;
            page.devtools("Profiler.start", json!({})).await?;
        }
        page.run(OBSERVE, vec![]).await?;
        type_until(&page, page.wait_until_complete(&hash)).await?;
        let found = page.run(TAKE, vec![]).await?;
        if typing.profiled {
            let stopped = page.devtools("Profiler.stop", json!({})).await?;
            write_profile(&stopped["profile"])?;
        }
        let (mut answers, tasks) = (numbers(&found["answers"]), numbers(&found["tasks"]));
        let keys = found["keys"].as_u64().context("the page counts no keys")?;
        eprintln!("    {keys} keys, the slowest answers {:?} ms", slowest_of(&answers));
        eprintln!(
            "    {} tasks of 50 ms and more, the longest {:?} ms; load average {}",
            tasks.len(),
            slowest_of(&tasks),
            load()
        );
        // What is not among them took less than that.
        answers.resize(answers.len().max(usize::try_from(keys)?), PROMPT);
        usual.extend(median(&answers));
        late.push(answers.iter().filter(|millis| **millis > 100.0).count() as f64);
        slowest.push(answers.into_iter().fold(PROMPT, f64::max));
        long.push(tasks.len() as f64);
        longest.push(tasks.into_iter().fold(50.0, f64::max));
    }
    report.add(Figure::alone("usual answer to a key while a file arrives", "ms", usual, ""));
    report.add(Figure::alone("slowest answer to a key meanwhile", "ms", slowest, "100 ms"));
    report.add(Figure::alone("keys not answered within 100 ms", "", late, "none"));
    report.add(Figure::alone("longest task of the page meanwhile", "ms", longest, ""));
    report.add(Figure::alone("tasks of 50 ms and more", "", long, ""));
    Ok(())
}

/// The ten that took longest.
fn slowest_of(millis: &[f64]) -> Vec<f64> {
    let mut sorted = millis.to_vec();
    sorted.sort_by(|one, other| other.total_cmp(one));
    sorted.truncate(10);
    sorted
}

/// How busy the machine is: runnable processes over the last minute; empty where the system does not say.
fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

fn write_profile(profile: &Value) -> Result<()> {
    let folder = output_folder().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("input.cpuprofile");
    fs::write(&file, profile.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// Types into the field for a hash, as people do, until this ends.
async fn type_until<T>(page: &Page, happening: impl Future<Output = Result<T>>) -> Result<T> {
    page.run("document.querySelector('[data-testid=add-input]').focus()", vec![]).await?;
    // Both go on while either waits for the browser, which answers one at a time.
    tokio::select! {
        ended = happening => ended,
        Err(error) = type_on(page) => Err(error),
    }
}

async fn type_on(page: &Page) -> Result<Infallible> {
    let mut beat = tokio::time::interval(BETWEEN_KEYS);
    loop {
        beat.tick().await;
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "a", "code": "KeyA", "text": "a" });
            page.devtools("Input.dispatchKeyEvent", key).await?;
        }
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
