//! `cargo xtask record`: brings the page into its main states with real transfers, and writes its snapshots to `e2e/recorded`,
//! from which `cargo xtask shots` draws. Run again when the snapshot has new fields.
//!
//! Written by hand, in the same form, are those that take too long or cannot be brought about here: `files`, `full`, `invited`,
//! `links`, `many`, `map`, `preview`, `returning`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};
use serde_json::json;

const LIE: &str = include_str!("../../tests/browsers/scripts/liar.js");
const NOBODY_HAS_IT: &str = "0123456789abcdef0123456789abcdef01234567";

#[tokio::main]
async fn main() -> Result<()> {
    e2e::unless_interrupted(async {
        let samples = Scratch::new()?;
        let film = samples.file("férias na praia 2026.mp4", 160 * MIB, 1)?;
        record_transfer(&samples, &film).await?;
        record_liar(&film).await
    })
    .await
}

async fn record_transfer(samples: &Scratch, film: &Path) -> Result<()> {
    let tracker = Tracker::start()?;
    samples.file("album/01 abertura.flac", 3 * MIB, 2)?;
    samples.file("album/encarte/capa.png", MIB, 3)?;
    let (any_way, by_relay) = (tracker.url_with("lang=en"), tracker.url_with("lang=en&transport=relay"));
    let (seeder, relayed, page) =
        tokio::try_join!(Page::open(&any_way), Page::open(&by_relay), Page::open(&any_way))?;
    page.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    record(&page, "empty").await?;
    let hash = seeder.seed(&[film]).await?.into_iter().next().context("the film has no hash")?;
    let album = seeder.seed_folder(&samples.path().join("album")).await?;
    record(&seeder, "seeding").await?;

    page.add(NOBODY_HAS_IT).await?;
    page.wait_for_text(NOBODY_HAS_IT, "Nobody who has this torrent").await?;
    record(&page, "nobody").await?;
    page.remove(NOBODY_HAS_IT).await?;

    // Slow enough that there is something in the chart when half is here.
    relayed.add(&hash).await?;
    relayed.wait_until_complete(&hash).await?;
    page.limit("down", Some(4000)).await?;
    page.add(&hash).await?;
    page.wait_for_torrent(&hash, "half of it, both ways", |torrent| {
        let has = |way: &str| torrent.peers.iter().any(|peer| peer.transport == way);
        torrent.progress() > 0.5 && has("direct") && has("relay")
    })
    .await?;
    record(&page, "downloading").await?;
    page.pause(&hash).await?;
    record(&page, "paused").await?;
    page.limit("down", None).await?;
    page.pause(&hash).await?;
    page.wait_until_complete(&hash).await?;
    record(&page, "complete").await?;

    let chooser = Page::open(&any_way).await?;
    chooser.change("[data-testid=add-choose]", &json!(true)).await?;
    chooser.add(&album).await?;
    chooser.wait_for_text(&album, "No file chosen").await?;
    record(&chooser, "choosing").await
}

/// One of two seeders lies.
async fn record_liar(film: &Path) -> Result<()> {
    let tracker = Tracker::start()?;
    let url = tracker.url_with("lang=en&ice=&transport=direct");
    let lying = BrowserOptions::default().with_script(LIE);
    let (honest, liar, page) =
        tokio::try_join!(Page::open(&url), Page::open_with(&url, &lying), Page::open(&url))?;
    let hash = honest.seed(&[film]).await?.into_iter().next().context("the film has no hash")?;
    liar.seed(&[film]).await?;
    honest.limit("up", Some(2000)).await?;
    page.add(&hash).await?;
    page.wait_for_torrent(&hash, "the liar is banned", |torrent| !torrent.banned.is_empty()).await?;
    page.wait_for_text(&hash, "banned").await?;
    record(&page, "banned").await
}

/// Writes down what the page's snapshot is now.
async fn record(page: &Page, state: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recorded/{state}.json"));
    let json = serde_json::to_string(&page.snapshot_json().await?)?;
    fs::write(&file, json + "\n").with_context(|| format!("cannot write {}", file.display()))
}
