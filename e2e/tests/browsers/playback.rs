use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, SlowLine, Tracker};
use serde_json::{Value, json};

/// Seconds of the film, pictures a second, bits a second.
const FILM: (u32, u32, u32) = (40, 8, 2_600_000);
/// Shorter, the player would read all of it ahead.
const FILM_BYTES: u64 = 9 * MIB;
/// Bytes a second of the downloader's line: some 25 seconds for the film.
const SPEED: u64 = 400 << 10;

/// Has this page's browser make a film.
async fn film(page: &Page, samples: &Scratch) -> Result<PathBuf> {
    let (seconds, rate, bits) = FILM;
    let script = include_str!("../../src/web/film.js");
    let made = page.run_async(script, vec![json!(seconds), json!(rate), json!(bits)]).await?;
    let text = made.as_str().with_context(|| format!("no film was made: {made}"))?;
    let path = samples.path().join("filme 映画.webm");
    fs::write(&path, base64::engine::general_purpose::STANDARD.decode(text)?)?;
    Ok(path)
}

/// A film begins while most of it is still elsewhere, and what is jumped to comes before what lies between.
#[tokio::test]
async fn a_film_plays_before_it_is_complete_and_seeks_to_what_is_not_there() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let line = SlowLine::start(tracker.address(), SPEED).await?;
    let slow_url = tracker.url_with(&format!("lang=en&ice=&transport=relay&tracker={}", line.socket()));
    let (seeder, viewer) = tokio::try_join!(crate::open(&tracker), Page::open(&slow_url))?;
    let original = film(&seeder, &samples).await?;
    let total = fs::metadata(&original)?.len();
    assert!(total > FILM_BYTES, "the film has only {total} bytes");
    let info_hash = crate::seed(&seeder, &original).await?;

    // The line stops on the way, so that what is shown is shown by what had come, however slow the machine is.
    line.pass_at_most(total * 6 / 10);
    viewer.add(&info_hash).await?;
    viewer.press(&info_hash, "preview").await?;
    let plays = "const player = document.querySelector('[data-testid=player]');
        return Boolean(player && player.currentTime > 0.5 && player.videoWidth === 320)";
    viewer.wait_for_script("the film plays", plays).await?;

    // Not enough to come to that place in order.
    line.pass_at_most(total * 8 / 10);
    let jump = "const player = document.querySelector('[data-testid=player]');
        player.pause(); player.currentTime = player.duration * 0.85;";
    viewer.run(jump, vec![]).await?;
    let there = "const player = document.querySelector('[data-testid=player]');
        return !player.seeking && player.readyState >= 2 && player.currentTime > player.duration * 0.84";
    viewer.wait_for_script("what is jumped to is shown", there).await?;
    line.pass_at_most(u64::MAX);

    viewer.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&viewer, &info_hash, &original).await
}

/// Reads what is at an address: status, `Content-Range`, `Content-Type`, policy, and the bytes' sum and number.
const READ: &str = "
    const [address, range, done] = arguments;
    fetch(address, range ? { headers: { range } } : {}).then(async (response) => {
        const bytes = new Uint8Array(await response.arrayBuffer());
        const named = ['content-range', 'content-type', 'content-security-policy'].map((name) => response.headers.get(name));
        done([response.status, ...named, bytes.length, bytes.reduce((sum, byte) => sum + byte, 0)]);
    }).catch((error) => done(String(error)));";

/// Begins to read what is at an address, and reads its first bytes.
const BEGIN: &str = "
    const [address, done] = arguments;
    fetch(address).then(async (response) => {
        window.reader = response.body.getReader();
        const { value } = await window.reader.read();
        done(value.length);
    }).catch((error) => done(String(error)));";

/// Reads on, to whatever end.
const READ_ON: &str = "
    const [done] = arguments;
    (async () => {
        let bytes = 0;
        for (;;) {
            const { value, done: ended } = await window.reader.read();
            if (ended) return done(['whole', bytes]);
            bytes += value.length;
        }
    })().catch((error) => done(['broken off', String(error)]));";

