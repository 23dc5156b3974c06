//! One swarm: its peers, and the offers that wait for their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rand::Rng;
use shared::limits::MAX_OFFERS;
use shared::signal::{Announce, Event, Forwarded, SwarmCounts, ToPeer};
use shared::{OfferId, PeerId};

use super::{OFFER_LIFETIME, is_seeder, key_of};
use crate::ConnectionId;

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

    /// Adds the announcer, or notes what changed about it, and tells whether it completed its download.
    pub(super) fn update(&mut self, connection: ConnectionId, announce: &Announce, now: Instant) -> bool {
        let hello = announce.enxame.as_ref();
        let known = self.remove(&announce.peer_id);
        // Counted for a leecher that was seen here, so that repeating the word changes nothing.
        let completed = announce.event == Event::Completed && known.as_ref().is_some_and(|peer| !peer.seeder);
        let peer = Peer {
            connection,
            seeder: is_seeder(announce),
            ours: hello.is_some(),
            relay: hello.is_some_and(|hello| hello.relay),
            rtc: hello.is_none_or(|hello| hello.rtc),
            key: key_of(announce).map(str::to_owned),
            last_announce: now,
            offers: known.map(|peer| peer.offers).unwrap_or_default(),
        };
        self.seeders += usize::from(peer.seeder);
        self.strangers += usize::from(!peer.ours);
        self.stranger_seeders += usize::from(!peer.ours && peer.seeder);
        self.peers.insert(announce.peer_id, peer);
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
        let probes = if want == 0 { 0 } else { self.peers.len().min(MIN_PROBES.max(want.saturating_mul(4))) };
        rand::seq::index::sample(rng, self.peers.len(), probes)
            .into_iter()
            .filter_map(|index| self.peers.get_index(index))
            .filter(move |(peer_id, peer)| **peer_id != asker && fits(peer))
            .map(|(peer_id, peer)| (*peer_id, peer))
            .take(want)
    }

    /// Hands the announcer's offers to random peers, one each, and remembers whom.
    pub(super) fn forward_offers(
        &mut self,
        announce: &Announce,
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
        chosen
            .into_iter()
            .zip(&announce.offers)
            .map(|((to, connection), offer)| {
                self.remember_offer(&announce.peer_id, to, offer.offer_id, now);
                let forwarded = Forwarded {
                    info_hash: announce.info_hash,
                    peer_id: announce.peer_id,
                    offer_id: offer.offer_id,
                    description: offer.offer.clone(),
                };
                (connection, ToPeer::Offer(forwarded))
            })
            .collect()
    }

    /// Notes that an offer of `from` is passed on to `to`, and forgets those that are too old, or too many.
    pub(super) fn remember_offer(&mut self, from: &PeerId, to: PeerId, offer_id: OfferId, now: Instant) {
        let Some(offerer) = self.peers.get_mut(from) else { return };
        offerer.offers.retain(|offer| now.saturating_duration_since(offer.at) <= OFFER_LIFETIME);
        if offerer.offers.len() >= MAX_PENDING_OFFERS {
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

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
