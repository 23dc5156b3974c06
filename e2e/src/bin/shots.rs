//! `cargo xtask shots`: screenshots of the page in its main states, in both themes, at three widths, into
//! `target/shots`. For people who change the look: nothing is compared.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker, output_folder};
use serde_json::json;

const WIDTHS: [u32; 3] = [360, 800, 1280];
const HEIGHT: u32 = 900;
const LIE: &str = include_str!("../../tests/browsers/scripts/liar.js");
const NOBODY_HAS_IT: &str = "0123456789abcdef0123456789abcdef01234567";

#[tokio::main]
async fn main() -> Result<()> {
    e2e::unless_interrupted(shoot_all()).await
}

async fn shoot_all() -> Result<()> {
    let (mut tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let film = samples.file("férias na praia 2026.mp4", 160 * MIB, 1)?;
    samples.file("album/01 abertura.flac", 3 * MIB, 2)?;
    samples.file("album/encarte/capa.png", MIB, 3)?;
    let album = samples.path().join("album");
    let english = tracker.url_with("lang=en");
    let page = Page::open(&english).await?;
    let other = Page::open(&english).await?;

    shoot(&page, "1-empty").await?;

    let film_hash = page.seed(&[&film]).await?.into_iter().next().context("the film has no hash")?;
    let album_hash = page.seed_folder(&album).await?;
    shoot(&page, "2-seeding").await?;

    other.add(&film_hash).await?;
    other.wait_for_torrent(&film_hash, "under way", |torrent| torrent.progress() > 0.05).await?;
    shoot_once(&other, "3-downloading", WIDTHS[2], "light").await?;
    shoot_once(&page, "4-uploading", WIDTHS[0], "dark").await?;
    other.wait_until_complete(&film_hash).await?;
    shoot(&other, "5-complete").await?;

    other.add(NOBODY_HAS_IT).await?;
    other.add("this is no hash").await?;
    other.wait_for_alert().await?;
    shoot(&other, "6-waiting-and-alert").await?;

    let readme = samples.path().join("leia-me.txt");
    fs::write(&readme, "Férias na praia, 2026\n\nFilmes e fotos de janeiro.\n".repeat(8))?;
    let viewer = Page::open(&english).await?;
    let texts = viewer.seed(&[&readme]).await?;
    viewer.wait_until_streaming().await?;
    viewer.press(texts.first().context("the text has no hash")?, "preview").await?;
    let shown = "return Boolean(document.querySelector('[data-testid=text]:not([hidden])'))";
    while viewer.run(shown, vec![]).await? != json!(true) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shoot(&viewer, "10-preview").await?;

    tracker.stop();
    other.wait_until("unreachable", |snapshot| snapshot.tracker.state == "unreachable").await?;
    shoot(&other, "7-tracker-unreachable").await?;
    tracker.start_again()?;

    let options = BrowserOptions { language: "pt-BR".to_owned(), ..BrowserOptions::default() };
    let portuguese = Page::open_with(tracker.url(), &options).await?;
    shoot(&portuguese, "8-pt-BR-empty").await?;
    portuguese.add(&film_hash).await?;
    portuguese.wait_for_torrent(&film_hash, "under way", |torrent| torrent.progress() > 0.02).await?;
    shoot(&portuguese, "9-pt-BR-downloading").await?;
    shoot_wishes(&tracker, &album_hash).await?;
    shoot_liar(&film).await?;
    println!("{}", output_folder().join("shots").display());
    Ok(())
}

/// Files to choose from, limits, and what is done with both.
async fn shoot_wishes(tracker: &Tracker, album: &str) -> Result<()> {
    let page = Page::open(&tracker.url_with("lang=en")).await?;
    page.change("[data-testid=add-choose]", &json!(true)).await?;
    page.add(album).await?;
    page.wait_for_torrent(album, "its files are known", |torrent| torrent.files.len() == 2).await?;
    page.wait_for_text(album, "No file chosen").await?;
    unfold(&page).await?;
    shoot(&page, "10-choosing").await?;
    page.limit("up", Some(500)).await?;
    page.limit_torrent(album, "down", Some(2000)).await?;
    page.change("[data-testid=sequential]", &json!(true)).await?;
    page.prioritize(album, 0, "high").await?;
    page.wait_for_text(album, "What you chose is complete").await?;
    shoot(&page, "11-chosen").await
}

/// One of two seeders lies.
async fn shoot_liar(film: &std::path::Path) -> Result<()> {
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
    shoot(&page, "12-banned").await?;
    page.press(&hash, "pause").await?;
    page.go_to(&tracker.url_with("lang=pt-BR&ice=&transport=direct")).await?;
    unfold(&page).await?;
    shoot_once(&page, "13-pt-BR-settings", WIDTHS[0], "light").await
}

/// Opens every list that folds.
async fn unfold(page: &Page) -> Result<()> {
    let script = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })";
    page.run(script, vec![]).await?;
    Ok(())
}

/// One screenshot for each theme and width.
async fn shoot(page: &Page, state: &str) -> Result<()> {
    for theme in ["light", "dark"] {
        for width in WIDTHS {
            shoot_once(page, state, width, theme).await?;
        }
    }
    Ok(())
}

async fn shoot_once(page: &Page, state: &str, width: u32, theme: &str) -> Result<()> {
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
    page.devtools("Emulation.setEmulatedMedia", features).await?;
    let size = json!({ "width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false });
    page.devtools("Emulation.setDeviceMetricsOverride", size).await?;
    // The colours fade over to the other theme; what turns for ever is not waited for.
    let drawn = "const done = arguments[0];
        const ends = (animation) => animation.effect.getComputedTiming().iterations !== Infinity;
        requestAnimationFrame(() => requestAnimationFrame(() => {
            const fading = document.getAnimations().filter(ends).map((animation) => animation.finished);
            Promise.allSettled(fading).then(() => done());
        }));";
    page.run_async(drawn, vec![]).await?;
    page.screenshot(&output_folder().join(format!("shots/{state}-{width}-{theme}.png"))).await
}
