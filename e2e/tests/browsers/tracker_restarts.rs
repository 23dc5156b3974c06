use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{Page, Tracker};

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

/// A restart as it should be: the tracker is told to end while it relays, a successor takes its port at once, the tabs go over to it,
/// and the transfer ends whole.
#[tokio::test]
async fn a_relayed_transfer_goes_over_to_the_successor_of_a_tracker_that_is_told_to_end() -> Result<()> {
    let mut tracker = Tracker::start_with(&["--reconnect-within", "1s", "--drain-time", "2m"])?;
    let samples = Scratch::new()?;
    let original = samples.file("bastão.bin", crate::LONG, 10)?;
    let url = tracker.url_with("lang=en&ice=&transport=relay");
    let (seeder, downloader) = tokio::try_join!(Page::open(&url), Page::open(&url))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    crate::wait_until_in_the_middle(&downloader, &info_hash, 0.05).await?;

    let old = tracker.hand_over().await?;

    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(done.bytes.verified, crate::LONG);
    let relayed = tracker.stats().await?["relayedBytes"].as_u64().unwrap_or(0);
    assert!(relayed > 0, "nothing went through the successor: the sample must be larger");
    crate::assert_saves(&downloader, &info_hash, &original).await?;
    // Both tabs have left it: it need not wait.
    old.ended().await
}
