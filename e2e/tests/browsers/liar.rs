use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Torrent, Tracker};
use futures::future::try_join_all;

const LIE: &str = include_str!("scripts/liar.js");
/// What the honest seeder sends while the liar is still among them, in kB/s: so little that nobody is done before.
const AT_FIRST: u64 = 1000;

/// One of two seeders lies. Whoever downloads finds out who, bans it and nobody else, says so, and gets everything.
#[tokio::test]
async fn a_tab_that_sends_bad_data_is_banned_alone_and_everybody_completes() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("verdade.bin", 24 * MIB, 73)?;
    // Directly alone, so that all that the liar sends goes where it lies.
    let url = tracker.url_with("lang=en&ice=&transport=direct");
    let lying = BrowserOptions::default().with_script(LIE);
    let (honest, liar) = tokio::try_join!(Page::open(&url), Page::open_with(&url, &lying))?;
    let downloaders = try_join_all((0..3).map(|_| Page::open(&url))).await?;
    let info_hash = crate::seed(&honest, &original).await?;
    assert_eq!(crate::seed(&liar, &original).await?, info_hash);
    honest.limit("up", Some(AT_FIRST)).await?;
    let liars_id = liar.snapshot().await?.peer_id;

    try_join_all(downloaders.iter().map(|page| page.add_unseen(&info_hash))).await?;
    let is_found_out = |torrent: &Torrent| !torrent.banned.is_empty();
    for page in &downloaders {
        let torrent = page.wait_for_torrent(&info_hash, "the liar is found out", is_found_out).await?;
        assert!(torrent.progress() < 1.0, "it was found out while it mattered");
    }
    honest.limit("up", None).await?;

    for page in &downloaders {
        let done = page.wait_until_complete(&info_hash).await?;
        let banned: Vec<&str> = done.banned.iter().map(|banned| banned.id.as_str()).collect();
        assert_eq!(banned, [liars_id.as_str()], "the liar alone is banned");
        page.wait_for_text(&info_hash, "sent wrong data for piece").await?;
        crate::assert_saves(page, &info_hash, &original).await?;
    }
    assert_eq!(honest.torrent(&info_hash).await?.banned, []);
    let lies = liar.run("return window.lies", vec![]).await?;
    assert!(lies.as_u64() >= Some(3), "it lied to everybody: {lies}");
    Ok(())
}
