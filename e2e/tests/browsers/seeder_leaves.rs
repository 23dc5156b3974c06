use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};
use futures::future::try_join_all;

/// Downloaders feed each other: the seeder may go as soon as one of three has everything.
#[tokio::test]
async fn three_downloaders_finish_though_the_seeder_leaves_after_the_first() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("semente.bin", 48 * MIB, 7)?;
    let seeder = crate::open(&tracker).await?;
    let downloaders = try_join_all((0..3).map(|_| crate::open(&tracker))).await?;

    let info_hash = crate::seed(&seeder, &original).await?;
    try_join_all(downloaders.iter().map(|page| page.add(&info_hash))).await?;
    let all = downloaders.iter().map(|page| Box::pin(page.wait_until_complete(&info_hash)));
    let (_, first, others) = futures::future::select_all(all).await;
    drop(others);
    drop(seeder);
    assert!(downloaders[first].torrent(&info_hash).await?.is_complete());

    for page in &downloaders {
        page.wait_until_complete(&info_hash).await?;
        crate::assert_saves(page, &info_hash, &original).await?;
    }
    Ok(())
}
