//! What the hub does with the peers of other nodes.
//!
//! An announce is settled here first, as if this node were alone; then the others are asked, and what they have is put
//! into the reply. Peers of other nodes have no connection here: an offer for one of them is a message to its node, and
//! a relay channel to one of them is a line to its node (`lines`), or the client goes there for it (`visits`). Which shard hears of
//! what is in `routing`.

mod lines;
mod routing;
mod visits;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rand::Rng;
use rand::seq::SliceRandom;
use shared::limits::MAX_NUMWANT;
use shared::signal::{Announced, NamedPeer, OfferRefused, RelayOpen, RelayReason};
use shared::{InfoHash, OfferId, PeerId};

use super::shard::Shard;
use crate::ConnectionId;
use crate::cluster::backend::{Counts, Distant, Draw, Entry, NodeId, Told};
use crate::cluster::message::{Described, Words};
use crate::cluster::{Asked, Request, Shared, taken};
use crate::metrics::Rejection;
use crate::registry::{Membership, OFFER_LIFETIME, add_below};
use crate::signal::{Announce, Answer, Forwarded, TargetedOffer, ToPeer};
pub(crate) use lines::hear_data;
use lines::reason_of;

/// Most offers of peers of other nodes that one peer may still answer; the oldest is forgotten first.
const MAX_OFFERS: usize = 100;

/// Most of them in all; above, no others are passed on.
const MAX_ALL_OFFERS: usize = 200_000;

/// What the hub knows of other nodes.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) shared: Arc<Shared>,
    /// Offers from elsewhere, by whom they are for, oldest first.
    offers: HashMap<(InfoHash, PeerId), VecDeque<DistantOffer>>,
    /// How many these are, and those of the other shards.
    offers_held: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct DistantOffer {
    node: NodeId,
    from: PeerId,
    id: OfferId,
    at: Instant,
}

impl Others {
    fn remember(&mut self, node: NodeId, offer: &Described, now: Instant) -> bool {
        let held = self.offers.get(&(offer.swarm, offer.to));
        // In the place of the oldest, there is room always.
        let is_full = held.is_some_and(|held| held.len() >= MAX_OFFERS);
        if !is_full && !add_below(&self.offers_held, MAX_ALL_OFFERS) {
            return false;
        }
        let held = self.offers.entry((offer.swarm, offer.to)).or_default();
        if is_full {
            held.pop_front();
        }
        held.push_back(DistantOffer { node, from: offer.from, id: offer.id, at: now });
        true
    }

    /// Uses up the offer that this answers, and gives the node that it came from.
    fn take(&mut self, answer: &Answer, now: Instant) -> Option<NodeId> {
        let key = (answer.info_hash, answer.peer_id);
        let held = self.offers.get_mut(&key)?;
        let place =
            held.iter().position(|offer| offer.from == answer.to_peer_id && offer.id == answer.offer_id)?;
        let offer = held.remove(place)?;
        if held.is_empty() {
            self.offers.remove(&key);
        }
        self.offers_held.fetch_sub(1, Ordering::Relaxed);
        (now.saturating_duration_since(offer.at) <= OFFER_LIFETIME).then_some(offer.node)
    }

    fn sweep(&mut self, now: Instant) {
        self.offers.retain(|_, offers| {
            let held = offers.len();
            offers.retain(|offer| now.saturating_duration_since(offer.at) <= OFFER_LIFETIME);
            self.offers_held.fetch_sub(held - offers.len(), Ordering::Relaxed);
            !offers.is_empty()
        });
    }

    fn clear(&mut self) {
        for (_, offers) in self.offers.drain() {
            self.offers_held.fetch_sub(offers.len(), Ordering::Relaxed);
        }
    }
}

/// How many of `count` go to those who are here, if each of `here` and `there` is as likely as any other.
fn share(here: usize, there: usize, count: usize, rng: &mut impl Rng) -> usize {
    let (mut left, mut all, mut share) = (here, here + there, 0);
    for _ in 0..count.min(all) {
        if rng.random_range(0..all) < left {
            left -= 1;
            share += 1;
        }
        all -= 1;
    }
    share
}

