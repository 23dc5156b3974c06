//! Direct links: ours beside a bare data channel, and beside WebTorrent. Every peer is a browser of its own with a
//! profile on disk; WebTorrent meets through our tracker too, so that only the client differs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker, WebTorrent};
use futures::future::try_join_all;

use crate::channel::{Channel, MANNERS};
use crate::figures::{growth_during, seconds_after_adding, seed_one};
use crate::report::{Better, Figure, Report, median};

const AIM_OF_SPEED: &str = "ratio 0.95, twice WebTorrent";

/// Our page, with no ICE servers: nothing leaves the machine, and nothing waits for it.
async fn open(tracker: &Tracker, transport: &str) -> Result<Page> {
    let page = Page::open(&tracker.url_with(&format!("lang=en&ice=&transport={transport}"))).await?;
    page.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    Ok(page)
}

/// Seconds that our page takes for a file, from the press of the button to the last piece verified and stored.
async fn ours(file: &Path) -> Result<f64> {
    let tracker = Tracker::start()?;
    let (seeder, downloader) = tokio::try_join!(open(&tracker, "direct"), open(&tracker, "direct"))?;
    let info_hash = seed_one(&seeder, file).await?;
    let seconds = seconds_after_adding(&downloader, &info_hash, "it.state === 'seeding'").await?;
    let torrent = downloader.torrent(&info_hash).await?;
    if !torrent.is_direct_with(1) {
        bail!("the bytes did not come directly: {:?}", torrent.peers);
    }
    Ok(seconds)
}

/// The same of WebTorrent; and seconds to its first verified piece.
async fn webtorrent(file: &Path) -> Result<(f64, f64)> {
    let tracker = Tracker::start()?;
    let (seeder, downloader) = tokio::try_join!(WebTorrent::start(), WebTorrent::start())?;
    let seed = seeder.seed(file, &[&tracker.socket()]).await?;
    let info_hash = downloader.download(&seed.magnet).await?;
    let status = downloader.wait_until_complete(&info_hash).await?;
    let complete = status.complete.context("WebTorrent does not say when it was complete")?;
    let first = status.first_piece.context("WebTorrent does not say when it had its first piece")?;
    Ok((complete / 1000.0, first / 1000.0))
}

/// Direct throughput.
pub(crate) async fn throughput(report: &mut Report) -> Result<()> {
    for (mebibytes, what) in [(128, "direct, tab to tab, 128 MiB"), (512, "direct, tab to tab, 512 MiB")] {
        eprintln!("==> direct: {mebibytes} MiB from tab to tab");
        let samples = Scratch::new()?;
        let file = samples.file("direct.bin", mebibytes * MIB, mebibytes)?;
        let speed = |seconds: f64| mebibytes as f64 / seconds;
        let (mut ours_speeds, mut theirs) = (Vec::new(), Vec::new());
        let mut bare = vec![Vec::new(); MANNERS.len()];
        for _ in 0..report.runs {
            for (manner, speeds) in MANNERS.iter().zip(&mut bare) {
                let channel = Channel::open().await?;
                speeds.push(speed(channel.seconds(mebibytes * MIB, *manner).await?));
            }
            theirs.push(speed(webtorrent(&file).await?.0));
            if report.has_ours {
                ours_speeds.push(speed(ours(&file).await?));
            }
        }
        for (manner, speeds) in MANNERS.iter().zip(&bare) {
            let (message, mark) = (manner.message >> 10, manner.high_water >> 10);
            eprintln!("    bare, messages of {message} KiB, mark at {mark} KiB: {speeds:.1?} MiB/s");
        }
        bare.sort_by(|one, other| median(one).unwrap_or(0.0).total_cmp(&median(other).unwrap_or(0.0)));
        report.add(Figure {
            what,
            unit: "MiB/s",
            better: Better::Higher,
            ours: ours_speeds,
            bare_what: "a bare data channel, thrown away on arrival: the best of three manners, ours among them",
            bare: bare.pop().unwrap_or_default(),
            webtorrent: theirs,
            aim: AIM_OF_SPEED,
        });
    }
    Ok(())
}

/// From the press of the button to the first verified piece, with both ways open as users have them.
pub(crate) async fn first_piece(report: &mut Report) -> Result<()> {
    eprintln!("==> direct: pasted to first verified piece, ours and WebTorrent's");
    let samples = Scratch::new()?;
    let file = samples.file("first.bin", 64 * MIB, 21)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..report.runs {
        theirs.push(1000.0 * webtorrent(&file).await?.1);
        if report.has_ours {
            let tracker = Tracker::start()?;
            let (seeder, downloader) = tokio::try_join!(open(&tracker, "auto"), open(&tracker, "auto"))?;
            let info_hash = seed_one(&seeder, &file).await?;
            ours.push(1000.0 * seconds_after_adding(&downloader, &info_hash, "it.pieces.have >= 1").await?);
        }
    }
    let figure = Figure::alone("pasted to first verified piece, both ways open", "ms", ours, "150 ms");
    report.add(Figure { webtorrent: theirs, ..figure });
    Ok(())
}

