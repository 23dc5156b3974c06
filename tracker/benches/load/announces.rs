//! Announces with offers, as WebTorrent's clients make them: each client announces itself with five offers, waits for the reply,
//! and announces itself again; meanwhile it answers every offer that comes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use crate::machine;
use crate::servers::{Kind, Server};
use crate::socket::{Received, Socket, put_text};

/// Peers of one swarm.
const SWARM: usize = 50;

/// Offers of one announce: WebTorrent's number.
const OFFERS: usize = 5;

/// Connections that are opened at the same time.
const OPENING: usize = 64;

/// Time before a figure is taken, and time for it.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(4);

/// Time after it.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What a browser offers for a data channel, with three candidates: some 900 bytes.
const SDP: &str = "v=0\\r\\no=- 4611731400430051336 2 IN IP4 127.0.0.1\\r\\ns=-\\r\\nt=0 0\\r\\n\
    a=group:BUNDLE 0\\r\\na=extmap-allow-mixed\\r\\na=msid-semantic: WMS\\r\\n\
    m=application 53411 UDP/DTLS/SCTP webrtc-datachannel\\r\\nc=IN IP4 203.0.113.77\\r\\n\
    a=candidate:2999745851 1 udp 2122260223 192.168.56.1 53410 typ host generation 0 network-id 1 network-cost 10\\r\\n\
    a=candidate:1875413690 1 udp 2122194687 192.168.178.23 53411 typ host generation 0 network-id 2\\r\\n\
    a=candidate:842163049 1 udp 1685987071 203.0.113.77 53411 typ srflx raddr 192.168.178.23 rport 53411 generation 0\\r\\n\
    a=ice-ufrag:7sFv\\r\\na=ice-pwd:dOTZKZNVlO9RSGsEGM63JXT2\\r\\na=ice-options:trickle\\r\\n\
    a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\\r\\n\
    a=setup:actpass\\r\\na=mid:0\\r\\na=sctp-port:5000\\r\\na=max-message-size:262144\\r\\n";

/// What one server made of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Messages that it sent, each second.
    pub(crate) rate: f64,
    /// The same, for each second of its time on the processor.
    pub(crate) rate_per_core: f64,
    /// Part of a core that it had.
    pub(crate) core: f64,
    /// From an announce to its reply: the median, 99 of 100, and the longest, in milliseconds.
    pub(crate) latency: [f64; 3],
    /// Its memory at the end, in bytes.
    pub(crate) memory: u64,
}

/// What all clients share.
#[derive(Debug, Default)]
struct Shared {
    /// Messages that came.
    received: AtomicU64,
    /// Whether latencies are noted.
    measures: AtomicBool,
    ends: AtomicBool,
    microseconds: Mutex<Vec<u32>>,
}

