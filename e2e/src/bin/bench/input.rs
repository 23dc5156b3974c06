//! How soon the page answers its user while a large file arrives.

use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
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
        // What is not among them took less than that.
        answers.resize(answers.len().max(usize::try_from(keys)?), PROMPT);
        let run = Run::new(&answers, &tasks);
        eprintln!("    {run}; load average {}", load());
        usual.push(run.usual);
        late.push(run.late as f64);
        slowest.push(run.slowest);
        long.push(run.long as f64);
        longest.push(run.longest);
    }
    report.add(Figure::alone("usual answer to a key while a file arrives", "ms", usual, ""));
    report.add(Figure::alone("slowest answer to a key meanwhile", "ms", slowest, "100 ms"));
    report.add(Figure::alone("keys not answered within 100 ms", "", late, "none"));
    report.add(Figure::alone("longest task of the page meanwhile", "ms", longest, ""));
    report.add(Figure::alone("tasks of 50 ms and more", "", long, ""));
    Ok(())
}

/// What became of one run's keys; times in milliseconds.
struct Run {
    keys: usize,
    /// Half of the answers came within this.
    usual: f64,
    slowest: f64,
    /// Keys that were not answered within 100 ms.
    late: usize,
    /// Tasks of 50 ms and more.
    long: usize,
    /// 50 where none is long.
    longest: f64,
}

impl Run {
    /// From how long each answer and each long task took.
    fn new(answers: &[f64], tasks: &[f64]) -> Self {
        Self {
            keys: answers.len(),
            usual: median(answers).unwrap_or(PROMPT),
            slowest: answers.iter().copied().fold(PROMPT, f64::max),
            late: answers.iter().filter(|millis| **millis > 100.0).count(),
            long: tasks.len(),
            longest: tasks.iter().copied().fold(50.0, f64::max),
        }
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { keys, usual, slowest, late, long, longest } = self;
        write!(
            f,
            "{keys} keys: half answered within {usual:.0} ms, the slowest after {slowest:.0}, {late} later than 100; "
        )?;
        write!(f, "{long} tasks of 50 ms and more")?;
        if *long > 0 { write!(f, ", the longest {longest:.0}") } else { Ok(()) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_short_line_however_many_keys_there_were() {
        let mut answers = vec![PROMPT; 700];
        answers.extend(vec![24.0; 290]);
        answers.extend([168.0; 10]);
        let says = "1000 keys: half answered within 16 ms, the slowest after 168, 10 later than 100; ";
        let calm = Run::new(&answers, &[]).to_string();
        assert_eq!(calm, format!("{says}0 tasks of 50 ms and more"));
        let busy = Run::new(&answers, &[61.2; 300]).to_string();
        assert_eq!(busy, format!("{says}300 tasks of 50 ms and more, the longest 61"));
    }
}
