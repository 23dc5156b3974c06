use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, State, Tracker, as_read, npm_folder};
use serde_json::{Value, json};

const NOBODY_HAS_IT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What axe-core finds once the colours have faded over to the theme, one line for each element: the rule, the element, and why.
const LOOK: &str = "
    const done = arguments[0];
    const frame = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
    const ends = (animation) => animation.effect.getComputedTiming().iterations !== Infinity;
    const fading = () => document.getAnimations().filter(ends).map((animation) => animation.finished);
    frame().then(() => Promise.allSettled(fading())).then(frame).then(() => axe.run(document, { resultTypes: ['violations'] })).then(({ violations }) => done(violations.flatMap((violation) =>
        violation.nodes.map((node) => `${violation.id}: ${node.target} ${node.failureSummary} ${node.html.slice(0, 160)}`))),
        (error) => done([String(error)]));";

/// Collects what regions that speak by themselves say, from the page's first moment.
const LISTEN: &str = "
    window.heard = [];
    new MutationObserver((changes) => {
        for (const { target, addedNodes } of changes) {
            const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
            const region = element?.closest('[role=status], [role=alert], [aria-live]');
            if (region) window.heard.push(region.textContent);
            // An alert speaks when it comes.
            for (const node of addedNodes) {
                const alert = node.nodeType === Node.ELEMENT_NODE
                    && (node.matches('[role=alert]') ? node : node.querySelector('[role=alert]'));
                if (alert) window.heard.push(alert.textContent);
            }
        }
    }).observe(document, { subtree: true, childList: true, characterData: true });";

/// Has axe-core look at the page as it is, in both themes, with every list open.
async fn assert_nothing_is_in_the_way(page: &Page, state: &str) -> Result<()> {
    let axe = fs::read_to_string(npm_folder().join("node_modules/axe-core/axe.min.js"))
        .context("there is no axe-core: run cargo xtask setup")?;
    page.run(&axe, vec![]).await?;
    let unfold = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })";
    page.run(unfold, vec![]).await?;
    for theme in ["light", "dark"] {
        let features = json!([
            { "name": "prefers-color-scheme", "value": theme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        page.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        let found = page.run_async(LOOK, vec![]).await?;
        ensure!(found == json!([]), "{state}, {theme}: {found:#}");
    }
    Ok(())
}

/// Waits until a region that speaks has said this.
async fn wait_until_heard(page: &Page, what: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let heard = page.run("return window.heard", vec![]).await?;
        let heard: Vec<&str> = heard.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if heard.iter().any(|said| as_read(said).contains(what)) {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!("'{what}' was not said, but {heard:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// In each main state, in both themes and both languages, axe-core finds nothing; and who hears the page is told what starts,
/// what ends and what fails.
#[tokio::test]
async fn nothing_keeps_anybody_out_and_what_happens_is_said() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let film = samples.file("filme.bin", 4 * MIB, 120)?;
    samples.file("pasta/um.bin", MIB / 2, 121)?;
    fs::write(samples.path().join("pasta/leia-me.txt"), "Olá.\n".repeat(40))?;
    let (options, url) = (BrowserOptions::default().with_script(LISTEN), tracker.url_with("lang=en&ice="));
    let (seeder, page) = tokio::try_join!(crate::open(&tracker), Page::open_with(&url, &options))?;
    assert_nothing_is_in_the_way(&page, "empty").await?;

    let film_hash = crate::seed(&seeder, &film).await?;
    let folder_hash = seeder.seed_folder(&samples.path().join("pasta")).await?;
    seeder.wait_until_streaming().await?;
    seeder.unfold_files(&folder_hash).await?;
    seeder.press(&folder_hash, "preview").await?;
    assert_nothing_is_in_the_way(&seeder, "seeding").await?;

    // Slow enough to be looked at while it comes.
    seeder.limit_torrent(&film_hash, "up", Some(40)).await?;
    page.add(&film_hash).await?;
    page.wait_for_torrent(&film_hash, "under way", |torrent| {
        torrent.state == State::Downloading && !torrent.peers.is_empty() && torrent.pieces.have > 0
    })
    .await?;
    wait_until_heard(&page, "filme.bin is being downloaded").await?;
    page.change("[data-testid=add-choose]", &json!(true)).await?;
    page.add(&folder_hash).await?;
    page.wait_for_text(&folder_hash, "No file chosen").await?;
    page.add("this is no hash").await?;
    page.wait_for_alert().await?;
    wait_until_heard(&page, "is not a hash").await?;
    page.add(NOBODY_HAS_IT).await?;
    page.wait_for_text(NOBODY_HAS_IT, "Nobody who has this torrent").await?;
    assert_nothing_is_in_the_way(&page, "downloading, choosing, waiting, and an alert").await?;

    page.pause(NOBODY_HAS_IT).await?;
    seeder.limit_torrent(&film_hash, "up", None).await?;
    page.wait_until_complete(&film_hash).await?;
    wait_until_heard(&page, "filme.bin is complete").await?;
    page.run("document.querySelector('[data-testid=language]').click()", vec![]).await?;
    page.wait_for_text(NOBODY_HAS_IT, "Pausado").await?;
    assert_nothing_is_in_the_way(&page, "complete, in Portuguese").await
}
