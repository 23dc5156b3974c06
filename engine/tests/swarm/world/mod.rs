//! A large swarm in a box: real sessions, synthetic stores, a tracker, and `traffic` between them. A plain object with
//! virtual time, which always goes to the earliest event; everything random follows from one seed.
//!
//! What is not real: the bytes of the content (all zero, shared by everybody), and so its hashes, which the driver says are
//! right. The metadata, and every message between peers, are.
//!
//! This file says what it is made of and what can be asked of it; what happens in it is in `events`.

mod events;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use engine::{Content, Direct, Limits, Session, SessionConfig, State, Time, Transport, Ways};
use fastrand::Rng;
use shared::metainfo::{Info, Layout};
use shared::{OfferId, PeerId};

use crate::agenda::Agenda;
use crate::traffic::{Line, Traffic};
use events::Event;

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
    /// Bytes that may be under way on a relay channel before the receiver gives credit; `None` if relay channels tell of room as
    /// data channels do.
    pub(crate) relay_window: Option<usize>,
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
            relay_window: None,
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
    /// It allows newcomers something while they are choked, and suggests what is cheap for it.
    pub(crate) favours: bool,
    pub(crate) limits: Limits,
    /// It takes requests, and never sends a block.
    pub(crate) mute: bool,
    /// From this time on nothing comes from it, though its links stay open.
    pub(crate) freezes_at: Option<Time>,
    /// Two of these have no direct path to each other.
    pub(crate) walled: bool,
    /// Its timers fire only at multiples of this, as browsers do it to hidden tabs.
    pub(crate) timers_every: Duration,
}

impl Habits {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            ways: RELAY,
            seeds: false,
            first: true,
            slots: None,
            favours: true,
            limits: Limits::default(),
            mute: false,
            freezes_at: None,
            walled: false,
            timers_every: Duration::ZERO,
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
    /// How long after it joined its first piece was there.
    pub(crate) first_piece: Option<Duration>,
    /// How often its timer fired.
    pub(crate) woken: u64,
    /// Reads of its store.
    pub(crate) reads: u64,
    /// How often each piece was whole and handed to the verifier.
    pub(crate) verified: Vec<u8>,
    /// Requests for blocks of pieces that it had.
    pub(crate) needless: usize,
    /// On which side of a partition it is. The tracker is at side 0.
    pub(crate) side: u8,
    offers: BTreeMap<OfferId, PeerId>,
    looks_at: Option<Time>,
    announces: bool,
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
            traffic: Traffic::new(setting.buffer, setting.relay_rate, setting.relay_window),
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
            favours: habits.favours,
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
            first_piece: None,
            woken: 0,
            reads: 0,
            verified: vec![0; self.setting.pieces as usize],
            needless: 0,
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