/// Growth of the two browsers' memory while 512 MiB moves.
pub(crate) async fn memory(report: &mut Report) -> Result<()> {
    const TOTAL: u64 = 512 * MIB;
    eprintln!("==> direct: memory while 512 MiB moves");
    let samples = Scratch::new()?;
    let file = samples.file("memory.bin", TOTAL, 22)?;
    let bare = {
        let channel = Channel::open().await?;
        let (growth, took) = growth_during(&channel.tabs(), None, channel.seconds(TOTAL, MANNERS[1])).await;
        took?;
        growth.browsers
    };
    let theirs = {
        let tracker = Tracker::start()?;
        let (seeder, downloader) = tokio::try_join!(WebTorrent::start(), WebTorrent::start())?;
        let seed = seeder.seed(&file, &[&tracker.socket()]).await?;
        let moving = async {
            let info_hash = downloader.download(&seed.magnet).await?;
            downloader.wait_until_complete(&info_hash).await
        };
        let (growth, done) = growth_during(&[seeder.tab(), downloader.tab()], None, moving).await;
        done?;
        growth.browsers
    };
    let mut ours = Vec::new();
    if report.has_ours {
        let tracker = Tracker::start()?;
        let (seeder, downloader) = tokio::try_join!(open(&tracker, "direct"), open(&tracker, "direct"))?;
        let info_hash = seed_one(&seeder, &file).await?;
        let moving = async {
            downloader.add(&info_hash).await?;
            downloader.wait_until_complete(&info_hash).await
        };
        let (growth, done) = growth_during(&[&seeder, &downloader], None, moving).await;
        done?;
        ours.push(growth.browsers);
    }
    report.add(Figure {
        what: "both browsers grow by, while 512 MiB moves directly",
        unit: "MiB",
        better: Better::Lower,
        ours,
        bare_what: "two bare pages that move as much through a data channel",
        bare: vec![bare],
        webtorrent: vec![theirs],
        aim: "100",
    });
    Ok(())
}

/// What the tracker says and hears until four peers have met each other.
pub(crate) async fn messages(report: &mut Report) -> Result<()> {
    const PEERS: usize = 4;
    const PAIRS: f64 = (PEERS * (PEERS - 1) / 2) as f64;
    eprintln!("==> direct: messages of the tracker for each pair of four peers");
    let samples = Scratch::new()?;
    // Long enough that nobody is complete before everybody has met: seeders do not keep each other.
    let file = samples.file("messages.bin", 128 * MIB, 23)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..report.runs {
        {
            let tracker = Tracker::start()?;
            let clients = try_join_all((0..PEERS).map(|_| WebTorrent::start())).await?;
            let seed = clients[0].seed(&file, &[&tracker.socket()]).await?;
            try_join_all(clients[1..].iter().map(|client| client.download(&seed.magnet))).await?;
            let met = |client| meets_all(client, &seed.info_hash, PEERS - 1);
            try_join_all(clients.iter().map(met)).await?;
            theirs.push(messages_of(&tracker).await? / PAIRS);
        }
        if report.has_ours {
            let tracker = Tracker::start()?;
            let pages = try_join_all((0..PEERS).map(|_| open(&tracker, "auto"))).await?;
            let info_hash = seed_one(&pages[0], &file).await?;
            try_join_all(pages[1..].iter().map(|page| page.add(&info_hash))).await?;
            try_join_all(pages.iter().map(|page| {
                page.wait_for_torrent(&info_hash, "linked directly with all", |torrent| {
                    torrent.peers.iter().filter(|peer| peer.is_direct()).count() == PEERS - 1
                })
            }))
            .await?;
            relays_closed(&tracker).await?;
            ours.push(messages_of(&tracker).await? / PAIRS);
        }
    }
    let figure = Figure::alone("messages of the tracker, in and out, a met pair", "messages", ours, "fewer");
    report.add(Figure { webtorrent: theirs, ..figure });
    Ok(())
}

async fn meets_all(client: &WebTorrent, info_hash: &str, others: usize) -> Result<()> {
    client.wait_until(info_hash, "linked with all", |status| status.distinct_peers() == others).await?;
    Ok(())
}

/// Waits until the relay channels that the meetings began with are closed: that takes messages too.
async fn relays_closed(tracker: &Tracker) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while tracker.stats().await?["relayChannels"] != 0 {
        if Instant::now() > deadline {
            bail!("relay channels stay open beside direct links");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn messages_of(tracker: &Tracker) -> Result<f64> {
    let stats = tracker.stats().await?;
    let count = |way: &str| stats["messages"][way].as_f64();
    count("in")
        .zip(count("out"))
        .map(|(into, out)| into + out)
        .context("the tracker does not count its messages")
}
