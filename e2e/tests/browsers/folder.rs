use std::fs;

use anyhow::Result;
use e2e::samples::{Scratch, digests_of_folder, digests_of_zip};
use e2e::{MIB, Tracker};

/// A folder is one torrent with its name, and is saved as one zip with the same files in it.
#[tokio::test]
async fn a_folder_arrives_with_every_file_and_subfolder() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    samples.file("album/cover.png", 300_001, 2)?;
    samples.file("album/disc 1/01 abertura.flac", 5 * MIB + 17, 3)?;
    samples.file("album/disc 1/02 fim.flac", 1, 4)?;
    samples.file("album/disc 2/01.flac", 2 * MIB, 5)?;
    samples.file("album/notes/empty.txt", 0, 6)?;
    let folder = samples.path().join("album");
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    let info_hash = seeder.seed_folder(&folder).await?;
    downloader.add(&info_hash).await?;
    let done = downloader.wait_until_complete(&info_hash).await?;
    assert_eq!(done.name, "album");

    let saved = downloader.save(&info_hash).await?;
    assert_eq!(saved.file_name().unwrap_or_default(), "album.zip");
    assert_eq!(digests_of_zip(&saved)?, digests_of_folder(&folder)?);
    fs::remove_file(saved)?;
    Ok(())
}
