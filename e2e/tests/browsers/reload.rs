use std::sync::Arc;

use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Torrent, Tracker};

/// What the store may hold without having noted it on disk: `CHECKPOINT_BYTES` of the page's private store.
const UNNOTED: u64 = 16 * MIB;
/// What may be on its way.
const IN_FLIGHT: u64 = 16 * MIB;
/// So large that in its middle most of what is there must have been noted.
const TOTAL: u64 = crate::LONG;

/// Of what was there `before`, this page has asked for next to nothing again; `most` of it is there.
fn assert_goes_on(before: &Torrent, now: &Torrent) {
    let allowed = now.bytes.verified.saturating_sub(before.bytes.verified) + UNNOTED + IN_FLIGHT;
    assert!(
        now.bytes.downloaded <= allowed,
        "{} bytes were there, {} are now, and {} were downloaded meanwhile",
        before.bytes.verified,
        now.bytes.verified,
        now.bytes.downloaded,
    );
}

/// What was downloaded survives a reload, and a browser that is killed and opened again: it is found again, neither asked for
/// again nor hashed again.
#[tokio::test]
async fn a_download_goes_on_where_it_was_after_a_reload_and_after_the_browser_was_killed() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("longo.bin", TOTAL, 8)?;
    let options = BrowserOptions::default().in_folder(&Arc::new(Scratch::new()?));
    let url = tracker.url_with("lang=en&ice=");
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), Page::open_with(&url, &options))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let first = crate::wait_until_in_the_middle(&downloader, &info_hash, 0.25).await?;

    downloader.reload().await?;
    let second = crate::wait_until_in_the_middle(&downloader, &info_hash, 0.5).await?;
    assert_goes_on(&first, &second);

    drop(downloader);
    let downloader = Page::open_with(&url, &options).await?;
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_goes_on(&second, &done);
    crate::assert_saves(&downloader, &info_hash, &original).await
}
