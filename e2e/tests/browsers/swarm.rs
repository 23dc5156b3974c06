use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::samples::{Scratch, sha256};
use e2e::{MIB, Page, Torrent, Tracker};
use futures::future::try_join_all;

/// Of the seeder's line, in kB/s: so slow that it, and not the machine, decides how long everything takes.
const SEEDER_SPEED: u64 = 2000;

/// Tabs of one browser, all with the page open, and with nothing in it.
async fn tabs(tracker: &Tracker, count: usize) -> Result<Vec<Page>> {
    let first = crate::open(tracker).await?;
    let mut tabs = vec![first];
    while tabs.len() < count {
        let next = tabs[0].open_beside(&tracker.url_with("lang=en&ice=")).await?;
        tabs.push(next);
    }
    Ok(tabs)
}

/// Saves from a tab that others may hide, and compares the bytes. Tabs of one browser save to one folder, so nothing is
/// left in it.
async fn assert_saves_the_same(page: &Page, info_hash: &str, original: &Path) -> Result<()> {
    page.show(page).await?;
    let saved = page.save(info_hash).await?;
    assert_eq!(sha256(&saved)?, sha256(original)?, "the bytes are the same");
    fs::remove_file(saved).context("what was saved is gone")
}

/// Has all of them add the torrent, and waits until each has all of it. Gives the time that took and what each says.
async fn download(pages: &[Page], info_hash: &str) -> Result<(Duration, Vec<Torrent>)> {
    let start = Instant::now();
    try_join_all(pages.iter().map(|page| page.add_unseen(info_hash))).await?;
    let done = try_join_all(pages.iter().map(|page| page.wait_until_complete(info_hash))).await?;
    Ok((start.elapsed(), done))
}

/// Eight tabs and one seeder. Without each other's help seven would take seven times as long as one, and the seeder would
/// send seven copies.
#[tokio::test]
async fn seven_tabs_help_each_other_and_spare_the_seeder() -> Result<()> {
    const TOTAL: u64 = 32 * MIB;
    const DOWNLOADERS: u32 = 7;
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("enxame.bin", TOTAL, 71)?;
    let (seeder, alone, some, others) =
        tokio::try_join!(crate::open(&tracker), crate::open(&tracker), tabs(&tracker, 4), tabs(&tracker, 3))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    seeder.limit("up", Some(SEEDER_SPEED)).await?;
    let (of_one, _) = download(&[alone], &info_hash).await?;
    let before = seeder.torrent(&info_hash).await?.bytes.uploaded;

    let downloaders: Vec<Page> = some.into_iter().chain(others).collect();
    let (of_all, done) = download(&downloaders, &info_hash).await?;

    let by_seeder = seeder.torrent(&info_hash).await?.bytes.uploaded - before;
    let given: Vec<u64> = done.iter().map(|torrent| torrent.bytes.uploaded).collect();
    let copies = |bytes: u64| bytes as f64 / TOTAL as f64;
    eprintln!(
        "one tab {of_one:.1?}, {DOWNLOADERS} tabs {of_all:.1?}: {:.2} times; the seeder sent {:.2} copies, the others {:.2?}",
        of_all.as_secs_f64() / of_one.as_secs_f64(),
        copies(by_seeder),
        given.iter().map(|bytes| copies(*bytes)).collect::<Vec<_>>(),
    );
    // Two or three times, as busy as the machine is; seven times by itself.
    assert!(of_all < of_one * 5, "seven tabs took {of_all:?}, and one {of_one:?}");
    let all = TOTAL * u64::from(DOWNLOADERS);
    assert!(by_seeder < all / 2, "the seeder sent {:.2} copies", copies(by_seeder));
    assert!(given.iter().all(|bytes| *bytes > 0), "somebody gave nothing: {given:?}");
    for page in &downloaders[3..5] {
        assert_saves_the_same(page, &info_hash, &original).await?;
    }
    Ok(())
}

/// Who stays, and who comes late, gets everything, whoever else goes.
#[tokio::test]
async fn tabs_come_and_go_and_whoever_stays_completes() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("vaivem.bin", 16 * MIB, 72)?;
    let (seeder, some, others) =
        tokio::try_join!(crate::open(&tracker), tabs(&tracker, 3), tabs(&tracker, 2))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    seeder.limit("up", Some(SEEDER_SPEED)).await?;
    let mut some = some.into_iter();
    let (mut stay, mut go) = (Vec::from_iter(some.next()), Vec::from_iter(some));
    stay.extend(others);
    try_join_all(stay.iter().chain(&go).map(|page| page.add_unseen(&info_hash))).await?;

    // Each time one goes in the middle, and another comes: into the browser of the first, where it may find what was left.
    for share in [0.15, 0.4] {
        let middle = stay[0].wait_for_torrent(&info_hash, "under way", |torrent| torrent.progress() > share);
        assert!(middle.await?.progress() < 1.0, "it is over before anybody went");
        go.pop().context("nobody is left to go")?.close().await?;
        let late = stay[0].open_beside(&tracker.url_with("lang=en&ice=")).await?;
        // If it is in its list already, that is said, and nothing else.
        late.add_unseen(&info_hash).await?;
        stay.push(late);
    }
    let done = try_join_all(stay.iter().map(|page| page.wait_until_complete(&info_hash))).await?;
    assert_eq!(done.len(), 5);
    for page in &stay {
        assert_saves_the_same(page, &info_hash, &original).await?;
    }
    Ok(())
}
