use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};
use futures::future::try_join_all;
use serde_json::Value;

/// What may come faster than a limit: what was asked for before the limit was reached, and what a bucket holds.
const SLACK: f64 = 0.7;

/// The time that so many bytes take at least at a limit in kB/s.
fn at_least(bytes: u64, limit: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / (limit * 1000) as f64 * SLACK)
}

/// The browser says that data is to be saved: less is sent, and the page says so, until the user sets a limit.
async fn assert_polite_on_a_metered_connection(page: &Page) -> Result<()> {
    let said = "return document.querySelector('[data-testid=metered]')?.innerText ?? ''";
    assert_eq!(page.run(said, vec![]).await?, "");
    let meter = "Object.defineProperty(navigator.connection, 'saveData', { value: true });
        navigator.connection.dispatchEvent(new Event('change'));";
    page.run(meter, vec![]).await?;
    let says = format!("return (() => {{ {said} }})().includes('no more than 50.0 kB/s')");
    page.wait_for_script("it says that it sends less", &says).await?;
    assert_eq!(page.snapshot_json().await?["politeUpload"], 50_000);
    Ok(())
}

/// Two torrents share the page's limit, and neither waits for the other; a torrent's own limit holds on the other side; and
/// what was set is there after a reload.
#[tokio::test]
async fn limits_hold_for_all_torrents_together_and_for_one_alone() -> Result<()> {
    const EACH: u64 = 4 * MIB;
    const SMALL: u64 = 400_000;
    const SHARED: u64 = 1500;
    const OWN: u64 = 1000;
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let files = [
        samples.file("um.bin", EACH, 74)?,
        samples.file("dois.bin", EACH, 75)?,
        samples.file("tres.bin", EACH, 76)?,
        samples.file("quatro.bin", SMALL, 77)?,
    ];
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let mut hashes = Vec::new();
    for file in &files {
        hashes.push(crate::seed(&seeder, file).await?);
    }

    downloader.limit("down", Some(SHARED)).await?;
    let start = Instant::now();
    try_join_all(hashes[..2].iter().map(|hash| downloader.add_unseen(hash))).await?;
    let snapshot = downloader
        .wait_until("one of two is complete", |snapshot| {
            snapshot.torrents.iter().any(e2e::Torrent::is_complete)
        })
        .await?;
    for torrent in &snapshot.torrents {
        assert!(torrent.progress() > 0.25, "{} waited for the other: {:?}", torrent.name, torrent.bytes);
    }
    for hash in &hashes[..2] {
        downloader.wait_until_complete(hash).await?;
    }
    let took = start.elapsed();
    assert!(took >= at_least(2 * EACH, SHARED), "two torrents took {took:?} at {SHARED} kB/s");

    downloader.limit("down", None).await?;
    seeder.limit_torrent(&hashes[2], "up", Some(OWN)).await?;
    let start = Instant::now();
    downloader.add_unseen(&hashes[2]).await?;
    downloader.wait_until_complete(&hashes[2]).await?;
    let took = start.elapsed();
    assert!(took >= at_least(EACH, OWN), "one torrent took {took:?} at {OWN} kB/s");

    assert_polite_on_a_metered_connection(&seeder).await?;
    let start = Instant::now();
    downloader.add_unseen(&hashes[3]).await?;
    downloader.wait_until_complete(&hashes[3]).await?;
    let took = start.elapsed();
    assert!(took >= at_least(SMALL, 50), "{SMALL} bytes took {took:?} on a metered connection");
    seeder.limit("up", Some(66)).await?;
    let polite = &seeder.snapshot_json().await?["politeUpload"];
    assert_eq!(*polite, Value::Null, "the user's own takes its place");

    downloader.limit("up", Some(77)).await?;
    downloader.limit_torrent(&hashes[0], "down", Some(88)).await?;
    downloader.reload().await?;
    let kept = downloader.wait_for_torrent(&hashes[0], "it is found again", |_| true).await?.limits;
    assert_eq!((kept.down, kept.up), (Some(88_000), None));
    let kept = downloader.snapshot().await?.limits;
    assert_eq!((kept.down, kept.up), (None, Some(77_000)));
    Ok(())
}
