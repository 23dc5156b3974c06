//! What happens in the world, and what sessions want done.

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;
use engine::{
    Action, Direct, DirectFailure, Found, LinkId, LoadId, Notice, Session, Signal, StoreOutcome, Time,
    Transport, Ways,
};
use sha1::{Digest, Sha1};
use shared::signal::SessionDescription;
use shared::{BlockSpan, OfferId, PeerId, PieceIndex};

use super::{Node, OFFER_PATIENCE, PATH_PATIENCE, Pair, World};

pub(super) enum Event {
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
    Checked { node: usize, piece: PieceIndex, is_right: bool },
    Cut,
}

impl World {
    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.events.push(Reverse((time, self.next_event)));
        self.pending.insert(self.next_event, event);
        self.next_event += 1;
    }

    /// To the earliest event, if it is not behind `end`.
    pub(super) fn step(&mut self, end: Time) -> bool {
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

    pub(super) fn happen(&mut self, event: Event) {
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
            Event::Checked { node, piece, is_right } => {
                self.tell(node, |session, now| session.handle_checked(now, piece, is_right));
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
    pub(super) fn carry(&mut self, from: usize, to: PeerId, signal: Signal) {
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
    pub(super) fn accept(&mut self, offerer: usize, from: PeerId, answer: &Signal) {
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
    pub(super) fn cut(&mut self, number: u64) {
        let Some(pair) = self.pairs.remove(&number) else { return };
        for end in 0..2 {
            let notice = match pair.transport {
                Transport::Relay => Duration::ZERO,
                Transport::Direct => self.network.notice.mul_f64(self.rng.f64()),
            };
            self.after(self.network.latency + notice, Event::Closed { link: LinkId(number * 2 + end) });
        }
    }

    pub(super) fn pairs_of(&self, node: usize) -> Vec<u64> {
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

    pub(super) fn perform(&mut self, index: usize, action: Action) {
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
            Action::Check { piece, expected } => {
                let stored = self.nodes[index].stored.get(&piece);
                let is_right = stored.is_some_and(|bytes| Sha1::digest(bytes)[..] == expected);
                self.after(Duration::from_millis(1), Event::Checked { node: index, piece, is_right });
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
    pub(super) fn offer(&mut self, index: usize, peer: PeerId) {
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

    pub(super) fn send(&mut self, link: LinkId, bytes: Bytes) {
        self.sends += 1;
        let Some(pair) = self.pairs.get_mut(&(link.0 / 2)) else { return };
        let pipe = &mut pair.pipes[(link.0 % 2) as usize];
        let time = Duration::from_secs_f64(bytes.len() as f64 / self.network.rate as f64);
        pipe.free_at = pipe.free_at.max(self.now) + time;
        pipe.on_the_way += bytes.len();
        let arrival = pipe.free_at + self.network.latency;
        self.at(arrival, Event::Bytes { link: LinkId(link.0 ^ 1), bytes });
    }

    pub(super) fn load(&self, node: usize, span: BlockSpan) -> Option<Bytes> {
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
}
