//! Relay channels to peers of other nodes.
//!
//! Such a channel ends in a [`Line`], which stands among the connections under a number of its own. A line that was asked
//! for and not agreed to yet is pending: the peer that is here has not heard of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use shared::PeerId;
use shared::signal::{RelayOpen, RelayReason};

use crate::cluster::backend::{Distant, NodeId};
use crate::cluster::line::Line;
use crate::cluster::message::{self, Words};
use crate::cluster::tickets::Trip;
use crate::cluster::{Request, Shared};
use crate::hub::shard::Shard;
use crate::metrics::Rejection;
use crate::outbox::DataError;
use crate::registry::Membership;
use crate::relay::{CreditError, End, Opening};
use crate::server::App;
use crate::{ConnectionId, lock};

impl Shard {
    /// Looks for the peer that a channel should lead to at other nodes. Gives whether it can be at any.
    pub(in crate::hub) fn seek_for_relay(
        &mut self,
        connection: ConnectionId,
        open: &RelayOpen,
        now: Instant,
    ) -> bool {
        if !self.may_be_there(connection, &open.info_hash, &open.peer_id, &open.to_peer_id) {
            return false;
        }
        let member = Membership { connection, info_hash: open.info_hash, peer_id: open.peer_id };
        if self.channels.between(member, open.to_peer_id).is_some() {
            // There is one, or it is being opened: both sides have been told, or will be.
            return true;
        }
        if !self.common.may_relay(connection, now) {
            self.metrics.reject(Rejection::RelayChannels);
            self.refuse_relay(connection, open, RelayReason::TooManyChannels);
            return true;
        }
        self.joined().is_some_and(|shared| shared.ask(Request::Open(connection, open.clone())).is_ok())
    }

    /// The node is known at which the peer is that a channel should lead to, or it is nowhere.
    pub(super) fn open_there(
        &mut self,
        connection: ConnectionId,
        open: &RelayOpen,
        found: Option<Distant>,
        now: Instant,
    ) -> Result<(), RelayReason> {
        let Distant { node, entry, .. } = found.ok_or(RelayReason::UnknownPeer)?;
        let (swarm, from, to) = (open.info_hash, open.peer_id, open.to_peer_id);
        let asker = self.registry.relay_capable(&swarm, &from);
        let Some((_, can)) = asker.filter(|(owner, _)| *owner == connection) else {
            return Err(RelayReason::NotInSwarm);
        };
        if !(can && entry.relay) {
            return Err(RelayReason::NotCapable);
        }
        if self.is_expected(open, now) {
            return Ok(());
        }
        let member = Membership { connection, info_hash: swarm, peer_id: from };
        if let Some(line) = self.begin_line(member, to, node, open, None, now)? {
            self.tell(node, Words::Open { swarm, from, to, line: line.number, visit: open.visit });
        }
        Ok(())
    }

    /// A channel from a peer that is here to one that is not; `None` if there is one already.
    fn begin_line(
        &mut self,
        member: Membership,
        other: PeerId,
        node: NodeId,
        open: &RelayOpen,
        theirs: Option<u64>,
        now: Instant,
    ) -> Result<Option<Arc<Line>>, RelayReason> {
        if self.channels.count() >= self.limits.channels {
            return Err(RelayReason::TooManyChannels);
        }
        let outbox = self.outboxes.get(&member.connection).map(Arc::clone).ok_or(RelayReason::PeerLeft)?;
        // Under this shard's lock: who finds the others gone ends all lines after, and this one with them.
        let shared = Arc::clone(self.joined().ok_or(RelayReason::UnknownPeer)?);
        let ConnectionId(number) = self.common.next_connection();
        let there =
            Membership { connection: ConnectionId(number), info_hash: member.info_hash, peer_id: other };
        let Opening::Opened { asker: here, .. } = self.channels.open(member, there)? else { return Ok(None) };
        let line = Line::new(number, node, (here, outbox), open.clone(), theirs, Arc::clone(&shared), now);
        let line = Arc::new(line);
        lock(&shared.lines).insert(number, Arc::clone(&line));
        Ok(Some(line))
    }

    /// Takes a line out, if there is one of this number; its channel may be open.
    pub(super) fn take_line(&self, number: u64) -> Option<Arc<Line>> {
        let others = self.others.as_ref()?;
        lock(&others.shared.lines).remove(&number)
    }

    /// The line that a channel ends in, if it is one that ends elsewhere.
    pub(in crate::hub) fn line_at(&self, end: End) -> Option<Arc<Line>> {
        self.others.as_ref()?.shared.line(end.connection.0)
    }

