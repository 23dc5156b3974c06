use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};

/// What was downloaded survives a reload: it is found again, checked, and not asked for again.
#[tokio::test]
async fn a_reloaded_download_goes_on_where_it_was() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("longo.bin", crate::LONG, 8)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let before = crate::wait_until_in_the_middle(&downloader, &info_hash).await?;

    downloader.reload().await?;
    let done = downloader.wait_until_complete(&info_hash).await?;

    // A piece that was on its way may be asked for once more, and nothing else.
    let allowed = crate::LONG - before.bytes.verified + 16 * MIB;
    assert!(
        done.bytes.downloaded <= allowed,
        "{} bytes were there, yet {} of {} were downloaded again",
        before.bytes.verified,
        done.bytes.downloaded,
        crate::LONG
    );
    crate::assert_saves(&downloader, &info_hash, &original).await
}
