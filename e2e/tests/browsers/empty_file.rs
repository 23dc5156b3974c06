use anyhow::Result;
use e2e::Tracker;
use e2e::samples::Scratch;

/// A file without bytes is a torrent without pieces: complete as soon as its metadata is there.
#[tokio::test]
async fn an_empty_file_arrives_as_an_empty_file() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("vazio.txt", 0, 0)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!((done.bytes.total, done.pieces.total), (0, 0));
    crate::assert_saves(&downloader, &info_hash, &original).await
}
