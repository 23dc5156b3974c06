//! How fast a hidden tab is: a test program of its own, since what is compared by time wants no other test beside it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};
use serde_json::json;

/// Seconds' worth, so that what the test itself costs does not count.
const TOTAL: u64 = 64 * MIB;
/// Pairs of runs at least, …
const RUNS: usize = 3;
/// … and at most, where the machine is too busy for three to say anything.
const MOST_RUNS: usize = 16;
/// A hidden tab's speed over a visible one's.
const AT_LEAST: f64 = 0.9;

/// Ten timers of a millisecond, one after the other. A visible tab takes some milliseconds; of a hidden one's the
/// browser lets each from the fifth on wait for the next full second. So many, for one that waits may find the second
/// almost over: only what comes after it waits a whole one.
const CHAIN_OF_TIMERS: &str = "
    const done = arguments[arguments.length - 1], start = performance.now();
    const next = (left) => left === 0 ? done(performance.now() - start) : setTimeout(() => next(left - 1), 1);
    next(10);";
/// The same in the worker that keeps the driver's deadlines while its tab is hidden.
const CHAIN_IN_A_WORKER: &str = "
    const done = arguments[arguments.length - 1], start = performance.now(), clock = new Worker('clock.js');
    clock.onmessage = ({ data: left }) =>
        left === 0 ? done(performance.now() - start) : clock.postMessage([left - 1, 1]);
    clock.postMessage([10, 1]);";
/// Pastes and presses; WebDriver's own clicks wait for frames, which a hidden tab does not get.
const ADD: &str = "
    const input = document.querySelector('[data-testid=add-input]');
    input.value = arguments[0];
    input.dispatchEvent(new Event('input', {bubbles: true}));
    document.querySelector('[data-testid=add-button]').click();";

/// Browsers slow a hidden tab's timers down to one a second, and give it no frames: nothing in the data's path may wait
/// for either.
#[tokio::test]
async fn a_hidden_tab_downloads_as_fast_as_a_visible_one() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("oculto.bin", TOTAL, 49)?;
    let url = tracker.url_with("lang=en&ice=&transport=direct");
    let (seeder, downloader) = tokio::try_join!(Page::open(&url), Page::open(&url))?;
    let info_hash =
        seeder.seed(&[&original]).await?.into_iter().next().context("the page says nothing of the file")?;
    // Another tab of the same browser, to be in front of it.
    let cover = downloader.beside().await?;
    cover.load("about:blank").await?;
    downloader.show(&cover).await?;
    wait_for_visibility(&downloader, "hidden").await?;
    let slept = downloader.run_async(CHAIN_OF_TIMERS, vec![]).await?.as_f64().unwrap_or_default();
    assert!(slept > 1000.0, "the browser does not slow a hidden tab's timers down: {slept} ms");
    let waited = downloader.run_async(CHAIN_IN_A_WORKER, vec![]).await?.as_f64().unwrap_or(f64::INFINITY);
    assert!(waited < slept / 2.0, "a worker waits as long: {waited} ms of {slept} ms");

    let (mut hidden, mut visible) = (Vec::new(), Vec::new());
    // One more, which is not counted, warms both up. They take turns at being the first.
    for run in 0..=MOST_RUNS {
        let mut pair = [("hidden", &cover, &mut hidden), ("visible", &downloader, &mut visible)];
        pair.rotate_left(run % 2);
        for (state, shown, times) in pair {
            downloader.show(shown).await?;
            wait_for_visibility(&downloader, state).await?;
            let start = Instant::now();
            downloader.run(ADD, vec![json!(info_hash)]).await?;
            downloader.wait_until_complete(&info_hash).await?;
            let seconds = start.elapsed().as_secs_f64();
            assert_eq!(downloader.visibility().await?, state);
            if run > 0 {
                times.push(seconds);
            }
            downloader.show(&downloader).await?;
            downloader.remove(&info_hash).await?;
        }
        if run >= RUNS && ratio(&hidden, &visible) >= AT_LEAST {
            return Ok(());
        }
    }
    bail!("hidden {hidden:.2?} s, visible {visible:.2?} s: {:.2} of the speed", ratio(&hidden, &visible))
}

/// Of the best times or of the medians, whichever is nearer: what else runs on the machine makes some runs slow or, by
/// luck, one fast, and waiting for timers would make all of them slow.
fn ratio(hidden: &[f64], visible: &[f64]) -> f64 {
    let sorted = |seconds: &[f64]| {
        let mut seconds = seconds.to_vec();
        seconds.sort_by(f64::total_cmp);
        seconds
    };
    let (hidden, visible) = (sorted(hidden), sorted(visible));
    let of = |nth: usize| visible[nth] / hidden[nth];
    of(0).max(of(hidden.len() / 2))
}

async fn wait_for_visibility(page: &Page, state: &str) -> Result<()> {
    for _ in 0..100 {
        if page.visibility().await? == state {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the tab does not become {state}");
}
