use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};

/// Tabs of one browser share their storage, and are two peers all the same: the second downloads, and does not read
/// what the first has.
#[tokio::test]
async fn two_tabs_of_one_browser_transfer_like_two_machines() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("abas.bin", 16 * MIB, 15)?;
    let seeder = crate::open(&tracker).await?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let first = seeder.open_beside(&tracker.url_with("lang=en")).await?;
    first.add(&info_hash).await?;
    first.wait_until_complete(&info_hash).await?;

    let second = seeder.open_beside(&tracker.url_with("lang=en")).await?;
    second.add(&info_hash).await?;
    let done = second.wait_until_complete(&info_hash).await?;
    assert!(done.bytes.downloaded >= 16 * MIB, "it came over the wire: {:?}", done.bytes);
    crate::assert_saves(&second, &info_hash, &original).await
}
