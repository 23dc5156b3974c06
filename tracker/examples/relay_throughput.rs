//! How fast the tracker relays, beside a bare forwarder of WebSocket messages, on the same machine in the same run:
//! `cargo run --release -p tracker --example relay_throughput`.
//!
//! The bare forwarder does the least that any relay over tokio-tungstenite must do: read a message of one client, write
//! it to the other. Both have the same two clients, in the same process, and one thread of their own each, whose time on
//! the processor is told as well (on Linux): other than the rate, it does not depend on what else the machine does. The
//! sums are of one direction.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame, data_header};
use shared::signal::{Announce, EnxameHello, Event, RelayOpen, ToPeer, ToTracker};
use shared::{InfoHash, PeerId};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracker::{Page, Settings};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The names of the threads that are measured.
const TRACKER: &str = "measured-ours";
const BARE: &str = "measured-bare";

/// Bytes sent in one measurement.
const TOTAL: usize = 1024 * 1024 * 1024;

/// Measurements of each kind; the best counts, since noise only ever slows down.
const ROUNDS: usize = 3;

/// Bytes that a receiver takes before it gives credit for them.
const CREDIT_STEP: u32 = RELAY_WINDOW / 32;

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
                best[0] = best[0].min(through_tracker(tracker, frame).await?);
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
    // What is measured is how fast it can be, not how fast it lets a client be.
    let limits = &mut settings.limits;
    (limits.relay_rate, limits.relay_rate_per_address) = (u64::MAX, u64::MAX);
    (limits.relay_per_day, limits.relay_per_day_per_address) = (u64::MAX, u64::MAX);
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

async fn connect(address: SocketAddr) -> anyhow::Result<Socket> {
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await?;
    Ok(socket)
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

async fn through_tracker(address: SocketAddr, frame: usize) -> anyhow::Result<Duration> {
    let mut sender = join(address, 1).await?;
    let mut receiver = join(address, 2).await?;
    let open = RelayOpen { info_hash: InfoHash::new([1; 20]), peer_id: peer(1), to_peer_id: peer(2) };
    sender.send(Message::text(ToTracker::RelayOpen(open).to_json())).await?;
    let from = opened(&mut sender).await?;
    let to = opened(&mut receiver).await?;
    let start = Instant::now();
    let sending = async {
        let mut message = BytesMut::from(&data_header(from)[..]);
        message.resize(message.len() + frame, 0);
        let message = message.freeze();
        let mut credit = RELAY_WINDOW as usize;
        for _ in 0..TOTAL / frame {
            while credit < frame {
                sender.flush().await?;
                match Frame::decode(next(&mut sender).await?)? {
                    Frame::Credit { bytes, .. } => credit += bytes as usize,
                    Frame::Data { .. } => bail!("data came back"),
                }
            }
            credit -= frame;
            sender.feed(Message::Binary(message.clone())).await?;
        }
        sender.flush().await?;
        anyhow::Ok(())
    };
    let receiving = async {
        let (mut received, mut owed) = (0, 0);
        while received < TOTAL {
            let len = next(&mut receiver).await?.len() - 5;
            received += len;
            owed += u32::try_from(len)?;
            if owed >= CREDIT_STEP {
                let credit = Frame::Credit { channel: to, bytes: owed };
                receiver.send(Message::Binary(credit.encode())).await?;
                owed = 0;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(start.elapsed())
}

/// The next binary message.
async fn next(socket: &mut Socket) -> anyhow::Result<Bytes> {
    loop {
        match socket.next().await.context("hung up")?? {
            Message::Binary(bytes) => return Ok(bytes),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("not a frame: {other}"),
        }
    }
}

async fn signal(socket: &mut Socket) -> anyhow::Result<ToPeer> {
    match socket.next().await.context("hung up")?? {
        Message::Text(text) => Ok(ToPeer::from_json(&text)?),
        other => bail!("not a signal: {other}"),
    }
}

async fn opened(socket: &mut Socket) -> anyhow::Result<ChannelId> {
    match signal(socket).await? {
        ToPeer::RelayOpened(opened) => Ok(opened.channel),
        other => bail!("not opened: {other:?}"),
    }
}

fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

async fn join(address: SocketAddr, n: u8) -> anyhow::Result<Socket> {
    let mut socket = connect(address).await?;
    let announce = Announce {
        info_hash: InfoHash::new([1; 20]),
        peer_id: peer(n),
        event: Event::Started,
        left: Some(1),
        uploaded: 0,
        downloaded: 0,
        numwant: Some(0),
        offers: Vec::new(),
        // Takes the peer id over from the measurement before, should its end not have been noticed yet.
        enxame: Some(EnxameHello {
            v: 1,
            relay: true,
            rtc: false,
            key: Some("measuring".to_owned()),
            open: 0,
        }),
    };
    socket.send(Message::text(ToTracker::Announce(announce).to_json())).await?;
    match signal(&mut socket).await? {
        ToPeer::Announced(_) => Ok(socket),
        other => bail!("not welcome: {other:?}"),
    }
}
