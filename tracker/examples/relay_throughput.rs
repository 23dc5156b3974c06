//! How fast the tracker relays, beside a bare forwarder of WebSocket messages, on the same machine in the same run:
//! `cargo run --release -p tracker --example relay_throughput`.
//!
//! The bare forwarder does the least that any relay over tokio-tungstenite must do: read a message of one client, write
//! it to the other. Both have the same two clients, in the same process, and one thread of their own each, whose time on
//! the processor is told as well (on Linux): other than the rate, it does not depend on what else the machine does. The
//! sums are of one direction.

#[allow(dead_code, reason = "shared with the other example")]
mod relayed;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tracker::{Page, Settings};

use relayed::{connect, next, through_trackers, unbounded};

/// The names of the threads that are measured.
const TRACKER: &str = "measured-ours";
const BARE: &str = "measured-bare";

/// Bytes sent in one measurement.
const TOTAL: usize = 1024 * 1024 * 1024;

/// Measurements of each kind; the best counts, since noise only ever slows down.
const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    let thread = |name: &str| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
    };
    let (tracker_thread, bare_thread, clients) = (thread(TRACKER)?, thread(BARE)?, thread("clients")?);
    let tracker = tracker_thread.block_on(start_tracker())?;
    let bare = bare_thread.block_on(start_bare_forwarder())?;
    clients.block_on(async {
        println!("             best of {ROUNDS}, MiB/s          processor, ms/GiB");
        println!("frame      tracker   bare  ratio      tracker   bare  ratio");
        for frame in [1024, 16 * 1024, 64 * 1024, 128 * 1024] {
            let mut best = [Duration::MAX; 2];
            let mut processor = [Duration::ZERO; 2];
            for _ in 0..ROUNDS {
                let before = [processor_time(TRACKER), processor_time(BARE)];
                best[0] = best[0].min(through_trackers([tracker; 2], TOTAL, frame).await?);
                best[1] = best[1].min(through_bare_forwarder(bare, frame).await?);
                processor[0] += processor_time(TRACKER) - before[0];
                processor[1] += processor_time(BARE) - before[1];
            }
            let [tracker, bare] = best.map(|time| TOTAL as f64 / 1024.0 / 1024.0 / time.as_secs_f64());
            print!("{:>4} KiB  {tracker:>8.0}  {bare:>5.0}  {:>5.2}", frame / 1024, tracker / bare);
            let [tracker, bare] = processor.map(|time| time.as_secs_f64() * 1000.0 / ROUNDS as f64);
            println!("     {tracker:>8.0}  {bare:>5.0}  {:>5.2}", tracker / bare);
        }
        Ok(())
    })
}

/// Time that the thread of this name has spent on the processor; zero where that is not known.
fn processor_time(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ticks = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        let is_named = before.ends_with(&format!("({name}"));
        let fields: Vec<&str> = after.split_whitespace().collect();
        let (user, system): (u64, u64) = (fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?);
        is_named.then_some(user + system)
    });
    // A tick is a hundredth of a second on every Linux that is common.
    Duration::from_millis(10 * ticks.sum::<u64>())
}

async fn start_tracker() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut settings = Settings::new(Page::embedded());
    unbounded(&mut settings);
    tokio::spawn(tracker::run(listener, settings, std::future::pending()));
    Ok(address)
}

/// Joins every two connections.
async fn start_bare_forwarder() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let (first, _) = listener.accept().await?;
            let first = tokio_tungstenite::accept_async(first).await?;
            let (second, _) = listener.accept().await?;
            let second = tokio_tungstenite::accept_async(second).await?;
            let (to_first, from_first) = first.split();
            let (to_second, from_second) = second.split();
            tokio::spawn(from_first.forward(to_second));
            tokio::spawn(from_second.forward(to_first));
        }
        #[expect(unreachable_code, reason = "names the error's type")]
        anyhow::Ok(())
    });
    Ok(address)
}

async fn through_bare_forwarder(address: SocketAddr, frame: usize) -> anyhow::Result<Duration> {
    let mut sender = connect(address).await?;
    let mut receiver = connect(address).await?;
    let start = Instant::now();
    let sending = async {
        let message = Bytes::from(vec![0; 5 + frame]);
        for _ in 0..TOTAL / frame {
            sender.feed(Message::Binary(message.clone())).await?;
        }
        sender.flush().await?;
        anyhow::Ok(sender)
    };
    let receiving = async {
        let mut received = 0;
        while received < TOTAL {
            received += next(&mut receiver).await?.len() - 5;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(start.elapsed())
}
