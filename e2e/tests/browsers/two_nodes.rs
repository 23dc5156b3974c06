use anyhow::Result;
use e2e::redis_server::RedisServer;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};

/// A seeder at one tracker and a downloader at another, which are one: they meet, and transfer by either way.
#[tokio::test]
async fn pages_of_two_trackers_that_are_one_transfer_directly_and_by_relay() -> Result<()> {
    let (redis, samples) = (RedisServer::start()?, Scratch::new()?);
    let url = redis.url();
    let flags = ["--cluster", url.as_str(), "--cluster-heartbeat", "500ms"];
    let nodes = [Tracker::start_with(&flags)?, Tracker::start_with(&flags)?];
    for (way, seed) in [("direct", 51), ("relay", 52)] {
        let original = samples.file(&format!("{way}.bin"), 8 * MIB, seed)?;
        let query = format!("lang=en&ice=&transport={way}");
        let urls = nodes.each_ref().map(|node| node.url_with(&query));
        let (seeder, downloader) = tokio::try_join!(Page::open(&urls[0]), Page::open(&urls[1]))?;
        let info_hash = crate::seed(&seeder, &original).await?;
        downloader.add(&info_hash).await?;
        let done = downloader.wait_until_complete(&info_hash).await?;
        assert_eq!(done.peers.iter().map(|peer| peer.transport.as_str()).collect::<Vec<_>>(), [way]);
        crate::assert_saves(&downloader, &info_hash, &original).await?;
    }
    // The seeder's node took the bytes, and the other one gave them to its own client.
    let relayed = nodes[0].stats().await?["relayedBytes"].as_u64().unwrap_or(0);
    assert!(relayed >= 8 * MIB, "{relayed} bytes went from node to node");
    Ok(())
}
