//! The state machines together: the registry, the channels, and the outbox of each connection.
//!
//! A [`Hub`] stands behind one lock, which is taken for signals and never for relay frames. It turns what the state
//! machines decide into messages in outboxes; since that happens under the lock, each client hears of decisions in the
//! order in which they were made.

mod distant;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::limits::RELAY_WINDOW;
use shared::relay::ChannelId;
use shared::signal::{
    Announce, Announced, Event, Failed, NamedPeer, OfferRefused, RelayOpen, RelayOpened, RelayReason,
    TargetedOffer, ToPeer, ToTracker,
};
use shared::{InfoHash, PeerId};

use crate::ConnectionId;
use crate::access::Access;
use crate::cluster::line::Line;
use crate::limits::Limits;
use crate::meter::Bucket;
use crate::metrics::{Metrics, Rejection};
use crate::outbox::{DataError, Ending, Outbox, Queues};
use crate::registry::{AnnounceError, Bounds, Membership, Registry, Totals};
use crate::relay::{Channels, End, Opening};
use crate::settings::Settings;
use crate::state::{Changes, State};
use distant::Others;
pub(crate) use distant::hear_data;

/// What is said to those who announce to a swarm that the lists leave out.
const NOT_SERVED: &str = "this torrent is not served here";

/// Where the frames of a channel go.
#[derive(Debug, Clone)]
pub(crate) enum Far {
    /// To another connection.
    Here {
        /// Its outbox.
        outbox: Arc<Outbox>,
        /// The channel's number there.
        channel: ChannelId,
    },
    /// To another node.
    There(Arc<Line>),
}

impl Far {
    /// Passes bytes on. Gives how long the sender should wait before more.
    ///
    /// # Errors
    /// [`DataError`] when the sender has no credit for them, or too much waits already.
    pub(crate) fn data(&self, payload: Bytes) -> Result<Duration, DataError> {
        match self {
            Self::Here { outbox, channel } => outbox.data(*channel, payload).map(|()| Duration::ZERO),
            Self::There(line) => line.data(payload),
        }
    }

    /// Passes credit on.
    ///
    /// # Errors
    /// [`DataError::Full`] when that is not possible.
    pub(crate) fn credit(&self, bytes: u32) -> Result<(), DataError> {
        match self {
            Self::Here { outbox, channel } => {
                outbox.credit(*channel, bytes);
                Ok(())
            }
            Self::There(line) => line.credit(bytes),
        }
    }
}

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

/// Counts at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Open WebSocket connections.
    pub(crate) connections: usize,
    /// Swarms and peers.
    pub(crate) totals: Totals,
    /// Open relay channels.
    pub(crate) channels: usize,
    /// Torrents whose completed count is kept.
    pub(crate) remembered: usize,
}

/// What waits, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueDepths {
    /// Bytes for the connection with the most.
    pub(crate) most: usize,
    /// Connections for which something waits.
    pub(crate) busy: usize,
}

/// The state machines together.
#[derive(Debug)]
pub(crate) struct Hub {
    registry: Registry,
    channels: Channels,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    /// Of connections that have offered to named peers, or asked for channels.
    allowances: HashMap<ConnectionId, Allowances>,
    next_connection: u64,
    rng: SmallRng,
    limits: Limits,
    access: Access,
    metrics: Arc<Metrics>,
    queues: Arc<Queues>,
    /// The other nodes, if this is one of many.
    others: Option<Others>,
}

impl Hub {
    pub(crate) fn new(settings: &Settings, metrics: Arc<Metrics>, queues: Arc<Queues>) -> Self {
        let limits = settings.limits.clone();
        let bounds = Bounds {
            memberships: limits.swarms_per_connection,
            peers_per_swarm: limits.peers_per_swarm,
            peers: limits.peers,
            ..Bounds::default()
        };
        let mut registry =
            Registry::new(settings.announce_interval, settings.ice.clone()).with_bounds(bounds);
        registry.remember(settings.state.iter().flat_map(State::completed));
        Self {
            registry,
            channels: Channels::new(limits.channels_per_connection),
            outboxes: HashMap::new(),
            allowances: HashMap::new(),
            next_connection: 1,
            rng: SmallRng::seed_from_u64(settings.seed),
            limits,
            access: settings.access.clone(),
            metrics,
            queues,
            others: None,
        }
    }

