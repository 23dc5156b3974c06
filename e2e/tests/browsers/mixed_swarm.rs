use anyhow::Result;
use e2e::samples::{Scratch, sha256};
use e2e::{MIB, Tracker, WebTorrent};

/// One swarm of both kinds of clients, who give to each other: one of ours seeds, everybody gets everything.
#[tokio::test]
async fn two_of_ours_and_two_webtorrents_complete_from_one_seeder() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("misto.bin", 24 * MIB, 43)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let (one, other) = tokio::try_join!(WebTorrent::start(), WebTorrent::start())?;

    let info_hash = crate::seed(&seeder, &original).await?;
    let magnet = crate::magnet(&seeder, &info_hash).await?;
    tokio::try_join!(one.download(&magnet), other.download(&magnet))?;
    downloader.add(&magnet).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;
    for client in [&one, &other] {
        client.wait_until_complete(&info_hash).await?;
        assert_eq!(client.digests(&info_hash).await?, [("misto.bin".to_owned(), sha256(&original)?)]);
    }
    Ok(())
}
