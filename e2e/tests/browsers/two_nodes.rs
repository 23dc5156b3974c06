use std::net::TcpListener;

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

/// Bytes of a relayed transfer that the nodes told each other, all three together.
async fn told(nodes: &[Tracker; 3]) -> Result<u64> {
    let mut told = 0;
    for node in nodes {
        told += node.metric("cluster_told_bytes_total").await?;
    }
    Ok(told)
}

/// Where a node has an address of its own, a page goes there for what is relayed; where that leads nowhere, the nodes pass it on.
#[tokio::test]
async fn a_page_relays_at_the_other_page_s_node_and_through_its_own_where_it_cannot_go_there() -> Result<()> {
    let (redis, samples) = (RedisServer::start()?, Scratch::new()?);
    let url = redis.url();
    let flags = ["--cluster", url.as_str(), "--cluster-heartbeat", "500ms"];
    // Nobody listens there any more.
    let nowhere = format!("ws://{}/ws", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let nodes = [
        Tracker::start_public(&flags)?,
        Tracker::start_public(&flags)?,
        Tracker::start_with(&[&flags[..], &["--public-url", &nowhere]].concat())?,
    ];
    let query = "lang=en&ice=&transport=relay";
    let downloader = Page::open(&nodes[0].url_with(query)).await?;
    for (node, is_reachable) in [(&nodes[1], true), (&nodes[2], false)] {
        let original = samples.file(&format!("{is_reachable}.bin"), 8 * MIB, 53 + u64::from(is_reachable))?;
        let before = told(&nodes).await?;
        let seeder = Page::open(&node.url_with(query)).await?;
        let info_hash = crate::seed(&seeder, &original).await?;
        downloader.add(&info_hash).await?;
        downloader.wait_until_complete(&info_hash).await?;
        crate::assert_saves(&downloader, &info_hash, &original).await?;
        let crossed = told(&nodes).await? - before;
        assert_eq!(crossed < MIB, is_reachable, "{crossed} bytes went from node to node");
        assert_eq!(node.metric("cluster_visits_total").await? > 0, is_reachable);
    }
    Ok(())
}
