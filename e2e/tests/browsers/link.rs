use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};

/// The link that a seeder copies is all that somebody else needs.
#[tokio::test]
async fn a_page_link_opens_and_downloads() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("elo.bin", 4 * MIB, 16)?;
    let seeder = crate::open(&tracker).await?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let snapshot = seeder.snapshot_json().await?;
    let link = snapshot["torrents"][0]["link"].as_str().unwrap_or_default().to_owned();
    assert!(link.ends_with(&format!("#{info_hash}")), "the hash is in the fragment: {link}");

    let downloader = Page::open(&link).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;

    // Pasted into the field it does the same.
    let other = crate::open(&tracker).await?;
    other.add(&link).await?;
    other.wait_until_complete(&info_hash).await?;
    Ok(())
}