/// Number of peers of the kinds that a draw is among.
fn among<T: Copy + Into<u64>>(kinds: [T; 4], draw: &Draw) -> usize {
    let sum: u64 =
        kinds.into_iter().zip(draw.kinds).filter(|(_, wanted)| *wanted).map(|(n, _)| n.into()).sum();
    usize::try_from(sum).unwrap_or(usize::MAX)
}

/// Whom an announce wants to hear of from other nodes: those to be named, and those for its offers.
fn draws(announce: &Announce, entry: &Entry) -> [Draw; 2] {
    let want = announce.numwant.unwrap_or(usize::MAX);
    // A seeder has no use for another.
    let seeders = !entry.seeder;
    let named = Draw {
        kinds: [true, seeders, false, false],
        count: if entry.ours { want.min(MAX_NUMWANT) } else { 0 },
    };
    let offered = Draw {
        kinds: [!entry.ours, !entry.ours && seeders, true, seeders],
        count: want.min(announce.offers.len()),
    };
    [named, offered]
}

impl Shard {
    /// This node is one of many.
    fn share_with(&mut self, shared: Arc<Shared>, offers_held: Arc<AtomicUsize>) {
        self.others = Some(Others { shared, offers: HashMap::new(), offers_held });
    }

    /// No offer from elsewhere can be answered any more.
    fn forget_offers(&mut self) {
        if let Some(others) = &mut self.others {
            others.clear();
        }
    }

    /// Forgets offers that nobody may answer any more.
    fn sweep_offers(&mut self, now: Instant) {
        if let Some(others) = &mut self.others {
            others.sweep(now);
        }
    }

    /// What leads to the others, if there are any and they can be reached.
    pub(super) fn joined(&self) -> Option<&Arc<Shared>> {
        self.others.as_ref().map(|others| &others.shared).filter(|shared| shared.is_joined())
    }

    /// A peer is not in the swarm any more.
    pub(super) fn tell_left(&self, swarm: InfoHash, peer: PeerId) {
        if let Some(shared) = self.joined() {
            shared.leave(swarm, peer);
        }
    }

    /// A connection goes, and all of its peers.
    pub(super) fn tell_all_left(&self, connection: ConnectionId) {
        if let Some(shared) = self.joined() {
            for (swarm, peer) in self.registry.of_connection(connection) {
                shared.leave(swarm, peer);
            }
        }
    }

    /// A peer announced, and all that is known here is in the reply: goes on as soon as the others have said what they know.
    pub(super) fn ask_others(
        &mut self,
        member: Membership,
        announce: Announce,
        completed: bool,
        reply: Announced,
        now: Instant,
    ) {
        let entry = self.registry.entry(&member.info_hash, &member.peer_id);
        let (Some(entry), Some(shared)) = (entry, self.joined()) else {
            return self.settle(member, announce, reply, None, now);
        };
        let draws = draws(&announce, &entry);
        let asked = Asked { member, announce, entry, completed, reply, draws };
        if let Err(Request::Announce(asked)) = shared.ask(Request::Announce(Box::new(asked))) {
            self.metrics.reject(Rejection::Cluster);
            let Asked { member, announce, reply, .. } = *asked;
            self.settle(member, announce, reply, None, now);
        }
    }