/// Puts so many clients to one server.
pub(crate) async fn measure(server: &Server, clients: usize) -> Result<Figures> {
    let shared = Arc::new(Shared::default());
    let mut running = JoinSet::new();
    for (n, socket) in connect(server.address, clients).await?.into_iter().enumerate() {
        running.spawn(client(socket, n, server.kind, Arc::clone(&shared)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (began, spent) = (Instant::now(), machine::processor_time(server.process())?);
    let received = shared.received.load(Ordering::Relaxed);
    shared.measures.store(true, Ordering::Relaxed);
    tokio::time::sleep(MEASURE).await;
    shared.measures.store(false, Ordering::Relaxed);
    let received = (shared.received.load(Ordering::Relaxed) - received) as f64;
    let (took, spent) = (began.elapsed(), machine::processor_time(server.process())?.saturating_sub(spent));
    let memory = machine::memory(server.process())?;
    shared.ends.store(true, Ordering::Relaxed);
    // Those that wait for a message wait on: they are not needed any more.
    if let Some(ended) = running.try_join_next() {
        ended.context("a client panicked")?.context("a client ended early")?;
        bail!("a client ended early");
    }
    running.shutdown().await;
    // Until the server has seen that they are gone: another is measured next, on the same core.
    tokio::time::sleep(AFTERWARDS).await;
    let mut times = std::mem::take(&mut *shared.microseconds.lock().unwrap_or_else(PoisonError::into_inner));
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last());
    Ok(Figures {
        rate: received / took.as_secs_f64(),
        rate_per_core: received / spent.as_secs_f64(),
        core: spent.as_secs_f64() / took.as_secs_f64(),
        latency: [0.5, 0.99, 1.0].map(|part| at(part).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)),
        memory,
    })
}

/// Opens so many connections.
pub(crate) async fn connect(server: SocketAddr, clients: usize) -> Result<Vec<Socket>> {
    let mut sockets = Vec::with_capacity(clients);
    let mut opening = JoinSet::new();
    for _ in 0..clients {
        if opening.len() >= OPENING
            && let Some(opened) = opening.join_next().await
        {
            sockets.push(opened??);
        }
        opening.spawn(Socket::connect(server));
    }
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    Ok(sockets)
}

/// The swarm and the id of the client of this number, as text of twenty letters.
pub(crate) fn names(n: usize) -> (String, String) {
    (format!("swarm-{:014}", n / SWARM), format!("-WW0300-{n:012}"))
}

async fn client(mut socket: Socket, n: usize, kind: Kind, shared: Arc<Shared>) -> Result<()> {
    let (swarm, peer) = names(n);
    let mut announces = 0_u32;
    let mut asked = Instant::now();
    put_announce(&mut socket.out, &swarm, &peer, announces);
    // What replies are owed for, oldest first: an announce, or an answer, for which aquatic_ws alone sends a reply as well. It is
    // counted as a message of its, but no reason to announce again.
    let mut owed = VecDeque::from([true]);
    let ended = loop {
        let received = socket.receive(|message, out| {
            let Received::Text(text) = message else { bail!("not a text: {message:?}") };
            shared.received.fetch_add(1, Ordering::Relaxed);
            if text.contains("\"answer\":") {
                return Ok(());
            }
            if text.contains("\"offer\":") {
                if kind == Kind::Aquatic {
                    owed.push_back(false);
                }
                return put_answer(out, &swarm, &peer, text);
            }
            if !text.contains("\"interval\"") {
                bail!("neither an offer nor a reply: {text}");
            }
            if !owed.pop_front().context("a reply to nothing")? {
                return Ok(());
            }
            if shared.measures.load(Ordering::Relaxed) {
                let took = u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX);
                shared.microseconds.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            }
            if !shared.ends.load(Ordering::Relaxed) {
                announces += 1;
                asked = Instant::now();
                owed.push_back(true);
                put_announce(out, &swarm, &peer, announces);
            }
            Ok(())
        });
        match received.await {
            Ok(true) => {}
            Ok(false) => break Err(anyhow::anyhow!("the server hung up")),
            Err(error) => break Err(error),
        }
    };
    socket.reset();
    ended
}

/// The announce of a leecher. `count` makes the offers' ids different each time.
pub(crate) fn put_announce(out: &mut Vec<u8>, swarm: &str, peer: &str, count: u32) {
    let mut text = String::with_capacity(8 * 1024);
    text.push_str("{\"numwant\":5,\"uploaded\":0,\"downloaded\":0,\"left\":1000000,");
    if count == 0 {
        text.push_str("\"event\":\"started\",");
    }
    text.push_str("\"action\":\"announce\",\"info_hash\":\"");
    text.push_str(swarm);
    text.push_str("\",\"peer_id\":\"");
    text.push_str(peer);
    text.push_str("\",\"offers\":[");
    for n in 0..OFFERS {
        let comma = if n == 0 { "" } else { "," };
        // The peer's number, the announce's and the offer's.
        let id = format!("{}{count:010}{n}", &peer[peer.len() - 9..]);
        text.push_str(comma);
        text.push_str("{\"offer\":{\"type\":\"offer\",\"sdp\":\"");
        text.push_str(SDP);
        text.push_str("\"},\"offer_id\":\"");
        text.push_str(&id);
        text.push_str("\"}");
    }
    text.push_str("]}");
    put_text(out, text.as_bytes());
}

/// The answer to the offer in this message.
pub(crate) fn put_answer(out: &mut Vec<u8>, swarm: &str, peer: &str, offer: &str) -> Result<()> {
    let (to, offer_id) = (field(offer, "\"peer_id\":\"")?, field(offer, "\"offer_id\":\"")?);
    let text = [
        "{\"action\":\"announce\",\"info_hash\":\"",
        swarm,
        "\",\"peer_id\":\"",
        peer,
        "\",\"to_peer_id\":\"",
        to,
        "\",\"answer\":{\"type\":\"answer\",\"sdp\":\"",
        SDP,
        "\"},\"offer_id\":\"",
        offer_id,
        "\"}",
    ];
    put_text(out, text.concat().as_bytes());
    Ok(())
}

/// The text of a field of twenty plain letters.
fn field<'a>(message: &'a str, name: &str) -> Result<&'a str> {
    let (_, after) = message.split_once(name).with_context(|| format!("no {name} in {message}"))?;
    after.get(..20).context("too short")
}
