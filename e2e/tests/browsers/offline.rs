use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::Tracker;
use serde_json::json;

/// The names of the builds that are kept whole.
const KEPT: &str = "
    const [done] = arguments;
    (async () => {
        const whole = [];
        for (const name of await caches.keys())
            if (await (await caches.open(name)).match(new URL('./', location.href).href.split('?')[0])) whole.push(name);
        return whole;
    })().then(done, (error) => done(String(error)));";

/// The page opens without its server, works as far as it can, and says what is missing.
#[tokio::test]
async fn the_page_opens_without_a_network_and_says_so() -> Result<()> {
    let mut tracker = Tracker::start()?;
    let page = crate::open(&tracker).await?;
    let start = Instant::now();
    while page.run_async(KEPT, vec![]).await?.as_array().map_or(0, Vec::len) != 1 {
        ensure!(start.elapsed() < Duration::from_secs(60), "the page's files are not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tracker.stop();
    page.reload().await?;
    page.wait_until("unreachable", |snapshot| snapshot.tracker.state == "unreachable").await?;
    let offline = json!({ "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    page.devtools("Network.emulateNetworkConditions", offline).await?;
    let says = "return document.querySelector('[data-testid=offline]')?.innerText.includes('offline')";
    page.wait_for_script("it says that it is offline", says).await?;
    // Nothing but the page's own files is kept.
    let urls = "const [done] = arguments;
        (async () => {
            const cache = await caches.open((await caches.keys())[0]);
            return (await cache.keys()).map((request) => new URL(request.url).pathname);
        })().then(done)";
    let urls = page.run_async(urls, vec![]).await?;
    let urls: Vec<&str> = urls.as_array().into_iter().flatten().filter_map(|url| url.as_str()).collect();
    ensure!(urls.len() > 8 && !urls.iter().any(|url| ["/ws", "/stats", "/health"].contains(url)), "{urls:?}");
    Ok(())
}

/// A tab that stays open while the server gets another build finds its own program, which its workers run; when no other tab
/// is open, what nobody runs goes.
#[tokio::test]
async fn the_program_of_an_earlier_build_stays_while_a_tab_may_run_it() -> Result<()> {
    let tracker = Tracker::start()?;
    let old = crate::open(&tracker).await?;
    let keep = "const [done] = arguments;
        (async () => {
            const cache = await caches.open('enxame-shell-earlier');
            for (const path of ['web-peer-0123456789abcdef.js', 'worker.js', '']) await cache.put(new URL(path, location.origin), new Response('earlier'));
        })().then(() => done(null), (error) => done(String(error)));";
    ensure!(old.run_async(keep, vec![]).await?.is_null());
    let left = "const [done] = arguments;
        (async () => {
            if (!(await caches.has('enxame-shell-earlier'))) return [];
            const kept = await (await caches.open('enxame-shell-earlier')).keys();
            return kept.map((request) => new URL(request.url).pathname);
        })().then(done, (error) => done(String(error)));";
    let program = json!(["/web-peer-0123456789abcdef.js"]);
    let new = old.open_beside(&tracker.url_with("lang=en&ice=")).await?;
    wait_for(&new, left, &program).await?;
    // What it is asked for comes from there: the server has no such file.
    let load = "const [done] = arguments;
        fetch('web-peer-0123456789abcdef.js').then((response) => response.text()).then(done, (error) => done(String(error)));";
    wait_for(&old, load, &json!("earlier")).await?;
    // Another tab that comes and goes changes nothing about that.
    new.close().await?;
    ensure!(old.run_async(keep, vec![]).await?.is_null());
    let new = old.open_beside(&tracker.url_with("lang=en&ice=")).await?;
    wait_for(&new, left, &program).await?;
    old.close().await?;
    new.reload().await?;
    wait_for(&new, left, &json!([])).await
}

/// Waits until this script gives that.
async fn wait_for(page: &e2e::Page, script: &str, expected: &serde_json::Value) -> Result<()> {
    let start = Instant::now();
    loop {
        let found = page.run_async(script, vec![]).await?;
        if found == *expected {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(60), "{found} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
