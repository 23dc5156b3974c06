//! The figures themselves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tab, Tracker, page_folder, process};
use serde_json::{Value, json};

use crate::bare::{self, Forwarder, Frames};
use crate::report::{Better, Figure, Report};

const GIB: u64 = 1 << 30;

/// Waits inside the page, where looking costs no round trip to the driver, until a condition on the snapshot holds;
/// answers with the milliseconds since `start`.
const WATCH: &str = "
    const watch = (start, holds, done) => {
        const channel = new MessageChannel();
        let last = 0;
        channel.port1.onmessage = () => {
            const now = performance.now();
            if (now - last >= 2) {
                last = now;
                if (holds(window.enxame.snapshot())) { done(performance.now() - start); return; }
                setTimeout(() => channel.port2.postMessage(0), 1);
            } else channel.port2.postMessage(0);
        };
        channel.port2.postMessage(0);
    };
    const add = (text) => {
        const input = document.querySelector('[data-testid=add-input]');
        input.value = text;
        input.dispatchEvent(new Event('input', {bubbles: true}));
        const start = performance.now();
        document.querySelector('[data-testid=add-button]').click();
        return start;
    };
    const done = arguments[arguments.length - 1];
";

async fn open(tracker: &Tracker) -> Result<Page> {
    let page = Page::open(&tracker.url_with("lang=en&transport=relay")).await?;
    page.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    Ok(page)
}

pub(crate) async fn seed_one(page: &Page, file: &Path) -> Result<String> {
    page.seed(&[file]).await?.into_iter().next().context("the page says nothing of the file")
}

/// Pastes a hash and waits for the condition; gives the seconds.
pub(crate) async fn seconds_after_adding(page: &Page, info_hash: &str, condition: &str) -> Result<f64> {
    let script = format!(
        "{WATCH} const hash = arguments[0];
         const torrent = (snapshot) => snapshot.torrents.find((torrent) => torrent.infoHash === hash);
         watch(add(hash), (snapshot) => {{ const it = torrent(snapshot); return it && {condition}; }}, done);"
    );
    let millis = page.run_async(&script, vec![json!(info_hash)]).await?;
    Ok(millis.as_f64().context("the page gives no time")? / 1000.0)
}

/// Relay throughput, from the press of the button to the last piece verified and stored.
pub(crate) async fn relay(report: &mut Report) -> Result<()> {
    const TOTAL: u64 = 256 * MIB;
    eprintln!("==> relay: 256 MiB from tab to tab");
    let (mut ours, mut bare_speeds) = (Vec::new(), Vec::new());
    let forwarder = Forwarder::start().await?;
    for run in 0..report.runs {
        {
            let (from, to) = tokio::try_join!(forwarder.page(), forwarder.page())?;
            let seconds = bare::relay(&from, &to, &format!("relay{run}"), TOTAL, Frames::Arrays).await?;
            bare_speeds.push(TOTAL as f64 / MIB as f64 / seconds);
        }
        let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
        let file = samples.file("relay.bin", TOTAL, run as u64)?;
        let (seeder, downloader) = tokio::try_join!(open(&tracker), open(&tracker))?;
        let info_hash = seed_one(&seeder, &file).await?;
        let seconds = seconds_after_adding(&downloader, &info_hash, "it.state === 'seeding'").await?;
        ours.push(TOTAL as f64 / MIB as f64 / seconds);
    }
    report.add(Figure {
        what: "relay, tab to tab, 256 MiB",
        unit: "MiB/s",
        better: Better::Higher,
        ours,
        bare_what: "the same bytes in 128 KiB frames through a WebSocket forwarder, thrown away on arrival",
        bare: bare_speeds,
        webtorrent: Vec::new(),
        aim: "ratio 0.95",
    });
    Ok(())
}