    /// The others have answered, or cannot (`None`).
    fn answer(&mut self, request: Request, told: Option<Vec<Told>>) {
        let now = Instant::now();
        let mut told = told.into_iter().flatten();
        match request {
            // The hub answers scrapes: they are about several shards.
            Request::Leave { .. } | Request::Scrape(..) => {}
            Request::Announce(asked) => {
                let Asked { member, announce, reply, draws, .. } = *asked;
                match told.next() {
                    Some(Told::Taken) => self.lose_id(member),
                    Some(Told::Entered { counts, drawn, superseded }) => {
                        if let (Some(node), Some(others)) = (superseded, &self.others) {
                            let (swarm, peer) = (member.info_hash, member.peer_id);
                            others.shared.tell(node, Words::Superseded { swarm, peer });
                        }
                        self.settle(member, announce, reply, Some((counts, drawn, draws)), now);
                    }
                    _ => {
                        self.metrics.reject(Rejection::Cluster);
                        self.settle(member, announce, reply, None, now);
                    }
                }
            }
            Request::Offer(connection, offer) => {
                let found = found(told);
                self.offer_there(connection, *offer, found, now);
            }
            Request::Open(connection, open) => {
                let found = found(told);
                if let Err(reason) = self.open_there(connection, &open, found, now) {
                    self.metrics.reject(Rejection::RelayRefused);
                    self.refuse_relay(connection, &open, reason);
                }
            }
        }
    }

    /// Another node has this peer id.
    fn lose_id(&mut self, member: Membership) {
        let holder = self.registry.relay_capable(&member.info_hash, &member.peer_id);
        if holder.is_some_and(|(connection, _)| connection == member.connection) {
            self.metrics.reject(Rejection::PeerIdTaken);
            self.registry.forget(member);
            self.leave(member);
            self.send(member.connection, ToPeer::Failed(taken(member.info_hash)));
        }
    }

    /// Ends what an announce began: its reply goes out, and its offers.
    fn settle(
        &mut self,
        member: Membership,
        mut announce: Announce,
        mut reply: Announced,
        others: Option<(Counts, [Vec<Distant>; 2], [Draw; 2])>,
        now: Instant,
    ) {
        let holder = self.registry.relay_capable(&member.info_hash, &member.peer_id);
        if holder.is_none_or(|(connection, _)| connection != member.connection) {
            // It left, or its id went over, in the meantime.
            return;
        }
        let (counts, [named, mut offered], [naming, offering]) = others.unwrap_or_default();
        let here = self.registry.kinds(&member.info_hash).map(|n| n as u64);
        let [our_leechers, our_seeders, leechers, seeders] = counts.kinds;
        reply.complete = reply.complete.saturating_add(our_seeders + seeders);
        reply.incomplete = reply.incomplete.saturating_add(our_leechers + leechers);
        if let Some(enxame) = &mut reply.enxame {
            let more = if naming.kinds[1] { leechers + seeders } else { leechers };
            enxame.strangers = enxame.strangers.saturating_add(more);
            let hello = announce.enxame.as_ref();
            let (relay, rtc) = hello.map_or((false, false), |hello| (hello.relay, hello.rtc));
            let mut named: Vec<NamedPeer> = named
                .into_iter()
                .filter(|other| relay && other.entry.relay || rtc && other.entry.rtc)
                .map(|Distant { peer, entry: Entry { seeder, relay, rtc, .. }, .. }| NamedPeer {
                    peer_id: peer,
                    seeder,
                    relay,
                    rtc,
                    channel: None,
                })
                .collect();
            if !named.is_empty() {
                let want = naming.count;
                let mine = share(among(here, &naming), among(counts.kinds, &naming), want, &mut self.rng);
                let mine = mine.max(want.saturating_sub(named.len())).min(enxame.peers.len());
                named.truncate(want - mine);
                enxame.peers.truncate(mine);
            }
            // With those who are here; to others it takes a question to their node.
            self.open_named(member, &announce, &mut enxame.peers, now);
            if !named.is_empty() {
                enxame.peers.extend(named);
                enxame.peers.shuffle(&mut self.rng);
            }
        }
        self.send(member.connection, ToPeer::Announced(reply));

        let count = announce.offers.len().min(announce.numwant.unwrap_or(usize::MAX));
        let mut offers = std::mem::take(&mut announce.offers);
        offers.truncate(count);
        offered.retain(|other| other.entry.rtc);
        offered.shuffle(&mut self.rng);
        let mine = share(among(here, &offering), among(counts.kinds, &offering), count, &mut self.rng);
        let mine = mine.max(count.saturating_sub(offered.len()));
        let mut elsewhere = offers.split_off(mine.min(count));
        announce.offers = offers;
        for (to, message) in self.registry.forward_offers(&mut announce, now, &mut self.rng) {
            self.forward(to, message);
        }
        // With those that nobody here took.
        let mut rest = announce.offers;
        rest.append(&mut elsewhere);
        rest.truncate(offered.len());
        for (other, offer) in offered.into_iter().zip(rest) {
            let (swarm, from, to) = (member.info_hash, member.peer_id, other.peer);
            self.registry.remember_offer(&swarm, (from, to), offer.offer_id, now);
            let offer = Described { swarm, from, to, id: offer.offer_id, description: offer.offer };
            self.tell(other.node, Words::Offer { offer, named: false });
        }
    }

