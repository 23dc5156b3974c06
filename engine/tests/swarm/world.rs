//! A large swarm in a box: real sessions, synthetic stores, a tracker, and `traffic` between them. A plain object with
//! virtual time, which always goes to the earliest event; everything random follows from one seed.
//!
//! What is not real: the bytes of the content (all zero, shared by everybody), and so its hashes, which the driver says are
//! right. The metadata, and every message between peers, are.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use engine::{
    Action, Content, Direct, DirectFailure, Found, Limits, LinkId, LoadId, Notice, Session, SessionConfig,
    Signal, State, StoreOutcome, Time, Transport, Ways,
};
use fastrand::Rng;
use shared::limits::MAX_NUMWANT;
use shared::metainfo::{Info, Layout};
use shared::signal::SessionDescription;
use shared::{OfferId, PeerId, PieceIndex};

use crate::agenda::Agenda;
use crate::parcel::Parcel;
use crate::traffic::{Line, Step, Traffic};

/// Timers fire up to this late, as in browsers; and so a session's deadline is asked for this often at most.
const TIMER_GRAIN: Duration = Duration::from_millis(20);
/// What a read of the store takes.
const LOAD_TIME: Duration = Duration::from_millis(1);
/// What comparing a hash and writing a piece takes.
const STORE_TIME: Duration = Duration::from_millis(2);
/// What a transport takes to make an offer or an answer.
const SIGNAL_TIME: Duration = Duration::from_millis(5);
/// A transport waits this long for an answer, …
const OFFER_PATIENCE: Duration = Duration::from_secs(50);
/// … and this long for a path.
const PATH_PATIENCE: Duration = Duration::from_secs(25);
/// Everybody tells the tracker again this often that it is there.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(120);
/// Longest load that a session asks for is shorter.
const ZEROS: usize = 4 << 20;

/// Through the tracker alone.
pub(crate) const RELAY: Ways = Ways { relay: true, direct: Direct::Absent };
/// From peer to peer alone.
pub(crate) const DIRECT: Ways = Ways { relay: false, direct: Direct::Open };
/// Both.
pub(crate) const MIXED: Ways = Ways { relay: true, direct: Direct::Open };

/// The torrent and the network.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) pieces: u32,
    pub(crate) piece_length: u32,
    /// Of a link, one way; drawn for each.
    pub(crate) latency: Range<Duration>,
    /// Bytes that a link's sender holds, as data channels do.
    pub(crate) buffer: usize,
    /// Bytes a second.
    pub(crate) relay_rate: Option<u64>,
    /// A random link is cut this often.
    pub(crate) cut_every: Option<Duration>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            seed: 1,
            pieces: 256,
            piece_length: 128 << 10,
            latency: Duration::from_millis(10)..Duration::from_millis(80),
            buffer: 256 << 10,
            relay_rate: None,
            cut_every: None,
        }
    }
}

/// What a node is like.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    pub(crate) line: Line,
    pub(crate) ways: Ways,
    /// It has everything from the start.
    pub(crate) seeds: bool,
    /// It super-seeds, if it has.
    pub(crate) first: bool,
    /// Peers that it serves at a time; none if zero. `None` for what the engine takes of itself.
    pub(crate) slots: Option<usize>,
    pub(crate) limits: Limits,
    /// It takes requests, and never sends a block.
    pub(crate) mute: bool,
    /// From this time on nothing comes from it, though its links stay open.
    pub(crate) freezes_at: Option<Time>,
    /// Two of these have no direct path to each other.
    pub(crate) walled: bool,
}

impl Habits {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            ways: RELAY,
            seeds: false,
            first: true,
            slots: None,
            limits: Limits::default(),
            mute: false,
            freezes_at: None,
            walled: false,
        }
    }

    pub(crate) fn seeder(line: Line) -> Self {
        Self { seeds: true, ..Self::new(line) }
    }
}

pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) session: Session,
    pub(crate) habits: Habits,
    pub(crate) alive: bool,
    pub(crate) joined: Time,
    pub(crate) completed: Option<Time>,
    /// How often each piece was whole and handed to the verifier.
    pub(crate) verified: Vec<u8>,
    /// On which side of a partition it is. The tracker is at side 0.
    pub(crate) side: u8,
    offers: BTreeMap<OfferId, PeerId>,
    looks_at: Option<Time>,
    announces: bool,
}

enum Event {
    Traffic(Step),
    Look(usize),
    Announce(usize),
    Reannounce(usize),
    Dial { from: usize, to: PeerId },
    Closed { node: usize, link: LinkId },
    SignalMade(Box<(usize, PeerId, Signal)>),
    Carried(Box<(usize, PeerId, Signal)>),
    SignalLost { node: usize, to: PeerId, offer_id: OfferId },
    OfferLapses { node: usize, offer_id: OfferId },
    Meet { offerer: usize, answerer: usize },
    DirectFailed { node: usize, peer: PeerId, why: DirectFailure },
    StoreOpened(usize),
    Stored { node: usize, piece: PieceIndex },
    Loaded { node: usize, load: LoadId, len: u32 },
    Cut,
}

pub(crate) struct World {
    pub(crate) setting: Setting,
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) traffic: Traffic,
    /// The tracker, and its relay, can be reached.
    pub(crate) tracker: bool,
    /// Nodes that completed, in that order.
    pub(crate) completions: Vec<usize>,
    /// Messages that sessions were given.
    pub(crate) messages: u64,
    /// Of everything that happened: who, when, and how much.
    trace: u64,
    info: Info,
    zeros: Bytes,
    /// The block that was taken last.
    last_block: Bytes,
    rng: Rng,
    agenda: Agenda<Event>,
    by_id: HashMap<PeerId, usize>,
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let hashes = vec![[0; 20]; setting.pieces as usize];
        let len = u64::from(setting.pieces) * u64::from(setting.piece_length);
        let info =
            Info::create("file.bin", &Layout::Single(len), setting.piece_length, &hashes, false).unwrap();
        let mut world = Self {
            now: Time::default(),
            nodes: Vec::new(),
            traffic: Traffic::new(setting.buffer, setting.relay_rate),
            tracker: true,
            completions: Vec::new(),
            messages: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            info,
            zeros: vec![0; ZEROS].into(),
            last_block: Bytes::new(),
            rng: Rng::with_seed(setting.seed),
            agenda: Agenda::new(),
            by_id: HashMap::new(),
            setting,
        };
        if let Some(pause) = world.setting.cut_every {
            world.after(pause, Event::Cut);
        }
        world
    }

    /// Bytes of the torrent.
    pub(crate) fn total(&self) -> u64 {
        self.info.geometry().total()
    }

    /// Tells one run from another.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    pub(crate) fn join(&mut self, habits: Habits) -> usize {
        let index = self.nodes.len();
        let mut random = [0; 12];
        self.rng.fill(&mut random);
        let id = PeerId::with_prefix(random);
        let content = if habits.seeds {
            Content::Known { info: self.info.raw().clone(), have: None }
        } else {
            Content::Unknown
        };
        let new = SessionConfig::new(self.info.info_hash(), id);
        let upload_slots = habits.slots.unwrap_or(new.upload_slots);
        let config = SessionConfig {
            content,
            ways: habits.ways,
            upload_slots,
            limits: habits.limits.clone(),
            first_seeder: habits.seeds && habits.first,
            ..new
        };
        let session = Session::new(self.now, config, self.rng.u64(..)).unwrap();
        self.traffic.join(habits.line);
        self.by_id.insert(id, index);
        self.nodes.push(Node {
            id,
            session,
            alive: true,
            joined: self.now,
            completed: habits.seeds.then_some(self.now),
            verified: vec![0; self.setting.pieces as usize],
            side: 0,
            offers: BTreeMap::new(),
            looks_at: None,
            announces: false,
            habits,
        });
        self.announce(index, self.setting.latency.end);
        self.after(ANNOUNCE_EVERY, Event::Reannounce(index));
        index
    }

    /// The node goes, without a word, and its links with it.
    pub(crate) fn leave(&mut self, node: usize) {
        self.nodes[node].alive = false;
        self.traffic.links_of(node).into_iter().for_each(|link| self.cut(link));
    }

    /// The tracker goes, and every relay link with it, or comes back.
    pub(crate) fn set_tracker(&mut self, up: bool) {
        self.tracker = up;
        if up {
            (0..self.nodes.len()).for_each(|node| self.announce(node, self.setting.latency.end));
            return;
        }
        for link in self.traffic.all_links() {
            if self.traffic.get(link).is_some_and(|there| there.transport == Transport::Relay) {
                self.cut(link);
            }
        }
    }

    /// Puts nodes on one side or the other, between which nothing passes, or together again. Links across break, as both ends
    /// notice.
    pub(crate) fn divide(&mut self, side: impl Fn(usize) -> u8) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.side = side(index);
        }
        for link in self.traffic.all_links() {
            let Some(there) = self.traffic.get(link) else { continue };
            let [a, b] = there.nodes;
            if !self.may_link(a, b, there.transport) {
                self.cut(link);
            }
        }
    }

    fn may_link(&self, a: usize, b: usize, transport: Transport) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.alive
            && b.alive
            && a.side == b.side
            && match transport {
                Transport::Direct => !(a.habits.walled && b.habits.walled),
                Transport::Relay => self.tracker && a.side == 0,
            }
    }

    pub(crate) fn has_all(&self, node: usize) -> bool {
        self.nodes[node].session.state() == State::Seeding
    }

    pub(crate) fn has_piece(&self, node: usize, piece: u32) -> bool {
        let piece = self.info.geometry().piece(piece);
        piece.is_some_and(|piece| self.nodes[node].session.have().is_some_and(|have| have.has(piece)))
    }

    /// Whether every piece is at one of these.
    pub(crate) fn is_covered_by(&self, mut nodes: impl Iterator<Item = usize> + Clone) -> bool {
        let have = |node: usize, piece| self.nodes[node].session.have().is_some_and(|have| have.has(piece));
        let geometry = self.info.geometry();
        let mut pieces = geometry.pieces();
        let all = nodes.clone();
        pieces.all(|piece| nodes.any(|node| have(node, piece)) || all.clone().any(|node| have(node, piece)))
    }

    /// Bytes that came as blocks, of all nodes, beyond what they keep.
    pub(crate) fn waste(&self) -> u64 {
        let kept = |node: &Node| match node.session.left() {
            Some(left) if !node.habits.seeds => self.total() - left + node.session.buffered(),
            _ => 0,
        };
        self.nodes.iter().map(|node| node.session.downloaded().saturating_sub(kept(node))).sum()
    }

    /// Goes on until `done`, or until nothing is left to happen before `limit` has passed. Whether it is done.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        let mut completed = usize::MAX;
        let mut next = self.now;
        // Looking is dear in a large swarm: once a completion, and ten times a second.
        loop {
            if completed != self.completions.len() || self.now >= next {
                completed = self.completions.len();
                next = self.now + Duration::from_millis(100);
                if done(self) {
                    return true;
                }
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    /// Goes on until all of these are complete, or fails after `limit`.
    #[track_caller]
    pub(crate) fn complete(&mut self, nodes: &[usize], limit: Duration) {
        let done = self.run_until(limit, |world| nodes.iter().all(|node| world.has_all(*node)));
        let left: Vec<_> = nodes.iter().filter(|node| !self.has_all(**node)).collect();
        assert!(
            done,
            "seed {}: {} are not complete after {limit:?}: {left:?}",
            self.setting.seed,
            left.len()
        );
    }

    /// Goes on for this long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, time: Time, event: Event) {
        self.agenda.put(time, event);
    }

    /// To the earliest event, if it is not behind `end`.
    fn step(&mut self, end: Time) -> bool {
        let Some((time, event)) = self.agenda.next(end) else { return false };
        self.now = self.now.max(time);
        self.happen(event);
        self.follow();
        true
    }

    /// Takes note of what the traffic has planned.
    fn follow(&mut self) {
        for (time, step) in self.traffic.steps() {
            self.agenda.put(time, Event::Traffic(step));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Traffic(step) => self.go_on(step),
            Event::Look(node) => self.look(node),
            Event::Announce(node) => {
                self.nodes[node].announces = false;
                self.name_peers(node);
            }
            Event::Reannounce(node) => {
                if self.nodes[node].alive {
                    self.announce(node, Duration::ZERO);
                    self.after(ANNOUNCE_EVERY, Event::Reannounce(node));
                }
            }
            Event::Dial { from, to } => {
                let target = self.by_id[&to];
                if self.nodes[target].habits.ways.relay && self.may_link(from, target, Transport::Relay) {
                    self.connect(from, target, Transport::Relay);
                } else {
                    self.tell(from, |session, now| session.handle_dial_failed(now, to));
                }
            }
            Event::Closed { node, link } => {
                self.tell(node, |session, now| session.handle_link_closed(now, link));
            }
            Event::SignalMade(made) => {
                let (node, to, signal) = *made;
                self.tell(node, |session, now| session.handle_signal_made(now, to, signal));
            }
            Event::Carried(carried) => {
                let (from, to, signal) = *carried;
                self.carry(from, to, signal);
            }
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
                if self.may_link(offerer, answerer, Transport::Direct) {
                    self.connect(offerer, answerer, Transport::Direct);
                    return;
                }
                for (node, other) in [(offerer, answerer), (answerer, offerer)] {
                    let (peer, why) = (self.nodes[other].id, DirectFailure::NoPath);
                    self.after(PATH_PATIENCE, Event::DirectFailed { node, peer, why });
                }
            }
            Event::DirectFailed { node, peer, why } => {
                self.tell(node, |session, now| session.handle_direct_failed(now, peer, why));
            }
            Event::StoreOpened(node) => {
                let have = vec![false; self.setting.pieces as usize];
                self.tell(node, |session, now| session.handle_store_opened(now, have));
            }
            Event::Stored { node, piece } => {
                self.tell(node, |session, now| session.handle_stored(now, piece, StoreOutcome::Stored));
            }
            Event::Loaded { node, load, len } => {
                let data = self.zeros.slice(..len as usize);
                self.tell(node, |session, now| session.handle_loaded(now, load, Some(data)));
            }
            Event::Cut => {
                if let Some(link) = self.rng.choice(self.traffic.all_links()) {
                    self.cut(link);
                }
                if let Some(pause) = self.setting.cut_every {
                    self.after(pause, Event::Cut);
                }
            }
        }
    }

    fn go_on(&mut self, step: Step) {
        match step {
            Step::WentUp { node } => {
                for (link, room) in self.traffic.went_up(self.now, node) {
                    self.tell(node, |session, now| session.handle_room(now, link, room));
                }
            }
            Step::ReachedRelay { to, parcel } => self.traffic.reached_relay(self.now, to, parcel),
            Step::Came { to, parcel } => {
                if let Some(parcel) = self.traffic.came(self.now, to, parcel) {
                    self.taken(to, parcel);
                }
            }
            Step::Taken { to, parcel } => self.taken(to, parcel),
        }
    }

    fn taken(&mut self, to: LinkId, parcel: Parcel) {
        let Some(node) = self.traffic.owner(to) else { return };
        self.traffic.taken(self.now, to, parcel.len());
        self.messages += 1;
        self.note(node, parcel.len());
        let bytes = parcel.unpack(&mut self.last_block);
        self.tell(node, |session, now| session.handle_bytes(now, to, bytes));
    }

    /// Adds to the trace (FNV-1a over words).
    fn note(&mut self, node: usize, what: usize) {
        for word in [self.now.as_duration().as_nanos() as u64, node as u64, what as u64] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn look(&mut self, node: usize) {
        let looks = &mut self.nodes[node];
        if looks.looks_at != Some(self.now) {
            // Another look was due earlier.
            return;
        }
        looks.looks_at = None;
        if !looks.is_awake(self.now) {
            return;
        }
        match looks.session.deadline() {
            Some(deadline) if deadline <= self.now => {
                self.note(node, 0);
                self.tell(node, |session, now| session.handle_timeout(now));
            }
            Some(deadline) => self.look_at(node, deadline),
            None => {}
        }
    }

    fn look_at(&mut self, node: usize, time: Time) {
        if self.nodes[node].looks_at.is_none_or(|before| time < before) {
            self.nodes[node].looks_at = Some(time);
            self.at(time, Event::Look(node));
        }
    }

    fn name_peers(&mut self, node: usize) {
        let asks = &self.nodes[node];
        if !asks.is_awake(self.now) || !self.tracker || asks.side != 0 {
            return;
        }
        let others = self.nodes.iter().enumerate();
        let others = others.filter(|(other, there)| *other != node && there.alive && there.side == 0);
        let named = self.rng.choose_multiple(others, MAX_NUMWANT);
        let found = |(_, other): (usize, &Node)| {
            let Ways { relay, direct } = other.habits.ways;
            Found { peer: other.id, relay, direct: direct == Direct::Open }
        };
        let peers: Vec<_> = named.into_iter().map(found).collect();
        self.tell(node, |session, now| session.handle_peers_found(now, &peers));
    }

    /// The tracker carries an offer or an answer.
    fn carry(&mut self, from: usize, to: PeerId, signal: Signal) {
        let target = self.by_id[&to];
        let there = &self.nodes[target];
        let reached = there.alive && there.side == 0 && there.habits.ways.direct == Direct::Open;
        let (id, offer_id) = (self.nodes[from].id, signal.offer_id);
        if !reached || !self.tracker || self.nodes[from].side != 0 {
            self.after(self.setting.latency.end, Event::SignalLost { node: from, to, offer_id });
        } else if signal.description.kind == "offer" {
            self.tell(target, |session, now| session.handle_signal_came(now, id, signal));
        } else {
            self.accept(target, id, &signal);
        }
    }

    /// A transport is given an answer to one of its offers.
    fn accept(&mut self, offerer: usize, from: PeerId, answer: &Signal) {
        let node = &mut self.nodes[offerer];
        if node.offers.get(&answer.offer_id) == Some(&from) && node.is_awake(self.now) {
            node.offers.remove(&answer.offer_id);
            let answerer = self.by_id[&from];
            self.after(self.setting.latency.start, Event::Meet { offerer, answerer });
        }
    }

    fn connect(&mut self, from: usize, to: usize, transport: Transport) {
        let latency = self.setting.latency.start
            + (self.setting.latency.end - self.setting.latency.start).mul_f64(self.rng.f64());
        let first = self.traffic.link([from, to], transport, latency);
        let ids = [self.nodes[from].id, self.nodes[to].id];
        let room = self.traffic.buffer();
        for (end, node) in [from, to].into_iter().enumerate() {
            let link = LinkId(first.0 + end as u64);
            let remote = Some(ids[1 - end]);
            self.tell(node, |session, now| {
                session.handle_link_opened(now, link, transport, remote, end == 0);
                session.handle_room(now, link, room);
            });
        }
    }

    /// Both ends are told.
    fn cut(&mut self, link: LinkId) {
        let Some(there) = self.traffic.cut(link) else { return };
        let first = link.0 - link.0 % 2;
        for (end, node) in there.nodes.into_iter().enumerate() {
            self.after(self.setting.latency.end, Event::Closed { node, link: LinkId(first + end as u64) });
        }
    }

    fn announce(&mut self, node: usize, delay: Duration) {
        if !std::mem::replace(&mut self.nodes[node].announces, true) {
            self.after(delay, Event::Announce(node));
        }
    }

    /// Tells a session what happened, and does what it wants done.
    fn tell(&mut self, node: usize, what: impl FnOnce(&mut Session, Time)) {
        if !self.nodes[node].is_awake(self.now) {
            return;
        }
        what(&mut self.nodes[node].session, self.now);
        while let Some(action) = self.nodes[node].session.poll_action() {
            self.perform(node, action);
        }
        self.look_at(node, self.now + TIMER_GRAIN);
    }

    fn perform(&mut self, index: usize, action: Action) {
        match action {
            Action::Send { link, bytes } => self.traffic.send(self.now, link, Parcel::pack(bytes)),
            Action::CloseLink { link, .. } => {
                // What was said before it is lost with the link, which no scenario depends on.
                if let Some(there) = self.traffic.cut(link) {
                    let node = there.nodes[1 - (link.0 % 2) as usize];
                    self.after(self.setting.latency.end, Event::Closed { node, link: LinkId(link.0 ^ 1) });
                }
            }
            Action::Dial { peer } => {
                self.after(self.setting.latency.end, Event::Dial { from: index, to: peer });
            }
            Action::DialDirect { peer } => self.offer(index, peer),
            Action::TellTracker { to, signal } => {
                let delay = self.setting.latency.end;
                self.after(delay, Event::Carried(Box::new((index, to, signal))));
            }
            Action::TakeSignal { from, signal } if signal.description.kind == "answer" => {
                self.accept(index, from, &signal);
            }
            Action::TakeSignal { from, signal } => {
                let description = SessionDescription { kind: "answer".into(), sdp: String::new() };
                let signal = Signal { description, ..signal };
                self.after(SIGNAL_TIME, Event::SignalMade(Box::new((index, from, signal))));
            }
            Action::VerifyAndStore { piece, .. } => {
                self.nodes[index].verified[piece.as_usize()] += 1;
                self.after(STORE_TIME, Event::Stored { node: index, piece });
            }
            Action::Load { load, span } => {
                if !self.nodes[index].habits.mute {
                    self.after(LOAD_TIME, Event::Loaded { node: index, load, len: span.len() });
                }
            }
            Action::OpenStore { .. } => self.after(STORE_TIME, Event::StoreOpened(index)),
            Action::Notice(Notice::WantPeers) => self.announce(index, Duration::from_secs(1)),
            Action::Notice(Notice::Completed) => {
                self.nodes[index].completed = Some(self.now);
                self.completions.push(index);
            }
            Action::Notice(_) => {}
        }
    }

    /// A transport makes an offer.
    fn offer(&mut self, index: usize, peer: PeerId) {
        let mut offer_id = [0; 20];
        self.rng.fill(&mut offer_id);
        let offer_id = OfferId::new(offer_id);
        self.nodes[index].offers.insert(offer_id, peer);
        let description = SessionDescription { kind: "offer".into(), sdp: String::new() };
        let signal = Signal { offer_id, description };
        self.after(SIGNAL_TIME, Event::SignalMade(Box::new((index, peer, signal))));
        self.after(OFFER_PATIENCE, Event::OfferLapses { node: index, offer_id });
    }
}

impl Node {
    fn is_awake(&self, now: Time) -> bool {
        self.alive && self.habits.freezes_at.is_none_or(|time| now < time)
    }

    /// How long it took from joining to having everything.
    pub(crate) fn took(&self) -> Option<Duration> {
        Some(self.completed?.since(self.joined))
    }
}
