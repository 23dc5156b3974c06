//! Relay channels at other nodes of the own tracker's cluster: where the tracker says that a peer is at a node with an address
//! of its own, this tab goes there for the channel, so that the bytes need not pass from node to node.
//!
//! Such a node is a socket among the trackers' (`trackers`), opened for the first channel there and closed a while after the
//! last. Where it cannot be reached, the channel is asked for once more, through the own tracker alone.

use std::time::Duration;

use engine::Time;
use shared::signal::{RelayAt, RelayClose, RelayOpen, RelayOpened, RelayReason, RelayVisit, ToTracker};
use shared::{InfoHash, PeerId};

use super::peer::Peer;
use super::torrent::Torrent;
use super::trackers::{Tracker, TrackerId};
use crate::snapshot::TrackerState;
use crate::transport::address;

/// Time for a node to open a channel, its socket included; after it the way through the own tracker costs less than more
/// patience. Shorter than what a ticket lives.
pub(super) const VISIT_WITHIN: Duration = Duration::from_secs(5);
/// Time for which a node that could not be reached is left alone: what keeps it away is a firewall, or it is gone.
pub(super) const NODE_RETRY: Duration = Duration::from_secs(5 * 60);
/// Time for which a node's socket stays open without a channel.
const IDLE: Duration = Duration::from_secs(30);

impl Tracker {
    /// Where its socket is opened. A node of a private cluster opens the door for a ticket.
    pub(super) fn socket_url(&self) -> String {
        match self.visits.as_deref() {
            Some([first, ..]) => format!("{}?ticket={}", self.url, first.ticket),
            _ => self.url.clone(),
        }
    }
}

impl Peer {
    fn is_dialing_at(&self, node: TrackerId) -> bool {
        self.torrents.iter().any(|torrent| torrent.dialing.keys().any(|(_, at)| *at == node))
    }

    /// If this peer of that swarm was dialed there, whether the answer may be that it is to be dialed elsewhere. It is dialed
    /// there no longer.
    pub(super) fn take_dial(&mut self, swarm: InfoHash, peer: PeerId, at: TrackerId) -> Option<bool> {
        self.by_hash(swarm)?.dialing.remove(&(peer, at))
    }

    /// No channel is opened to this peer.
    pub(super) fn dial_failed(&mut self, now: Time, swarm: InfoHash, peer: PeerId) {
        if let Some(session) = self.by_hash(swarm).and_then(Torrent::session_mut) {
            session.handle_dial_failed(now, peer);
        }
    }

    /// The own tracker answers that the channel is to be had elsewhere.
    pub(super) fn relay_at(&mut self, now: Time, id: TrackerId, at: &RelayAt) {
        let (info_hash, to_peer_id) = (at.info_hash, at.to_peer_id);
        // Nobody else may say so, and only if asked.
        if id != self.trackers.own().id {
            return;
        }
        match self.take_dial(info_hash, to_peer_id, id) {
            Some(true) => {}
            // It was asked not to send it elsewhere: to ask again at once would be to ask without end.
            Some(false) => return self.dial_failed(now, info_hash, to_peer_id),
            None => return,
        }
        let is_usable = address::is_node(&at.url, &self.trackers.own().url);
        let node = if is_usable { self.trackers.node(&at.url) } else { None };
        let is_busy = node.is_some_and(|node| self.is_dialing_at(node));
        let Some(node) = node.and_then(|node| self.trackers.get_mut(node)) else {
            return self.dial_at_home(now, info_hash, to_peer_id);
        };
        let id = node.id;
        if node.is_left_alone() {
            return self.dial_at_home(now, info_hash, to_peer_id);
        }
        let visit = RelayVisit { info_hash, peer_id: self.settings.peer_id, to_peer_id, ticket: at.ticket };
        if node.is_connected() {
            if !is_busy {
                node.due = Some(now + VISIT_WITHIN);
            }
            self.tell(id, &ToTracker::RelayVisit(visit));
        } else {
            node.visits.get_or_insert_default().push(visit);
        }
        if let Some(torrent) = self.by_hash(info_hash) {
            torrent.dialing.insert((to_peer_id, id), false);
        }
        if self.trackers.get(id).is_some_and(|node| node.socket.is_none()) {
            self.connect(now, id);
        }
    }

