//! What it costs that a tracker is one of many, beside one that is alone, on the same machine in the same run:
//! `cargo run --release -p tracker --example cluster`. Starts a Redis server of its own (`redis-server` must be installed).
//!
//! Two nodes share one thread, as the tracker that is alone has one; Redis is a process beside them. Announces: each of some
//! clients announces itself again and again, waiting for each reply. Relay: one sender at one node, one receiver at the other,
//! every byte through Redis; and the same where the nodes have addresses of their own, and the sender goes to the receiver's.

#[expect(unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_server;
#[allow(dead_code, reason = "shared with the other example")]
mod relayed;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::SinkExt;
use futures::future::try_join_all;
use shared::InfoHash;
use shared::signal::{Announce, EnxameHello, ToPeer, ToTracker};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tracker::cluster::{ClusterSettings, HEARTBEAT, Place, Redis};
use tracker::{Page, Settings};

use redis_server::RedisServer;
use relayed::{Socket, connect, peer, signal, through_trackers, unbounded};

/// Bytes of one transfer.
const TOTAL: usize = 256 << 20;

/// Clients that announce at the same time, and how often each does.
const CLIENTS: u8 = 100;
const ANNOUNCES: usize = 100;

/// Measurements of each kind; the best counts.
const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    let thread = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (trackers, clients) = (thread()?, thread()?);
    let redis = RedisServer::start()?;
    let alone = trackers.block_on(start(None, false))?;
    let pair = |server: &RedisServer, public| {
        let url = server.url();
        trackers.block_on(async {
            anyhow::Ok([start(Some(&url), public).await?, start(Some(&url), public).await?])
        })
    };
    // Each pair on its own: what one puts into Redis the other need not look at.
    let elsewhere = RedisServer::start()?;
    let (nodes, public) = (pair(&redis, false)?, pair(&elsewhere, true)?);
    clients.block_on(async {
        // Until the two know of each other.
        tokio::time::sleep(2 * HEARTBEAT).await;
        println!("relay, best of {ROUNDS}, MiB/s");
        println!("frame      alone   two nodes   with public addresses");
        for frame in [16 * 1024, 64 * 1024, 128 * 1024] {
            let mut best = [Duration::MAX; 3];
            for _ in 0..ROUNDS {
                best[0] = best[0].min(through_trackers([alone; 2], TOTAL, frame).await?);
                best[1] = best[1].min(through_trackers(nodes, TOTAL, frame).await?);
                best[2] = best[2].min(through_trackers(public, TOTAL, frame).await?);
            }
            let [alone, nodes, public] = best.map(|time| TOTAL as f64 / 1024.0 / 1024.0 / time.as_secs_f64());
            println!("{:>4} KiB  {alone:>6.0}  {nodes:>10.0}   {public:>21.0}", frame / 1024);
        }
        println!("\nannounces, {CLIENTS} clients      replies/s   median, ms   99 of 100, ms");
        for (name, addresses) in [("alone", [alone; 2]), ("two nodes", nodes)] {
            let mut best: Option<(f64, Vec<Duration>)> = None;
            for round in 0..ROUNDS {
                let began = Instant::now();
                let all = (0..CLIENTS).map(|n| announces(addresses[usize::from(n % 2)], n, round));
                let mut times: Vec<Duration> = try_join_all(all).await?.concat();
                let rate = times.len() as f64 / began.elapsed().as_secs_f64();
                times.sort_unstable();
                if best.as_ref().is_none_or(|(other, _)| rate > *other) {
                    best = Some((rate, times));
                }
            }
            let (rate, times) = best.context("there are rounds")?;
            let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1000.0;
            println!("{name:<26}  {rate:>9.0}   {:>10.1}   {:>13.1}", at(50), at(99));
        }
        Ok(())
    })
}

async fn start(redis: Option<&str>, public: bool) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut settings = Settings::new(Page::embedded());
    unbounded(&mut settings);
    if let Some(url) = redis {
        let mut cluster = ClusterSettings::new(Place::Redis(Redis::new(url)?), HEARTBEAT);
        cluster.public_url = public.then(|| format!("ws://{address}/ws"));
        settings.cluster = Some(cluster);
    }
    tokio::spawn(tracker::run(listener, settings, std::future::pending()));
    Ok(address)
}

/// Announces one client again and again; gives how long each reply took.
async fn announces(address: SocketAddr, n: u8, round: usize) -> anyhow::Result<Vec<Duration>> {
    let mut socket: Socket = connect(address).await?;
    let mut times = Vec::with_capacity(ANNOUNCES);
    let announce = Announce {
        left: Some(1),
        numwant: Some(10),
        enxame: Some(EnxameHello { v: 1, relay: true, rtc: true, key: None, open: 0 }),
        ..Announce::new(InfoHash::new([u8::try_from(round)? + 10; 20]), peer(n))
    };
    let text = ToTracker::Announce(announce).to_json();
    for _ in 0..ANNOUNCES {
        let began = Instant::now();
        socket.send(Message::text(&text)).await?;
        match signal(&mut socket).await? {
            ToPeer::Announced(_) => times.push(began.elapsed()),
            other => bail!("not a reply: {other:?}"),
        }
    }
    Ok(times)
}
