use anyhow::Result;
use e2e::{State, Tracker};

/// A hash that nobody has is no error: the page says what it waits for.
#[tokio::test]
async fn a_hash_that_nobody_has_waits_for_peers_and_says_so() -> Result<()> {
    let tracker = Tracker::start()?;
    let page = crate::open(&tracker).await?;
    let info_hash = "0123456789abcdef0123456789abcdef01234567";
    page.add(info_hash).await?;

    let waits = |torrent: &e2e::Torrent| torrent.waiting.as_deref() == Some("peers");
    let torrent = page.wait_for_torrent(info_hash, "waiting for peers", waits).await?;
    assert_eq!(torrent.state, State::Metadata);
    let shown = page.text_of(info_hash).await?.to_lowercase();
    assert!(shown.contains("nobody"), "it says what it waits for: {shown}");
    assert_eq!(page.alerts().await?, Vec::<String>::new());
    Ok(())
}
