use anyhow::Result;
use e2e::Tracker;
use e2e::samples::Scratch;

/// A tracker that dies in the middle of a transfer, and comes back, costs time and nothing else; nobody has to press
/// anything.
#[tokio::test]
async fn a_transfer_resumes_by_itself_after_the_tracker_was_killed_and_restarted() -> Result<()> {
    let (mut tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("resistente.bin", crate::LONG, 9)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    crate::wait_until_in_the_middle(&downloader, &info_hash, 0.1).await?;

    tracker.stop();
    downloader.wait_until("the loss is shown", |snapshot| snapshot.tracker.state != "connected").await?;
    tracker.start_again()?;

    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(done.bytes.verified, crate::LONG);
    crate::assert_saves(&downloader, &info_hash, &original).await
}