/// What sending through gloo-net's sink would cost: the bare relay with each frame made a `Blob` of, and without.
pub(crate) async fn socket(report: &mut Report) -> Result<()> {
    const TOTAL: u64 = 256 * MIB;
    eprintln!("==> socket: frames as Blobs, as gloo-net sends them, and as they are");
    let forwarder = Forwarder::start().await?;
    let (from, to) = tokio::try_join!(forwarder.page(), forwarder.page())?;
    let (mut blobs, mut arrays) = (Vec::new(), Vec::new());
    for run in 0..report.runs {
        for (frames, speeds) in [(Frames::Arrays, &mut arrays), (Frames::Blobs, &mut blobs)] {
            let seconds = bare::relay(&from, &to, &format!("{frames:?}{run}"), TOTAL, frames).await?;
            speeds.push(TOTAL as f64 / MIB as f64 / seconds);
        }
    }
    report.add(Figure {
        what: "a bare relay of frames sent as Blobs, as gloo-net would",
        unit: "MiB/s",
        better: Better::Higher,
        ours: blobs,
        bare_what: "the same frames sent as they are",
        bare: arrays,
        webtorrent: Vec::new(),
        aim: "",
    });
    Ok(())
}

/// Seeding speed, from the choice of the file to its hash.
pub(crate) async fn seed(report: &mut Report) -> Result<()> {
    eprintln!("==> seed: 1 GiB from the choice to the hash");
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let file = samples.file("seed.bin", GIB, 1)?;
    let forwarder = Forwarder::start().await?;
    let (mut ours, mut bare_speeds) = (Vec::new(), Vec::new());
    for _ in 0..report.runs {
        let piece = {
            let page = open(&tracker).await?;
            // The clock starts where the page learns of the choice.
            let arm = "document.querySelector('[data-testid=file-input]').addEventListener('change', () => {
                           window.chosenAt = performance.now();
                       }, {capture: true});";
            page.run(arm, vec![]).await?;
            page.choose(&[&file]).await?;
            let script = format!(
                "{WATCH} const hashed = (snapshot) => snapshot.torrents.some((it) => it.state === 'seeding');
                 watch(window.chosenAt, hashed, done);"
            );
            let millis = page.run_async(&script, vec![]).await?.as_f64().context("the page gives no time")?;
            ours.push(1024.0 / (millis / 1000.0));
            let snapshot = page.snapshot().await?;
            let torrent = snapshot.torrents.first().context("the page has no torrent")?;
            (GIB / u64::from(torrent.pieces.total.max(1))).next_power_of_two()
        };
        let page = forwarder.page().await?;
        bare_speeds.push(1024.0 / bare::hash(&page, &file, piece).await?);
    }
    report.add(Figure {
        what: "seeding 1 GiB, chosen to hash shown",
        unit: "MiB/s",
        better: Better::Higher,
        ours,
        bare_what: "two workers that read the same pieces and hash them with WebCrypto",
        bare: bare_speeds,
        webtorrent: Vec::new(),
        aim: "700 MiB/s on two workers",
    });
    Ok(())
}

/// From pasting a hash to the first verified piece.
pub(crate) async fn first_piece(report: &mut Report) -> Result<()> {
    eprintln!("==> first: hash pasted to first verified piece");
    let (mut ours, mut bare_times) = (Vec::new(), Vec::new());
    let forwarder = Forwarder::start().await?;
    let samples = Scratch::new()?;
    let file = samples.file("first.bin", 64 * MIB, 2)?;
    for _ in 0..report.runs {
        {
            let (one, other) = tokio::try_join!(forwarder.page(), forwarder.page())?;
            let mut times = bare::round_trips(&one, &other, 101).await?;
            times.sort_by(f64::total_cmp);
            bare_times.push(1000.0 * times.get(times.len() / 2).copied().context("no round trip was made")?);
        }
        let tracker = Tracker::start()?;
        let (seeder, downloader) = tokio::try_join!(open(&tracker), open(&tracker))?;
        let info_hash = seed_one(&seeder, &file).await?;
        ours.push(1000.0 * seconds_after_adding(&downloader, &info_hash, "it.pieces.have >= 1").await?);
    }
    report.add(Figure {
        what: "hash pasted to first verified piece",
        unit: "ms",
        better: Better::Lower,
        ours,
        bare_what: "one round trip between two pages through a WebSocket forwarder",
        bare: bare_times,
        webtorrent: Vec::new(),
        aim: "150 ms",
    });
    Ok(())
}