    /// Tells another node something that may be lost when too much waits.
    fn tell(&self, to: NodeId, words: Words) -> bool {
        let told = self.others.as_ref().is_some_and(|others| others.shared.tell(to, words));
        if !told {
            self.metrics.reject(Rejection::Cluster);
        }
        told
    }

    /// Whether somebody who is not here may be at another node, and this connection has the peer that asks.
    fn may_be_there(&self, connection: ConnectionId, swarm: &InfoHash, from: &PeerId, to: &PeerId) -> bool {
        let owner = || self.registry.relay_capable(swarm, from).map(|(owner, _)| owner);
        self.joined().is_some()
            && owner() == Some(connection)
            && self.registry.relay_capable(swarm, to).is_none()
    }

    /// Looks for the peer that an offer is for at other nodes. Gives the offer back if it can be at none.
    pub(super) fn seek_for_offer(
        &self,
        connection: ConnectionId,
        offer: TargetedOffer,
    ) -> Option<TargetedOffer> {
        if !self.may_be_there(connection, &offer.info_hash, &offer.peer_id, &offer.to_peer_id) {
            return Some(offer);
        }
        let Some(shared) = self.joined() else { return Some(offer) };
        match shared.ask(Request::Offer(connection, Box::new(offer))) {
            Err(Request::Offer(_, offer)) => Some(*offer),
            _ => None,
        }
    }

    fn refuse_offer(&self, connection: ConnectionId, swarm: InfoHash, to: PeerId, id: OfferId) {
        self.metrics.reject(Rejection::NamedOffer);
        let refused = OfferRefused { info_hash: swarm, to_peer_id: to, offer_id: id };
        self.send(connection, ToPeer::OfferRefused(refused));
    }

    /// The node is known at which the peer is that an offer is for, or it is nowhere.
    fn offer_there(
        &mut self,
        connection: ConnectionId,
        offer: TargetedOffer,
        found: Option<Distant>,
        now: Instant,
    ) {
        let TargetedOffer { info_hash: swarm, peer_id: from, to_peer_id: to, offer_id: id, offer } = offer;
        let sent = found.filter(|other| other.entry.rtc).is_some_and(|other| {
            self.registry.remember_offer(&swarm, (from, to), id, now);
            let offer = Described { swarm, from, to, id, description: offer };
            self.tell(other.node, Words::Offer { offer, named: true })
        });
        if !sent {
            self.refuse_offer(connection, swarm, to, id);
        }
    }

    /// An answer to an offer that came from another node goes there. Gives it back if there was none.
    pub(super) fn answer_there(
        &mut self,
        connection: ConnectionId,
        answer: Answer,
        now: Instant,
    ) -> Option<Answer> {
        let Some(others) = &mut self.others else { return Some(answer) };
        let owner = self.registry.relay_capable(&answer.info_hash, &answer.peer_id);
        if owner.is_none_or(|(owner, _)| owner != connection) {
            return Some(answer);
        }
        let Some(node) = others.take(&answer, now) else { return Some(answer) };
        let Answer { info_hash: swarm, peer_id: from, to_peer_id: to, offer_id: id, answer: description } =
            answer;
        self.tell(node, Words::Answer(Described { swarm, from, to, id, description }));
        None
    }

