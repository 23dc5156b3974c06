//! The state machines together: registries, channels, and the outbox of each connection.
//!
//! The swarms are spread over [`SHARDS`] shards by their info-hashes, each with a registry and channels of its own behind a lock of
//! its own: as many threads decide at the same time as there are cores, unless it is about the same swarm. A channel is
//! in its swarm's shard. What belongs to a connection (its outbox, the numbers of its channels, how much it may ask for) and the
//! bounds on all together are shared, behind locks that are held for a moment, or atomic.
//!
//! Which lock is taken when:
//! - a shard's, for a signal about one of its swarms, and never for relay frames. Who holds one takes no other shard's (but
//!   [`Hub::hold`], which takes all, in order), and not that of the connections;
//! - that of the connections, for coming and going, and for what is told of all; under it an outbox's at most;
//! - all others last: an outbox's, and those inside what shards share (`Common`, the lines to other nodes).

mod distant;
mod shard;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::InfoHash;
use shared::relay::ChannelId;
use shared::signal::RelayReason;

use crate::access::Access;
use crate::cluster::Shared;
use crate::cluster::line::Line;
use crate::metrics::{Metrics, Rejection};
use crate::outbox::{DataError, Ending, Outbox, Queues};
use crate::registry::Totals;
use crate::relay::End;
use crate::settings::Settings;
use crate::signal::{ToPeer, ToTracker};
use crate::state::{Changes, State};
use crate::{ConnectionId, lock};
pub(crate) use distant::hear_data;
use shard::{Common, Shard};

/// Parts of the swarms: so many that on machines of a few cores two threads seldom want the same.
const SHARDS: usize = 32;

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

/// One connection, as the hub knows it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Its number.
    pub(crate) id: ConnectionId,
    /// What waits for it.
    pub(crate) outbox: Arc<Outbox>,
}

/// The state machines together.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Box<[Mutex<Shard>]>,
    /// Which shard a swarm is in: nobody can choose swarms so that all are in one.
    spread: RandomState,
    outboxes: Mutex<HashMap<ConnectionId, Arc<Outbox>>>,
    common: Arc<Common>,
    access: Access,
    metrics: Arc<Metrics>,
    queues: Arc<Queues>,
    /// What leads to the other nodes, if this is one of many.
    others: Option<Arc<Shared>>,
}

impl Hub {
    pub(crate) fn new(settings: &Settings, metrics: Arc<Metrics>, queues: Arc<Queues>) -> Self {
        Self::with_shards(SHARDS, settings, metrics, queues)
    }

    fn with_shards(shards: usize, settings: &Settings, metrics: Arc<Metrics>, queues: Arc<Queues>) -> Self {
        let common = Arc::new(Common::new(&settings.limits));
        let shard = |n: u64| {
            let seed = settings.seed.wrapping_add(n);
            Mutex::new(Shard::new(settings, Arc::clone(&metrics), Arc::clone(&common), seed))
        };
        let hub = Self {
            shards: (0..shards as u64).map(shard).collect(),
            spread: RandomState::new(),
            outboxes: Mutex::default(),
            access: settings.access.clone(),
            metrics,
            queues,
            common,
            others: None,
        };
        for (info_hash, count) in settings.state.iter().flat_map(State::completed) {
            lock(hub.shard(&info_hash)).registry.remember([(info_hash, count)]);
        }
        hub
    }

