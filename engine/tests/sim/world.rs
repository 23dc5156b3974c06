//! A swarm in a box: sessions, links with latency and rate, a tracker, stores. A plain object with virtual time, which
//! always goes to the earliest event. This file says what it is made of and what can be asked of it; what happens in it is in
//! `events`.

mod events;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use engine::{
    CloseReason, Content, Direct, LinkId, Notice, Session, SessionConfig, State, Time, Transport, Ways,
};
use fastrand::Rng;
use sha1::{Digest, Sha1};
use shared::metainfo::{Info, Layout};
use shared::{OfferId, PeerId, PieceIndex};

use events::Event;

/// A torrent and its bytes.
#[derive(Clone)]
pub(crate) struct Torrent {
    pub(crate) info: Info,
    pub(crate) content: Bytes,
}

/// Random content of this length, cut into pieces of this length.
pub(crate) fn torrent(seed: u64, len: usize, piece_length: u32) -> Torrent {
    let mut content = vec![0; len];
    Rng::with_seed(seed).fill(&mut content);
    let hashes: Vec<[u8; 20]> =
        content.chunks(piece_length as usize).map(|piece| Sha1::digest(piece).into()).collect();
    let info = Info::create("file.bin", &Layout::Single(len as u64), piece_length, &hashes, false).unwrap();
    Torrent { info, content: content.into() }
}

/// How links are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) latency: Duration,
    /// Bytes a second, each way.
    pub(crate) rate: u64,
    /// Bytes on the way, each way.
    pub(crate) window: usize,
    /// A random link is cut this often.
    pub(crate) cut_every: Option<Duration>,
    /// The ends of a direct link that was cut notice it after up to this long, each in its time.
    pub(crate) notice: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            rate: 4 << 20,
            window: 1 << 20,
            cut_every: None,
            notice: Duration::ZERO,
        }
    }
}

/// What is special about a node.
#[derive(Clone)]
pub(crate) struct Habits {
    /// The time the store takes for a piece, one after the other.
    pub(crate) store_time: Duration,
    /// Its store gives other bytes than it should, for these pieces.
    pub(crate) lies: BTreeSet<u32>,
    /// Its store fails at this many pieces.
    pub(crate) store_fails_after: Option<usize>,
    /// It stops doing anything, without its links closing, at this time.
    pub(crate) freezes_at: Option<Time>,
    /// How it may be linked.
    pub(crate) ways: Ways,
    /// Its timers fire only at multiples of this, as browsers do it to hidden tabs.
    pub(crate) timers_every: Duration,
    /// Offers of its own that may wait for answers, at most.
    pub(crate) most_offers: usize,
}

/// Through the tracker and from peer to peer.
pub(crate) const BOTH_WAYS: Ways = Ways { relay: true, direct: Direct::Open };
/// From peer to peer alone.
pub(crate) const DIRECT_ONLY: Ways = Ways { relay: false, direct: Direct::Open };
/// Through the tracker alone, since the user wants it so.
pub(crate) const RELAY_ONLY: Ways = Ways { relay: true, direct: Direct::Off };

/// The patience of transports: with an offer that nobody answers, …
const OFFER_PATIENCE: Duration = Duration::from_secs(50);
/// … and with a connection that finds no path.
const PATH_PATIENCE: Duration = Duration::from_secs(25);

impl Default for Habits {
    fn default() -> Self {
        Self {
            store_time: Duration::from_millis(1),
            lies: BTreeSet::new(),
            store_fails_after: None,
            freezes_at: None,
            ways: Ways::default(),
            timers_every: Duration::ZERO,
            most_offers: usize::MAX,
        }
    }
}

pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) session: Session,
    pub(crate) habits: Habits,
    pub(crate) notices: Vec<Notice>,
    pub(crate) closed: Vec<(PeerId, CloseReason)>,
    pub(crate) most_buffered: u64,
    pub(crate) most_storing: usize,
    pub(crate) alive: bool,
    /// Offers and answers that its transport made.
    pub(crate) made: usize,
    /// Offers that wait for their answers.
    pub(crate) offers: BTreeMap<OfferId, PeerId>,
    storing: usize,
    stored: BTreeMap<PieceIndex, Bytes>,
    store_free_at: Time,
    announce_due: bool,
}