/// An address gives what a tab has, to all tabs of the browser, for as long as it has it.
#[tokio::test]
async fn a_response_gives_the_bytes_asked_for_and_ends_with_its_torrent_and_with_its_tab() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let evil = samples.path().join("evil.html");
    fs::write(&evil, "<script>alert(1)</script>")?;
    let (first, second) = (samples.file("um.bin", 48 * MIB, 1)?, samples.file("dois.bin", 48 * MIB, 2)?);
    let giver = crate::open(&tracker).await?;
    let taker = giver.open_beside(&tracker.url_with("lang=en&ice=")).await?;
    let evil_hash = crate::seed(&giver, &evil).await?;
    let (first_hash, second_hash) = (crate::seed(&giver, &first).await?, crate::seed(&giver, &second).await?);
    let base = giver.wait_until_streaming().await?;
    let sum = |range: std::ops::Range<usize>| -> Result<u64> {
        Ok(fs::read(&first)?[range].iter().map(|byte| u64::from(*byte)).sum())
    };

    let address = format!("{base}{first_hash}/0/um.bin");
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    for (range, expected) in [
        (
            "bytes=1000-1999",
            json!([
                206,
                "bytes 1000-1999/50331648",
                "application/octet-stream",
                policy,
                1000,
                sum(1000..2000)?
            ]),
        ),
        (
            "bytes=-70000",
            json!([
                206,
                "bytes 50261648-50331647/50331648",
                "application/octet-stream",
                policy,
                70000,
                sum(50_261_648..50_331_648)?
            ]),
        ),
        ("bytes=50331648-", json!([416, "bytes */50331648", "application/octet-stream", policy, 0, 0])),
    ] {
        assert_eq!(taker.run_async(READ, vec![json!(address), json!(range)]).await?, expected, "{range}");
    }
    let whole = taker.run_async(READ, vec![json!(address), Value::Null]).await?;
    assert_eq!(whole, json!([200, null, "application/octet-stream", policy, 48 * MIB, sum(0..48 << 20)?]));
    // What runs elsewhere is text here, even under its own name.
    let page =
        taker.run_async(READ, vec![json!(format!("{base}{evil_hash}/0/evil.html")), Value::Null]).await?;
    assert_eq!(
        (&page[0], &page[2], &page[3]),
        (&json!(200), &json!("text/plain; charset=utf-8"), &json!(policy))
    );
    for nonsense in ["", "x/0/a", &format!("{first_hash}/7/a"), &format!("{}/0/a", "0".repeat(40))] {
        let said = taker.run_async(READ, vec![json!(format!("{base}{nonsense}")), Value::Null]).await?;
        assert_eq!(said[0], 404, "{nonsense}");
    }

    assert!(taker.run_async(BEGIN, vec![json!(address)]).await?.as_u64().is_some_and(|read| read > 0));
    giver.remove(&first_hash).await?;
    assert_eq!(taker.run_async(READ_ON, vec![]).await?[0], "broken off");
    let address = format!("{base}{second_hash}/0/dois.bin");
    assert!(taker.run_async(BEGIN, vec![json!(address)]).await?.as_u64().is_some_and(|read| read > 0));
    giver.close().await?;
    assert_eq!(taker.run_async(READ_ON, vec![]).await?[0], "broken off");
    assert_eq!(taker.run_async(READ, vec![json!(address), Value::Null]).await?[0], 404);
    Ok(())
}

/// Each kind of file opens in its own way, and text is shown as text.
#[tokio::test]
async fn pictures_texts_and_documents_open_in_the_page() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let folder = samples.path().join("misto");
    fs::create_dir_all(&folder)?;
    fs::copy(e2e::page_folder().join("icon-192.png"), folder.join("a imagem.png"))?;
    fs::write(folder.join("b texto.html"), "<b>ação</b> 数据")?;
    fs::write(folder.join("c nada.bin"), [0, 1, 2])?;
    fs::write(folder.join("d vazio.txt"), "")?;
    let page = crate::open(&tracker).await?;
    let info_hash = page.seed_folder(&folder).await?;
    page.wait_until_streaming().await?;
    page.unfold_files(&info_hash).await?;
    let buttons = "return document.querySelectorAll('[data-testid=files] [data-testid=preview]').length";
    assert_eq!(page.run(buttons, vec![]).await?, 3, "what cannot be shown has no button");
    let open = "document.querySelectorAll('[data-testid=files] [data-testid=preview]')[arguments[0]].click()";

    page.run(open, vec![json!(0)]).await?;
    page.wait_for_script(
        "the picture",
        "return document.querySelector('[data-testid=picture]')?.naturalWidth === 192",
    )
    .await?;
    page.run(open, vec![json!(1)]).await?;
    let text = "const text = document.querySelector('[data-testid=text]');
        return text && !text.hidden && text.textContent";
    assert_eq!(page.wait_for_script("the text", text).await?, "<b>ação</b> 数据");
    page.run(open, vec![json!(2)]).await?;
    page.wait_for_script(
        "the empty text",
        "return document.querySelector('[data-testid=text]')?.textContent === ''",
    )
    .await?;
    page.press(&info_hash, "preview-close").await?;
    page.wait_for_script("closed", "return !document.querySelector('[data-testid=preview-panel]')").await?;
    Ok(())
}

/// Without a service worker, as on an address of a LAN without https, one sentence says what cannot be done, and why; saving can.
#[tokio::test]
async fn without_a_service_worker_the_page_says_so_and_saves() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let text = samples.path().join("texto.txt");
    fs::write(&text, "ação")?;
    // As it is where the address is no secure context.
    let options = BrowserOptions::default().with_script("delete Navigator.prototype.serviceWorker;");
    let page = Page::open_with(&tracker.url_with("lang=en&ice="), &options).await?;
    let info_hash = crate::seed(&page, &text).await?;
    page.press(&info_hash, "preview").await?;
    let says = "return document.querySelector('[data-testid=preview-says]')?.innerText";
    let said = page.wait_for_script("a sentence", says).await?;
    assert!(said.as_str().is_some_and(|said| said.contains("https") && said.contains("saved")), "{said}");
    assert_eq!(page.snapshot_json().await?["streaming"]["state"], "unavailable");
    crate::assert_saves(&page, &info_hash, &text).await
}