    /// A connection came.
    pub(crate) fn connect(&self) -> Connection {
        let id = self.common.next_connection();
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.queues)));
        lock(&self.outboxes).insert(id, Arc::clone(&outbox));
        Connection { id, outbox }
    }

    /// A connection is gone; does nothing the second time.
    pub(crate) fn disconnect(&self, connection: ConnectionId) {
        let Some(outbox) = lock(&self.outboxes).remove(&connection) else { return };
        // From here on no shard lets it in.
        outbox.discard();
        for shard in &self.shards {
            self.decide(shard, |shard| shard.disconnect(connection));
        }
        self.common.forget(connection);
        // What came until all shards knew. Others hold it on until they hear of the end.
        outbox.discard();
    }

    /// A connection sent a message.
    pub(crate) fn handle(&self, from: &Connection, message: ToTracker, now: Instant) {
        let swarm = match &message {
            ToTracker::Announce(announce) => Some(announce.info_hash),
            ToTracker::Offer(offer) => Some(offer.info_hash),
            ToTracker::Answer(answer) => Some(answer.info_hash),
            ToTracker::RelayOpen(open) => Some(open.info_hash),
            ToTracker::RelayVisit(visit) => Some(visit.info_hash),
            ToTracker::RelayClose(close) => from.outbox.swarm_of(close.channel),
            ToTracker::Scrape(_) => None,
        };
        if let ToTracker::Scrape(scrape) = message {
            if !from.outbox.is_over() {
                self.scrape(from.id, scrape);
            }
        } else if let Some(swarm) = swarm {
            self.decide(self.shard(&swarm), |shard| {
                // A connection that was told to go has no say any more.
                if shard.admit(from.id, &from.outbox) {
                    shard.handle(from.id, message, now);
                }
            });
        }
        self.relieve();
    }

    /// A channel is closed against the will of its ends: both are told why.
    pub(crate) fn break_relay(&self, near: &Connection, channel: ChannelId, reason: RelayReason) {
        if let Some(swarm) = near.outbox.swarm_of(channel) {
            let end = End { connection: near.id, channel };
            self.decide(self.shard(&swarm), |shard| shard.break_relay(end, reason));
        }
    }

    /// Where a connection's frames on this channel go; `None` if it is closed.
    pub(crate) fn far_end(&self, near: &Connection, channel: ChannelId) -> Option<Far> {
        let swarm = near.outbox.swarm_of(channel)?;
        lock(self.shard(&swarm)).far_end(End { connection: near.id, channel })
    }

    /// Forgets peers that have been silent for too long, but not their connections.
    pub(crate) fn expire(&self, now: Instant) {
        for shard in &self.shards {
            self.decide(shard, |shard| shard.expire(now));
        }
    }

    /// More waits for all connections than may: whoever has most waiting goes, and the bytes with it. Those who read what
    /// they ask for stay.
    pub(crate) fn relieve(&self) {
        if !self.queues.may_be_over() {
            return;
        }
        loop {
            let (bytes, connection, outbox) = {
                let outboxes = lock(&self.outboxes);
                let held: usize = outboxes.values().map(|outbox| outbox.bytes()).sum();
                let most = outboxes.iter().map(|(id, outbox)| (outbox.bytes(), *id, outbox));
                let most = most.max_by_key(|(bytes, id, _)| (*bytes, *id));
                let Some((bytes, connection, outbox)) = most.filter(|_| self.queues.is_over(held)) else {
                    return;
                };
                (bytes, connection, Arc::clone(outbox))
            };
            // Another thread may have come to the same.
            if !outbox.is_over() {
                tracing::warn!(%connection, bytes, "too much waits for all: disconnected the one with the most");
                self.metrics.reject(Rejection::Queue);
            }
            outbox.end(Ending::Crowded);
            self.disconnect(connection);
        }
    }

    /// Keeps no room for those who have left.
    pub(crate) fn shrink(&self) {
        lock(&self.outboxes).shrink_to_fit();
        for shard in &self.shards {
            lock(shard).shrink();
        }
        self.common.shrink();
    }

    /// The lists of info-hashes changed: peers of swarms that are served no longer are told so, and forgotten.
    pub(crate) fn enforce_access(&self) {
        for shard in &self.shards {
            self.decide(shard, Shard::enforce_access);
        }
    }

    /// Completed counts that changed since this was last asked.
    pub(crate) fn take_completed(&self) -> Changes {
        self.shards.iter().flat_map(|shard| lock(shard).registry.take_changed()).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let connections = lock(&self.outboxes).len();
        let mut counts = Counts {
            connections,
            totals: Totals::default(),
            channels: self.common.channels(),
            remembered: 0,
        };
        for shard in &self.shards {
            let shard = lock(shard);
            let Totals { swarms, peers, seeders } = shard.registry.totals();
            counts.totals.swarms += swarms;
            counts.totals.peers += peers;
            counts.totals.seeders += seeders;
            counts.remembered += shard.registry.remembered();
        }
        counts
    }

    pub(crate) fn queues(&self) -> QueueDepths {
        let outboxes = lock(&self.outboxes);
        let bytes = outboxes.values().map(|outbox| outbox.bytes());
        bytes.filter(|bytes| *bytes > 0).fold(QueueDepths { most: 0, busy: 0 }, |depths, bytes| QueueDepths {
            most: depths.most.max(bytes),
            busy: depths.busy + 1,
        })
    }

    /// The shard of a swarm.
    fn shard(&self, swarm: &InfoHash) -> &Mutex<Shard> {
        &self.shards[self.spread.hash_one(swarm) as usize % self.shards.len()]
    }

    /// Has a shard decide something, and then sees connections off that are to go for it.
    fn decide<T>(&self, shard: &Mutex<Shard>, decide: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = lock(shard);
        let decided = decide(&mut shard);
        let gone = std::mem::take(&mut shard.gone);
        drop(shard);
        for connection in gone {
            self.disconnect(connection);
        }
        decided
    }

    /// Does something while nothing is decided.
    pub(crate) fn hold(&self, meanwhile: impl FnOnce()) {
        let held: Vec<_> = self.shards.iter().map(lock).collect();
        meanwhile();
        drop(held);
    }

    fn send(&self, to: ConnectionId, message: ToPeer) {
        let outbox = lock(&self.outboxes).get(&to).map(Arc::clone);
        if let Some(outbox) = outbox {
            outbox.signal(message);
        }
    }
}

#[cfg(test)]
mod scaling;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod threads;
