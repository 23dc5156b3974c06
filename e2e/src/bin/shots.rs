//! `cargo xtask shots [NAME]...`: screenshots of the page in its main states, in both themes and at three widths, into
//! `target/shots`. For people who change the look: nothing is compared. The states are recorded snapshots (`e2e/recorded`), so there
//! is no transfer to wait for, and the pictures are the same each time. A page that can be scrolled sideways is an error, at 320
//! pixels too.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Page, Tracker, output_folder};
use serde_json::{Value, json};

const WIDTHS: [u32; 3] = [360, 800, 1280];
const NARROWEST: u32 = 320;
const THEMES: [&str; 2] = ["light", "dark"];
/// What is seen at once; the pictures are as high as the page is.
const HEIGHT: u32 = 900;
/// Higher ones are cut.
const MOST_HEIGHT: u64 = 6000;

/// One state of the page.
struct Scene {
    /// Of the pictures.
    name: &'static str,
    /// The recorded snapshot.
    recorded: &'static str,
    language: &'static str,
    /// What the user did: run in the page.
    act: &'static str,
}

const fn scene(name: &'static str, recorded: &'static str, act: &'static str) -> Scene {
    Scene { name, recorded, language: "en", act }
}

const UNFOLD: &str = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; });";
const QR: &str = "document.querySelector('[data-testid=sharing]').open = true;";
const MAP: &str = "document.querySelectorAll('[data-testid=piece-map], [data-testid=rate-chart]').forEach((fold) => { fold.open = true; });";
const LOG: &str = "document.querySelector('[data-testid=journal]').open = true;";
const SETTINGS: &str =
    "document.querySelectorAll('footer details').forEach((fold) => { fold.open = true; });";
const PREVIEW: &str = "document.querySelector('[data-testid=preview]').click();";
const FILES: &str = "document.querySelector('[data-testid=files]').open = true;";

const SCENES: [Scene; 25] = [
    scene("empty", "empty", ""),
    Scene { language: "pt-BR", ..scene("empty-pt-BR", "empty", "") },
    scene("seeding", "seeding", ""),
    scene("downloading", "downloading", ""),
    Scene { language: "pt-BR", ..scene("downloading-pt-BR", "downloading", UNFOLD) },
    scene("chart-and-map", "downloading", MAP),
    scene("complete", "complete", ""),
    scene("paused", "paused", ""),
    scene("banned", "banned", ""),
    scene("nobody", "nobody", ""),
    scene("full", "full", ""),
    scene("files", "files", FILES),
    scene("choosing", "choosing", ""),
    scene("qr", "complete", QR),
    scene("settings", "links", SETTINGS),
    scene("links", "links", ""),
    scene("preview", "preview", PREVIEW),
    scene("map-of-10000", "map", MAP),
    scene("many", "many", ""),
    scene("invited", "invited", ""),
    Scene { language: "pt-BR", ..scene("invited-pt-BR", "invited", "") },
    scene("returning", "returning", ""),
    Scene { language: "pt-BR", ..scene("returning-pt-BR", "returning", "") },
    scene("log", "downloading", LOG),
    Scene { language: "pt-BR", ..scene("links-pt-BR", "links", UNFOLD) },
];

#[tokio::main]
async fn main() -> Result<()> {
    e2e::unless_interrupted(shoot_all()).await
}

async fn shoot_all() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for name in &names {
        ensure!(SCENES.iter().any(|scene| scene.name == name), "there is no state '{name}'");
    }
    // It serves the page's files; nobody connects to it.
    let tracker = Tracker::start()?;
    let page = Page::open(&tracker.url_with("state=empty")).await?;
    for scene in SCENES.iter().filter(|scene| names.is_empty() || names.iter().any(|name| name == scene.name))
    {
        shoot(&page, &tracker, scene).await.with_context(|| scene.name)?;
    }
    println!("{}", output_folder().join("shots").display());
    Ok(())
}

async fn shoot(page: &Page, tracker: &Tracker, scene: &Scene) -> Result<()> {
    let query = format!("lang={}&state={}", scene.language, scene.recorded);
    page.go_to(&tracker.url_with(&query)).await?;
    page.run(scene.act, vec![]).await?;
    size(page, NARROWEST, HEIGHT).await?;
    assert_nothing_is_beside_the_page(page, NARROWEST).await?;
    for theme in THEMES {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        page.devtools("Emulation.setEmulatedMedia", features).await?;
        for width in WIDTHS {
            size(page, width, HEIGHT).await?;
            assert_nothing_is_beside_the_page(page, width).await?;
            let high = page.run("return document.documentElement.scrollHeight", vec![]).await?;
            let high = high.as_u64().unwrap_or_default().clamp(u64::from(HEIGHT), MOST_HEIGHT);
            size(page, width, u32::try_from(high)?).await?;
            let file = format!("shots/{}-{width}-{theme}.png", scene.name);
            page.screenshot(&output_folder().join(file)).await?;
        }
    }
    Ok(())
}

/// Makes the window this large, and waits until all is drawn.
async fn size(page: &Page, width: u32, height: u32) -> Result<()> {
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    page.devtools("Emulation.setDeviceMetricsOverride", size).await?;
    // The colours fade over to the other theme; what turns for ever is not waited for. What is drawn with a snapshot
    // has the new width and colours with the next.
    let drawn = "const done = arguments[0];
        const ends = (animation) => animation.effect.getComputedTiming().iterations !== Infinity;
        const frame = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
        const fading = () => document.getAnimations().filter(ends).map((animation) => animation.finished);
        const again = () => window.enxame.show(JSON.stringify(window.enxame.snapshot()));
        const pictures = () => Promise.allSettled([...document.images].map((image) => image.decode()));
        frame().then(() => Promise.allSettled(fading())).then(again).then(pictures).then(frame)
            .then(() => done(null), (error) => done(String(error)));";
    match page.run_async(drawn, vec![]).await? {
        Value::Null => Ok(()),
        error => bail!("the page cannot be drawn: {error}"),
    }
}

/// Nobody should have to scroll sideways; the error names what sticks out.
async fn assert_nothing_is_beside_the_page(page: &Page, width: u32) -> Result<()> {
    let beside = "const wide = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= wide) return [];
        return [...document.querySelectorAll('body *')]
            .filter((element) => element.getBoundingClientRect().right > wide + 0.5)
            .map((element) => element.outerHTML.slice(0, 120)).slice(0, 10);";
    let beside = page.run(beside, vec![]).await?;
    ensure!(beside == json!([]), "at {width} pixels the page is wider than the window: {beside:#}");
    Ok(())
}