/// One direction of a link.
#[derive(Default)]
struct Pipe {
    free_at: Time,
    on_the_way: usize,
}

/// Both ends; a link's number is twice the pair's, plus the end's.
struct Pair {
    nodes: [usize; 2],
    pipes: [Pipe; 2],
    transport: Transport,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) torrent: Torrent,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// Every message of one `Send`: who, to whom, its bytes.
    pub(crate) sends: usize,
    /// The tracker can be reached.
    pub(crate) tracker: bool,
    /// Offers and answers that it carried.
    pub(crate) carried: usize,
    /// Between these no direct path leads.
    pub(crate) walls: BTreeSet<(usize, usize)>,
    rng: Rng,
    events: BinaryHeap<Reverse<(Time, u64)>>,
    pending: BTreeMap<u64, Event>,
    next_event: u64,
    pairs: BTreeMap<u64, Pair>,
    next_pair: u64,
    /// Whose end each link ever was.
    ends: BTreeMap<LinkId, usize>,
}

impl World {
    pub(crate) fn new(seed: u64, torrent: Torrent, network: Network) -> Self {
        let mut world = Self {
            seed,
            now: Time::default(),
            torrent,
            network,
            nodes: Vec::new(),
            sends: 0,
            tracker: true,
            carried: 0,
            walls: BTreeSet::new(),
            rng: Rng::with_seed(seed),
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            next_event: 0,
            pairs: BTreeMap::new(),
            next_pair: 0,
            ends: BTreeMap::new(),
        };
        if let Some(pause) = network.cut_every {
            world.after(pause, Event::Cut);
        }
        world
    }

    /// A node that has everything.
    pub(crate) fn seeder(&mut self) -> usize {
        let info = self.torrent.info.raw().clone();
        self.join(Content::Known { info, have: None }, Habits::default())
    }

    /// A node that has only the hash.
    pub(crate) fn leecher(&mut self) -> usize {
        self.join(Content::Unknown, Habits::default())
    }

    pub(crate) fn join(&mut self, content: Content, habits: Habits) -> usize {
        let index = self.nodes.len();
        let mut random = [0; 12];
        self.rng.fill(&mut random);
        let id = PeerId::with_prefix(random);
        let geometry = self.torrent.info.geometry();
        let has = |piece: &PieceIndex| match &content {
            Content::Unknown | Content::Unopened { .. } => false,
            Content::Known { have: None, .. } => true,
            Content::Known { have: Some(have), .. } => have[piece.as_usize()],
        };
        let stored = geometry.pieces().filter(has).map(|piece| (piece, self.piece(piece))).collect();
        let new = SessionConfig::new(self.torrent.info.info_hash(), id);
        let config = SessionConfig { content, ways: habits.ways, ..new };
        let session = Session::new(self.now, config, self.rng.u64(..)).unwrap();
        self.nodes.push(Node {
            id,
            session,
            habits,
            notices: Vec::new(),
            closed: Vec::new(),
            most_buffered: 0,
            most_storing: 0,
            alive: true,
            made: 0,
            offers: BTreeMap::new(),
            storing: 0,
            stored,
            store_free_at: self.now,
            announce_due: false,
        });
        self.announce(index, self.network.latency);
        index
    }

    /// The node goes, without a word, and its links with it.
    pub(crate) fn leave(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for pair in self.pairs_of(node) {
            self.cut(pair);
        }
    }

    /// A node that has everything and may be linked in these ways.
    pub(crate) fn seeder_by(&mut self, ways: Ways) -> usize {
        let info = self.torrent.info.raw().clone();
        self.join(Content::Known { info, have: None }, Habits { ways, ..Habits::default() })
    }

    /// A node that has only the hash and may be linked in these ways.
    pub(crate) fn leecher_by(&mut self, ways: Ways) -> usize {
        self.join(Content::Unknown, Habits { ways, ..Habits::default() })
    }

    /// The tracker goes, and every relay link with it, or comes back.
    pub(crate) fn set_tracker(&mut self, up: bool) {
        self.tracker = up;
        if up {
            (0..self.nodes.len()).for_each(|node| self.announce(node, self.network.latency));
        } else {
            let relayed = self.pairs.iter().filter(|(_, pair)| pair.transport == Transport::Relay);
            let relayed: Vec<_> = relayed.map(|(number, _)| *number).collect();
            relayed.into_iter().for_each(|pair| self.cut(pair));
        }
    }

