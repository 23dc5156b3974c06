use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};

/// Transfers between a browser that has WebRTC and one that has none, both ways: by relay, and each page says why.
async fn goes_by_relay(without: &BrowserOptions) -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("sem-webrtc.bin", 16 * MIB, 44)?;
    let url = tracker.url_with("lang=en&ice=");
    let (with, without) = tokio::try_join!(Page::open(&url), Page::open_with(&url, without))?;
    assert!(with.snapshot().await?.rtc.available);
    assert!(!without.snapshot().await?.rtc.available);

    let info_hash = crate::seed(&with, &original).await?;
    without.add(&info_hash).await?;
    without.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&without, &info_hash, &original).await?;
    for (page, why) in [(&with, "not-there"), (&without, "not-here")] {
        assert_eq!(page.wait_for_transports(&info_hash, &["relay"]).await?, ["relay"]);
        let torrent = page
            .wait_for_torrent(&info_hash, why, |torrent| {
                torrent.peers.iter().any(|peer| peer.why_relayed.as_deref() == Some(why))
            })
            .await?;
        assert_eq!(torrent.peers.len(), 1);
        let shown = page.text_of(&info_hash).await?;
        assert!(shown.contains("WebRTC") || shown.to_lowercase().contains("direct"), "in words: {shown}");
    }
    assert_eq!(with.snapshot().await?.rtc.made, 0, "no connection is made for who cannot take it");
    Ok(())
}

#[tokio::test]
async fn a_chromium_without_webrtc_transfers_by_relay_and_says_why() -> Result<()> {
    goes_by_relay(&BrowserOptions::default().without_webrtc()).await
}

/// Firefox as people set it up who do not want WebRTC.
#[tokio::test]
async fn a_firefox_with_webrtc_switched_off_transfers_by_relay_and_says_why() -> Result<()> {
    goes_by_relay(&BrowserOptions::firefox().without_webrtc()).await
}
