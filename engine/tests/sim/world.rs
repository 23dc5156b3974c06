//! A swarm in a box: sessions, links with latency and rate, a tracker, stores. A plain object with virtual time, which
//! always goes to the earliest event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use engine::{
    Action, CloseReason, Content, Direct, DirectFailure, Found, LinkId, LoadId, Notice, Session,
    SessionConfig, Signal, State, StoreOutcome, Time, Transport, Ways,
};
use fastrand::Rng;
use sha1::{Digest, Sha1};
use shared::metainfo::{Info, Layout};
use shared::signal::SessionDescription;
use shared::{BlockSpan, OfferId, PeerId, PieceIndex};

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

enum Event {
    Announce(usize),
    Dial { from: usize, to: PeerId },
    Bytes { link: LinkId, bytes: Bytes },
    Closed { link: LinkId },
    SignalMade { node: usize, to: PeerId, signal: Signal },
    Carried { from: usize, to: PeerId, signal: Signal },
    SignalLost { node: usize, to: PeerId, offer_id: OfferId },
    OfferLapses { node: usize, offer_id: OfferId },
    Meet { offerer: usize, answerer: usize },
    DirectFailed { node: usize, peer: PeerId, why: DirectFailure },
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
        let timers = awake.filter_map(|(index, node)| Some((node.wakes(node.session.deadline()?), index)));
        // One that will be frozen by then does not wake.
        let timer = timers.filter(|(time, index)| self.nodes[*index].is_awake(*time)).min();
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
                if !self.nodes[node].is_awake(self.now) || !self.tracker {
                    return;
                }
                let others =
                    self.nodes.iter().enumerate().filter(|(other, node_)| *other != node && node_.alive);
                let found = |other: &Node| {
                    let Ways { relay, direct } = other.habits.ways;
                    Found { peer: other.id, relay, direct: direct == Direct::Open }
                };
                let peers: Vec<_> = others.map(|(_, other)| found(other)).collect();
                self.tell(node, |session, now| session.handle_peers_found(now, &peers));
            }
            Event::Dial { from, to } => {
                let target = self.nodes.iter().position(|node| node.id == to && node.alive);
                let target = target.filter(|to| self.nodes[*to].habits.ways.relay && self.tracker);
                match target.filter(|_| self.nodes[from].alive) {
                    Some(target) => self.connect(from, target, Transport::Relay),
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
            Event::SignalMade { node, to, signal } => {
                self.tell(node, |session, now| session.handle_signal_made(now, to, signal));
            }
            Event::Carried { from, to, signal } => self.carry(from, to, signal),
            Event::SignalLost { node, to, offer_id } => {
                self.tell(node, |session, now| session.handle_signal_lost(now, to, offer_id));
            }
            Event::OfferLapses { node, offer_id } => {
                if let Some(peer) = self.nodes[node].offers.remove(&offer_id) {
                    let why = DirectFailure::NoAnswer;
                    self.tell(node, |session, now| session.handle_direct_failed(now, peer, why));
                }
            }
            Event::Meet { offerer, answerer } => {
                let both = [(offerer, answerer), (answerer, offerer)];
                if !both.iter().any(|pair| self.walls.contains(pair)) {
                    self.connect(offerer, answerer, Transport::Direct);
                    return;
                }
                for (node, other) in both {
                    let (peer, why) = (self.nodes[other].id, DirectFailure::NoPath);
                    self.after(PATH_PATIENCE, Event::DirectFailed { node, peer, why });
                }
            }
            Event::DirectFailed { node, peer, why } => {
                self.tell(node, |session, now| session.handle_direct_failed(now, peer, why));
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

    /// The tracker carries an offer or an answer.
    fn carry(&mut self, from: usize, to: PeerId, signal: Signal) {
        let target = self.nodes.iter().position(|node| node.id == to && node.alive);
        let target = target.filter(|to| self.nodes[*to].habits.ways.direct == Direct::Open);
        let (id, offer_id) = (self.nodes[from].id, signal.offer_id);
        let Some(target) = target.filter(|_| self.tracker) else {
            self.after(self.network.latency, Event::SignalLost { node: from, to, offer_id });
            return;
        };
        self.carried += 1;
        if signal.description.kind == "offer" {
            self.tell(target, |session, now| session.handle_signal_came(now, id, signal));
        } else {
            self.accept(target, id, &signal);
        }
    }

    /// A transport is given an answer to one of its offers.
    fn accept(&mut self, offerer: usize, from: PeerId, answer: &Signal) {
        let node = &mut self.nodes[offerer];
        if node.offers.get(&answer.offer_id) != Some(&from) || !node.is_awake(self.now) {
            return;
        }
        node.offers.remove(&answer.offer_id);
        // What was carried says who it was that answered, and what.
        let (answerer, answered) = answer.description.sdp.split_once(" answers ").unwrap();
        assert_eq!(answered, answer.offer_id.to_string());
        let answerer = answerer.parse().unwrap();
        self.after(self.network.latency, Event::Meet { offerer, answerer });
    }

    /// Links these two, whoever wanted it.
    pub(crate) fn connect(&mut self, from: usize, to: usize, transport: Transport) {
        if !self.nodes[from].alive || !self.nodes[to].alive {
            return;
        }
        let number = self.next_pair;
        self.next_pair += 1;
        self.pairs.insert(number, Pair { nodes: [from, to], pipes: Default::default(), transport });
        let ids = [self.nodes[from].id, self.nodes[to].id];
        for (end, node) in [from, to].into_iter().enumerate() {
            let link = LinkId(number * 2 + end as u64);
            let remote = Some(ids[1 - end]);
            self.ends.insert(link, node);
            let window = self.network.window;
            self.tell(node, |session, now| {
                session.handle_link_opened(now, link, transport, remote, end == 0);
                session.handle_room(now, link, window);
            });
        }
    }

    /// Both ends are told; what is on the way is lost.
    fn cut(&mut self, number: u64) {
        let Some(pair) = self.pairs.remove(&number) else { return };
        for end in 0..2 {
            let notice = match pair.transport {
                Transport::Relay => Duration::ZERO,
                Transport::Direct => self.network.notice.mul_f64(self.rng.f64()),
            };
            self.after(self.network.latency + notice, Event::Closed { link: LinkId(number * 2 + end) });
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
            Action::DialDirect { peer } => self.offer(index, peer),
            Action::TellTracker { to, signal } => {
                let (delay, offer_id) = (self.network.latency, signal.offer_id);
                if self.tracker {
                    self.after(delay, Event::Carried { from: index, to, signal });
                } else {
                    self.after(Duration::ZERO, Event::SignalLost { node: index, to, offer_id });
                }
            }
            Action::TakeSignal { from, signal } if signal.description.kind == "answer" => {
                self.accept(index, from, &signal);
            }
            Action::TakeSignal { from, signal } => {
                assert_eq!(self.nodes[signal.description.sdp.parse::<usize>().unwrap()].id, from);
                self.nodes[index].made += 1;
                let sdp = format!("{index} answers {}", signal.offer_id);
                let description = SessionDescription { kind: "answer".into(), sdp };
                let signal = Signal { description, ..signal };
                self.after(Duration::from_millis(5), Event::SignalMade { node: index, to: from, signal });
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

    /// A transport makes an offer.
    fn offer(&mut self, index: usize, peer: PeerId) {
        let node = &mut self.nodes[index];
        if node.offers.len() >= node.habits.most_offers {
            let why = DirectFailure::TooMany;
            self.after(Duration::ZERO, Event::DirectFailed { node: index, peer, why });
            return;
        }
        let mut offer_id = [0; 20];
        self.rng.fill(&mut offer_id);
        let offer_id = OfferId::new(offer_id);
        node.made += 1;
        node.offers.insert(offer_id, peer);
        let description = SessionDescription { kind: "offer".into(), sdp: index.to_string() };
        let signal = Signal { offer_id, description };
        self.after(Duration::from_millis(5), Event::SignalMade { node: index, to: peer, signal });
        self.after(OFFER_PATIENCE, Event::OfferLapses { node: index, offer_id });
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