    /// How these two are linked.
    pub(crate) fn transports(&self, a: usize, b: usize) -> Vec<Transport> {
        let between = |pair: &&Pair| pair.nodes == [a, b] || pair.nodes == [b, a];
        self.pairs.values().filter(between).map(|pair| pair.transport).collect()
    }

    /// Cuts every link of this kind between these two.
    pub(crate) fn cut_between(&mut self, a: usize, b: usize, transport: Transport) {
        let between =
            |pair: &Pair| pair.transport == transport && (pair.nodes == [a, b] || pair.nodes == [b, a]);
        let pairs = self.pairs.iter().filter(|(_, pair)| between(pair));
        let pairs: Vec<_> = pairs.map(|(number, _)| *number).collect();
        assert!(!pairs.is_empty(), "seed {}: nothing to cut", self.seed);
        pairs.into_iter().for_each(|pair| self.cut(pair));
    }

    /// What one node shows of another.
    pub(crate) fn row(&self, node: usize, of: usize) -> Option<engine::PeerSnapshot> {
        let id = self.nodes[of].id.to_string();
        self.nodes[node].session.snapshot(self.now).peers.into_iter().find(|peer| peer.id == id)
    }

    pub(crate) fn has_all(&self, node: usize) -> bool {
        self.nodes[node].session.state() == State::Seeding
    }

    /// Whether every piece is at one of these.
    pub(crate) fn is_covered_by(&self, nodes: &[usize]) -> bool {
        let have = |node: &usize, piece| self.nodes[*node].session.have().is_some_and(|have| have.has(piece));
        self.torrent.info.geometry().pieces().all(|piece| nodes.iter().any(|node| have(node, piece)))
    }

    /// Goes on until `done`, or fails when that takes longer than `limit` of virtual time.
    #[track_caller]
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.step(end), "seed {}: not done after {limit:?}: {:#?}", self.seed, self.states());
        }
    }

    /// Goes on for this long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until all of these are complete, and compares what they stored.
    #[track_caller]
    pub(crate) fn complete(&mut self, nodes: &[usize], limit: Duration) {
        self.run_until(limit, |world| nodes.iter().all(|node| world.has_all(*node)));
        for node in nodes {
            for piece in self.torrent.info.geometry().pieces() {
                let stored = self.nodes[*node].stored.get(&piece);
                assert!(stored == Some(&self.piece(piece)), "seed {}: node {node}, {piece:?}", self.seed);
            }
        }
    }

    fn states(&self) -> Vec<engine::TorrentSnapshot> {
        self.nodes.iter().map(|node| node.session.snapshot(self.now)).collect()
    }

    fn piece(&self, piece: PieceIndex) -> Bytes {
        let geometry = self.torrent.info.geometry();
        let start = geometry.piece_offset(piece) as usize;
        self.torrent.content.slice(start..start + geometry.piece_len(piece) as usize)
    }

    /// Other bytes stand in a node's store where this piece was.
    pub(crate) fn damage(&mut self, node: usize, piece: u32) {
        let piece = self.torrent.info.geometry().piece(piece).unwrap();
        let bytes = self.nodes[node].stored.get_mut(&piece).unwrap();
        *bytes = bytes.iter().map(|byte| !byte).collect();
    }

    /// A node's store turns out to have everything.
    pub(crate) fn fill_store(&mut self, node: usize) {
        let pieces = self.torrent.info.geometry().pieces();
        let stored = pieces.map(|piece| (piece, self.piece(piece))).collect();
        self.nodes[node].stored = stored;
    }
}

impl Node {
    /// When its timer for this deadline fires.
    fn wakes(&self, deadline: Time) -> Time {
        let every = self.habits.timers_every.as_nanos();
        if every == 0 {
            return deadline;
        }
        let nanos = deadline.as_duration().as_nanos().div_ceil(every) * every;
        Time::since_start(Duration::from_nanos(nanos as u64))
    }

    fn is_awake(&self, now: Time) -> bool {
        self.alive && self.habits.freezes_at.is_none_or(|time| now < time)
    }
}