    /// A connection came.
    pub(crate) fn connect(&mut self) -> (ConnectionId, Arc<Outbox>) {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.queues)));
        self.outboxes.insert(connection, Arc::clone(&outbox));
        (connection, outbox)
    }

    /// A connection is gone; does nothing the second time.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        if let Some(outbox) = self.outboxes.remove(&connection) {
            // Others hold it on until they hear of the end.
            outbox.discard();
        }
        self.allowances.remove(&connection);
        self.tell_all_left(connection);
        self.registry.disconnect(connection);
        for far in self.channels.disconnect(connection) {
            self.close_lane(far, RelayReason::PeerLeft);
        }
    }

    /// A connection sent a message.
    pub(crate) fn handle(&mut self, connection: ConnectionId, message: ToTracker, now: Instant) {
        match message {
            // A connection that was told to go has no say any more.
            _ if !self.outboxes.contains_key(&connection) => {}
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
            ToTracker::Scrape(scrape) => self.scrape(connection, scrape),
            ToTracker::RelayOpen(open) if self.channels.count() >= self.limits.channels => {
                self.metrics.reject(Rejection::RelayChannels);
                self.refuse_relay(connection, &open, RelayReason::TooManyChannels);
            }
            ToTracker::RelayOpen(open) => self.open_relay(connection, &open, now),
            ToTracker::RelayVisit(visit) => self.visit(connection, &visit, now),
            ToTracker::RelayClose(close) => {
                let end = End { connection, channel: close.channel };
                self.close_relay(end, close.reason);
            }
        }
        self.relieve();
    }

    /// One end wants its channel closed: the other end is told why.
    pub(crate) fn close_relay(&mut self, end: End, reason: RelayReason) {
        if let Some(outbox) = self.outboxes.get(&end.connection) {
            outbox.forget(end.channel);
        }
        if let Some((far, _)) = self.channels.close(end) {
            self.close_lane(far, reason);
        }
    }

    /// A channel is closed against the will of its ends: both are told why.
    pub(crate) fn break_relay(&mut self, end: End, reason: RelayReason) {
        if let Some((far, _)) = self.channels.close(end) {
            self.close_lane(end, reason);
            self.close_lane(far, reason);
        }
    }

    /// Where a connection's frames on this channel go; `None` if it is closed.
    pub(crate) fn far_end(&self, end: End) -> Option<Far> {
        let far = self.channels.far_end(end)?;
        match self.outboxes.get(&far.connection) {
            Some(outbox) => Some(Far::Here { outbox: Arc::clone(outbox), channel: far.channel }),
            None => self.line_at(far).map(Far::There),
        }
    }

    /// Forgets peers that have been silent for too long, but not their connections.
    pub(crate) fn expire(&mut self, now: Instant) {
        for membership in self.registry.expire(now) {
            tracing::debug!(connection = %membership.connection, "forgot a silent peer");
            self.tell_left(membership.info_hash, membership.peer_id);
            self.leave(membership);
        }
    }

    /// More waits for all connections than may: whoever has most waiting goes, and the bytes with it. Those who read what
    /// they ask for stay.
    pub(crate) fn relieve(&mut self) {
        while self.queues.is_over() {
            let most = self.outboxes.iter().map(|(id, outbox)| (outbox.bytes(), *id)).max();
            let Some((bytes, connection)) = most.filter(|(bytes, _)| *bytes > 0) else { return };
            tracing::warn!(%connection, bytes, "too much waits for all: disconnected the one with the most");
            self.metrics.reject(Rejection::Queue);
            if let Some(outbox) = self.outboxes.get(&connection) {
                outbox.end(Ending::Crowded);
            }
            self.disconnect(connection);
        }
    }

    /// The lists of info-hashes changed: peers of swarms that are served no longer are told so, and forgotten.
    pub(crate) fn enforce_access(&mut self) {
        let access = self.access.clone();
        for membership in self.registry.evict(|info_hash| access.permits(info_hash)) {
            self.tell_left(membership.info_hash, membership.peer_id);
            self.leave(membership);
            self.fail(membership.connection, membership.info_hash, NOT_SERVED.to_owned());
        }
    }

    /// Completed counts that changed since this was last asked.
    pub(crate) fn take_completed(&mut self) -> Changes {
        self.registry.take_changed()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            connections: self.outboxes.len(),
            totals: self.registry.totals(),
            channels: self.channels.count(),
            remembered: self.registry.remembered(),
        }
    }

    pub(crate) fn queues(&self) -> QueueDepths {
        let bytes = self.outboxes.values().map(|outbox| outbox.bytes());
        bytes.filter(|bytes| *bytes > 0).fold(QueueDepths { most: 0, busy: 0 }, |depths, bytes| QueueDepths {
            most: depths.most.max(bytes),
            busy: depths.busy + 1,
        })
    }

    fn fail(&self, connection: ConnectionId, info_hash: InfoHash, reason: String) {
        let failed = Failed { action: "announce".to_owned(), info_hash: Some(info_hash), reason };
        self.send(connection, ToPeer::Failed(failed));
    }

    fn refuse_relay(&self, connection: ConnectionId, open: &RelayOpen, reason: RelayReason) {
        let refused = ToPeer::RelayRefused { info_hash: open.info_hash, to_peer_id: open.to_peer_id, reason };
        self.send(connection, refused);
    }

    fn announce(&mut self, connection: ConnectionId, mut announce: Announce, now: Instant) {
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
                self.metrics.completed.add(u64::from(outcome.completed));
                if let Some(old) = outcome.superseded {
                    tracing::debug!(%connection, %old, "a peer is back over a new connection");
                    if let Some(outbox) = self.outboxes.get(&old) {
                        outbox.end(Ending::Superseded);
                    }
                    self.disconnect(old);
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
    fn offer(&mut self, connection: ConnectionId, offer: TargetedOffer, now: Instant) {
        let TargetedOffer { info_hash, to_peer_id, offer_id, .. } = offer;
        let allowances = self.allowances.entry(connection).or_insert_with(|| Allowances::new(now));
        let passed_on = allowances.offers.try_take(now, 1, NAMED_RATE, NAMED_BURST) && {
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
    fn open_named(&mut self, asker: Membership, announce: &Announce, named: &mut [NamedPeer], now: Instant) {
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

    fn tell_opened(&self, end: End, info_hash: InfoHash, peer_id: PeerId, initiator: bool) {
        let opened =
            RelayOpened { info_hash, peer_id, channel: end.channel, window: RELAY_WINDOW, initiator };
        if let Some(outbox) = self.outboxes.get(&end.connection) {
            outbox.open(end.channel, info_hash, ToPeer::RelayOpened(opened));
        }
    }

    fn open_relay(&mut self, connection: ConnectionId, open: &RelayOpen, now: Instant) {
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
    fn try_open_relay(
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
        let allowances = self.allowances.entry(connection).or_insert_with(|| Allowances::new(now));
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
    fn leave(&mut self, membership: Membership) {
        for end in self.channels.of_member(membership) {
            self.break_relay(end, RelayReason::PeerLeft);
        }
    }

    fn close_lane(&mut self, end: End, reason: RelayReason) {
        match self.outboxes.get(&end.connection) {
            Some(outbox) => outbox.close(end.channel, reason),
            None => self.close_line(end, reason),
        }
    }

    fn send(&self, to: ConnectionId, message: ToPeer) {
        if let Some(outbox) = self.outboxes.get(&to) {
            outbox.signal(message);
        }
    }

    /// Sends what another connection has for this one, and tells whether that was possible.
    fn forward(&self, to: ConnectionId, message: ToPeer) -> bool {
        let passed_on = self.outboxes.get(&to).is_some_and(|outbox| outbox.forward(message));
        if !passed_on {
            self.metrics.reject(Rejection::Backlog);
            tracing::debug!(connection = %to, "dropped an offer or an answer: too much is waiting");
        }
        passed_on
    }
}

#[cfg(test)]
mod tests;
