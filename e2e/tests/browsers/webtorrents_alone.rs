use anyhow::Result;
use e2e::samples::{Scratch, sha256};
use e2e::{MIB, Tracker, WebTorrent};

/// Two WebTorrents who know nothing of us meet through our tracker, as through any other.
#[tokio::test]
async fn two_webtorrents_meet_through_our_tracker() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("alheio.bin", 8 * MIB + 7, 40)?;
    let (seeder, downloader) = tokio::try_join!(WebTorrent::start(), WebTorrent::start())?;

    let seed = seeder.seed(&original, &[&tracker.socket()]).await?;
    let info_hash = downloader.download(&seed.magnet).await?;
    assert_eq!(info_hash, seed.info_hash);
    downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(downloader.digests(&info_hash).await?, [("alheio.bin".to_owned(), sha256(&original)?)]);
    Ok(())
}
