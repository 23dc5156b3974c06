//! One swarm: its peers, and the offers that wait for their answers.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use indexmap::map::Entry;
use rand::Rng;
use shared::limits::MAX_OFFERS;
use shared::signal::{Event, SwarmCounts};
use shared::{OfferId, PeerId};

use super::{OFFER_LIFETIME, is_seeder, key_of};
use crate::ConnectionId;
use crate::cluster::backend::{Entry as Told, KINDS};
use crate::signal::{Announce, Forwarded, ToPeer};

/// Most unanswered offers of one peer that are remembered; the oldest is forgotten first. Several full announces fit
/// into the time in which they can be answered.
const MAX_PENDING_OFFERS: usize = 5 * MAX_OFFERS;

/// Fewest peers looked at for a choice, where there are that many. Choices are exact in swarms up to this size; in
/// larger ones the work of an announce stays bounded, and peers of a rare kind may be missed.
const MIN_PROBES: usize = 256;

/// One peer of one swarm.
#[derive(Debug)]
pub(super) struct Peer {
    /// Whose peer id it is.
    pub(super) connection: ConnectionId,
    /// Has everything.
    pub(super) seeder: bool,
    /// Speaks our extension.
    pub(super) ours: bool,
    /// Relay channels may be opened to it.
    pub(super) relay: bool,
    /// Takes WebRTC offers.
    pub(super) rtc: bool,
    /// Shown again, moves the peer id to another connection.
    pub(super) key: Option<String>,
    last_announce: Instant,
    /// Its offers that were passed on, oldest first.
    offers: VecDeque<PendingOffer>,
}

#[derive(Debug)]
struct PendingOffer {
    to: PeerId,
    offer_id: OfferId,
    at: Instant,
}

impl Peer {
    /// What other nodes are told of it.
    pub(super) fn entry(&self) -> Told {
        Told {
            seeder: self.seeder,
            ours: self.ours,
            relay: self.relay,
            rtc: self.rtc,
            key: self.key.as_deref().map(Told::digest),
        }
    }
}

