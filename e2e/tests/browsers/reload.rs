use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};

/// What the store may hold without having noted it on disk: `CHECKPOINT_BYTES` of the page's private store.
const UNNOTED: u64 = 16 * MIB;
/// What may be on its way.
const IN_FLIGHT: u64 = 16 * MIB;
/// So large that in its middle most of what is there must have been noted.
const TOTAL: u64 = crate::LONG;

/// What was downloaded survives a reload: it is found again, and not asked for again.
#[tokio::test]
async fn a_reloaded_download_goes_on_where_it_was() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("longo.bin", TOTAL, 8)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let before = crate::wait_until_in_the_middle(&downloader, &info_hash, 0.4).await?;

    downloader.reload().await?;
    let done = downloader.wait_until_complete(&info_hash).await?;

    let allowed = TOTAL - before.bytes.verified + UNNOTED + IN_FLIGHT;
    assert!(
        done.bytes.downloaded <= allowed,
        "{} bytes were there, yet {} of {TOTAL} were downloaded again",
        before.bytes.verified,
        done.bytes.downloaded,
    );
    crate::assert_saves(&downloader, &info_hash, &original).await
}