    /// Another node says something.
    fn hear(&mut self, node: NodeId, words: Words, now: Instant) {
        match words {
            Words::Offer { offer, named } => self.hear_offer(node, offer, named, now),
            Words::OfferRefused { swarm, from, to, id } => {
                if let Some(connection) = self.registry.take_offer(&swarm, (from, to), &id, now) {
                    self.refuse_offer(connection, swarm, to, id);
                }
            }
            Words::Answer(Described { swarm, from, to, id, description }) => {
                if let Some(connection) = self.registry.take_offer(&swarm, (to, from), &id, now) {
                    let answer = Forwarded { info_hash: swarm, peer_id: from, offer_id: id, description };
                    self.forward(connection, ToPeer::Answer(answer));
                } else {
                    self.metrics.reject(Rejection::UnknownAnswer);
                }
            }
            Words::Superseded { swarm, peer } => {
                if let Some((connection, _)) = self.registry.relay_capable(&swarm, &peer) {
                    tracing::debug!(%connection, %node, "a peer is back at another node");
                    self.part_with(connection);
                }
            }
            Words::Open { swarm, from, to, line, visit } => {
                let open = RelayOpen { info_hash: swarm, peer_id: from, to_peer_id: to, visit };
                if let Err(reason) = self.hear_open(node, &open, line, now) {
                    self.tell(node, Words::Refused { to: line, reason });
                }
            }
            Words::Visit { to, url, ticket } => self.hear_visit(node, to, url, ticket),
            Words::Opened { to, line: theirs } => {
                match self.line_of(node, to).filter(|line| line.agree(theirs)) {
                    Some(line) => {
                        self.metrics.channels_opened.add(1);
                        self.tell_opened(line.here, line.open.info_hash, line.open.to_peer_id, true);
                    }
                    None => _ = self.tell(node, Words::Unknown { to: theirs }),
                }
            }
            Words::Refused { to, reason } => {
                if self.line_of(node, to).is_some_and(|line| line.is_pending()) {
                    self.metrics.reject(Rejection::RelayRefused);
                    self.drop_line(to, reason);
                }
            }
            // The hub looks for it in all shards.
            Words::Cancelled { .. } => {}
            Words::Credit { on, bytes } => match self.line_of(node, on.to) {
                Some(line) if !line.hear(node, on) => self.break_line(&line, RelayReason::Other),
                Some(line) => {
                    if let Err(error) = line.credited(bytes) {
                        self.break_line(&line, reason_of(error));
                    }
                }
                None => _ = self.tell(node, Words::Unknown { to: on.from }),
            },
            Words::Closed { on, reason } => match self.line_of(node, on.to) {
                // What was lost before the end is not delivered by ending in order.
                Some(line) if !line.hear(node, on) => self.break_line(&line, RelayReason::Other),
                Some(line) => self.drop_line(line.number, reason),
                None => {}
            },
            Words::Unknown { to } => {
                if self.line_of(node, to).is_some() {
                    self.drop_line(to, RelayReason::PeerLeft);
                }
            }
        }
    }

    /// An offer from another node, for a peer that is here.
    fn hear_offer(&mut self, node: NodeId, offer: Described, named: bool, now: Instant) {
        let (swarm, from, to, id) = (offer.swarm, offer.from, offer.to, offer.id);
        let able = self.registry.rtc_capable(&swarm, &to).filter(|(_, rtc)| *rtc);
        let passed_on = able.is_some_and(|(connection, _)| {
            self.others.as_mut().is_some_and(|others| others.remember(node, &offer, now)) && {
                let description = offer.description;
                self.forward(
                    connection,
                    ToPeer::Offer(Forwarded { info_hash: swarm, peer_id: from, offer_id: id, description }),
                )
            }
        });
        if named && !passed_on {
            self.tell(node, Words::OfferRefused { swarm, from, to, id });
        }
    }
}

fn found(mut told: impl Iterator<Item = Told>) -> Option<Distant> {
    if let Some(Told::Found(found)) = told.next() { found } else { None }
}

#[cfg(test)]
mod tests;
