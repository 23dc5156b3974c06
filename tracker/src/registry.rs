//! Who is in which swarm: the part of a tracker that BEP 3 describes, with WebTorrent's offers and answers.
//!
//! [`Registry`] is a pure state machine: time and randomness are arguments, and what it decides comes back as messages
//! with the connection that each is for.
//!
//! - A peer id belongs, inside a swarm, to the connection that brought it. Another connection that announces it is
//!   refused, unless both showed the same secret key: then it is the same peer, back before its lost connection was
//!   noticed, and takes over.
//! - The offers of an announce go to random other peers of the swarm, one each, never to the announcer itself, whatever
//!   address family either came by; never from seeder to seeder, who have nothing for each other. Two programs in
//!   one page share a connection: peers are told apart by their ids alone.
//! - Our own clients are told of each other by name, and offer to those alone whom they were told of
//!   ([`Registry::offer`]); what they offer in an announce is for strangers, the clients of other programs.
//! - An answer is passed on only for an offer that was passed on, between the same two peers, less than
//!   [`OFFER_LIFETIME`] ago, and once.

mod swarm;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rand::Rng;
use shared::limits::{MAX_NUMWANT, RELAY_WINDOW};
use shared::signal::{
    Announced, ENXAME_VERSION, EnxameReply, Event, IceServer, NamedPeer, Scrape, Scraped, SwarmCounts,
};
use shared::{InfoHash, OfferId, PeerId};

use crate::ConnectionId;
use crate::cluster::backend::{Entry, KINDS};
use crate::limits::{MAX_MEMBERSHIPS, MAX_PEERS, MAX_PEERS_PER_SWARM};
use crate::signal::{Announce, Answer, Forwarded, TargetedOffer, ToPeer};
use swarm::{Peer, Swarm};
pub use tally::Tally;
pub(crate) use tally::{add_below, add_within};

/// Time in which an offer can be answered. A client gives one up after 50 s; the rest is for slow links.
pub const OFFER_LIFETIME: Duration = Duration::from_secs(120);

/// Most torrents of which the completed count is kept while nobody is in their swarm; some 100 bytes each.
pub const MAX_REMEMBERED: usize = 200_000;

/// When there is room for no more, the least of so many counts is forgotten: what somebody makes up is completed once.
const FORGET_ONE_OF: usize = 16;

/// Time between two scrapes that is asked of clients; the value that other trackers send.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(600);

/// Why an announce was refused. The sentences are for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// The peer id belongs to another live connection.
    #[error("this peer id is in use by another connection")]
    PeerIdTaken,
    /// The connection has as many memberships as it may have.
    #[error("this connection is in {0} swarms already")]
    TooManyMemberships(usize),
    /// The swarm has as many peers as it may have.
    #[error("this swarm has {0} peers already")]
    SwarmFull(usize),
    /// All swarms together have as many peers as they may have.
    #[error("this tracker is full")]
    TrackerFull,
}

/// How much a registry takes; see [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memberships of one connection.
    pub memberships: usize,
    /// Peers of one swarm.
    pub peers_per_swarm: usize,
    /// Peers in all.
    pub peers: usize,
    /// Torrents whose completed count is kept.
    pub remembered: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            memberships: MAX_MEMBERSHIPS,
            peers_per_swarm: MAX_PEERS_PER_SWARM,
            peers: MAX_PEERS,
            remembered: MAX_REMEMBERED,
        }
    }
}

/// What follows from an announce.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Messages, each with the connection that it is for: the reply first, then the offers.
    pub messages: Vec<(ConnectionId, ToPeer)>,
    /// The connection that lost its peer id to this one; to be closed.
    pub superseded: Option<ConnectionId>,
    /// Whether the peer completed its download with this.
    pub completed: bool,
}

/// One peer in one swarm, over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The connection.
    pub connection: ConnectionId,
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
}

/// Totals over all swarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Swarms with at least one peer.
    pub swarms: usize,
    /// Peers, counted once in each swarm.
    pub peers: usize,
    /// Those that have everything.
    pub seeders: usize,
}

