use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};

/// What a reload may cost: pieces that were written since the store last noted which it has.
const RECENT: u64 = 32 * MIB;

/// What was downloaded survives a reload: it is found again, checked, and not asked for again.
#[tokio::test]
async fn a_reloaded_download_goes_on_where_it_was() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("longo.bin", crate::LONG, 8)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let before = downloader
        .wait_for_torrent(&info_hash, "far enough", |torrent| torrent.bytes.verified > 2 * RECENT)
        .await?;
    assert!(before.progress() < 0.9, "too fast to be caught before its end: the sample must be larger");

    downloader.reload().await?;
    let done = downloader.wait_until_complete(&info_hash).await?;

    // What was written last, or was on its way, may be asked for once more, and nothing else.
    let allowed = crate::LONG - before.bytes.verified + RECENT;
    assert!(
        done.bytes.downloaded <= allowed,
        "{} bytes were there, yet {} of {} were downloaded again",
        before.bytes.verified,
        done.bytes.downloaded,
        crate::LONG
    );
    crate::assert_saves(&downloader, &info_hash, &original).await
}
