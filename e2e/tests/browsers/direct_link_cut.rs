use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, SlowLine, Tracker};

/// Keeps every connection that the page makes, so that a test can cut it.
const KEEP: &str = "
    const Native = window.RTCPeerConnection;
    window.connections = [];
    window.RTCPeerConnection = class extends Native {
        constructor(...words) { super(...words); window.connections.push(this); }
    };";
const CUT: &str = "for (const connection of window.connections.splice(0)) connection.close();";

const TOTAL: u64 = 192 * MIB;
/// Bytes a second of the downloader's line to the tracker, and so of the relay: slow enough that direct links come back
/// before all is there.
const RELAY_SPEED: u64 = 2 * MIB;

/// A direct link that breaks in the middle costs nothing but a moment: the relay carries on, and later it is direct
/// again.
#[tokio::test]
async fn a_transfer_whose_direct_link_is_cut_goes_on_by_relay_and_is_direct_again() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("corte.bin", TOTAL, 47)?;
    let line = SlowLine::start(tracker.address(), RELAY_SPEED).await?;
    let (url, options) = (tracker.url_with("lang=en&ice="), BrowserOptions::default().with_script(KEEP));
    let slow_url = format!("{url}&tracker={}", line.socket());
    let (seeder, downloader) =
        tokio::try_join!(Page::open_with(&url, &options), Page::open_with(&slow_url, &options))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;

    // Who closes a connection is not told of it by its own browser, and the other is: each is the one once.
    for (who, share) in [(&seeder, 0.05), (&downloader, 0.3)] {
        crate::wait_until_direct(&downloader, &info_hash, 1).await?;
        crate::wait_until_direct(&seeder, &info_hash, 1).await?;
        let before = crate::wait_until_in_the_middle(&downloader, &info_hash, share).await?;
        let made = downloader.snapshot().await?.rtc.made;
        who.run(CUT, vec![]).await?;
        let goes_on = |torrent: &e2e::Torrent| {
            let relayed = torrent.peers.iter().any(|peer| peer.transport == "relay");
            relayed && torrent.bytes.verified > before.bytes.verified
        };
        downloader.wait_for_torrent(&info_hash, "goes on by relay", goes_on).await?;
        let again = crate::wait_until_direct(&downloader, &info_hash, 1).await?;
        assert!(again.progress() < 1.0, "it is direct again in the middle, not after the end");
        assert!(downloader.snapshot().await?.rtc.made > made, "by a connection of its own");
    }
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(done.bytes.verified, TOTAL);
    crate::assert_saves(&downloader, &info_hash, &original).await
}
