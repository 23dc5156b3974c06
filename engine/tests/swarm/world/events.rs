//! What happens in the world, and what sessions want done.

use std::time::Duration;

use engine::{
    Action, Direct, DirectFailure, Found, LinkId, LoadId, Notice, Session, Signal, StoreOutcome, Time,
    Transport, Ways,
};
use shared::limits::MAX_NUMWANT;
use shared::signal::SessionDescription;
use shared::{OfferId, PeerId, PieceIndex};

use super::{
    ANNOUNCE_EVERY, LOAD_TIME, Node, OFFER_PATIENCE, PATH_PATIENCE, SIGNAL_TIME, STORE_TIME, TIMER_GRAIN,
    World,
};
use crate::parcel::Parcel;
use crate::traffic::Step;

pub(super) enum Event {
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

impl World {
    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.agenda.put(time, event);
    }

    /// To the earliest event, if it is not behind `end`.
    pub(super) fn step(&mut self, end: Time) -> bool {
        let Some((time, event)) = self.agenda.next(end) else { return false };
        self.now = self.now.max(time);
        self.happen(event);
        self.follow();
        true
    }

    /// Takes note of what the traffic has planned.
    pub(super) fn follow(&mut self) {
        for (time, step) in self.traffic.steps() {
            self.agenda.put(time, Event::Traffic(step));
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
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
                let there = &mut self.nodes[node];
                there.first_piece.get_or_insert(self.now.since(there.joined));
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

    pub(super) fn go_on(&mut self, step: Step) {
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
            Step::Credited { to, bytes } => {
                if let (Some(node), Some(room)) = (self.traffic.owner(to), self.traffic.credited(to, bytes)) {
                    self.tell(node, |session, now| session.handle_room(now, to, room));
                }
            }
        }
    }

    pub(super) fn taken(&mut self, to: LinkId, parcel: Parcel) {
        let Some(node) = self.traffic.owner(to) else { return };
        self.traffic.taken(self.now, to, parcel.len());
        self.messages += 1;
        self.note(node, parcel.len());
        let bytes = parcel.unpack(&mut self.last_block);
        self.tell(node, |session, now| session.handle_bytes(now, to, bytes));
    }

    /// Adds to the trace (FNV-1a over words).
    pub(super) fn note(&mut self, node: usize, what: usize) {
        for word in [self.now.as_duration().as_nanos() as u64, node as u64, what as u64] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn look(&mut self, node: usize) {
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
                self.nodes[node].woken += 1;
                self.tell(node, |session, now| session.handle_timeout(now));
            }
            Some(deadline) => self.look_at(node, deadline),
            None => {}
        }
    }

    pub(super) fn look_at(&mut self, node: usize, time: Time) {
        let grain = self.nodes[node].habits.timers_every.as_nanos().max(1);
        let time = time.as_duration().as_nanos().div_ceil(grain) * grain;
        let time = Time::since_start(Duration::from_nanos(time as u64));
        if self.nodes[node].looks_at.is_none_or(|before| time < before) {
            self.nodes[node].looks_at = Some(time);
            self.at(time, Event::Look(node));
        }
    }

    pub(super) fn name_peers(&mut self, node: usize) {
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
    pub(super) fn carry(&mut self, from: usize, to: PeerId, signal: Signal) {
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
    pub(super) fn accept(&mut self, offerer: usize, from: PeerId, answer: &Signal) {
        let node = &mut self.nodes[offerer];
        if node.offers.get(&answer.offer_id) == Some(&from) && node.is_awake(self.now) {
            node.offers.remove(&answer.offer_id);
            let answerer = self.by_id[&from];
            self.after(self.setting.latency.start, Event::Meet { offerer, answerer });
        }
    }

    pub(super) fn connect(&mut self, from: usize, to: usize, transport: Transport) {
        let latency = self.setting.latency.start
            + (self.setting.latency.end - self.setting.latency.start).mul_f64(self.rng.f64());
        let first = self.traffic.link([from, to], transport, latency);
        let ids = [self.nodes[from].id, self.nodes[to].id];
        let room = self.traffic.room(transport);
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
    pub(super) fn cut(&mut self, link: LinkId) {
        let Some(there) = self.traffic.cut(link) else { return };
        let first = link.0 - link.0 % 2;
        for (end, node) in there.nodes.into_iter().enumerate() {
            self.after(self.setting.latency.end, Event::Closed { node, link: LinkId(first + end as u64) });
        }
    }

    pub(super) fn announce(&mut self, node: usize, delay: Duration) {
        if !std::mem::replace(&mut self.nodes[node].announces, true) {
            self.after(delay, Event::Announce(node));
        }
    }

    /// Tells a session what happened, and does what it wants done.
    pub(super) fn tell(&mut self, node: usize, what: impl FnOnce(&mut Session, Time)) {
        if !self.nodes[node].is_awake(self.now) {
            return;
        }
        what(&mut self.nodes[node].session, self.now);
        while let Some(action) = self.nodes[node].session.poll_action() {
            self.perform(node, action);
        }
        self.look_at(node, self.now + TIMER_GRAIN);
    }

    pub(super) fn perform(&mut self, index: usize, action: Action) {
        let geometry = self.info.geometry();
        match action {
            Action::Send { link, bytes } => {
                let node = &mut self.nodes[index];
                if let Some(have) = node.session.have() {
                    let had = |piece: &u32| geometry.piece(*piece).is_some_and(|piece| have.has(piece));
                    node.needless += requested(&bytes).filter(had).count();
                }
                self.traffic.send(self.now, link, Parcel::pack(bytes));
            }
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
                self.nodes[index].reads += 1;
                if !self.nodes[index].habits.mute {
                    self.after(LOAD_TIME, Event::Loaded { node: index, load, len: span.len() });
                }
            }
            // Nobody wants anything to be checked again here.
            Action::Check { .. } => {}
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
    pub(super) fn offer(&mut self, index: usize, peer: PeerId) {
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

/// The pieces of which blocks are asked for in what is sent at once: whole messages (BEP 3).
fn requested(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    const REQUEST: u8 = 6;
    std::iter::from_fn(move || {
        loop {
            let (len, rest) = bytes.split_first_chunk()?;
            let (message, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            bytes = rest;
            if let Some((&REQUEST, request)) = message.split_first() {
                return request.first_chunk().map(|piece| u32::from_be_bytes(*piece));
            }
        }
    })
}
