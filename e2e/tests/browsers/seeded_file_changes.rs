use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::samples::{Scratch, write_random};
use e2e::{MIB, Tracker};

/// Seeds a file, does something to it on disk, and lets somebody download it.
async fn spoil(spoil: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("planilha.bin", 8 * MIB, 13)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;

    spoil(&original)?;
    downloader.add(&info_hash).await?;

    let alert = seeder.wait_for_alert().await?;
    assert!(alert.contains("planilha.bin"), "the file is named: {alert}");
    assert_plain(&alert);
    let torrent = downloader.torrent(&info_hash).await?;
    assert!(!torrent.is_complete(), "there is nothing right to download");
    assert_eq!(torrent.bytes.verified, 0, "nothing wrong was taken for right");
    Ok(())
}

/// A sentence for people, not an error's name.
fn assert_plain(alert: &str) {
    for jargon in ["NotReadable", "NotFoundError", "JsValue", "DomException", "undefined", "panicked"] {
        assert!(!alert.contains(jargon), "not plain words: {alert}");
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_seeded_is_told_and_nobody_gets_wrong_bytes() -> Result<()> {
    spoil(|file| write_random(file, 8 * MIB, 14)).await
}

#[tokio::test]
async fn a_file_that_vanishes_while_it_is_seeded_is_told() -> Result<()> {
    spoil(|file| fs::remove_file(file)).await
}
