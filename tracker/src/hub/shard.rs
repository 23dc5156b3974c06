//! Some of the swarms: their registry, their channels, and the outboxes of those who are in them.
//!
//! A [`Shard`] stands behind a lock of its own. It turns what the state machines decide into messages in outboxes; since that
//! happens under the lock, each client hears of decisions about a swarm in the order in which they were made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::limits::RELAY_WINDOW;
use shared::signal::{
    Announced, Event, Failed, NamedPeer, OfferRefused, RelayOpen, RelayOpened, RelayReason,
};
use shared::{InfoHash, PeerId};

use super::Far;
use super::distant::Others;
use crate::access::Access;
use crate::limits::Limits;
use crate::meter::Bucket;
use crate::metrics::{Metrics, Rejection};
use crate::outbox::{Ending, Outbox};
use crate::registry::{AnnounceError, Bounds, Membership, Registry, Tally};
use crate::relay::{Channels, End, Numbers, Opening};
use crate::settings::Settings;
use crate::signal::{Announce, TargetedOffer, ToPeer, ToTracker};
use crate::{ConnectionId, lock};

/// What is said to those who announce to a swarm that the lists leave out.
const NOT_SERVED: &str = "this torrent is not served here";

/// Most offers to named peers, and most relay channels, that one connection may ask for at once: for all that two
/// announces name, with some to spare. A tab has no more `RTCPeerConnection`s than that alive.
const NAMED_BURST: u64 = 128;

/// How many more are allowed each second. Who retries each of its peers every minute or so stays far below.
const NAMED_RATE: u64 = 4;

/// How often one connection may do what costs another one.
#[derive(Debug)]
struct Allowances {
    offers: Bucket,
    channels: Bucket,
}

impl Allowances {
    fn new(now: Instant) -> Self {
        Self { offers: Bucket::new(now), channels: Bucket::new(now) }
    }
}

/// What all shards have a part in.
///
/// Each lock in here is held for a moment, and may be taken while a shard's is held. Under that of the allowances that of the
/// numbers may be taken, under the others none.
#[derive(Debug)]
pub(super) struct Common {
    tally: Arc<Tally>,
    numbers: Arc<Numbers>,
    /// Of connections that have offered to named peers, or asked for channels.
    allowances: Mutex<HashMap<ConnectionId, Allowances>>,
    next_connection: AtomicU64,
}

impl Common {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            tally: Arc::default(),
            numbers: Arc::new(Numbers::new(limits.channels_per_connection, limits.channels)),
            allowances: Mutex::default(),
            next_connection: AtomicU64::new(1),
        }
    }

    /// Whether a connection may make one more offer to a named peer now; counts it if it may.
    fn may_offer(&self, connection: ConnectionId, now: Instant) -> bool {
        self.allow(connection, now, |allowances| &mut allowances.offers)
    }

    /// Whether a connection may ask for one more channel now; counts it if it may.
    pub(super) fn may_relay(&self, connection: ConnectionId, now: Instant) -> bool {
        self.allow(connection, now, |allowances| &mut allowances.channels)
    }

    fn allow(
        &self,
        connection: ConnectionId,
        now: Instant,
        which: impl FnOnce(&mut Allowances) -> &mut Bucket,
    ) -> bool {
        let mut allowances = lock(&self.allowances);
        let allowances = allowances.entry(connection).or_insert_with(|| Allowances::new(now));
        which(allowances).try_take(now, 1, NAMED_RATE, NAMED_BURST)
    }

    /// Number of open channels.
    pub(super) fn channels(&self) -> usize {
        self.numbers.open()
    }

    /// A connection is gone, and every shard knows it.
    pub(super) fn forget(&self, connection: ConnectionId) {
        self.numbers.forget(connection);
        lock(&self.allowances).remove(&connection);
    }

    pub(super) fn shrink(&self) {
        self.numbers.shrink();
        lock(&self.allowances).shrink_to_fit();
    }

    /// A number that no connection has had.
    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }
}

/// Some of the swarms.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) registry: Registry,
    pub(super) channels: Channels,
    /// Of those who have said something about these swarms.
    pub(super) outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    pub(super) rng: SmallRng,
    pub(super) limits: Limits,
    pub(super) access: Access,
    pub(super) metrics: Arc<Metrics>,
    pub(super) common: Arc<Common>,
    /// The other nodes, if this is one of many.
    pub(super) others: Option<Others>,
    /// Connections that are to go: the other shards do not know it yet.
    pub(super) gone: Vec<ConnectionId>,
}