    /// Asks the own tracker for the channel, which it will not send elsewhere this time.
    fn dial_at_home(&mut self, now: Time, info_hash: InfoHash, to_peer_id: PeerId) {
        let (own, peer_id) = (self.trackers.own(), self.settings.peer_id);
        let (own, is_connected) = (own.id, own.is_connected());
        if is_connected {
            let Some(torrent) = self.by_hash(info_hash) else { return };
            torrent.dialing.insert((to_peer_id, own), false);
            let open = RelayOpen { info_hash, peer_id, to_peer_id, visit: false };
            self.tell(own, &ToTracker::RelayOpen(open));
        } else {
            self.dial_failed(now, info_hash, to_peer_id);
        }
    }

    /// A node's socket is open.
    pub(super) fn node_opened(&mut self, id: TrackerId) {
        let visits = self.trackers.get_mut(id).and_then(|node| node.visits.as_mut()).map(std::mem::take);
        for visit in visits.into_iter().flatten() {
            self.tell(id, &ToTracker::RelayVisit(visit));
        }
    }

    /// A node's socket is gone, or could not be opened, or it does not answer: what was to come from there comes through the own
    /// tracker.
    pub(super) fn node_lost(&mut self, now: Time, id: TrackerId) {
        let Some(node) = self.trackers.get_mut(id) else { return };
        let was_open = node.is_connected();
        node.socket = None;
        node.state = TrackerState::Unreachable;
        node.due = Some(now + NODE_RETRY);
        node.visits = Some(Vec::new());
        let url = node.url.clone();
        for link in node.relay.close_all() {
            self.link_closed(now, link);
        }
        let mut dials = Vec::new();
        for torrent in &mut self.torrents {
            let Some(info_hash) = torrent.info_hash() else { continue };
            let peers = torrent.take_dials(|_, at| at == id);
            dials.extend(peers.into_iter().map(|peer| (info_hash, peer)));
        }
        if was_open && dials.is_empty() {
            // It ended, as trackers do. Whoever is there by then is reached as well as before.
            return self.trackers.forget_node(id);
        }
        log::warn!(
            "{url} is out of reach, a node of the tracker: what it would relay comes through the tracker"
        );
        for (info_hash, peer) in dials {
            self.dial_at_home(now, info_hash, peer);
        }
    }

    /// The network is another one: a node that could not be reached may be tried again.
    pub(super) fn try_node_again(&mut self, id: TrackerId) {
        if self.trackers.get(id).is_some_and(|node| node.socket.is_none()) {
            self.trackers.forget_node(id);
        }
    }

    /// What is due at a node.
    pub(super) fn node_deadline(&mut self, now: Time, id: TrackerId) {
        let is_dialing = self.is_dialing_at(id);
        let Some(node) = self.trackers.get_mut(id) else { return };
        let is_idle = !is_dialing && node.relay.is_empty();
        match node.due {
            Some(due) if due > now => {}
            Some(_) if node.socket.is_none() || is_idle => self.trackers.forget_node(id),
            Some(_) => self.disconnected(now, id),
            None if is_idle => node.due = Some(now + IDLE),
            None => {}
        }
    }

    /// A node answered: what else was asked there has its time again.
    fn node_answered(&mut self, now: Time, id: TrackerId) {
        let due = self.is_dialing_at(id).then_some(now + VISIT_WITHIN);
        if let Some(node) = self.trackers.get_mut(id) {
            node.due = due;
        }
    }

    /// A node opened a channel.
    pub(super) fn visit_opened(&mut self, now: Time, id: TrackerId, opened: &RelayOpened) {
        if self.take_dial(opened.info_hash, opened.peer_id, id).is_some() {
            self.relay_opened(now, id, opened);
        } else {
            let close = RelayClose { channel: opened.channel, reason: RelayReason::Done };
            self.tell(id, &ToTracker::RelayClose(close));
        }
        self.node_answered(now, id);
    }

    /// A node opens no channel to this peer.
    pub(super) fn visit_refused(&mut self, now: Time, id: TrackerId, info_hash: InfoHash, peer: PeerId) {
        if self.take_dial(info_hash, peer, id).is_some() {
            self.dial_at_home(now, info_hash, peer);
        }
        self.node_answered(now, id);
    }
}

#[cfg(all(test, target_arch = "wasm32"))]
pub(super) mod tests;
