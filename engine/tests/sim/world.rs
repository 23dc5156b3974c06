//! A swarm in a box: sessions, links with latency and rate, a tracker, stores. A plain object with virtual time, which
//! always goes to the earliest event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use engine::{
    Action, CloseReason, Content, Found, LinkId, LoadId, Notice, Session, SessionConfig, State, StoreOutcome,
    Time, Transport,
};
use fastrand::Rng;
use sha1::{Digest, Sha1};
use shared::metainfo::{Info, Layout};
use shared::{BlockSpan, PeerId, PieceIndex};

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
}

impl Default for Network {
    fn default() -> Self {
        Self { latency: Duration::from_millis(20), rate: 4 << 20, window: 1 << 20, cut_every: None }
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
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            store_time: Duration::from_millis(1),
            lies: BTreeSet::new(),
            store_fails_after: None,
            freezes_at: None,
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
    storing: usize,
    stored: BTreeMap<PieceIndex, Bytes>,
    store_free_at: Time,
    announce_due: bool,
}

enum Event {
    Announce(usize),
    Dial { from: usize, to: PeerId },
    Bytes { link: LinkId, bytes: Bytes },
    Closed { link: LinkId },
    StoreOpened(usize),
    Stored { node: usize, piece: PieceIndex, outcome: StoreOutcome },
    Loaded { node: usize, load: LoadId, data: Option<Bytes> },
    Cut,
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
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) torrent: Torrent,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// Every message of one `Send`: who, to whom, its bytes.
    pub(crate) sends: usize,
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
        let config = SessionConfig { content, ..SessionConfig::new(self.torrent.info.info_hash(), id) };
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

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, time: Time, event: Event) {
        self.events.push(Reverse((time, self.next_event)));
        self.pending.insert(self.next_event, event);
        self.next_event += 1;
    }

    /// To the earliest event, if it is not behind `end`.
    fn step(&mut self, end: Time) -> bool {
        let event = self.events.peek().map(|Reverse((time, _))| *time);
        let awake = self.nodes.iter().enumerate().filter(|(_, node)| node.is_awake(self.now));
        let timer = awake.filter_map(|(index, node)| Some((node.session.deadline()?, index))).min();
        match (event, timer) {
            (Some(event), timer) if event <= end && timer.is_none_or(|(time, _)| event <= time) => {
                let Some(Reverse((time, number))) = self.events.pop() else { return false };
                self.now = self.now.max(time);
                if let Some(event) = self.pending.remove(&number) {
                    self.happen(event);
                }
                true
            }
            (_, Some((time, node))) if time <= end => {
                self.now = self.now.max(time);
                let before = self.nodes[node].session.deadline();
                self.tell(node, |session, now| session.handle_timeout(now));
                assert!(
                    self.nodes[node].session.deadline().is_none_or(|deadline| deadline > self.now),
                    "seed {}: the deadline {before:?} does not pass at {:?}",
                    self.seed,
                    self.now
                );
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Announce(node) => {
                self.nodes[node].announce_due = false;
                if !self.nodes[node].is_awake(self.now) {
                    return;
                }
                let others =
                    self.nodes.iter().enumerate().filter(|(other, node_)| *other != node && node_.alive);
                let peers: Vec<_> =
                    others.map(|(_, other)| Found { peer: other.id, relay: true, direct: false }).collect();
                self.tell(node, |session, now| session.handle_peers_found(now, &peers));
            }
            Event::Dial { from, to } => {
                let target = self.nodes.iter().position(|node| node.id == to && node.alive);
                match target.filter(|_| self.nodes[from].alive) {
                    Some(target) => self.connect(from, target),
                    None => self.tell(from, |session, now| session.handle_dial_failed(now, to)),
                }
            }
            Event::Bytes { link, bytes } => {
                let Some(pair) = self.pairs.get_mut(&(link.0 / 2)) else { return };
                let sender = 1 - (link.0 % 2) as usize;
                pair.pipes[sender].on_the_way -= bytes.len();
                let room = self.network.window.saturating_sub(pair.pipes[sender].on_the_way);
                let nodes = pair.nodes;
                self.tell(nodes[1 - sender], |session, now| session.handle_bytes(now, link, bytes));
                if self.pairs.contains_key(&(link.0 / 2)) {
                    let back = LinkId(link.0 ^ 1);
                    self.tell(nodes[sender], |session, now| session.handle_room(now, back, room));
                }
            }
            Event::Closed { link } => {
                let node = self.ends[&link];
                self.tell(node, |session, now| session.handle_link_closed(now, link));
            }
            Event::StoreOpened(node) => {
                let geometry = self.torrent.info.geometry();
                let have =
                    geometry.pieces().map(|piece| self.nodes[node].stored.contains_key(&piece)).collect();
                self.tell(node, |session, now| session.handle_store_opened(now, have));
            }
            Event::Stored { node, piece, outcome } => {
                self.nodes[node].storing -= 1;
                self.tell(node, |session, now| session.handle_stored(now, piece, outcome));
            }
            Event::Loaded { node, load, data } => {
                self.tell(node, |session, now| session.handle_loaded(now, load, data));
            }
            Event::Cut => {
                let pairs: Vec<_> = self.pairs.keys().copied().collect();
                if let Some(pair) = self.rng.choice(pairs) {
                    self.cut(pair);
                }
                if let Some(pause) = self.network.cut_every {
                    self.after(pause, Event::Cut);
                }
            }
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let number = self.next_pair;
        self.next_pair += 1;
        self.pairs.insert(number, Pair { nodes: [from, to], pipes: Default::default() });
        let ids = [self.nodes[from].id, self.nodes[to].id];
        for (end, node) in [from, to].into_iter().enumerate() {
            let link = LinkId(number * 2 + end as u64);
            let remote = Some(ids[1 - end]);
            self.ends.insert(link, node);
            let window = self.network.window;
            self.tell(node, |session, now| {
                session.handle_link_opened(now, link, Transport::Relay, remote, end == 0);
                session.handle_room(now, link, window);
            });
        }
    }

    /// Both ends are told; what is on the way is lost.
    fn cut(&mut self, number: u64) {
        if self.pairs.remove(&number).is_some() {
            for end in 0..2 {
                self.after(self.network.latency, Event::Closed { link: LinkId(number * 2 + end) });
            }
        }
    }

    fn pairs_of(&self, node: usize) -> Vec<u64> {
        self.pairs.iter().filter(|(_, pair)| pair.nodes.contains(&node)).map(|(number, _)| *number).collect()
    }

    pub(crate) fn announce(&mut self, node: usize, delay: Duration) {
        if !std::mem::replace(&mut self.nodes[node].announce_due, true) {
            self.after(delay, Event::Announce(node));
        }
    }

    /// Tells a session what happened, and does what it wants done.
    pub(crate) fn tell(&mut self, node: usize, what: impl FnOnce(&mut Session, Time)) {
        if !self.nodes[node].is_awake(self.now) {
            return;
        }
        what(&mut self.nodes[node].session, self.now);
        while let Some(action) = self.nodes[node].session.poll_action() {
            self.perform(node, action);
        }
        let node = &mut self.nodes[node];
        node.most_buffered = node.most_buffered.max(node.session.buffered());
    }

    fn perform(&mut self, index: usize, action: Action) {
        match action {
            Action::Send { link, bytes } => self.send(link, bytes),
            Action::CloseLink { link, reason } => {
                if let Some(pair) = self.pairs.remove(&(link.0 / 2)) {
                    let other = pair.nodes[1 - (link.0 % 2) as usize];
                    let id = self.nodes[other].id;
                    self.nodes[index].closed.push((id, reason));
                    // Behind what was sent before.
                    let sent = pair.pipes[(link.0 % 2) as usize].free_at.max(self.now);
                    self.at(sent + self.network.latency, Event::Closed { link: LinkId(link.0 ^ 1) });
                }
            }
            Action::Dial { peer } => self.after(self.network.latency, Event::Dial { from: index, to: peer }),
            Action::DialDirect { .. } | Action::TellTracker { .. } | Action::TakeSignal { .. } => {
                panic!("seed {}: nobody here takes direct links", self.seed)
            }
            Action::VerifyAndStore { piece, data, expected } => {
                let right = Sha1::digest(&data)[..] == expected;
                let node = &mut self.nodes[index];
                let outcome = if !right {
                    StoreOutcome::HashMismatch
                } else if node.habits.store_fails_after.is_some_and(|most| node.stored.len() >= most) {
                    StoreOutcome::Failed("the disk is full".into())
                } else {
                    node.stored.insert(piece, data);
                    StoreOutcome::Stored
                };
                node.storing += 1;
                node.most_storing = node.most_storing.max(node.storing);
                node.store_free_at = node.store_free_at.max(self.now) + node.habits.store_time;
                let done = node.store_free_at;
                self.at(done, Event::Stored { node: index, piece, outcome });
            }
            Action::Load { load, span } => {
                let data = self.load(index, span);
                self.after(Duration::from_millis(1), Event::Loaded { node: index, load, data });
            }
            Action::OpenStore { info } => {
                assert_eq!(info, self.torrent.info.raw());
                self.after(Duration::from_millis(5), Event::StoreOpened(index));
            }
            Action::Notice(notice) => {
                if notice == Notice::WantPeers {
                    self.announce(index, Duration::from_secs(1));
                }
                self.nodes[index].notices.push(notice);
            }
        }
    }

    fn send(&mut self, link: LinkId, bytes: Bytes) {
        self.sends += 1;
        let Some(pair) = self.pairs.get_mut(&(link.0 / 2)) else { return };
        let pipe = &mut pair.pipes[(link.0 % 2) as usize];
        let time = Duration::from_secs_f64(bytes.len() as f64 / self.network.rate as f64);
        pipe.free_at = pipe.free_at.max(self.now) + time;
        pipe.on_the_way += bytes.len();
        let arrival = pipe.free_at + self.network.latency;
        self.at(arrival, Event::Bytes { link: LinkId(link.0 ^ 1), bytes });
    }

    fn load(&self, node: usize, span: BlockSpan) -> Option<Bytes> {
        let node = &self.nodes[node];
        let piece = node.stored.get(&span.piece())?;
        let data = piece.slice(span.begin() as usize..span.end() as usize);
        if !node.habits.lies.contains(&span.piece().as_u32()) {
            return Some(data);
        }
        let mut data = data.to_vec();
        data[0] ^= 0xff;
        Some(data.into())
    }

    /// A node's store turns out to have everything.
    pub(crate) fn fill_store(&mut self, node: usize) {
        let pieces = self.torrent.info.geometry().pieces();
        let stored = pieces.map(|piece| (piece, self.piece(piece))).collect();
        self.nodes[node].stored = stored;
    }
}

impl Node {
    fn is_awake(&self, now: Time) -> bool {
        self.alive && self.habits.freezes_at.is_none_or(|time| now < time)
    }
}
