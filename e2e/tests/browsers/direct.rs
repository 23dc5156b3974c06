use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};

const TOTAL: u64 = 64 * MIB;

/// The relay starts the transfer, the direct link takes it over, and the page says so.
#[tokio::test]
async fn two_tabs_transfer_64_mib_directly_and_say_so() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("direto.bin", TOTAL, 41)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::wait_until_direct(&downloader, &info_hash, 1).await?;
    crate::wait_until_direct(&seeder, &info_hash, 1).await?;

    assert_eq!(downloader.wait_for_transports(&info_hash, &["direct"]).await?, ["direct"]);
    let relayed = tracker.stats().await?["relayedBytes"].as_u64().unwrap_or(u64::MAX);
    assert!(relayed < TOTAL / 2, "{relayed} of {TOTAL} bytes went through the tracker");
    crate::assert_saves(&downloader, &info_hash, &original).await
}

/// `transport=direct` needs no relay from the first byte to the last; `transport=relay` makes no connection.
#[tokio::test]
async fn each_way_works_alone() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("sozinho.bin", 8 * MIB, 42)?;

    for (way, connections) in [("direct", true), ("relay", false)] {
        let url = tracker.url_with(&format!("lang=en&ice=&transport={way}"));
        let (seeder, downloader) = tokio::try_join!(Page::open(&url), Page::open(&url))?;
        let before = tracker.stats().await?["relayedBytes"].as_u64();
        let info_hash = crate::seed(&seeder, &original).await?;
        downloader.add(&info_hash).await?;
        let done = downloader.wait_until_complete(&info_hash).await?;

        assert_eq!(done.peers.iter().map(|peer| peer.transport.as_str()).collect::<Vec<_>>(), [way]);
        let rtc = downloader.snapshot().await?.rtc;
        assert_eq!((rtc.mode.as_str(), rtc.made > 0, rtc.available), (way, connections, true));
        let after = tracker.stats().await?["relayedBytes"].as_u64();
        assert_eq!(before == after, connections, "bytes through the tracker: {before:?}, then {after:?}");
        crate::assert_saves(&downloader, &info_hash, &original).await?;
    }
    Ok(())
}
