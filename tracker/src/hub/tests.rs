//! The registry, the channels and the outboxes together, against a plain model: a map of who is in which swarm, and a set of
//! who relays with whom. After each step of a random story every client must have been told exactly what the model says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;
use shared::PeerId;
use shared::signal::{EnxameHello, Event, RelayClose, RelayOpen};

use super::*;
use crate::outbox::Next;
use crate::page::Page;
use crate::signal::Announce;

const CLIENTS: usize = 4;
const SWARMS: u8 = 3;
const PEERS: u8 = 6;
const SWARMS_PER_CONNECTION: usize = 4;
const PEERS_PER_SWARM: usize = 4;
const CHANNELS_PER_CONNECTION: usize = 2;
const CHANNELS: usize = 4;

/// One step of a story; clients, swarms and peers by number.
#[derive(Debug, Clone)]
enum Step {
    Announce { client: usize, swarm: u8, peer: u8, stopped: bool },
    Open { client: usize, swarm: u8, from: u8, to: u8 },
    Close { client: usize, swarm: u8, from: u8, to: u8 },
    Data { client: usize, swarm: u8, from: u8, to: u8, payload: Vec<u8> },
    Leave(usize),
}

/// What a client is told, in short.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Announced { swarm: u8, named: Vec<u8> },
    Failed { swarm: u8 },
    Opened { swarm: u8, with: u8, initiator: bool },
    Refused { swarm: u8, with: u8, reason: &'static str },
    Closed { swarm: u8, from: u8, with: u8, reason: &'static str },
    Data { swarm: u8, from: u8, with: u8, payload: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    let who = (0..CLIENTS, 0..SWARMS, 0..PEERS, 0..PEERS);
    prop_oneof![
        6 => (0..CLIENTS, 0..SWARMS, 0..PEERS, prop::bool::weighted(0.2)).prop_map(
            |(client, swarm, peer, stopped)| Step::Announce { client, swarm, peer, stopped }
        ),
        6 => who.clone().prop_map(|(client, swarm, from, to)| Step::Open { client, swarm, from, to }),
        1 => who.clone().prop_map(|(client, swarm, from, to)| Step::Close { client, swarm, from, to }),
        3 => (who, prop::collection::vec(any::<u8>(), 1..50)).prop_map(
            |((client, swarm, from, to), payload)| Step::Data { client, swarm, from, to, payload }
        ),
        1 => (0..CLIENTS).prop_map(Step::Leave),
    ]
}

fn hash(n: u8) -> InfoHash {
    InfoHash::new([n; 20])
}

fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

fn swarm_of(hash: &InfoHash) -> u8 {
    hash.as_bytes()[0]
}

fn word(reason: RelayReason) -> &'static str {
    match reason {
        RelayReason::Done => "done",
        RelayReason::PeerLeft => "left",
        RelayReason::UnknownPeer => "unknown",
        RelayReason::NotInSwarm => "stranger",
        RelayReason::TooManyChannels => "many",
        _ => "?",
    }
}

/// A client of the real hub.
struct Client {
    connection: Connection,
    /// Its channels: the swarm, itself in it, and the other.
    channels: BTreeMap<ChannelId, (u8, u8, u8)>,
    /// The peer of its own that it last asked to open a channel with.
    asked: u8,
}

/// The real hub, and the model.
struct Bench {
    hub: Hub,
    queues: Arc<Queues>,
    clients: Vec<Client>,
    members: BTreeMap<(u8, u8), usize>,
    /// Swarm, and two peers of it in the order of their numbers.
    lines: BTreeSet<(u8, u8, u8)>,
}

fn line(swarm: u8, a: u8, b: u8) -> (u8, u8, u8) {
    (swarm, a.min(b), a.max(b))
}

impl Bench {
    fn new() -> Self {
        let mut settings = Settings::new(Page::embedded());
        settings.seed = 1;
        settings.limits.swarms_per_connection = SWARMS_PER_CONNECTION;
        settings.limits.peers_per_swarm = PEERS_PER_SWARM;
        settings.limits.channels_per_connection = CHANNELS_PER_CONNECTION;
        settings.limits.channels = CHANNELS;
        let queues = Arc::new(Queues::new(&settings.limits));
        let hub = Hub::new(&settings, Arc::default(), Arc::clone(&queues));
        let clients = (0..CLIENTS).map(|_| connect(&hub)).collect();
        Self { hub, queues, clients, members: BTreeMap::new(), lines: BTreeSet::new() }
    }

    fn say(&mut self, client: usize, message: ToTracker) {
        self.hub.handle(&self.clients[client].connection, message, Instant::now());
    }

    /// Does a step for real.
    fn act(&mut self, step: &Step) {
        match *step {
            Step::Announce { client, swarm, peer: id, stopped } => {
                let announce = Announce {
                    event: if stopped { Event::Stopped } else { Event::Started },
                    left: Some(1),
                    // Channels that open with an announce are to random peers: tests/server/relaying.rs has them.
                    enxame: Some(EnxameHello { v: 1, relay: true, rtc: false, key: None, open: 0 }),
                    ..Announce::new(hash(swarm), peer(id))
                };
                self.say(client, ToTracker::Announce(announce));
            }
            Step::Open { client, swarm, from, to } => {
                self.clients[client].asked = from;
                let open = RelayOpen {
                    info_hash: hash(swarm),
                    peer_id: peer(from),
                    to_peer_id: peer(to),
                    visit: false,
                };
                self.say(client, ToTracker::RelayOpen(open));
            }
            Step::Close { client, swarm, from, to } => {
                if let Some(channel) = self.channel(client, (swarm, from, to)) {
                    self.clients[client].channels.remove(&channel);
                    self.say(
                        client,
                        ToTracker::RelayClose(RelayClose { channel, reason: RelayReason::Done }),
                    );
                }
            }
            Step::Data { client, swarm, from, to, ref payload } => {
                if let Some(channel) = self.channel(client, (swarm, from, to)) {
                    let far = self
                        .hub
                        .far_end(&self.clients[client].connection, channel)
                        .expect("an open channel has two ends");
                    far.data(Bytes::from(payload.clone())).expect("there is credit");
                }
            }
            Step::Leave(client) => {
                self.hub.disconnect(self.clients[client].connection.id);
                self.clients[client] = connect(&self.hub);
            }
        }
    }

    fn channel(&self, client: usize, wanted: (u8, u8, u8)) -> Option<ChannelId> {
        self.clients[client].channels.iter().find(|(_, line)| **line == wanted).map(|(channel, _)| *channel)
    }

    /// What the model says that each client is told for a step.
    fn expect(&mut self, step: &Step) -> Vec<(usize, Told)> {
        match *step {
            Step::Announce { client, swarm, peer, stopped } => {
                self.expect_announce(client, swarm, peer, stopped)
            }
            Step::Open { client, swarm, from, to } => self.expect_open(client, swarm, from, to),
            Step::Close { client, swarm, from, to } => {
                if self.members.get(&(swarm, from)) != Some(&client)
                    || !self.lines.remove(&line(swarm, from, to))
                {
                    return Vec::new();
                }
                vec![(
                    self.members[&(swarm, to)],
                    Told::Closed { swarm, from: to, with: from, reason: "done" },
                )]
            }
            Step::Data { client, swarm, from, to, ref payload } => {
                if self.members.get(&(swarm, from)) != Some(&client)
                    || !self.lines.contains(&line(swarm, from, to))
                {
                    return Vec::new();
                }
                let payload = payload.clone();
                vec![(self.members[&(swarm, to)], Told::Data { swarm, from: to, with: from, payload })]
            }
            Step::Leave(client) => {
                let mine: Vec<(u8, u8)> = self
                    .members
                    .iter()
                    .filter(|(_, owner)| **owner == client)
                    .map(|(member, _)| *member)
                    .collect();
                let mut told = Vec::new();
                for (swarm, peer) in mine {
                    told.extend(self.cut(swarm, peer));
                    self.members.remove(&(swarm, peer));
                }
                // Who is gone is told nothing.
                told.retain(|(to, _)| *to != client);
                told
            }
        }
    }

    fn expect_announce(&mut self, client: usize, swarm: u8, peer: u8, stopped: bool) -> Vec<(usize, Told)> {
        let owner = self.members.get(&(swarm, peer)).copied();
        let memberships = self.members.values().filter(|owner| **owner == client).count();
        let peers = self.members.keys().filter(|(of, _)| *of == swarm).count();
        let is_full = memberships >= SWARMS_PER_CONNECTION || peers >= PEERS_PER_SWARM;
        let is_refused = match owner {
            Some(owner) => owner != client,
            None => !stopped && is_full,
        };
        if is_refused {
            return vec![(client, Told::Failed { swarm })];
        }
        if stopped {
            let mut told = if owner.is_some() { self.cut(swarm, peer) } else { Vec::new() };
            self.members.remove(&(swarm, peer));
            told.push((client, Told::Announced { swarm, named: Vec::new() }));
            return told;
        }
        self.members.insert((swarm, peer), client);
        let others = self.members.iter().filter(|((of, _), owner)| *of == swarm && **owner != client);
        let named = others.map(|((_, peer), _)| *peer).collect();
        vec![(client, Told::Announced { swarm, named })]
    }

    fn expect_open(&mut self, client: usize, swarm: u8, from: u8, to: u8) -> Vec<(usize, Told)> {
        let of = |bench: &Self, owner: usize| {
            let ends = bench.lines.iter().flat_map(|(swarm, a, b)| [(*swarm, *a), (*swarm, *b)]);
            ends.filter(|member| bench.members[member] == owner).count() >= CHANNELS_PER_CONNECTION
        };
        let other = self.members.get(&(swarm, to)).copied();
        let reason = if self.lines.len() >= CHANNELS {
            "many"
        } else if self.members.get(&(swarm, from)) != Some(&client) {
            "stranger"
        } else if other.is_none_or(|other| other == client) {
            "unknown"
        } else if self.lines.contains(&line(swarm, from, to)) {
            return Vec::new();
        } else if of(self, client) || other.is_some_and(|other| of(self, other)) {
            "many"
        } else {
            self.lines.insert(line(swarm, from, to));
            let other = other.expect("it was found above");
            let opened = |with, initiator| Told::Opened { swarm, with, initiator };
            return vec![(client, opened(to, true)), (other, opened(from, false))];
        };
        vec![(client, Told::Refused { swarm, with: to, reason })]
    }

    /// A member's channels close, and both ends hear it.
    fn cut(&mut self, swarm: u8, peer: u8) -> Vec<(usize, Told)> {
        let lines = std::mem::take(&mut self.lines);
        let (cut, rest) =
            lines.into_iter().partition(|(of, a, b)| *of == swarm && (*a == peer || *b == peer));
        self.lines = rest;
        let cut: BTreeSet<(u8, u8, u8)> = cut;
        let ends = cut.into_iter().flat_map(|(_, a, b)| [(a, b), (b, a)]);
        let closed = |(from, with)| Told::Closed { swarm, from, with, reason: "left" };
        ends.map(|(from, with)| (self.members[&(swarm, from)], closed((from, with)))).collect()
    }

    /// Everything that clients were really told, emptying their outboxes.
    fn read(&mut self) -> Vec<(usize, Told)> {
        let mut told = Vec::new();
        // The one who asked first: the other learns from its message who it is.
        for n in 0..CLIENTS {
            let outbox = Arc::clone(&self.clients[n].connection.outbox);
            while let Some(next) = waiting(&outbox) {
                told.push((n, self.understand(n, next)));
            }
        }
        told
    }

    fn understand(&mut self, n: usize, next: Next) -> Told {
        let me = |bench: &Self, swarm, other: u8, initiator| {
            if initiator {
                return bench.clients[n].asked;
            }
            // Which of its peers it is that somebody else asked for, only the asker knows.
            let lines = bench.lines.iter().filter(|(of, a, b)| *of == swarm && (*a == other || *b == other));
            let mine = lines.map(|(_, a, b)| if *a == other { *b } else { *a });
            let known: Vec<u8> = bench.clients[n]
                .channels
                .values()
                .filter(|l| l.0 == swarm && l.2 == other)
                .map(|l| l.1)
                .collect();
            let mut mine =
                mine.filter(|peer| bench.members.get(&(swarm, *peer)) == Some(&n) && !known.contains(peer));
            mine.next().expect("the model has the line as well")
        };
        match next {
            Next::Signal(ToPeer::Announced(reply)) => {
                let peers = reply.enxame.map(|enxame| enxame.peers).unwrap_or_default();
                let mut named: Vec<u8> = peers.iter().map(|peer| peer.peer_id.as_bytes()[0]).collect();
                named.sort_unstable();
                Told::Announced { swarm: swarm_of(&reply.info_hash), named }
            }
            Next::Signal(ToPeer::Failed(failed)) => {
                Told::Failed { swarm: failed.info_hash.as_ref().map_or(u8::MAX, swarm_of) }
            }
            Next::Signal(ToPeer::RelayRefused { info_hash, to_peer_id, reason }) => Told::Refused {
                swarm: swarm_of(&info_hash),
                with: to_peer_id.as_bytes()[0],
                reason: word(reason),
            },
            Next::Opened(channel, ToPeer::RelayOpened(opened)) => {
                let (swarm, with) = (swarm_of(&opened.info_hash), opened.peer_id.as_bytes()[0]);
                let me = me(self, swarm, with, opened.initiator);
                self.clients[n].channels.insert(channel, (swarm, me, with));
                Told::Opened { swarm, with, initiator: opened.initiator }
            }
            Next::Closed(channel, ToPeer::RelayClosed { reason, .. }) => {
                let (swarm, from, with) = self.clients[n].channels.remove(&channel).expect("it was open");
                Told::Closed { swarm, from, with, reason: word(reason) }
            }
            Next::Data(channel, payload) => {
                let (swarm, from, with) = self.clients[n].channels[&channel];
                Told::Data { swarm, from, with, payload: payload.bytes().to_vec() }
            }
            other => panic!("nobody is told {other:?}"),
        }
    }
}

/// What waits for a connection next.
pub(super) fn waiting(outbox: &Outbox) -> Option<Next> {
    poll_fn(|context| outbox.poll_next(context)).now_or_never()
}

fn connect(hub: &Hub) -> Client {
    Client { connection: hub.connect(), channels: BTreeMap::new(), asked: 0 }
}

proptest! {
    #[test]
    fn everybody_is_told_what_a_plain_model_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.act(&step);
            let mut expected = bench.expect(&step);
            let mut told = bench.read();
            expected.sort();
            told.sort();
            prop_assert_eq!(told, expected, "{:?}", step);
            let counts = bench.hub.counts();
            let swarms: BTreeSet<u8> = bench.members.keys().map(|(swarm, _)| *swarm).collect();
            prop_assert_eq!(counts.totals.peers, bench.members.len());
            prop_assert_eq!(counts.totals.swarms, swarms.len());
            prop_assert_eq!(counts.channels, bench.lines.len());
            prop_assert_eq!(counts.connections, CLIENTS);
            prop_assert_eq!(bench.queues.held(), 0);
        }
    }
}