/// Who is in which swarm.
///
/// Changes: [`announce`](Self::announce), [`offer`](Self::offer), [`answer`](Self::answer),
/// [`disconnect`](Self::disconnect), [`expire`](Self::expire). Questions: [`scrape`](Self::scrape), [`relay_capable`](Self::relay_capable),
/// [`totals`](Self::totals).
///
/// A tracker may have several, each for some of the swarms; they share a [`Tally`], by which the bounds hold for all of them
/// together.
///
/// Invariants: a swarm has at least one peer; `memberships` holds exactly the peers of all swarms, `peers` is their number,
/// and `seeders` that of those that have everything. What is in the tally is the sum of that of all registries that share it.
#[derive(Debug)]
pub struct Registry {
    interval: Duration,
    ice: Option<Vec<IceServer>>,
    swarms: HashMap<InfoHash, Swarm>,
    memberships: HashMap<ConnectionId, HashSet<(InfoHash, PeerId)>>,
    peers: usize,
    seeders: usize,
    bounds: Bounds,
    tally: Arc<Tally>,
    /// How often each torrent was completed, also of those whose swarms are empty.
    completed: IndexMap<InfoHash, u32>,
    /// Whose count changed since it was last asked.
    changed: HashSet<InfoHash>,
}

impl Registry {
    /// A registry without swarms that asks for an announce every `interval`, and hands `ice` to our own clients.
    pub fn new(interval: Duration, ice: Option<Vec<IceServer>>) -> Self {
        Self {
            interval,
            ice,
            swarms: HashMap::new(),
            memberships: HashMap::new(),
            peers: 0,
            seeders: 0,
            bounds: Bounds::default(),
            tally: Arc::default(),
            completed: IndexMap::new(),
            changed: HashSet::new(),
        }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The same, one of several. Nobody may be in it yet.
    #[must_use]
    pub fn sharing(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    /// Begins with these completed counts. What is more than there is room for is left out.
    pub fn remember(&mut self, completed: impl IntoIterator<Item = (InfoHash, u32)>) {
        for (info_hash, count) in completed {
            if self.completed.contains_key(&info_hash) || self.tally.remember(self.bounds.remembered) {
                self.completed.insert(info_hash, count);
            }
        }
    }

    /// The completed counts that changed since this was last asked; `None` for those that were forgotten.
    pub fn take_changed(&mut self) -> Vec<(InfoHash, Option<u32>)> {
        let count = |hash: InfoHash| (hash, self.completed.get(&hash).copied());
        self.changed.drain().map(count).collect()
    }

    /// Number of torrents whose completed count is kept.
    pub fn remembered(&self) -> usize {
        self.completed.len()
    }

    /// A peer says that it is in a swarm, or leaves it. Offers that are passed on are taken out of the announce.
    ///
    /// # Errors
    /// [`AnnounceError`]; nothing has changed then.
    pub fn announce(
        &mut self,
        connection: ConnectionId,
        announce: &mut Announce,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Result<Outcome, AnnounceError> {
        let Announce { info_hash, peer_id, .. } = *announce;
        let superseded = self.claim(connection, announce)?;
        if let Some(old) = superseded {
            self.remove(Membership { connection: old, info_hash, peer_id });
        }
        if announce.event == Event::Stopped {
            self.remove(Membership { connection, info_hash, peer_id });
            let reply = self.reply(announce, Vec::new(), 0);
            return Ok(Outcome { messages: vec![(connection, reply)], superseded, completed: false });
        }
        if self.memberships.entry(connection).or_default().insert((info_hash, peer_id)) {
            self.peers += 1;
            self.tally.join(connection);
        }
        let swarm = self.swarms.entry(info_hash).or_default();
        let seeders = swarm.seeders();
        let completed = swarm.update(connection, announce, now);
        self.seeders = self.seeders - seeders + swarm.seeders();
        if completed {
            self.note_completed(info_hash, rng);
        }
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return Ok(Outcome::default()) };
        let peers = name_peers(swarm, connection, announce, rng);
        let strangers = swarm.strangers_for(is_seeder(announce));
        let forwarded = swarm.forward_offers(announce, now, rng);
        let mut messages = vec![(connection, self.reply(announce, peers, strangers))];
        messages.extend(forwarded);
        Ok(Outcome { messages, superseded, completed })
    }

    /// A peer offers to another. Gives the message to pass on, if the offerer is in the swarm over this connection, and
    /// the other is there and takes offers.
    pub fn offer(
        &mut self,
        connection: ConnectionId,
        offer: TargetedOffer,
        now: Instant,
    ) -> Option<(ConnectionId, ToPeer)> {
        let TargetedOffer { info_hash, peer_id, to_peer_id, offer_id, offer } = offer;
        let swarm = self.swarms.get_mut(&info_hash)?;
        swarm.get(&peer_id).filter(|peer| peer.connection == connection)?;
        let to = swarm.get(&to_peer_id).filter(|peer| peer.rtc && to_peer_id != peer_id)?.connection;
        swarm.remember_offer(&peer_id, to_peer_id, offer_id, now);
        Some((to, ToPeer::Offer(Forwarded { info_hash, peer_id, offer_id, description: offer })))
    }

    /// A peer answers an offer. Gives the message to pass on, if there was such an offer.
    pub fn answer(
        &mut self,
        connection: ConnectionId,
        answer: Answer,
        now: Instant,
    ) -> Option<(ConnectionId, ToPeer)> {
        let Answer { info_hash, peer_id, to_peer_id, offer_id, answer } = answer;
        let swarm = self.swarms.get_mut(&info_hash)?;
        if swarm.get(&peer_id)?.connection != connection {
            return None;
        }
        let to = swarm.take_offer(&to_peer_id, &peer_id, &offer_id, now)?;
        Some((to, ToPeer::Answer(Forwarded { info_hash, peer_id, offer_id, description: answer })))
    }

    /// How many are in these swarms. Unknown swarms count as empty ones.
    pub fn scrape(&self, scrape: &Scrape) -> Scraped {
        let counts = |hash: &InfoHash| SwarmCounts {
            downloaded: self.completed.get(hash).copied().unwrap_or(0),
            ..self.swarms.get(hash).map_or_else(SwarmCounts::default, Swarm::counts)
        };
        let files: BTreeMap<_, _> = scrape.info_hashes.iter().map(|hash| (*hash, counts(hash))).collect();
        Scraped { files, min_request_interval: whole_seconds(SCRAPE_INTERVAL) }
    }

    /// The connection of this peer of this swarm, and whether relay channels may be opened to it.
    pub fn relay_capable(&self, info_hash: &InfoHash, peer_id: &PeerId) -> Option<(ConnectionId, bool)> {
        let peer = self.swarms.get(info_hash)?.get(peer_id)?;
        Some((peer.connection, peer.relay))
    }

    /// What other nodes are told of this peer of this swarm.
    pub(crate) fn entry(&self, info_hash: &InfoHash, peer_id: &PeerId) -> Option<Entry> {
        self.swarms.get(info_hash)?.get(peer_id).map(Peer::entry)
    }

    /// The connection of this peer of this swarm, and whether it takes WebRTC offers.
    pub(crate) fn rtc_capable(&self, info_hash: &InfoHash, peer_id: &PeerId) -> Option<(ConnectionId, bool)> {
        let peer = self.swarms.get(info_hash)?.get(peer_id)?;
        Some((peer.connection, peer.rtc))
    }

    /// The swarms that have peers.
    pub(crate) fn swarms(&self) -> Vec<InfoHash> {
        self.swarms.keys().copied().collect()
    }

    /// The peers of a swarm, as other nodes are told of them.
    pub(crate) fn entries(&self, info_hash: &InfoHash) -> impl Iterator<Item = (PeerId, Entry)> {
        self.swarms.get(info_hash).into_iter().flat_map(Swarm::entries)
    }

    /// Number of peers of a swarm by [kind](Entry::kind).
    pub(crate) fn kinds(&self, info_hash: &InfoHash) -> [usize; KINDS] {
        self.swarms.get(info_hash).map_or([0; KINDS], Swarm::kinds)
    }

    /// The peers of a connection.
    pub(crate) fn of_connection(&self, connection: ConnectionId) -> Vec<(InfoHash, PeerId)> {
        self.memberships.get(&connection).into_iter().flatten().copied().collect()
    }

    /// Hands the offers of an announce to random peers, one each; gives the messages.
    pub(crate) fn forward_offers(
        &mut self,
        announce: &mut Announce,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<(ConnectionId, ToPeer)> {
        let swarm = self.swarms.get_mut(&announce.info_hash);
        swarm.map(|swarm| swarm.forward_offers(announce, now, rng)).unwrap_or_default()
    }

    /// An offer of a peer that is here goes to one that is elsewhere, who may answer it.
    pub(crate) fn remember_offer(
        &mut self,
        info_hash: &InfoHash,
        (from, to): (PeerId, PeerId),
        offer_id: OfferId,
        now: Instant,
    ) {
        if let Some(swarm) = self.swarms.get_mut(info_hash) {
            swarm.remember_offer(&from, to, offer_id, now);
        }
    }

    /// Uses up such an offer, and gives the connection of its maker.
    pub(crate) fn take_offer(
        &mut self,
        info_hash: &InfoHash,
        (from, to): (PeerId, PeerId),
        offer_id: &OfferId,
        now: Instant,
    ) -> Option<ConnectionId> {
        self.swarms.get_mut(info_hash)?.take_offer(&from, &to, offer_id, now)
    }

    /// Forgets one peer in one swarm, if that connection has it there.
    pub(crate) fn forget(&mut self, membership: Membership) {
        self.remove(membership);
    }

    /// Forgets all of a connection's peers.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        for (info_hash, peer_id) in self.memberships.get(&connection).cloned().unwrap_or_default() {
            self.remove(Membership { connection, info_hash, peer_id });
        }
    }

    /// Forgets the peers that have not announced for more than twice the interval, and tells which.
    pub fn expire(&mut self, now: Instant) -> Vec<Membership> {
        let silence = self.interval * 2;
        let silent: Vec<Membership> = self
            .swarms
            .iter()
            .flat_map(|(info_hash, swarm)| swarm.silent_for(silence, now).map(|member| (*info_hash, member)))
            .map(|(info_hash, (peer_id, connection))| Membership { connection, info_hash, peer_id })
            .collect();
        for membership in &silent {
            self.remove(*membership);
        }
        silent
    }

    /// Keeps no room for those who have left.
    pub(crate) fn shrink(&mut self) {
        self.swarms.values_mut().for_each(Swarm::shrink);
        self.swarms.shrink_to_fit();
        self.memberships.shrink_to_fit();
    }

    /// Totals over all swarms.
    pub fn totals(&self) -> Totals {
        Totals { swarms: self.swarms.len(), peers: self.peers, seeders: self.seeders }
    }

    /// Checks that the connection may use this peer id, and gives the connection that it takes it over from. Who comes new has
    /// a place among the peers of all registries then.
    fn claim(
        &self,
        connection: ConnectionId,
        announce: &Announce,
    ) -> Result<Option<ConnectionId>, AnnounceError> {
        let holder = self.swarms.get(&announce.info_hash).and_then(|swarm| swarm.get(&announce.peer_id));
        let superseded = match holder {
            Some(holder) if holder.connection == connection => return Ok(None),
            Some(holder) if holder.key.is_some() && holder.key.as_deref() == key_of(announce) => {
                Some(holder.connection)
            }
            Some(_) => return Err(AnnounceError::PeerIdTaken),
            None => None,
        };
        if announce.event == Event::Stopped {
            return Ok(superseded);
        }
        if self.tally.memberships(connection) >= self.bounds.memberships {
            return Err(AnnounceError::TooManyMemberships(self.bounds.memberships));
        }
        let mut most = self.bounds.peers;
        if superseded.is_some() {
            // Who takes a peer id over adds no peer: the other goes.
            most = usize::MAX;
        } else if self.swarms.get(&announce.info_hash).map_or(0, Swarm::len) >= self.bounds.peers_per_swarm {
            return Err(AnnounceError::SwarmFull(self.bounds.peers_per_swarm));
        }
        if self.tally.enter(most) { Ok(superseded) } else { Err(AnnounceError::TrackerFull) }
    }

    /// Counts a completed download, in the place of a small count if there is no other.
    fn note_completed(&mut self, info_hash: InfoHash, rng: &mut impl Rng) {
        if !self.completed.contains_key(&info_hash) && !self.tally.remember(self.bounds.remembered) {
            let candidates = (0..FORGET_ONE_OF.min(self.completed.len()))
                .map(|_| rng.random_range(0..self.completed.len()))
                .min_by_key(|index| self.completed[*index]);
            let Some(index) = candidates else { return };
            if let Some((forgotten, _)) = self.completed.swap_remove_index(index) {
                self.changed.insert(forgotten);
            }
        }
        let count = self.completed.entry(info_hash).or_insert(0);
        *count = count.saturating_add(1);
        self.changed.insert(info_hash);
    }

    /// Forgets the peers of swarms that are no longer `permitted`, and tells which.
    pub fn evict(&mut self, permitted: impl Fn(&InfoHash) -> bool) -> Vec<Membership> {
        let of = |connection: &ConnectionId, swarms: &HashSet<(InfoHash, PeerId)>| -> Vec<Membership> {
            let connection = *connection;
            let gone = swarms.iter().filter(|(info_hash, _)| !permitted(info_hash));
            gone.map(|(info_hash, peer_id)| Membership {
                connection,
                info_hash: *info_hash,
                peer_id: *peer_id,
            })
            .collect()
        };
        let evicted: Vec<Membership> =
            self.memberships.iter().flat_map(|(c, swarms)| of(c, swarms)).collect();
        for membership in &evicted {
            self.remove(*membership);
        }
        evicted
    }

    fn reply(&self, announce: &Announce, peers: Vec<NamedPeer>, strangers: u32) -> ToPeer {
        let counts = self.swarms.get(&announce.info_hash).map_or_else(SwarmCounts::default, Swarm::counts);
        ToPeer::Announced(Announced {
            info_hash: announce.info_hash,
            interval: whole_seconds(self.interval),
            complete: counts.complete,
            incomplete: counts.incomplete,
            enxame: announce.enxame.as_ref().map(|_| EnxameReply {
                v: ENXAME_VERSION,
                window: RELAY_WINDOW,
                peers,
                strangers,
                ice: self.ice.clone(),
            }),
        })
    }

    /// Removes one peer from one swarm, if that connection has it there.
    fn remove(&mut self, membership: Membership) {
        let Membership { connection, info_hash, peer_id } = membership;
        let Some(memberships) = self.memberships.get_mut(&connection) else { return };
        if !memberships.remove(&(info_hash, peer_id)) {
            return;
        }
        self.peers -= 1;
        self.tally.leave(connection);
        if memberships.is_empty() {
            self.memberships.remove(&connection);
        }
        if let Some(swarm) = self.swarms.get_mut(&info_hash) {
            self.seeders -= usize::from(swarm.remove(&peer_id).is_some_and(|peer| peer.seeder));
            if swarm.is_empty() {
                self.swarms.remove(&info_hash);
            }
        }
    }
}

/// Peers for our own client to reach: those that it shares a way with.
fn name_peers(
    swarm: &Swarm,
    connection: ConnectionId,
    announce: &Announce,
    rng: &mut impl Rng,
) -> Vec<NamedPeer> {
    let Some(hello) = &announce.enxame else { return Vec::new() };
    let seeder = is_seeder(announce);
    let want = announce.numwant.unwrap_or(MAX_NUMWANT).min(MAX_NUMWANT);
    let fits = |peer: &Peer| {
        // Over one connection no relay leads to oneself.
        let relay = hello.relay && peer.relay && peer.connection != connection;
        peer.ours && (relay || hello.rtc && peer.rtc) && !(seeder && peer.seeder)
    };
    swarm
        .choose(announce.peer_id, want, rng, fits)
        .map(|(peer_id, peer)| NamedPeer {
            peer_id,
            seeder: peer.seeder,
            relay: peer.relay,
            rtc: peer.rtc,
            // The hub opens channels.
            channel: None,
        })
        .collect()
}

/// Whether the announcer has everything. Not knowing how much is missing is being a leecher.
fn is_seeder(announce: &Announce) -> bool {
    announce.left == Some(0) || announce.event == Event::Completed
}

/// The secret that the announcer shows, if it shows one.
fn key_of(announce: &Announce) -> Option<&str> {
    announce.enxame.as_ref()?.key.as_deref().filter(|key| !key.is_empty())
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
