use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e::samples::{Scratch, write_random};
use e2e::{MIB, Page, State, Tracker};
use serde_json::{Value, json};

const TOTAL: u64 = 8 * MIB;
/// What the page chooses for a file of this size.
const PIECE: u64 = 64 << 10;

/// Writes other bytes into what a page of this origin has stored of a torrent.
const DAMAGE: &str = "
    const [hash, places, done] = arguments;
    const damage = async () => {
        const stores = await (await navigator.storage.getDirectory()).getDirectoryHandle('enxame');
        for await (const store of stores.values()) {
            const folder = await store.getDirectoryHandle(hash).catch(() => null);
            if (!folder) continue;
            const file = await folder.getFileHandle('data');
            const writable = await file.createWritable({ keepExistingData: true });
            for (const position of places)
                await writable.write({ type: 'write', position, data: new Uint8Array(100) });
            await writable.close();
            return true;
        }
        return 'there is no such torrent';
    };
    damage().then(done, (error) => done(String(error)));";

/// Damages what was stored. The page's worker holds its files for as long as the page is open, and a moment longer; so
/// this tab leaves the page for another of the same origin, and comes back.
async fn damage(page: &Page, tracker: &Tracker, hash: &str, places: &[u64]) -> Result<()> {
    let address = page.run("return location.href", vec![]).await?;
    page.load(&format!("{}health", tracker.url())).await?;
    let start = Instant::now();
    loop {
        match page.run_async(DAMAGE, vec![json!(hash), json!(places)]).await? {
            Value::Bool(true) => break,
            error if start.elapsed() > Duration::from_secs(60) => bail!("nothing can be damaged: {error}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    page.go_to(address.as_str().unwrap_or_default()).await
}

/// Bytes that were stored and are spoiled since are found, and fetched again, and nothing else is; what was received in all is known
/// over a reload. Of a file that is seeded from disk the check says which it is that has changed.
#[tokio::test]
async fn damaged_bytes_are_found_by_a_check_and_fetched_again() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("estragado.bin", TOTAL, 141)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    downloader.wait_until_complete(&info_hash).await?;
    // A change of the torrent writes its record, with what was received.
    downloader.limit_torrent(&info_hash, "up", Some(5000)).await?;
    let before = downloader.torrent(&info_hash).await?.all_time;
    assert!(before.downloaded >= TOTAL, "{before:?}");

    damage(&downloader, &tracker, &info_hash, &[3 * PIECE + 10, 3 * PIECE + 500, TOTAL - 200]).await?;
    let came_back = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(came_back.all_time.downloaded, before.downloaded, "it takes what is stored for right");
    downloader.unfold(&info_hash, "options").await?;
    downloader.press(&info_hash, "check").await?;
    let repaired = downloader
        .wait_for_torrent(&info_hash, "checked and complete", |torrent| {
            torrent.checked.is_some() && torrent.is_complete()
        })
        .await?;
    assert_eq!(repaired.checked, Some(2));
    let again = repaired.bytes.downloaded;
    assert!((2 * PIECE..TOTAL / 4).contains(&again), "{again} bytes were fetched again");
    assert_eq!(repaired.all_time.downloaded, before.downloaded + again);
    crate::assert_saves(&downloader, &info_hash, &original).await?;

    seeder.unfold(&info_hash, "options").await?;
    seeder.press(&info_hash, "check").await?;
    seeder.wait_for_text(&info_hash, "every piece that is here is right").await?;
    assert_eq!(seeder.torrent(&info_hash).await?.checked, Some(0));
    seeder.wait_for(&info_hash, State::Seeding).await?;
    write_random(&original, TOTAL, 142)?;
    seeder.press(&info_hash, "check").await?;
    let alert = seeder.wait_for_alert().await?;
    assert!(alert.contains("estragado.bin"), "{alert}");
    fs::remove_file(&original)?;
    Ok(())
}
