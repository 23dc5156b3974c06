//! Relay channels to peers of other nodes, for which the client goes to that node: bytes then pass there as between any two
//! clients of one tracker, and not through what the nodes share.
//!
//! ```text
//! client A      its node X            node Y, where peer B is
//!  │ relay-open  ─► │ Open (visit) ───────► │ makes a ticket
//!  │ ◄─ relay-at    │ ◄──────────── Visit   │
//!  │ relay-visit with the ticket ─────────► │ relay-opened, to both
//! ```

use std::sync::Arc;
use std::time::Instant;

use shared::signal::{RelayAt, RelayOpen, RelayReason, RelayVisit, Ticket};

use crate::cluster::Shared;
use crate::cluster::backend::NodeId;
use crate::cluster::message::Words;
use crate::cluster::tickets::Trip;
use crate::hub::shard::Shard;
use crate::metrics::Rejection;
use crate::registry::Membership;
use crate::relay::{End, Opening};
use crate::signal::ToPeer;
use crate::{ConnectionId, lock};

const TOO_MANY: (Rejection, RelayReason) = (Rejection::RelayChannels, RelayReason::TooManyChannels);

impl Shard {
    fn shared(&self) -> Option<&Arc<Shared>> {
        self.others.as_ref().map(|others| &others.shared)
    }

    /// Whether a peer of another node was let in for the channel that one of this node asks for, and may come any moment.
    pub(super) fn is_expected(&self, open: &RelayOpen, now: Instant) -> bool {
        let trip = Trip { swarm: open.info_hash, from: open.to_peer_id, to: open.peer_id };
        self.shared().is_some_and(|shared| lock(&shared.tickets).wait(&trip, now))
    }

    /// A peer of another node is to have a channel to one that is here, and would come for it. Gives whether it may, and was
    /// told so.
    pub(super) fn invite(
        &self,
        node: NodeId,
        trip: Trip,
        theirs: u64,
        is_awaited: bool,
        now: Instant,
    ) -> bool {
        let Some(shared) = self.shared() else { return false };
        let Some(url) = shared.public_url.clone() else { return false };
        // Not from the hub's own generator, which is quick and can be foreseen.
        let ticket = Ticket::new(rand::random());
        if !lock(&shared.tickets).grant(node, trip, ticket, is_awaited, now) {
            self.metrics.reject(Rejection::Tickets);
            return false;
        }
        self.tell(node, Words::Visit { to: theirs, url, ticket })
    }

    /// It gets the channel otherwise. Gives whether the peer that is here waits for it.
    pub(super) fn uninvite(&self, trip: &Trip) -> bool {
        self.shared().is_some_and(|shared| lock(&shared.tickets).cancel(trip))
    }

    /// The other node lets the peer come that asked for this line.
    pub(super) fn hear_visit(&mut self, node: NodeId, number: u64, url: String, ticket: Ticket) {
        let Some(line) = self.line_of(node, number).filter(|line| line.is_pending() && line.open.visit)
        else {
            return;
        };
        self.take_line(number);
        self.channels.end(ConnectionId(number));
        let RelayOpen { info_hash, to_peer_id, .. } = line.open;
        self.send(line.here.connection, ToPeer::RelayAt(RelayAt { info_hash, to_peer_id, url, ticket }));
        if let Some(shared) = self.shared() {
            shared.counted.sent.add(1);
        }
    }

    /// A client of another node comes for the channel to a peer that is here.
    pub(in crate::hub) fn visit(&mut self, connection: ConnectionId, visit: &RelayVisit, now: Instant) {
        let RelayVisit { info_hash, peer_id, to_peer_id, .. } = *visit;
        match self.try_visit(connection, visit, now) {
            Ok((visitor, host)) => {
                self.metrics.channels_opened.add(1);
                if let Some(shared) = self.shared() {
                    shared.counted.visits.add(1);
                }
                self.tell_opened(visitor, info_hash, to_peer_id, true);
                self.tell_opened(host, info_hash, peer_id, false);
            }
            Err((rejection, reason)) => {
                self.metrics.reject(rejection);
                let open = RelayOpen { info_hash, peer_id, to_peer_id, visit: true };
                self.refuse_relay(connection, &open, reason);
            }
        }
    }

    fn try_visit(
        &mut self,
        connection: ConnectionId,
        visit: &RelayVisit,
        now: Instant,
    ) -> Result<(End, End), (Rejection, RelayReason)> {
        let trip = Trip { swarm: visit.info_hash, from: visit.peer_id, to: visit.to_peer_id };
        // Before the ticket is looked at: nobody tries many.
        if !self.common.may_relay(connection, now) || self.channels.count() >= self.limits.channels {
            return Err(TOO_MANY);
        }
        let taken = self.shared().and_then(|shared| lock(&shared.tickets).take(&trip, &visit.ticket, now));
        let is_awaited = taken.ok_or((Rejection::Ticket, RelayReason::NotInSwarm))?;
        let opened = self.open_for_visitor(connection, &trip);
        if opened.is_err() && is_awaited {
            self.await_no_more(&trip);
        }
        opened
    }

    /// The two ends of a channel from who came to the peer that is here.
    fn open_for_visitor(
        &mut self,
        connection: ConnectionId,
        trip: &Trip,
    ) -> Result<(End, End), (Rejection, RelayReason)> {
        let refused = |reason| (Rejection::RelayRefused, reason);
        let host = self.registry.relay_capable(&trip.swarm, &trip.to);
        let (host, can) = host.ok_or(refused(RelayReason::UnknownPeer))?;
        if !can {
            return Err(refused(RelayReason::NotCapable));
        }
        let host = Membership { connection: host, info_hash: trip.swarm, peer_id: trip.to };
        if let Some((here, _)) = self.channels.between(host, trip.from) {
            // The visitor knows nothing of it any more.
            self.break_relay(here, RelayReason::PeerLeft);
        }
        let visitor = Membership { connection, info_hash: trip.swarm, peer_id: trip.from };
        match self.channels.open(visitor, host) {
            Ok(Opening::Opened { asker, other }) => Ok((asker, other)),
            Ok(Opening::Existing) => Err(refused(RelayReason::Other)),
            Err(RelayReason::TooManyChannels) => Err(TOO_MANY),
            Err(reason) => Err(refused(reason)),
        }
    }

    /// Somebody was to come, and did not: whoever waits for it is told.
    pub(super) fn await_no_more(&self, trip: &Trip) {
        let Trip { swarm, from, to } = *trip;
        if let Some((connection, _)) = self.registry.relay_capable(&swarm, &to) {
            let open = RelayOpen { info_hash: swarm, peer_id: to, to_peer_id: from, visit: false };
            self.refuse_relay(connection, &open, RelayReason::UnknownPeer);
        }
    }
}