/// The peers of one torrent.
///
/// Invariant: `seeders` is the number of peers with `seeder`; `strangers` of those without `ours`, and
/// `stranger_seeders` of those of them that are seeders.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    peers: IndexMap<PeerId, Peer>,
    seeders: usize,
    strangers: usize,
    stranger_seeders: usize,
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn shrink(&mut self) {
        self.peers.shrink_to_fit();
    }

    pub(super) fn get(&self, peer_id: &PeerId) -> Option<&Peer> {
        self.peers.get(peer_id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(super) fn seeders(&self) -> usize {
        self.seeders
    }

    /// The counts of who is there; how often it was completed is not known here.
    pub(super) fn counts(&self) -> SwarmCounts {
        SwarmCounts {
            complete: count(self.seeders),
            incomplete: count(self.peers.len() - self.seeders),
            downloaded: 0,
        }
    }

    /// Number of peers by [kind](Told::kind).
    pub(super) fn kinds(&self) -> [usize; KINDS] {
        let (strangers, their_seeders) = (self.strangers, self.stranger_seeders);
        let seeders = self.seeders - their_seeders;
        [self.peers.len() - strangers - seeders, seeders, strangers - their_seeders, their_seeders]
    }

    /// All peers, as other nodes are told of them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (PeerId, Told)> {
        self.peers.iter().map(|(peer_id, peer)| (*peer_id, peer.entry()))
    }

    /// Adds the announcer, or notes what changed about it, and tells whether it completed its download.
    pub(super) fn update(&mut self, connection: ConnectionId, announce: &Announce, now: Instant) -> bool {
        let hello = announce.enxame.as_ref();
        let (seeder, ours) = (is_seeder(announce), hello.is_some());
        let (relay, rtc) = (hello.is_some_and(|hello| hello.relay), hello.is_none_or(|hello| hello.rtc));
        let mut completed = false;
        match self.peers.entry(announce.peer_id) {
            Entry::Occupied(known) => {
                let peer = known.into_mut();
                // Counted for a leecher that was seen here, so that repeating the word changes nothing.
                completed = announce.event == Event::Completed && !peer.seeder;
                self.seeders -= usize::from(peer.seeder);
                self.strangers -= usize::from(!peer.ours);
                self.stranger_seeders -= usize::from(!peer.ours && peer.seeder);
                (peer.connection, peer.last_announce) = (connection, now);
                (peer.seeder, peer.ours, peer.relay, peer.rtc) = (seeder, ours, relay, rtc);
                if peer.key.as_deref() != key_of(announce) {
                    peer.key = key_of(announce).map(str::to_owned);
                }
            }
            Entry::Vacant(place) => {
                let key = key_of(announce).map(str::to_owned);
                let (last_announce, offers) = (now, VecDeque::new());
                place.insert(Peer { connection, seeder, ours, relay, rtc, key, last_announce, offers });
            }
        }
        self.seeders += usize::from(seeder);
        self.strangers += usize::from(!ours);
        self.stranger_seeders += usize::from(!ours && seeder);
        completed
    }

    pub(super) fn remove(&mut self, peer_id: &PeerId) -> Option<Peer> {
        let peer = self.peers.swap_remove(peer_id)?;
        self.seeders -= usize::from(peer.seeder);
        self.strangers -= usize::from(!peer.ours);
        self.stranger_seeders -= usize::from(!peer.ours && peer.seeder);
        Some(peer)
    }

    /// How many clients of other programs could do something with an offer.
    pub(super) fn strangers_for(&self, seeder: bool) -> u32 {
        count(if seeder { self.strangers - self.stranger_seeders } else { self.strangers })
    }

    /// Up to `want` peers that fit, at random, in random order, none of them the asker itself.
    pub(super) fn choose(
        &self,
        asker: PeerId,
        want: usize,
        rng: &mut impl Rng,
        fits: impl Fn(&Peer) -> bool,
    ) -> impl Iterator<Item = (PeerId, &Peer)> {
        let len = self.peers.len();
        let probes = if want == 0 { 0 } else { len.min(MIN_PROBES.max(want.saturating_mul(4))) };
        draws(len, probes, rng)
            .filter_map(|index| self.peers.get_index(index))
            .filter(move |(peer_id, peer)| **peer_id != asker && fits(peer))
            .map(|(peer_id, peer)| (*peer_id, peer))
            .take(want)
    }

    /// Hands the announcer's offers to random peers, one each, and remembers whom. What is left over stays in the announce.
    pub(super) fn forward_offers(
        &mut self,
        announce: &mut Announce,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<(ConnectionId, ToPeer)> {
        let (seeder, ours) = (is_seeder(announce), announce.enxame.is_some());
        let want = announce.offers.len().min(announce.numwant.unwrap_or(usize::MAX));
        let chosen: Vec<_> = self
            .choose(announce.peer_id, want, rng, |peer| {
                peer.rtc && !(seeder && peer.seeder) && !(ours && peer.ours)
            })
            .map(|(peer_id, peer)| (peer_id, peer.connection))
            .collect();
        let (info_hash, peer_id) = (announce.info_hash, announce.peer_id);
        let offers = announce.offers.drain(..chosen.len());
        chosen
            .into_iter()
            .zip(offers)
            .map(|((to, connection), offer)| {
                self.remember_offer(&peer_id, to, offer.offer_id, now);
                let forwarded =
                    Forwarded { info_hash, peer_id, offer_id: offer.offer_id, description: offer.offer };
                (connection, ToPeer::Offer(forwarded))
            })
            .collect()
    }

    /// Notes that an offer of `from` is passed on to `to`, and forgets those that are too old, or too many.
    pub(super) fn remember_offer(&mut self, from: &PeerId, to: PeerId, offer_id: OfferId, now: Instant) {
        let Some(offerer) = self.peers.get_mut(from) else { return };
        let is_old = |offer: &PendingOffer| now.saturating_duration_since(offer.at) > OFFER_LIFETIME;
        while offerer.offers.len() >= MAX_PENDING_OFFERS || offerer.offers.front().is_some_and(is_old) {
            offerer.offers.pop_front();
        }
        offerer.offers.push_back(PendingOffer { to, offer_id, at: now });
    }

    /// Uses up the offer `offer_id` that went from `from` to `to`, and gives the connection of `from`.
    pub(super) fn take_offer(
        &mut self,
        from: &PeerId,
        to: &PeerId,
        offer_id: &OfferId,
        now: Instant,
    ) -> Option<ConnectionId> {
        let offerer = self.peers.get_mut(from)?;
        let place = offerer.offers.iter().position(|offer| offer.to == *to && offer.offer_id == *offer_id)?;
        let offer = offerer.offers.remove(place)?;
        (now.saturating_duration_since(offer.at) <= OFFER_LIFETIME).then_some(offerer.connection)
    }

    /// The peers whose last announce is longer ago than `silence`.
    pub(super) fn silent_for(
        &self,
        silence: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (PeerId, ConnectionId)> {
        self.peers
            .iter()
            .filter(move |(_, peer)| now.saturating_duration_since(peer.last_announce) > silence)
            .map(|(peer_id, peer)| (*peer_id, peer.connection))
    }
}

/// Up to `most` different numbers below `len` at random, each drawn only when it is asked for: mostly the first few are enough.
fn draws(len: usize, most: usize, rng: &mut impl Rng) -> impl Iterator<Item = usize> {
    // All are shuffled step by step, or where that would be many, what was drawn already is drawn again.
    let mut all: Vec<usize> = if len / 2 <= most { (0..len).collect() } else { Vec::new() };
    let mut seen = HashSet::new();
    (0..most.min(len)).map(move |n| {
        if all.is_empty() {
            loop {
                let drawn = rng.random_range(0..len);
                if seen.insert(drawn) {
                    return drawn;
                }
            }
        }
        all.swap(n, rng.random_range(n..len));
        all[n]
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