/// Growth of the two browsers' memory while 1 GiB moves.
pub(crate) async fn memory(report: &mut Report) -> Result<()> {
    eprintln!("==> memory: 1 GiB moves");
    let bare_growth = {
        let forwarder = Forwarder::start().await?;
        let (from, to) = tokio::try_join!(forwarder.page(), forwarder.page())?;
        let (growth, seconds) =
            growth_during(&[&from, &to], None, bare::relay(&from, &to, "memory", GIB, Frames::Arrays)).await;
        seconds?;
        growth
    };
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let file = samples.file("memory.bin", GIB, 3)?;
    let (seeder, downloader) = tokio::try_join!(open(&tracker), open(&tracker))?;
    let info_hash = seed_one(&seeder, &file).await?;
    let moving = async {
        downloader.add(&info_hash).await?;
        downloader.wait_until_complete(&info_hash).await
    };
    let (growth, done) = growth_during(&[&seeder, &downloader], tracker.pid(), moving).await;
    done?;
    let figure = |what, ours: f64, bare: Option<f64>, aim| Figure {
        what,
        unit: "MiB",
        better: Better::Lower,
        ours: vec![ours],
        bare_what: if bare.is_some() { "two bare pages that move as much through a forwarder" } else { "" },
        bare: bare.into_iter().collect(),
        webtorrent: Vec::new(),
        aim,
    };
    report.add(figure(
        "both browsers grow by, while 1 GiB moves",
        growth.browsers,
        Some(bare_growth.browsers),
        "100",
    ));
    report.add(figure("the tracker grows by, meanwhile", growth.tracker, None, "flat"));
    Ok(())
}

/// Mebibytes above the start, at the peak.
pub(crate) struct Growth {
    pub(crate) browsers: f64,
    pub(crate) tracker: f64,
}

/// Looks at memory four times a second while something happens.
pub(crate) async fn growth_during<T>(
    pages: &[&Tab],
    tracker: Option<u32>,
    happening: impl Future<Output = Result<T>>,
) -> (Growth, Result<T>) {
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, families) =
        (Arc::clone(&ended), pages.iter().map(|page| page.browser().mark()).collect::<Vec<_>>());
    let look = move || -> (u64, u64) {
        let browsers = families.iter().map(|mark| process::memory(&process::family(mark))).sum();
        (browsers, tracker.map_or(0, |pid| process::memory(&[pid])))
    };
    let start = look();
    // On a thread of its own: reading /proc blocks.
    let watcher = std::thread::spawn(move || {
        let mut peak = start;
        while !flag.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(250));
            let now = look();
            peak = (peak.0.max(now.0), peak.1.max(now.1));
        }
        peak
    });
    let result = happening.await;
    ended.store(true, Ordering::Relaxed);
    let peak = watcher.join().unwrap_or(start);
    let grown = |before: u64, after: u64| (after - before) as f64 / MIB as f64;
    (Growth { browsers: grown(start.0, peak.0), tracker: grown(start.1, peak.1) }, result)
}

/// The machine's limits alone.
pub(crate) async fn bare_limits(report: &mut Report) -> Result<()> {
    const TOTAL: u64 = 256 * MIB;
    eprintln!("==> bare: the machine's limits");
    let (forwarder, samples) = (Forwarder::start().await?, Scratch::new()?);
    let file = samples.file("bare.bin", GIB, 4)?;
    let (mut speeds, mut hashes, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..report.runs {
        let (one, other) = tokio::try_join!(forwarder.page(), forwarder.page())?;
        speeds.push(256.0 / bare::relay(&one, &other, &format!("bare{run}"), TOTAL, Frames::Arrays).await?);
        times.extend(bare::round_trips(&one, &other, 101).await?.iter().map(|seconds| seconds * 1000.0));
        hashes.push(1024.0 / bare::hash(&one, &file, 512 << 10).await?);
    }
    let figure = |what, unit, bare| Figure {
        what,
        unit,
        better: Better::Higher,
        ours: Vec::new(),
        bare_what: "",
        bare,
        webtorrent: Vec::new(),
        aim: "",
    };
    report.add(figure("WebSocket forwarder, 128 KiB frames", "MiB/s", speeds));
    report.add(figure("WebCrypto in two workers", "MiB/s", hashes));
    report.add(figure("round trip through the forwarder", "ms", times));
    Ok(())
}

/// Runs before the page: notes when it takes input (its program runs, and the field for a hash is there and has been painted),
/// and what has come by then: bytes on the wire without headers, bytes, file.
const NOTE_OPENING: &str = "
    const looking = new MutationObserver(() => {
        if (!window.enxame || !document.querySelector('[data-testid=add-input]')) return;
        looking.disconnect();
        requestAnimationFrame(() => setTimeout(() => {
            const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
            window.opening = {
                millis: performance.now(),
                files: entries.map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize, entry.decodedBodySize]),
            };
        }));
    });
    looking.observe(document, {childList: true, subtree: true});";

