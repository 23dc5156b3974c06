use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{State, Tracker};

/// Pause stops a transfer and starts it again where it was; remove forgets it.
#[tokio::test]
async fn a_paused_download_stands_still_and_goes_on() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("pausa.bin", crate::LONG, 17)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    crate::wait_until_in_the_middle(&downloader, &info_hash, 0.1).await?;

    downloader.pause(&info_hash).await?;
    let paused = downloader.wait_for(&info_hash, State::Paused).await?;
    assert!(paused.peers.is_empty(), "a paused torrent has no links");
    downloader.pause(&info_hash).await?;
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert!(done.bytes.verified >= paused.bytes.verified);
    crate::assert_saves(&downloader, &info_hash, &original).await?;

    downloader.remove(&info_hash).await?;
    downloader.reload().await?;
    assert!(downloader.snapshot().await?.torrents.is_empty(), "it does not come back");
    Ok(())
}
