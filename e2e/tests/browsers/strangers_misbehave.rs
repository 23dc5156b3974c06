use anyhow::{Context as _, Result};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Site, Tab, Tracker, process};
use serde_json::{Value, json};

const STRANGER: &str = include_str!("scripts/stranger.html");

/// A seeder, and strangers in a browser of their own.
struct Meeting {
    tracker: Tracker,
    samples: Scratch,
    seeder: Page,
    info_hash: String,
    stranger: Tab,
    _site: Site,
}

impl Meeting {
    async fn new() -> Result<Self> {
        let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
        let original = samples.file("alvo.bin", 8 * MIB, 51)?;
        let site = Site::start(vec![("/", "text/html; charset=utf-8", STRANGER.into())]).await?;
        let options = BrowserOptions::default();
        let (seeder, stranger) = tokio::try_join!(crate::open(&tracker), Tab::start(&options))?;
        stranger.load(&site.url("/")).await?;
        let info_hash = crate::seed(&seeder, &original).await?;
        Ok(Self { tracker, samples, seeder, info_hash, stranger, _site: site })
    }

    /// Has the stranger do something, and gives what comes of it.
    async fn stranger_does(&self, function: &str, what: Value) -> Result<Value> {
        let arguments = vec![json!(self.tracker.socket()), json!(self.info_hash), what];
        self.stranger.call(function, arguments).await
    }

    /// Nothing of the stranger is left in the seeder's page.
    async fn is_over(&self) -> Result<()> {
        let over = |snapshot: &e2e::Snapshot| {
            snapshot.rtc.open == 0 && snapshot.torrents.iter().all(|torrent| torrent.peers.is_empty())
        };
        self.seeder.wait_until("no connection and no peer", over).await?;
        Ok(())
    }

    /// The seeder serves others as if nothing had been.
    async fn serves(&self) -> Result<()> {
        let downloader = crate::open(&self.tracker).await?;
        downloader.add(&self.info_hash).await?;
        downloader.wait_until_complete(&self.info_hash).await?;
        crate::assert_saves(&downloader, &self.info_hash, &self.samples.path().join("alvo.bin")).await
    }
}

/// Whoever does not speak the protocol loses its link, and nobody else anything.
#[tokio::test]
async fn strangers_who_do_not_speak_the_protocol_lose_their_links() -> Result<()> {
    let meeting = Meeting::new().await?;
    // Milliseconds until it is over, on a busy machine; who says nothing is given a while (25 s).
    let misdeeds = [
        ("text", 15_000.0),
        ("no handshake", 15_000.0),
        ("another torrent", 15_000.0),
        ("another peer", 15_000.0),
        ("an endless message", 15_000.0),
        ("broken extension", 15_000.0),
        ("silence", 60_000.0),
    ];
    for (misdeed, at_most) in misdeeds {
        let took = meeting.stranger_does("misbehave", json!(misdeed)).await?;
        let took = took.as_f64().with_context(|| format!("{misdeed}: the link did not end"))?;
        assert!(took < at_most, "{misdeed}: the link ended after {took} ms");
        meeting.is_over().await.with_context(|| misdeed.to_owned())?;
    }
    assert_eq!(meeting.seeder.alerts().await?, Vec::<String>::new(), "none of it is the user's trouble");
    meeting.serves().await
}

/// Bytes that the script's heap holds after everything that can go has gone.
async fn heap(page: &Page) -> Result<u64> {
    page.devtools("HeapProfiler.enable", json!({})).await?;
    page.devtools("HeapProfiler.collectGarbage", json!({})).await?;
    page.devtools("HeapProfiler.disable", json!({})).await?;
    let usage = page.devtools("Runtime.getHeapUsage", json!({})).await?;
    usage["usedSize"].as_f64().map(|bytes| bytes as u64).context("the browser does not know its heap")
}

/// Three hundred who come and go leave the page as it was: its heap, its browser's memory, its connections.
#[tokio::test]
async fn three_hundred_connections_that_come_and_go_leave_nothing_behind() -> Result<()> {
    const WARM_UP: u32 = 30;
    const TIMES: u32 = 300;
    let meeting = Meeting::new().await?;
    let seeder = &meeting.seeder;
    // What the first ones allocate stays for the others.
    meeting.stranger_does("comeAndGo", json!(WARM_UP)).await?;
    meeting.is_over().await?;
    // Of the processes that are there now: a browser starts others when it sees fit, to have them at hand.
    let family = process::family(&seeder.browser().mark());
    let memory = || process::memory(&family);
    let (heap_before, memory_before) = (heap(seeder).await?, memory());
    let made_before = seeder.snapshot().await?.rtc.made;

    meeting.stranger_does("comeAndGo", json!(TIMES)).await?;
    meeting.is_over().await?;
    let (heap_after, memory_after) = (heap(seeder).await?, memory());

    let made = seeder.snapshot().await?.rtc.made - made_before;
    assert!(made >= u64::from(TIMES), "each was a connection: {made}");
    let grown = |before: u64, after: u64| after.saturating_sub(before);
    eprintln!(
        "after {TIMES}: heap {heap_before} -> {heap_after}, memory {} -> {} MiB",
        memory_before / MIB,
        memory_after / MIB
    );
    // A connection that is kept costs some ten kilobytes of the script's heap, and some hundred of the browser's memory.
    assert!(grown(heap_before, heap_after) < MIB, "the heap grew from {heap_before} to {heap_after} bytes");
    assert!(
        grown(memory_before, memory_after) < 24 * MIB,
        "the browser grew from {memory_before} to {memory_after} bytes"
    );
    meeting.serves().await
}