impl Shard {
    /// One of several; each has dice of its own.
    pub(super) fn new(settings: &Settings, metrics: Arc<Metrics>, common: Arc<Common>, seed: u64) -> Self {
        let limits = settings.limits.clone();
        let bounds = Bounds {
            memberships: limits.swarms_per_connection,
            peers_per_swarm: limits.peers_per_swarm,
            peers: limits.peers,
            ..Bounds::default()
        };
        let registry = Registry::new(settings.announce_interval, settings.ice.clone())
            .with_bounds(bounds)
            .sharing(Arc::clone(&common.tally));
        Self {
            registry,
            channels: Channels::new(Arc::clone(&common.numbers)),
            outboxes: HashMap::new(),
            rng: SmallRng::seed_from_u64(seed),
            limits,
            access: settings.access.clone(),
            metrics,
            common,
            others: None,
            gone: Vec::new(),
        }
    }

    /// Somebody has something to say about a swarm of these; `false` for those who were told to go.
    pub(super) fn admit(&mut self, connection: ConnectionId, outbox: &Arc<Outbox>) -> bool {
        // Whoever goes is marked before the shards are told, so that nobody comes back behind that.
        if !outbox.is_over() {
            self.outboxes.entry(connection).or_insert_with(|| Arc::clone(outbox));
            return true;
        }
        false
    }

