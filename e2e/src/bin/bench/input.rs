//! How soon the page answers its user while a large file arrives.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::samples::Scratch;
use e2e::{Page, Tracker};
use serde_json::{Value, json};

use crate::figures::seed_one;
use crate::report::{Figure, Report};

const TOTAL: u64 = 1 << 30;
/// Somebody who types fast.
const BETWEEN_KEYS: Duration = Duration::from_millis(150);

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

/// Keys pressed in the page while 1 GiB arrives in it: the slowest answer, and the longest task.
pub(crate) async fn input(report: &mut Report) -> Result<()> {
    eprintln!("==> input: keys pressed while 1 GiB arrives");
    let (mut slowest, mut longest) = (Vec::new(), Vec::new());
    let samples = Scratch::new()?;
    let file = samples.file("input.bin", TOTAL, 7)?;
    for _ in 0..report.runs {
        let tracker = Tracker::start()?;
        let url = tracker.url_with("lang=en");
        let (seeder, page) = tokio::try_join!(Page::open(&url), Page::open(&url))?;
        let hash = seed_one(&seeder, &file).await?;
        page.add(&hash).await?;
        page.wait_for_torrent(&hash, "on its way", |torrent| torrent.pieces.have > 0).await?;
        page.run(OBSERVE, vec![]).await?;
        type_until(&page, page.wait_until_complete(&hash)).await?;
        let found = page.run(TAKE, vec![]).await?;
        let (answers, tasks) = (numbers(&found["answers"]), numbers(&found["tasks"]));
        eprintln!(
            "    {} keys; answers above 16 ms: {answers:?}; tasks above 50 ms: {tasks:?}",
            found["keys"].as_u64().context("the page counts no keys")?
        );
        // What is not among them took less than that.
        slowest.push(answers.into_iter().fold(16.0, f64::max));
        longest.push(tasks.into_iter().fold(50.0, f64::max));
    }
    report.add(Figure::alone("slowest answer to a key while 1 GiB arrives", "ms", slowest, "100 ms"));
    report.add(Figure::alone("longest task of the page meanwhile", "ms", longest, ""));
    Ok(())
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
