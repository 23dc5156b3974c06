use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};

/// The main job: a file chosen in one browser is saved, the same, in another.
#[tokio::test]
async fn a_file_of_64_mib_arrives_in_another_browser_with_the_same_bytes() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("film.bin", 64 * MIB, 1)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&info_hash).await?;
    let done = downloader.wait_until_complete(&info_hash).await?;

    assert_eq!(done.name, "film.bin");
    assert_eq!((done.bytes.total, done.bytes.verified), (64 * MIB, 64 * MIB));
    assert_eq!(done.pieces.have, done.pieces.total);
    crate::assert_saves(&downloader, &info_hash, &original).await
}