    /// A connection is gone; does nothing the second time.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.outboxes.remove(&connection);
        self.tell_all_left(connection);
        self.registry.disconnect(connection);
        for far in self.channels.disconnect(connection) {
            self.close_lane(far, RelayReason::PeerLeft);
        }
    }

    /// A connection is told to go: it is out of these swarms at once, and of the others as soon as this shard is free.
    pub(super) fn part_with(&mut self, connection: ConnectionId) {
        if let Some(outbox) = self.outboxes.get(&connection) {
            outbox.end(Ending::Superseded);
        }
        self.disconnect(connection);
        self.gone.push(connection);
    }

    /// A connection that was [admitted](Self::admit) sent a message about one of these swarms.
    pub(super) fn handle(&mut self, connection: ConnectionId, message: ToTracker, now: Instant) {
        match message {
            ToTracker::Announce(announce) => self.announce(connection, announce, now),
            ToTracker::Offer(offer) => self.offer(connection, offer, now),
            ToTracker::Answer(answer) => {
                let Some(answer) = self.answer_there(connection, answer, now) else { return };
                if let Some((to, message)) = self.registry.answer(connection, answer, now) {
                    self.forward(to, message);
                } else {
                    self.metrics.reject(Rejection::UnknownAnswer);
                    tracing::debug!(%connection, "dropped an answer to an offer that nobody made");
                }
            }
            ToTracker::RelayOpen(open) if self.channels.count() >= self.limits.channels => {
                self.metrics.reject(Rejection::RelayChannels);
                self.refuse_relay(connection, &open, RelayReason::TooManyChannels);
            }
            ToTracker::RelayOpen(open) => self.open_relay(connection, &open, now),
            ToTracker::RelayVisit(visit) => self.visit(connection, &visit, now),
            ToTracker::RelayClose(close) => {
                self.close_relay(End { connection, channel: close.channel }, close.reason);
            }
            // The hub looks into all shards for it.
            ToTracker::Scrape(_) => {}
        }
    }

    /// One end wants its channel closed: the other end is told why.
    pub(super) fn close_relay(&mut self, end: End, reason: RelayReason) {
        if let Some(outbox) = self.outboxes.get(&end.connection) {
            outbox.forget(end.channel);
        }
        if let Some((far, _)) = self.channels.close(end) {
            self.close_lane(far, reason);
        }
    }

    /// A channel is closed against the will of its ends: both are told why.
    pub(super) fn break_relay(&mut self, end: End, reason: RelayReason) {
        if let Some((far, _)) = self.channels.close(end) {
            self.close_lane(end, reason);
            self.close_lane(far, reason);
        }
    }

    /// Where a connection's frames on this channel go; `None` if it is closed.
    pub(super) fn far_end(&self, end: End) -> Option<Far> {
        let far = self.channels.far_end(end)?;
        match self.outboxes.get(&far.connection) {
            Some(outbox) => Some(Far::Here { outbox: Arc::clone(outbox), channel: far.channel }),
            None => self.line_at(far).map(Far::There),
        }
    }

    /// Keeps no room for those who have left.
    pub(super) fn shrink(&mut self) {
        self.registry.shrink();
        self.channels.shrink();
        self.outboxes.shrink_to_fit();
    }

    /// Forgets peers that have been silent for too long, but not their connections.
    pub(super) fn expire(&mut self, now: Instant) {
        for membership in self.registry.expire(now) {
            tracing::debug!(connection = %membership.connection, "forgot a silent peer");
            self.tell_left(membership.info_hash, membership.peer_id);
            self.leave(membership);
        }
    }

    /// The lists of info-hashes changed: peers of swarms that are served no longer are told so, and forgotten.
    pub(super) fn enforce_access(&mut self) {
        let access = self.access.clone();
        for membership in self.registry.evict(|info_hash| access.permits(info_hash)) {
            self.tell_left(membership.info_hash, membership.peer_id);
            self.leave(membership);
            self.fail(membership.connection, membership.info_hash, NOT_SERVED.to_owned());
        }
    }

    pub(super) fn fail(&self, connection: ConnectionId, info_hash: InfoHash, reason: String) {
        let failed = Failed { action: "announce".to_owned(), info_hash: Some(info_hash), reason };
        self.send(connection, ToPeer::Failed(failed));
    }

    pub(super) fn refuse_relay(&self, connection: ConnectionId, open: &RelayOpen, reason: RelayReason) {
        let refused = ToPeer::RelayRefused { info_hash: open.info_hash, to_peer_id: open.to_peer_id, reason };
        self.send(connection, refused);
    }

    pub(super) fn announce(&mut self, connection: ConnectionId, mut announce: Announce, now: Instant) {
        let info_hash = announce.info_hash;
        if !self.access.permits(&info_hash) {
            self.metrics.reject(Rejection::AccessList);
            return self.fail(connection, info_hash, NOT_SERVED.to_owned());
        }
        if announce.offers.len() > self.limits.offers {
            self.metrics.reject(Rejection::Offers);
            announce.offers.truncate(self.limits.offers);
        }
        let membership = Membership { connection, info_hash, peer_id: announce.peer_id };
        let stopped = announce.event == Event::Stopped;
        // Where others are to be asked, the offers wait for what they say.
        let asks = !stopped && self.joined().is_some();
        let offers = if asks { std::mem::take(&mut announce.offers) } else { Vec::new() };
        match self.registry.announce(connection, &mut announce, now, &mut self.rng) {
            Ok(outcome) => {
                if outcome.completed {
                    self.metrics.completed.add(1);
                }
                if let Some(old) = outcome.superseded {
                    tracing::debug!(%connection, %old, "a peer is back over a new connection");
                    self.part_with(old);
                }
                if stopped {
                    self.tell_left(info_hash, membership.peer_id);
                    self.leave(membership);
                }
                if asks {
                    if let Some((_, ToPeer::Announced(reply))) = outcome.messages.into_iter().next() {
                        announce.offers = offers;
                        self.ask_others(membership, announce, outcome.completed, reply, now);
                    }
                    return;
                }
                for (to, mut message) in outcome.messages {
                    if to == connection {
                        if let ToPeer::Announced(Announced { enxame: Some(reply), .. }) = &mut message {
                            self.open_named(membership, &announce, &mut reply.peers, now);
                        }
                        self.send(to, message);
                    } else {
                        self.forward(to, message);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%connection, %error, "refused an announce");
                self.metrics.reject(match error {
                    AnnounceError::PeerIdTaken => Rejection::PeerIdTaken,
                    AnnounceError::TooManyMemberships(_) => Rejection::SwarmsPerConnection,
                    AnnounceError::SwarmFull(_) => Rejection::PeersPerSwarm,
                    AnnounceError::TrackerFull => Rejection::Peers,
                });
                self.fail(connection, info_hash, error.to_string());
            }
        }
    }

    /// Passes an offer on to a named peer, or tells the offerer that this was not possible.
    pub(super) fn offer(&mut self, connection: ConnectionId, offer: TargetedOffer, now: Instant) {
        let TargetedOffer { info_hash, to_peer_id, offer_id, .. } = offer;
        let passed_on = self.common.may_offer(connection, now) && {
            let Some(offer) = self.seek_for_offer(connection, offer) else { return };
            self.registry.offer(connection, offer, now).is_some_and(|(to, message)| self.forward(to, message))
        };
        if !passed_on {
            self.metrics.reject(Rejection::NamedOffer);
            let refused = OfferRefused { info_hash, to_peer_id, offer_id };
            self.send(connection, ToPeer::OfferRefused(refused));
        }
    }

    /// Opens channels to those whom the reply to an announce names, as many as it asks for. The others hear of it as usual,
    /// the asker in the reply.
    pub(super) fn open_named(
        &mut self,
        asker: Membership,
        announce: &Announce,
        named: &mut [NamedPeer],
        now: Instant,
    ) {
        let wanted = announce.enxame.as_ref().map_or(0, |hello| hello.open);
        let Membership { connection, info_hash, peer_id } = asker;
        for peer in named.iter_mut().filter(|peer| peer.relay).take(wanted as usize) {
            if self.channels.count() >= self.limits.channels {
                return;
            }
            let open = RelayOpen { info_hash, peer_id, to_peer_id: peer.peer_id, visit: false };
            // Whoever cannot be reached so is merely named; to ask for a channel will then tell why.
            if let Ok(Some((asker, other))) = self.try_open_relay(connection, &open, now) {
                self.metrics.channels_opened.add(1);
                peer.channel = Some(asker.channel);
                if let Some(outbox) = self.outboxes.get(&connection) {
                    outbox.open_untold(asker.channel, info_hash);
                }
                self.tell_opened(other, info_hash, peer_id, false);
            }
        }
    }

    pub(super) fn tell_opened(&self, end: End, info_hash: InfoHash, peer_id: PeerId, initiator: bool) {
        let opened =
            RelayOpened { info_hash, peer_id, channel: end.channel, window: RELAY_WINDOW, initiator };
        if let Some(outbox) = self.outboxes.get(&end.connection) {
            outbox.open(end.channel, info_hash, ToPeer::RelayOpened(opened));
        }
    }

    pub(super) fn open_relay(&mut self, connection: ConnectionId, open: &RelayOpen, now: Instant) {
        if self.seek_for_relay(connection, open, now) {
            return;
        }
        match self.try_open_relay(connection, open, now) {
            Ok(Some((asker, other))) => {
                self.metrics.channels_opened.add(1);
                self.tell_opened(asker, open.info_hash, open.to_peer_id, true);
                self.tell_opened(other, open.info_hash, open.peer_id, false);
            }
            Ok(None) => {}
            Err(reason) => {
                self.metrics.reject(match reason {
                    RelayReason::TooManyChannels => Rejection::RelayChannels,
                    _ => Rejection::RelayRefused,
                });
                self.refuse_relay(connection, open, reason);
            }
        }
    }

    /// The two ends of a new channel; `None` if there is one already.
    pub(super) fn try_open_relay(
        &mut self,
        connection: ConnectionId,
        open: &RelayOpen,
        now: Instant,
    ) -> Result<Option<(End, End)>, RelayReason> {
        let info_hash = open.info_hash;
        let asker = self.registry.relay_capable(&info_hash, &open.peer_id);
        let Some((_, asker_can)) = asker.filter(|(owner, _)| *owner == connection) else {
            return Err(RelayReason::NotInSwarm);
        };
        let Some((to, other_can)) = self.registry.relay_capable(&info_hash, &open.to_peer_id) else {
            return Err(RelayReason::UnknownPeer);
        };
        if !(asker_can && other_can) {
            return Err(RelayReason::NotCapable);
        }
        let asker = Membership { connection, info_hash, peer_id: open.peer_id };
        let other = Membership { connection: to, info_hash, peer_id: open.to_peer_id };
        let mut allowances = lock(&self.common.allowances);
        let allowances = allowances.entry(connection).or_insert_with(|| Allowances::new(now));
        // Taken only if a channel is opened: whoever has one already asks for nothing.
        let mut channels = allowances.channels;
        if !channels.try_take(now, 1, NAMED_RATE, NAMED_BURST) {
            return Err(RelayReason::TooManyChannels);
        }
        match self.channels.open(asker, other)? {
            Opening::Opened { asker, other } => {
                allowances.channels = channels;
                Ok(Some((asker, other)))
            }
            Opening::Existing => Ok(None),
        }
    }

    /// Closes the channels of a peer that is in the swarm no more.
    pub(super) fn leave(&mut self, membership: Membership) {
        for end in self.channels.of_member(membership) {
            self.break_relay(end, RelayReason::PeerLeft);
        }
    }

    pub(super) fn close_lane(&mut self, end: End, reason: RelayReason) {
        match self.outboxes.get(&end.connection) {
            Some(outbox) => outbox.close(end.channel, reason),
            None => self.close_line(end, reason),
        }
    }

    pub(super) fn send(&self, to: ConnectionId, message: ToPeer) {
        if let Some(outbox) = self.outboxes.get(&to) {
            outbox.signal(message);
        }
    }

    /// Sends what another connection has for this one, and tells whether that was possible.
    pub(super) fn forward(&self, to: ConnectionId, message: ToPeer) -> bool {
        let passed_on = self.outboxes.get(&to).is_some_and(|outbox| outbox.forward(message));
        if !passed_on {
            self.metrics.reject(Rejection::Backlog);
            tracing::debug!(connection = %to, "dropped an offer or an answer: too much is waiting");
        }
        passed_on
    }
}