/// What a page takes that is opened for the first time, each time in a browser of its own: bytes on the wire and milliseconds until it
/// takes input. Chromium.
pub(crate) async fn opening(report: &mut Report) -> Result<()> {
    eprintln!("==> size: what comes until the page takes input (bytes on the wire, bytes, file)");
    let options = BrowserOptions::default().with_script(NOTE_OPENING);
    let (mut sizes, mut times) = (Vec::new(), Vec::new());
    for run in 0..report.runs {
        let tracker = Tracker::start()?;
        let page = Page::open_with(&tracker.url_with("lang=en"), &options).await?;
        let script = "
            const done = arguments[arguments.length - 1];
            const look = () => window.opening ? done(window.opening) : setTimeout(look, 50);
            look();";
        let opening = page.run_async(script, vec![]).await?;
        times.push(opening["millis"].as_f64().context("the page gives no time")?);
        sizes.push(kilobytes(&opening["files"], run == 0));
    }
    report.add(Figure::alone("first load, until the page takes input", "kB", sizes, "350 kB"));
    report.add(Figure::alone("opened to taking input, nothing cached", "ms", times, "1,000 ms"));
    Ok(())
}

/// What everything takes over the wire that lies in the page's folder, as the tracker serves it to Chromium.
pub(crate) async fn size(report: &mut Report) -> Result<()> {
    eprintln!("==> size: all that is built (bytes on the wire, bytes, file)");
    let tracker = Tracker::start()?;
    let page = open(&tracker).await?;
    let mut files = Vec::new();
    list(&page_folder(), "", &mut files)?;
    // Past the service worker, which gives what it keeps as it was before it was compressed.
    page.devtools("Network.enable", json!({})).await?;
    page.devtools("Network.setBypassServiceWorker", json!({ "bypass": true })).await?;
    let script = "
        const done = arguments[arguments.length - 1];
        performance.setResourceTimingBufferSize(1000);
        performance.clearResourceTimings();
        (async () => {
            for (const file of arguments[0]) await (await fetch('/' + file, {cache: 'reload'})).arrayBuffer();
            const entries = performance.getEntriesByType('resource');
            done(entries.map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize, entry.decodedBodySize]));
        })();";
    let sizes = page.run_async(script, vec![json!(files)]).await?;
    report.add(Figure::alone("all of the page, compressed", "kB", vec![kilobytes(&sizes, true)], ""));
    Ok(())
}

/// The sum of rows of bytes on the wire, bytes and file, in kB; shows them if asked to.
fn kilobytes(rows: &Value, shown: bool) -> f64 {
    let rows = rows.as_array().into_iter().flatten();
    if shown {
        rows.clone().for_each(|row| {
            eprintln!("    {:>9} {:>9} {}", row[1], row[2], row[0].as_str().unwrap_or_default());
        });
    }
    rows.filter_map(|row| row[1].as_f64()).sum::<f64>() / 1000.0
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            list(&path, &format!("{name}/"), files)?;
        } else if path.extension().is_none_or(|extension| extension != "br") {
            // Those are forms of others.
            files.push(name);
        }
    }
    Ok(())
}
