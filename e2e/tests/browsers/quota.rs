use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e::samples::Scratch;
use e2e::{MIB, Page, State, Tracker};
use serde_json::json;

/// Bytes that the torrent has, and that the browser allows at first.
const TOTAL: u64 = 24 * MIB;
const ALLOWED: u64 = 12 * MIB;

async fn allow(page: &Page, origin: &str, bytes: Option<u64>) -> Result<()> {
    let mut parameters = json!({ "origin": origin });
    if let Some(bytes) = bytes {
        parameters["quotaSize"] = json!(bytes);
    }
    page.devtools("Storage.overrideQuotaForOrigin", parameters).await?;
    Ok(())
}

/// Bytes of this origin that are in use, as the browser counts.
async fn used(page: &Page) -> Result<u64> {
    let script = "const [done] = arguments; navigator.storage.estimate().then(({ usage }) => done(usage))";
    Ok(page.run_async(script, vec![]).await?.as_u64().unwrap_or_default())
}

/// Where the browser has no room the page says so in plain words, and loses nothing: with room again the download goes on by one
/// button. What is used is shown, and a removed torrent gives it back.
#[tokio::test]
async fn a_full_storage_is_told_and_the_download_goes_on_when_there_is_room() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("grande.bin", TOTAL, 125)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let origin = downloader.run("return location.origin", vec![]).await?;
    let origin = origin.as_str().unwrap_or_default();

    allow(&downloader, origin, Some(ALLOWED)).await?;
    downloader.add(&info_hash).await?;
    downloader.wait_for(&info_hash, State::Error).await?;
    let alert = downloader.wait_for_alert().await?;
    assert!(alert.contains("storage is full") && alert.contains("resume"), "{alert}");

    allow(&downloader, origin, None).await?;
    downloader.press(&info_hash, "pause").await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;
    let shown =
        "return document.querySelector('[data-testid=storage]:not([hidden])')?.innerText.includes('in use')";
    downloader.wait_for_script("how much is used", shown).await?;

    let before = used(&downloader).await?;
    assert!(before >= TOTAL, "{before} bytes are used");
    downloader.remove(&info_hash).await?;
    let start = Instant::now();
    loop {
        let now = used(&downloader).await?;
        if now + TOTAL <= before {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!("{now} bytes are used, of {before} before the torrent was removed");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
