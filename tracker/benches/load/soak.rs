//! Many clients that come, announce themselves, answer offers, relay, and leave: politely, by hanging up, or without a sign. After
//! each round, when all have left, the tracker must be as it was: nobody and nothing is left of them, and what was relayed came whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use shared::relay::{ChannelId, data_header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::announces::{names, put_announce, put_answer};
use crate::machine;
use crate::servers::{Kind, Server};
use crate::socket::{Received, Socket, put_binary, put_text};

/// Time in which the tracker must have noticed that all are gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time in which the tracker must have given its memory back: it looks every few seconds.
const GIVING_BACK: Duration = Duration::from_secs(15);

/// Time that a client has beyond a round for what it is in the middle of. One for which it is not enough waits for what will
/// never come.
const ENDING: Duration = Duration::from_secs(300);

/// Rounds that are added at most, because in those that were planned too little was done: on a machine that is busy with
/// something else.
const MORE_ROUNDS: u32 = 20;

/// The longest rest of a client between two announces: this part of a round.
const RESTS: u32 = 8;

/// Most that is sent on one channel: less than its window, so that it needs no credit.
const MAX_STREAM: usize = 256 * 1024;

/// What a round may leave in memory: threads keep a few buffers.
const SLACK: u64 = 8 << 20;

/// The gauges of `/metrics` that are nothing when nobody is there.
const GAUGES: [&str; 6] =
    ["connections", "swarms", "peers", "relay_channels", "queue_bytes", "queue_connections"];

/// How much is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) rounds: u32,
    pub(crate) round: Duration,
}

impl Plan {
    /// Reads `[CLIENTS [SECONDS [ROUNDS]]]`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let number = |n: usize, usual: u64| {
            words
                .get(n)
                .map_or(Ok(usual), |word| word.parse().with_context(|| format!("{word:?} is no number")))
        };
        ensure!(words.len() <= 3, "`soak` takes a number of clients, of seconds in all, and of rounds");
        let rounds = u32::try_from(number(2, 5)?.max(2))?;
        let round = Duration::from_secs(number(1, 600)?) / rounds;
        Ok(Self { clients: usize::try_from(number(0, 10_000)?)?, rounds, round })
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Sums {
    lives: AtomicU64,
    replies: AtomicU64,
    answers: AtomicU64,
    opened: AtomicU64,
    whole: AtomicU64,
    broken: AtomicU64,
    bytes: AtomicU64,
}

/// Runs it; an error if anything is left, lost, or wrong.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let server = Server::start(Kind::Ours)?;
    let idle_tasks = gauge(&metrics(&server).await?, "tasks")?;
    println!("{} clients, {} rounds of {:?}", plan.clients, plan.rounds, plan.round);
    let start = machine::memory(server.process())?;
    println!("memory at the start: {} MiB", start >> 20);
    let enough = start + SLACK;
    let sums = Arc::new(Sums::default());
    let is_done = || sums.replies.load(Ordering::Relaxed) > 0 && sums.whole.load(Ordering::Relaxed) > 0;
    for round in 0..plan.rounds + MORE_ROUNDS {
        if round >= plan.rounds && is_done() {
            break;
        }
        let until = Instant::now() + plan.round;
        let mut clients = JoinSet::new();
        for n in 0..plan.clients {
            clients.spawn(client(server.address, (n, round), until, plan.round / RESTS, Arc::clone(&sums)));
        }
        tokio::time::sleep(plan.round * 4 / 5).await;
        let busy = machine::memory(server.process())?;
        let there = gauge(&metrics(&server).await?, "connections")?;
        while let Some(ended) = clients.join_next().await {
            ended.context("a client panicked")??;
        }
        let text = left(&server, idle_tasks).await?;
        let after = settled(&server, enough).await?;
        let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        println!(
            "round {}: {there} connections at {} MiB; {} MiB after it; so far {} lives, {} replies, {} answers, {} channels, of \
             which {} carried all they were to and {} were broken off, {} MiB; rejected: {}",
            round + 1,
            busy >> 20,
            after >> 20,
            of(&sums.lives),
            of(&sums.replies),
            of(&sums.answers),
            of(&sums.opened),
            of(&sums.whole),
            of(&sums.broken),
            of(&sums.bytes) >> 20,
            rejections(&text),
        );
        ensure!(
            after <= enough,
            "a round leaves something in memory: {start} bytes at the start, then {after}"
        );
    }
    ensure!(is_done(), "nothing was done");
    println!("nobody and nothing is left");
    Ok(())
}

