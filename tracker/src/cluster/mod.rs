//! Many trackers as one: nodes that share their swarms, pass offers and answers to each other's clients, and relay between
//! them.
//!
//! Each node serves its own clients from its own registry, as if it were alone; what the others have is added. So a
//! node that cannot reach the others goes on by itself.
//!
//! ```text
//! socket ─► hub ─► registry, channels, outboxes             one node, as ever
//!            │ Request (bounded queue, never waited for)
//!            ▼
//!          member ─► Session::ask ─► hub: the others' counts and peers, and then the reply to the client
//!            │ └───► Session::tell ◄─ Bus ◄─ hub, Line: offers, answers, relayed bytes
//!            └ Session::live: who else lives
//! ```
//!
//! In reading order: [`backend`] is what nodes share, as a trait, and [`memory`] and [`redis`] are its two kinds; `message` is
//! what nodes tell each other, `bus` what waits to be told, `line` the end of a relay channel that is at another node,
//! `tickets` what lets clients of other nodes come here for one; `member` joins, asks, tells, and joins again. What the hub does with it all is in `hub::distant`.

pub mod backend;
mod bus;
pub(crate) mod line;
mod member;
mod memory;
pub(crate) mod message;
mod redis;
pub(crate) mod tickets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::signal::{Announced, Failed, RelayOpen, Scrape, Scraped};
use shared::{InfoHash, PeerId};
use tokio::sync::mpsc;

pub use memory::Memory;
pub use redis::Redis;

pub(crate) use member::Member;

use crate::limits::Limits;
use crate::metrics::{Counter, Exposition, Histogram};
use crate::registry::{Membership, add_within};
use crate::signal::{Announce, TargetedOffer};
use crate::{ConnectionId, lock};
use backend::{Draw, Entry, NodeId};
use bus::Bus;
use line::Line;
use message::{Message, Words};
use tickets::Tickets;

/// Time between two signs of life of a node, unless set otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// Signs of life that a node may miss before the others take it for gone, unless set otherwise.
pub const HEARTBEATS: u32 = 3;

/// Most requests that wait for an answer of the backend: what the clients of a full node bring in a second, or one
/// connection that leaves all its swarms, many times.
const MAX_REQUESTS: usize = 65_536;

/// Most bytes of offers that wait for an answer of the backend.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Time that another node has for opening its half of a relay channel.
pub(crate) const OPENING_TIME: Duration = Duration::from_secs(5);

/// Time in which a client that was sent to another node must come there: it opens a connection with TLS first, maybe over a
/// slow line.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(15);

/// Where nodes meet.
#[derive(Debug, Clone)]
pub enum Place {
    /// In this process.
    Memory(Memory),
    /// In Redis.
    Redis(Redis),
}

/// What can be chosen about a tracker that is one of many.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Where the nodes meet.
    pub place: Place,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// Time without one after which the others take this node for gone.
    pub lifetime: Duration,
    /// The address at which clients of other nodes reach this one, if they can: see [`shared::signal::check_relay_url`].
    pub public_url: Option<String>,
    /// Time in which a client that was sent here must come.
    pub ticket_lifetime: Duration,
}

impl ClusterSettings {
    /// With this time between two signs of life; [`HEARTBEAT`] is the usual one.
    pub fn new(place: Place, heartbeat: Duration) -> Self {
        let lifetime = heartbeat * HEARTBEATS;
        Self { place, heartbeat, lifetime, public_url: None, ticket_lifetime: TICKET_LIFETIME }
    }
}

/// What the hub wants of the others.
#[derive(Debug)]
pub(crate) enum Request {
    /// A peer announced: who else is there?
    Announce(Box<Asked>),
    /// A peer left a swarm.
    Leave { swarm: InfoHash, peer: PeerId },
    /// How many are in these swarms? With what is known here.
    Scrape(ConnectionId, Scrape, Scraped),
    /// Where is the peer that this offer is for?
    Offer(ConnectionId, Box<TargetedOffer>),
    /// Where is the peer that this channel should lead to?
    Open(ConnectionId, RelayOpen),
}

/// An announce that waits for what the others know.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) member: Membership,
    pub(crate) announce: Announce,
    pub(crate) entry: Entry,
    /// Whether it has just completed the torrent.
    pub(crate) completed: bool,
    /// The reply, with what is known here.
    pub(crate) reply: Announced,
    /// Whom to draw: to be named, and for offers.
    pub(crate) draws: [Draw; 2],
}

impl Request {
    /// What it is counted as, in bytes, beside its place in the queue.
    fn cost(&self) -> usize {
        match self {
            Self::Announce(asked) => {
                asked.announce.offers.iter().map(|offer| offer.offer.sdp.len() + 64).sum::<usize>()
            }
            Self::Offer(_, offer) => offer.offer.sdp.len(),
            _ => 0,
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) joins: Counter,
    pub(crate) asked: Counter,
    /// Time for the answers to questions that were asked together.
    pub(crate) asking: Histogram,
    pub(crate) told: Counter,
    pub(crate) told_bytes: Counter,
    pub(crate) heard: Counter,
    pub(crate) heard_bytes: Counter,
    pub(crate) broken: Counter,
    /// Channels for which clients of this node were sent to another one.
    pub(crate) sent: Counter,
    /// Channels for which clients of other nodes came here.
    pub(crate) visits: Counter,
}

/// What the hub, the lines and the member share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) counted: Counted,
    pub(crate) lines: Mutex<HashMap<u64, Arc<Line>>>,
    /// Where clients of other nodes reach this one.
    pub(crate) public_url: Option<String>,
    /// For those who come.
    pub(crate) tickets: Mutex<Tickets>,
    me: AtomicU64,
    joined: AtomicBool,
    nodes: AtomicUsize,
    requests: mpsc::Sender<Request>,
    request_bytes: AtomicUsize,
    /// What the others know of this node's peers has a gap: it is to come anew.
    stale: AtomicBool,
}

