use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, Page, Tracker};

/// Keeps every connection that the page makes, so that a test can cut it.
const KEEP: &str = "
    const Native = window.RTCPeerConnection;
    window.connections = [];
    window.RTCPeerConnection = class extends Native {
        constructor(...words) { super(...words); window.connections.push(this); }
    };";
const CUT: &str = "for (const connection of window.connections.splice(0)) connection.close();";

/// A direct link that breaks in the middle costs nothing but a moment: the relay carries on, and later it is direct
/// again.
#[tokio::test]
async fn a_transfer_whose_direct_link_is_cut_goes_on_by_relay_and_is_direct_again() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("corte.bin", crate::LONG, 47)?;
    let (url, options) = (tracker.url_with("lang=en&ice="), BrowserOptions::default().with_script(KEEP));
    let (seeder, downloader) =
        tokio::try_join!(Page::open_with(&url, &options), Page::open_with(&url, &options))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;

    // The one side hears it at once from its browser, the other by what the peer no longer does; each once.
    for (who, share) in [(&seeder, 0.05), (&downloader, 0.3)] {
        crate::wait_until_direct(&downloader, &info_hash, 1).await?;
        crate::wait_until_direct(&seeder, &info_hash, 1).await?;
        let before = crate::wait_until_in_the_middle(&downloader, &info_hash, share).await?;
        who.run(CUT, vec![]).await?;
        let relayed = downloader
            .wait_for_torrent(&info_hash, "by relay", |torrent| {
                torrent.peers.iter().any(|peer| peer.transport == "relay")
                    && torrent.bytes.verified > before.bytes.verified
            })
            .await?;
        assert!(relayed.progress() < 1.0, "it was still in the middle: {relayed:?}");
    }
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(done.bytes.verified, crate::LONG);
    crate::wait_until_direct(&downloader, &info_hash, 1).await?;
    crate::wait_until_direct(&seeder, &info_hash, 1).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await
}
