//! `cargo xtask demo`: one seeder and three downloaders in headless Chromium, live in the terminal. The seeder leaves
//! as soon as everything is elsewhere; what the downloaders save is compared with the originals.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::samples::{Scratch, digests_of_folder, digests_of_zip, sha256};
use e2e::{MIB, Page, Snapshot, Tracker};
use futures::future::try_join_all;

const DOWNLOADERS: usize = 3;
const FILE: u64 = 64 * MIB;
const POLL: Duration = Duration::from_millis(250);
/// A demonstration in which nothing moves for this long has failed.
const STALL: Duration = Duration::from_secs(90);
const BAR: usize = 30;

#[tokio::main]
async fn main() -> ExitCode {
    match e2e::unless_interrupted(demonstrate()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demonstration; whether everything arrived as it was.
async fn demonstrate() -> Result<bool> {
    let samples = Scratch::new()?;
    println!("making samples: film.bin of 64 MiB, and the folder album with five files, all of them random");
    let film = samples.file("film.bin", FILE, fastrand::u64(..))?;
    for (track, mebibytes) in [(1, 4), (2, 6), (3, 1), (4, 3), (5, 2)] {
        let name = format!("album/disc {}/{track:02} faixa.flac", track % 2 + 1);
        samples.file(&name, mebibytes * MIB + track, fastrand::u64(..))?;
    }
    let album = samples.path().join("album");

    let tracker = Tracker::start()?;
    println!("the tracker serves the page on {}", tracker.url());
    println!("starting four browsers, each with a profile of its own");
    let mut peers = try_join_all((0..=DOWNLOADERS).map(|_| Page::open(tracker.url()))).await?;
    let seeder = peers.pop().context("there is no seeder")?;
    let downloaders = peers;

    let start = Instant::now();
    let film_hash = seeder.seed(&[&film]).await?.into_iter().next().context("the film has no hash")?;
    let album_hash = seeder.seed_folder(&album).await?;
    println!("the seeder hashed both in {:.1} s:", start.elapsed().as_secs_f64());
    println!("  film.bin  {film_hash}\n  album     {album_hash}");
    println!("pasting both hashes into each of the {DOWNLOADERS} downloaders\n");
    let hashes = [film_hash.as_str(), album_hash.as_str()];

    let start = Instant::now();
    for page in &downloaders {
        for hash in hashes {
            page.add(hash).await?;
        }
    }
    let sent = watch(seeder, &downloaders, &hashes).await?;
    let took = start.elapsed().as_secs_f64();

    println!("\nsaving, and comparing with the originals:");
    let (film_digest, album_digests) = (sha256(&film)?, digests_of_folder(&album)?);
    let mut same = true;
    for (number, page) in downloaders.iter().enumerate() {
        let film_is_same = sha256(&page.save(&film_hash).await?)? == film_digest;
        let album_is_same = digests_of_zip(&page.save(&album_hash).await?)? == album_digests;
        let word = |same: bool| if same { "same bytes" } else { "DIFFERENT" };
        let (film_word, album_word) = (word(film_is_same), word(album_is_same));
        println!("  {}  film.bin: {film_word}   album.zip: {album_word}", name(number + 1));
        same &= film_is_same && album_is_same;
    }

    let mut exchanged = 0;
    for page in &downloaders {
        exchanged +=
            page.snapshot().await?.torrents.iter().map(|torrent| torrent.bytes.uploaded).sum::<u64>();
    }
    println!(
        "\n{DOWNLOADERS} downloaders complete in {took:.1} s; the seeder sent {:.0} MiB and left, they sent each \
         other {:.0} MiB",
        mebibytes(sent),
        mebibytes(exchanged)
    );
    println!("{}", if same { "every file arrived as it was" } else { "SOMETHING ARRIVED DIFFERENT" });
    Ok(same)
}

/// Shows everybody's progress until all downloaders are complete. Takes the seeder away as soon as others have
/// everything, and gives the bytes that it sent.
async fn watch(seeder: Page, downloaders: &[Page], hashes: &[&str]) -> Result<u64> {
    let mut screen = Screen::new();
    let mut seeder = Some(seeder);
    let mut sent = 0;
    let (mut last_sum, mut last_change) = (0, Instant::now());
    loop {
        if let Some(page) = &seeder {
            sent = page.snapshot().await?.torrents.iter().map(|torrent| torrent.bytes.uploaded).sum();
        }
        let snapshots = try_join_all(downloaders.iter().map(Page::snapshot)).await?;
        let mut lines = vec![match &seeder {
            Some(_) => format!("{}  seeding, {:.0} MiB sent", name(0), mebibytes(sent)),
            None => format!("{}  gone, after {:.0} MiB", name(0), mebibytes(sent)),
        }];
        lines.extend(snapshots.iter().enumerate().map(|(number, snapshot)| line(number + 1, snapshot)));
        screen.show(&lines);

        let has =
            |snapshot: &Snapshot, hash: &&str| snapshot.torrent(hash).is_some_and(e2e::Torrent::is_complete);
        if snapshots.iter().all(|snapshot| hashes.iter().all(|hash| has(snapshot, hash))) {
            return Ok(sent);
        }
        if seeder.is_some() && hashes.iter().all(|hash| snapshots.iter().any(|snapshot| has(snapshot, hash)))
        {
            screen.say("everything is elsewhere now: the seeder's browser is killed");
            seeder = None;
        }
        let sum = snapshots
            .iter()
            .flat_map(|snapshot| &snapshot.torrents)
            .map(|torrent| torrent.bytes.verified)
            .sum();
        if sum != last_sum {
            (last_sum, last_change) = (sum, Instant::now());
        } else if last_change.elapsed() > STALL {
            bail!("nothing has moved for {} seconds", STALL.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn name(number: usize) -> String {
    if number == 0 { "seeder      ".to_owned() } else { format!("downloader {number}") }
}

/// One downloader's line: a bar over all of its torrents.
fn line(number: usize, snapshot: &Snapshot) -> String {
    let total: u64 = snapshot.torrents.iter().map(|torrent| torrent.bytes.total).sum();
    let verified: u64 = snapshot.torrents.iter().map(|torrent| torrent.bytes.verified).sum();
    let share = if total == 0 { 0.0 } else { verified as f64 / total as f64 };
    let rate = |of: fn(&e2e::Rates) -> f64| -> f64 {
        snapshot.torrents.iter().map(|torrent| of(&torrent.rates)).sum::<f64>() / MIB as f64
    };
    let filled = (share * BAR as f64) as usize;
    let transports = snapshot.torrents.iter().flat_map(|torrent| &torrent.peers);
    let (mut relayed, mut direct) = (0, 0);
    transports.for_each(|peer| if peer.transport == "direct" { direct += 1 } else { relayed += 1 });
    format!(
        "{} [{}{}] {:3.0}%  down {:5.1}  up {:5.1} MiB/s  links: {relayed} relay, {direct} direct",
        name(number),
        "#".repeat(filled),
        "-".repeat(BAR - filled.min(BAR)),
        (share * 100.0).floor(),
        rate(|rates| rates.down),
        rate(|rates| rates.up),
    )
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// The lines that change: redrawn in place on a terminal, printed every second or so elsewhere.
struct Screen {
    terminal: bool,
    drawn: usize,
    last: Instant,
}

impl Screen {
    fn new() -> Self {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
        Self { terminal: std::io::stdout().is_terminal(), drawn: 0, last: long_ago }
    }

    fn show(&mut self, lines: &[String]) {
        if self.terminal {
            if self.drawn > 0 {
                print!("\x1b[{}A", self.drawn);
            }
            lines.iter().for_each(|line| println!("\x1b[2K{line}"));
            self.drawn = lines.len();
        } else if self.last.elapsed() > Duration::from_secs(1) {
            lines.iter().for_each(|line| println!("{line}"));
            println!();
            self.last = Instant::now();
        }
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stdout().flush();
    }

    /// A line that stays, above those that change.
    fn say(&mut self, sentence: &str) {
        if self.terminal && self.drawn > 0 {
            print!("\x1b[{}A\x1b[0J", self.drawn);
            self.drawn = 0;
        }
        println!("{sentence}");
    }
}