impl Shared {
    fn new(settings: &ClusterSettings, limits: &Limits, requests: mpsc::Sender<Request>) -> Self {
        Self {
            bus: Bus::new(limits.cluster_queue),
            counted: Counted::default(),
            lines: Mutex::default(),
            public_url: settings.public_url.clone(),
            tickets: Mutex::new(Tickets::new(settings.ticket_lifetime)),
            me: AtomicU64::new(0),
            joined: AtomicBool::new(false),
            nodes: AtomicUsize::new(0),
            requests,
            request_bytes: AtomicUsize::new(0),
            stale: AtomicBool::new(false),
        }
    }

    /// Whether the others can be reached, as far as is known.
    pub(crate) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    pub(crate) fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Nodes that live, this one among them.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.load(Ordering::Relaxed)
    }

    pub(crate) fn me(&self) -> NodeId {
        NodeId(self.me.load(Ordering::Relaxed))
    }

    /// Asks the others, and gives the request back if that is not possible: they are away, or too much waits.
    pub(crate) fn ask(&self, request: Request) -> Result<(), Request> {
        let cost = request.cost();
        if !self.is_joined() || !add_within(&self.request_bytes, cost, MAX_REQUEST_BYTES) {
            return Err(request);
        }
        self.requests.try_send(request).map_err(|error| {
            self.request_bytes.fetch_sub(cost, Ordering::Relaxed);
            error.into_inner()
        })
    }

    /// A peer left. If the others cannot be told so, they will be told everything anew.
    pub(crate) fn leave(&self, swarm: InfoHash, peer: PeerId) {
        if self.is_joined() && self.ask(Request::Leave { swarm, peer }).is_err() {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    /// Queues something for another node, and tells whether there was room.
    pub(crate) fn push(&self, to: NodeId, message: &Message) -> bool {
        self.is_joined() && self.bus.push(to, message.encode())
    }

    /// The same for what is not relayed bytes.
    pub(crate) fn tell(&self, to: NodeId, words: Words) -> bool {
        self.push(to, &Message::Words(self.me(), words))
    }

    /// All that was counted, as Prometheus reads it.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let counted = &self.counted;
        text.gauge("cluster_joined", "1 while other nodes can be reached.", self.is_joined().into());
        text.gauge("cluster_nodes", "Nodes that live, this one among them.", self.nodes());
        text.gauge("cluster_channels", "Relay channels to other nodes.", lock(&self.lines).len());
        text.gauge("cluster_queue_bytes", "Bytes that wait for other nodes.", self.bus.held());
        text.counter("cluster_joins_total", "How often this node has joined.", counted.joins.value());
        text.counter("cluster_asked_total", "Questions to the backend.", counted.asked.value());
        text.counter("cluster_told_total", "Messages to other nodes.", counted.told.value());
        text.counter("cluster_told_bytes_total", "Bytes to other nodes.", counted.told_bytes.value());
        text.counter("cluster_heard_total", "Messages of other nodes.", counted.heard.value());
        text.counter("cluster_heard_bytes_total", "Bytes of other nodes.", counted.heard_bytes.value());
        text.head("cluster_ask_seconds", "histogram", "Time for the answers to questions asked together.");
        text.histogram("cluster_ask_seconds", "", &counted.asking);
        text.gauge(
            "cluster_tickets",
            "Clients of other nodes who may come for a channel.",
            lock(&self.tickets).len(),
        );
        let sent = counted.sent.value();
        text.counter("cluster_sent_total", "Channels for which clients were sent to another node.", sent);
        let visits = counted.visits.value();
        text.counter("cluster_visits_total", "Channels for which clients of other nodes came here.", visits);
        let broken = counted.broken.value();
        text.counter("cluster_channels_broken_total", "Channels closed for what was wrong on them.", broken);
    }

    pub(crate) fn line(&self, number: u64) -> Option<Arc<Line>> {
        lock(&self.lines).get(&number).map(Arc::clone)
    }
}

/// The refusal of a peer id that another node has.
pub(crate) fn taken(swarm: InfoHash) -> Failed {
    Failed {
        action: "announce".to_owned(),
        info_hash: Some(swarm),
        reason: crate::registry::AnnounceError::PeerIdTaken.to_string(),
    }
}

/// The hub's side of the queue, and the member's.
pub(crate) fn queue(settings: &ClusterSettings, limits: &Limits) -> (Arc<Shared>, mpsc::Receiver<Request>) {
    let (sender, receiver) = mpsc::channel(MAX_REQUESTS);
    (Arc::new(Shared::new(settings, limits, sender)), receiver)
}
