use anyhow::Result;
use e2e::Tracker;

/// What cannot be a torrent is answered with one sentence, and adds nothing.
#[tokio::test]
async fn what_is_not_a_hash_is_told_in_plain_words() -> Result<()> {
    let tracker = Tracker::start()?;
    let page = crate::open(&tracker).await?;
    for text in ["hello", "0123456789", "magnet:?xt=urn:sha1:nothing", "https://example.org/"] {
        page.reload().await?;
        page.add(text).await?;
        let alert = page.wait_for_alert().await?;
        assert!(alert.split_whitespace().count() > 3, "a sentence: {alert}");
        assert!(page.snapshot().await?.torrents.is_empty());
    }
    Ok(())
}