/// Its memory when all have left: as soon as it has given enough back, or after the time that it has for that.
async fn settled(server: &Server, enough: u64) -> Result<u64> {
    let began = Instant::now();
    loop {
        let memory = machine::memory(server.process())?;
        if memory <= enough || began.elapsed() > GIVING_BACK {
            return Ok(memory);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the tracker says that nobody is there; gives all that it says.
async fn left(server: &Server, idle_tasks: u64) -> Result<String> {
    let began = Instant::now();
    loop {
        let text = metrics(server).await?;
        let mut left = Vec::new();
        for name in GAUGES {
            left.push((name, gauge(&text, name)?));
        }
        // Whoever asks is there.
        left.push(("sockets", gauge(&text, "sockets")?.saturating_sub(1)));
        left.push(("tasks", gauge(&text, "tasks")?.saturating_sub(idle_tasks)));
        left.retain(|(_, count)| *count > 0);
        if left.is_empty() {
            return Ok(text);
        }
        if began.elapsed() > PATIENCE {
            bail!("when all have left, these are left: {left:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn metrics(server: &Server) -> Result<String> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

fn gauge(metrics: &str, name: &str) -> Result<u64> {
    let value =
        metrics.lines().find_map(|line| line.strip_prefix("enxame_")?.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("there is no {name}"))?.parse()?)
}

fn rejections(metrics: &str) -> String {
    let rejected = metrics.lines().filter_map(|line| {
        let (reason, count) = line.strip_prefix("enxame_rejections_total{reason=\"")?.split_once("\"} ")?;
        (count != "0").then(|| format!("{reason} {count}"))
    });
    let rejected: Vec<String> = rejected.collect();
    if rejected.is_empty() { "nothing".to_owned() } else { rejected.join(", ") }
}

/// One life after the other.
async fn client(
    address: std::net::SocketAddr,
    (n, round): (usize, u32),
    until: Instant,
    longest: Duration,
    sums: Arc<Sums>,
) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64((u64::from(round) << 32) + n as u64);
    for life in 0.. {
        tokio::time::sleep_until(later(&mut rng, until, longest)).await;
        if Instant::now() >= until {
            break;
        }
        let lived = async {
            let socket = Socket::connect(address).await?;
            Life::new(n, life, socket).live(&mut rng, until, longest, &sums).await
        };
        let lived = tokio::time::timeout_at((until + ENDING).into(), lived).await;
        lived.context("a client waited for what does not come")??;
        sums.lives.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn later(rng: &mut SmallRng, until: Instant, longest: Duration) -> tokio::time::Instant {
    (Instant::now() + longest.mul_f64(rng.random())).min(until).into()
}

/// One connection of a client.
struct Life {
    socket: Socket,
    swarm: String,
    peer: String,
    replies: u32,
    /// What came on each channel that others opened.
    streams: HashMap<u32, Stream>,
    /// Channels that the last reply opened.
    opened: Vec<u32>,
    is_closed: bool,
}

/// Bytes of a channel: four that say how many there will be, and then each the lowest byte of its place.
#[derive(Debug, Default)]
struct Stream {
    length: [u8; 4],
    read: usize,
}

impl Stream {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for byte in bytes {
            match self.length.get_mut(self.read) {
                Some(place) => *place = *byte,
                None => ensure!(*byte == self.read as u8, "what was relayed came in another order"),
            }
            self.read += 1;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.read == u32::from_be_bytes(self.length) as usize
    }
}

impl Life {
    fn new(n: usize, life: usize, socket: Socket) -> Self {
        let (swarm, _) = names(n);
        // A peer id is not used again while its last owner may still be thought to be there.
        let peer = format!("-WW0300-{n:06}{:06}", life % 1_000_000);
        let (streams, opened) = (HashMap::new(), Vec::new());
        Self { socket, swarm, peer, replies: 0, streams, opened, is_closed: false }
    }

    async fn live(
        mut self,
        rng: &mut SmallRng,
        until: Instant,
        longest: Duration,
        sums: &Sums,
    ) -> Result<()> {
        let announces = rng.random_range(1..6);
        for count in 0..announces {
            self.announce(count, rng.random_bool(0.5));
            while self.replies <= count {
                self.listen(sums).await?;
            }
            for channel in std::mem::take(&mut self.opened) {
                self.relay(channel, rng.random_range(4..MAX_STREAM));
            }
            let moment = later(rng, until, longest);
            while let Ok(listened) = tokio::time::timeout_at(moment, self.listen(sums)).await {
                listened?;
            }
            if Instant::now() >= until {
                break;
            }
        }
        match rng.random_range(0..3) {
            0 => self.say_goodbye(sums).await,
            1 => {
                self.socket.reset();
                Ok(())
            }
            // Hangs up, maybe in the middle of a message.
            _ => Ok(()),
        }
    }

    /// With offers, as other programs' clients do, or with a wish for a relay channel, as ours do.
    fn announce(&mut self, count: u32, offers: bool) {
        let Self { socket, swarm, peer, .. } = self;
        if offers {
            return put_announce(&mut socket.out, swarm, peer, count);
        }
        let text = format!(
            "{{\"action\":\"announce\",\"info_hash\":\"{swarm}\",\"peer_id\":\"{peer}\",\"left\":1,\"numwant\":3,\
             \"enxame\":{{\"v\":1,\"relay\":true,\"open\":1}}}}"
        );
        put_text(&mut socket.out, text.as_bytes());
    }

    /// Sends so many bytes on a channel, in frames of 16 KiB, and closes it.
    fn relay(&mut self, channel: u32, length: usize) {
        let mut bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
        bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
        for part in bytes.chunks(16 * 1024) {
            put_binary(&mut self.socket.out, &[&data_header(ChannelId(channel)), part]);
        }
        let close = format!("{{\"action\":\"relay-close\",\"channel\":{channel},\"reason\":\"done\"}}");
        put_text(&mut self.socket.out, close.as_bytes());
    }

    /// Leaves the swarm, closes, and waits for the tracker's close.
    async fn say_goodbye(mut self, sums: &Sums) -> Result<()> {
        let Self { swarm, peer, .. } = &self;
        let text = format!(
            "{{\"action\":\"announce\",\"event\":\"stopped\",\"info_hash\":\"{swarm}\",\"peer_id\":\"{peer}\"}}"
        );
        put_text(&mut self.socket.out, text.as_bytes());
        self.socket.close();
        while !self.is_closed {
            self.listen(sums).await?;
        }
        Ok(())
    }

    /// Handles what comes next.
    async fn listen(&mut self, sums: &Sums) -> Result<()> {
        let Self { socket, swarm, peer, replies, streams, opened, is_closed } = self;
        let is_open = socket.receive(|message, out| {
            match message {
                Received::Text(text) if text.contains("\"answer\":") => {
                    sums.answers.fetch_add(1, Ordering::Relaxed);
                }
                Received::Text(text) if text.contains("\"offer\":") => put_answer(out, swarm, peer, text)?,
                Received::Text(text) => {
                    let message: Value = serde_json::from_str(text)?;
                    let channel = message["channel"].as_u64().map(u32::try_from).transpose()?;
                    match (message["action"].as_str(), channel) {
                        (Some("announce"), _) if message["interval"].is_u64() => {
                            *replies += 1;
                            sums.replies.fetch_add(1, Ordering::Relaxed);
                            let named = message["enxame"]["peers"].as_array().into_iter().flatten();
                            let channels =
                                named.filter_map(|peer| u32::try_from(peer["channel"].as_u64()?).ok());
                            opened.extend(channels);
                        }
                        (Some("relay-opened"), Some(channel)) => {
                            sums.opened.fetch_add(1, Ordering::Relaxed);
                            streams.insert(channel, Stream::default());
                        }
                        (Some("relay-closed"), Some(channel)) => {
                            let stream = streams.remove(&channel).unwrap_or_default();
                            if message["reason"] == "done" {
                                ensure!(stream.is_whole(), "lost: {stream:?}");
                                sums.whole.fetch_add(1, Ordering::Relaxed);
                            } else {
                                sums.broken.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        _ => bail!("unexpected: {text}"),
                    }
                }
                Received::Binary([_, a, b, c, d, payload @ ..]) => {
                    let channel = u32::from_be_bytes([*a, *b, *c, *d]);
                    sums.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
                    streams.get_mut(&channel).context("data on a channel that is not open")?.take(payload)?;
                }
                Received::Binary(_) => bail!("a frame that is too short"),
                Received::Close => *is_closed = true,
            }
            Ok(())
        });
        if !is_open.await? && !*is_closed {
            bail!("the tracker hung up");
        }
        Ok(())
    }
}