    /// A channel that ends elsewhere is closed here: the other node is told.
    pub(in crate::hub) fn close_line(&mut self, end: End, reason: RelayReason) {
        if let Some(line) = self.take_line(end.connection.0) {
            line.close(reason);
            self.channels.end(end.connection);
        }
    }

    /// A line is over: the end that is here is told, the other node is not.
    pub(super) fn drop_line(&mut self, number: u64, reason: RelayReason) {
        let Some(line) = self.take_line(number) else { return };
        for here in self.channels.end(ConnectionId(number)) {
            // Not of one of which nobody has heard yet.
            if line.is_pending() {
                self.refuse_relay(here.connection, &line.open, reason);
            } else {
                self.close_lane(here, reason);
            }
        }
    }

    /// Ends a line in both directions, because something on it is wrong.
    pub(super) fn break_line(&mut self, line: &Line, reason: RelayReason) {
        if let Some(others) = &self.others {
            others.shared.counted.broken.add(1);
        }
        tracing::debug!(node = %line.node, ?reason, "broke a channel to another node");
        self.break_relay(line.here, reason);
    }

    /// The other node has not answered in time.
    pub(super) fn give_up(&mut self, line: &Line) {
        if line.is_pending() {
            self.tell(line.node, Words::Cancelled { line: line.number });
            self.drop_line(line.number, RelayReason::UnknownPeer);
        }
    }

    pub(super) fn line_of(&self, node: NodeId, number: u64) -> Option<Arc<Line>> {
        self.others.as_ref()?.shared.line(number).filter(|line| line.node == node)
    }

    /// A peer of another node asks for a channel to one that is here.
    pub(super) fn hear_open(
        &mut self,
        node: NodeId,
        open: &RelayOpen,
        theirs: u64,
        now: Instant,
    ) -> Result<(), RelayReason> {
        let (swarm, from, to) = (open.info_hash, open.peer_id, open.to_peer_id);
        let (connection, can) = self.registry.relay_capable(&swarm, &to).ok_or(RelayReason::UnknownPeer)?;
        if !can {
            return Err(RelayReason::NotCapable);
        }
        let member = Membership { connection, info_hash: swarm, peer_id: to };
        let mut is_awaited = false;
        if let Some((here, there)) = self.channels.between(member, from) {
            match self.line_at(there) {
                // Both asked at the same moment. At both nodes the wish of the lower id is the one that holds.
                Some(line) if line.is_pending() => {
                    if to < from {
                        return Ok(());
                    }
                    self.take_line(line.number);
                    self.channels.end(there.connection);
                    is_awaited = true;
                }
                // The other side knows nothing of it any more.
                _ => self.break_relay(here, RelayReason::PeerLeft),
            }
        }
        let trip = Trip { swarm, from, to };
        if open.visit && self.invite(node, trip, theirs, is_awaited, now) {
            return Ok(());
        }
        is_awaited |= self.uninvite(&trip);
        let begun = self.begin_line(member, from, node, open, Some(theirs), now);
        if begun.is_err() && is_awaited {
            self.await_no_more(&trip);
        }
        let Some(line) = begun? else { return Ok(()) };
        self.tell(node, Words::Opened { to: theirs, line: line.number });
        self.tell_opened(line.here, swarm, from, false);
        Ok(())
    }
}

pub(super) fn reason_of(error: DataError) -> RelayReason {
    match error {
        DataError::Credit(CreditError::Exceeded) => RelayReason::CreditExceeded,
        DataError::Credit(CreditError::NotDelivered) => RelayReason::Protocol,
        DataError::Full => RelayReason::QueueFull,
    }
}

/// Relayed bytes from another node: straight into the outbox that they are for, without a shard's lock.
pub(crate) fn hear_data(app: &App, shared: &Shared, node: NodeId, on: message::Line, payload: Bytes) {
    let Some(line) = shared.line(on.to).filter(|line| line.node == node) else {
        shared.tell(node, Words::Unknown { to: on.from });
        return;
    };
    let taken = if line.hear(node, on) {
        line.outbox.data(line.channel(), payload).map_err(reason_of)
    } else {
        Err(RelayReason::Other)
    };
    match taken {
        Ok(()) => app.hub.relieve(),
        Err(reason) => {
            if reason == RelayReason::QueueFull {
                app.metrics.reject(Rejection::QueuePerConnection);
            }
            app.hub.break_line(&line, reason);
        }
    }
}
