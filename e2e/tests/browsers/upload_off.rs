use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Torrent, Tracker};
use serde_json::json;

const TOTAL: u64 = 4 * MIB;

/// Switches upload off for all torrents of a page, or on again.
async fn switch(page: &Page, off: bool) -> Result<()> {
    page.change("[data-testid=upload-off]", &json!(off)).await?;
    page.wait_until("upload is switched", |snapshot| snapshot.limits.upload_off == off).await?;
    Ok(())
}

/// Whoever has switched upload off gives nobody a byte, and says so, and knows it after a reload; whoever waits for it is linked with
/// it, learns what the torrent is, and is served as soon as it is on again.
#[tokio::test]
async fn a_page_that_uploads_nothing_gives_nothing_until_it_is_switched_on_again() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("guardado.bin", TOTAL, 143)?;
    let (seeder, keeper) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    keeper.add(&info_hash).await?;
    keeper.wait_until_complete(&info_hash).await?;
    drop(seeder);

    switch(&keeper, true).await?;
    keeper.reload().await?;
    keeper.wait_for_text(&info_hash, "upload is off").await?;
    let downloader = crate::open(&tracker).await?;
    downloader.add(&info_hash).await?;
    let waits = |torrent: &Torrent| {
        torrent.pieces.total > 0 && torrent.peers.iter().any(|peer| peer.am_interested && peer.peer_choking)
    };
    let waiting = downloader.wait_for_torrent(&info_hash, "linked, and not served", waits).await?;
    assert_eq!((waiting.pieces.have, waiting.bytes.downloaded), (0, 0));
    keeper
        .wait_for_torrent(&info_hash, "somebody wants it", |torrent| {
            torrent.peers.iter().any(|peer| peer.peer_interested && peer.am_choking)
        })
        .await?;

    switch(&keeper, false).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;
    let given = keeper.torrent(&info_hash).await?.all_time.uploaded;
    assert!(given >= TOTAL, "{given} bytes were given");
    Ok(())
}
