//! The state machines together: the registry, the channels, and the outbox of each connection.
//!
//! A [`Hub`] stands behind one lock, which is taken for signals and never for relay frames. It turns what the state
//! machines decide into messages in outboxes; since that happens under the lock, each client hears of decisions in the
//! order in which they were made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::limits::RELAY_WINDOW;
use shared::relay::ChannelId;
use shared::signal::{
    Announce, Announced, Event, Failed, IceServer, NamedPeer, OfferRefused, RelayOpen, RelayOpened,
    RelayReason, TargetedOffer, ToPeer, ToTracker,
};
use shared::{InfoHash, PeerId};

use crate::ConnectionId;
use crate::allowance::Allowance;
use crate::outbox::{Ending, Outbox};
use crate::registry::{Membership, Registry, Totals};
use crate::relay::{Channels, End, Opening};

/// Where the frames of a channel go.
#[derive(Debug, Clone)]
pub(crate) struct Far {
    /// The other connection's outbox.
    pub(crate) outbox: Arc<Outbox>,
    /// The channel's number there.
    pub(crate) channel: ChannelId,
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
}

/// The state machines together.
#[derive(Debug)]
pub(crate) struct Hub {
    registry: Registry,
    channels: Channels,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    /// For offers to named peers; of connections that have made some.
    allowances: HashMap<ConnectionId, Allowance>,
    next_connection: u64,
    rng: SmallRng,
}

impl Hub {
    pub(crate) fn new(announce_interval: Duration, ice: Option<Vec<IceServer>>, seed: u64) -> Self {
        Self {
            registry: Registry::new(announce_interval, ice),
            channels: Channels::default(),
            outboxes: HashMap::new(),
            allowances: HashMap::new(),
            next_connection: 1,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// A connection came.
    pub(crate) fn connect(&mut self) -> (ConnectionId, Arc<Outbox>) {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let outbox = Arc::new(Outbox::default());
        self.outboxes.insert(connection, Arc::clone(&outbox));
        (connection, outbox)
    }

    /// A connection is gone; does nothing the second time.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        self.outboxes.remove(&connection);
        self.allowances.remove(&connection);
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
            ToTracker::Announce(announce) => self.announce(connection, &announce, now),
            ToTracker::Offer(offer) => self.offer(connection, offer, now),
            ToTracker::Answer(answer) => {
                if let Some((to, message)) = self.registry.answer(connection, answer, now) {
                    self.forward(to, message);
                } else {
                    tracing::debug!(%connection, "dropped an answer to an offer that nobody made");
                }
            }
            ToTracker::Scrape(scrape) => {
                let reply = self.registry.scrape(&scrape);
                self.send(connection, ToPeer::Scraped(reply));
            }
            ToTracker::RelayOpen(open) => self.open_relay(connection, &open),
            ToTracker::RelayClose(close) => {
                let end = End { connection, channel: close.channel };
                self.close_relay(end, close.reason);
            }
        }
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
        let outbox = Arc::clone(self.outboxes.get(&far.connection)?);
        Some(Far { outbox, channel: far.channel })
    }

    /// Forgets peers that have been silent for too long, but not their connections.
    pub(crate) fn expire(&mut self, now: Instant) {
        for membership in self.registry.expire(now) {
            tracing::debug!(connection = %membership.connection, "forgot a silent peer");
            self.leave(membership);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            connections: self.outboxes.len(),
            totals: self.registry.totals(),
            channels: self.channels.count(),
        }
    }

    fn announce(&mut self, connection: ConnectionId, announce: &Announce, now: Instant) {
        let info_hash = announce.info_hash;
        let membership = Membership { connection, info_hash, peer_id: announce.peer_id };
        let stopped = announce.event == Event::Stopped;
        match self.registry.announce(connection, announce, now, &mut self.rng) {
            Ok(outcome) => {
                if let Some(old) = outcome.superseded {
                    tracing::debug!(%connection, %old, "a peer is back over a new connection");
                    if let Some(outbox) = self.outboxes.get(&old) {
                        outbox.end(Ending::Superseded);
                    }
                    self.disconnect(old);
                }
                if stopped {
                    self.leave(membership);
                }
                for (to, mut message) in outcome.messages {
                    if to == connection {
                        if let ToPeer::Announced(Announced { enxame: Some(reply), .. }) = &mut message {
                            self.open_named(membership, announce, &mut reply.peers);
                        }
                        self.send(to, message);
                    } else {
                        self.forward(to, message);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%connection, %error, "refused an announce");
                let failed = Failed {
                    action: "announce".to_owned(),
                    info_hash: Some(info_hash),
                    reason: error.to_string(),
                };
                self.send(connection, ToPeer::Failed(failed));
            }
        }
    }

    /// Passes an offer on to a named peer, or tells the offerer that this was not possible.
    fn offer(&mut self, connection: ConnectionId, offer: TargetedOffer, now: Instant) {
        let TargetedOffer { info_hash, to_peer_id, offer_id, .. } = offer;
        let allowance = self.allowances.entry(connection).or_insert_with(|| Allowance::new(now));
        let passed_on = allowance.take(now)
            && self
                .registry
                .offer(connection, offer, now)
                .is_some_and(|(to, message)| self.forward(to, message));
        if !passed_on {
            let refused = OfferRefused { info_hash, to_peer_id, offer_id };
            self.send(connection, ToPeer::OfferRefused(refused));
        }
    }

    /// Opens channels to those whom the reply to an announce names, as many as it asks for. The others hear of it as usual,
    /// the asker in the reply.
    fn open_named(&mut self, asker: Membership, announce: &Announce, named: &mut [NamedPeer]) {
        let wanted = announce.enxame.as_ref().map_or(0, |hello| hello.open);
        let Membership { connection, info_hash, peer_id } = asker;
        for peer in named.iter_mut().filter(|peer| peer.relay).take(wanted as usize) {
            let open = RelayOpen { info_hash, peer_id, to_peer_id: peer.peer_id };
            // Whoever cannot be reached so is merely named; to ask for a channel will then tell why.
            if let Ok(Some((asker, other))) = self.try_open_relay(connection, &open) {
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

    fn open_relay(&mut self, connection: ConnectionId, open: &RelayOpen) {
        match self.try_open_relay(connection, open) {
            Ok(Some((asker, other))) => {
                self.tell_opened(asker, open.info_hash, open.to_peer_id, true);
                self.tell_opened(other, open.info_hash, open.peer_id, false);
            }
            Ok(None) => {}
            Err(reason) => {
                let refused =
                    ToPeer::RelayRefused { info_hash: open.info_hash, to_peer_id: open.to_peer_id, reason };
                self.send(connection, refused);
            }
        }
    }

    /// The two ends of a new channel; `None` if there is one already.
    fn try_open_relay(
        &mut self,
        connection: ConnectionId,
        open: &RelayOpen,
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
        match self.channels.open(asker, other)? {
            Opening::Opened { asker, other } => Ok(Some((asker, other))),
            Opening::Existing => Ok(None),
        }
    }

    /// Closes the channels of a peer that is in the swarm no more.
    fn leave(&mut self, membership: Membership) {
        for end in self.channels.of_member(membership) {
            self.break_relay(end, RelayReason::PeerLeft);
        }
    }

    fn close_lane(&self, end: End, reason: RelayReason) {
        if let Some(outbox) = self.outboxes.get(&end.connection) {
            outbox.close(end.channel, reason);
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
            tracing::debug!(connection = %to, "dropped an offer or an answer: too much is waiting");
        }
        passed_on
    }
}
