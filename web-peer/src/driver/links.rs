//! Every open link, and the bytes that go over it: relay channels inside the trackers' sockets, and data channels.

use bytes::Bytes;
use engine::{CloseReason, LinkId, Session, Time, Transport};
use shared::PeerId;
use shared::relay::ChannelId;
use shared::signal::{RelayClose, RelayOpened, RelayReason, ToTracker};

use super::peer::Peer;
use super::trackers::TrackerId;
use crate::transport::rtc::RtcId;

/// How an open link carries its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Inside this tracker's socket.
    Relay(TrackerId),
    /// A data channel.
    Direct(RtcId),
}

/// One open link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The torrent that it belongs to, by its key.
    pub(super) key: u32,
    /// Who is there, if the transport knows.
    pub(super) peer: Option<PeerId>,
    pub(super) way: Way,
}

impl Peer {
    /// A link is open: tells the engine.
    pub(super) fn open_link(&mut self, now: Time, id: LinkId, link: Link, initiator: bool, room: usize) {
        self.links.insert(id, link);
        let transport = match link.way {
            Way::Relay(_) => Transport::Relay,
            Way::Direct(_) => Transport::Direct,
        };
        if let Some(session) = self.session_of(id) {
            session.handle_link_opened(now, id, transport, link.peer, initiator);
            session.handle_room(now, id, room);
        }
    }

    pub(super) fn new_link_id(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        link
    }

    pub(super) fn session_of(&mut self, link: LinkId) -> Option<&mut Session> {
        let key = self.links.get(&link)?.key;
        self.session(key)
    }

    /// Sends over a link.
    pub(super) fn send(&mut self, link: LinkId, bytes: Bytes) {
        match self.links.get(&link).map(|link| link.way) {
            Some(Way::Relay(tracker)) => {
                let Some(tracker) = self.trackers.get_mut(tracker) else { return };
                let socket = &tracker.socket;
                tracker.relay.send(link, bytes, |message| {
                    if let Some(socket) = socket {
                        socket.send_binary(&message);
                    }
                });
            }
            Some(Way::Direct(id)) => self.direct.send(id, bytes),
            None => {}
        }
    }

    /// The link takes more: tells the engine, after everything that it has decided to send is counted.
    pub(super) fn has_room(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get(&id).copied() else { return };
        self.drain(now, link.key);
        let room = match link.way {
            Way::Relay(tracker) => self.trackers.get(tracker).map_or(0, |tracker| tracker.relay.room(id)),
            Way::Direct(connection) => self.direct.room(connection),
        };
        if let Some(session) = self.session_of(id) {
            session.handle_room(now, id, room);
        }
    }

    pub(super) fn relay_opened(&mut self, now: Time, id: TrackerId, opened: &RelayOpened) {
        let RelayOpened { info_hash, peer_id, channel, window, initiator } = *opened;
        let link = self.new_link_id();
        let Some(key) = self.key_of(info_hash) else {
            self.tell(id, &ToTracker::RelayClose(RelayClose { channel, reason: RelayReason::Done }));
            return;
        };
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        if !tracker.relay.open(channel, link, window) {
            return;
        }
        if let Some(torrent) = self.torrent(key) {
            torrent.take_dials(|peer, _| peer == peer_id);
        }
        let open = Link { key, peer: Some(peer_id), way: Way::Relay(id) };
        self.open_link(now, link, open, initiator, window as usize);
    }

    pub(super) fn relay_data(&mut self, now: Time, id: TrackerId, channel: ChannelId, payload: Bytes) {
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        // What is on the way when we close a channel still arrives; it is nobody's.
        let Some((link, credit)) = tracker.relay.received(channel, payload.len()) else { return };
        if let (Some(credit), Some(socket)) = (credit, &tracker.socket) {
            socket.send_binary(&credit.encode());
        }
        if let Some(session) = self.session_of(link) {
            session.handle_bytes(now, link, payload);
        }
    }

    pub(super) fn relay_credit(&mut self, now: Time, id: TrackerId, channel: ChannelId, bytes: u32) {
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        let socket = &tracker.socket;
        let credited = tracker.relay.credited(channel, bytes, |message| {
            if let Some(socket) = socket {
                socket.send_binary(&message);
            }
        });
        if let Some(link) = credited {
            self.has_room(now, link);
        }
    }

    /// The other side, or the tracker, ended a link.
    pub(super) fn link_closed(&mut self, now: Time, link: LinkId) {
        if let Some(session) = self.session_of(link) {
            session.handle_link_closed(now, link);
        }
        self.links.remove(&link);
    }

    /// Ends a link from our side.
    pub(super) fn close_link(&mut self, id: LinkId, reason: &CloseReason) {
        let Some(link) = self.links.remove(&id) else { return };
        log::debug!("{:?}: ended a link by {:?}: {reason:?}", link.peer, link.way);
        match link.way {
            Way::Direct(connection) => self.direct.close(connection),
            Way::Relay(tracker) => {
                let closed = self.trackers.get_mut(tracker).and_then(|tracker| tracker.relay.close_link(id));
                if let Some(channel) = closed {
                    let reason = self.relay_reason(link, reason);
                    self.tell(tracker, &ToTracker::RelayClose(RelayClose { channel, reason }));
                }
            }
        }
    }

    fn relay_reason(&self, link: Link, reason: &CloseReason) -> RelayReason {
        match reason {
            CloseReason::Protocol(_) | CloseReason::BadData => RelayReason::Protocol,
            CloseReason::TimedOut => RelayReason::PeerLeft,
            CloseReason::Redundant if self.is_direct(link) => RelayReason::Direct,
            CloseReason::Redundant | CloseReason::BothSeed | CloseReason::Stopped => RelayReason::Done,
        }
    }

    /// Whether the peer at this link is linked directly, too.
    fn is_direct(&self, link: Link) -> bool {
        let mut others = self.links.values().filter(|other| (other.key, other.peer) == (link.key, link.peer));
        link.peer.is_some() && others.any(|other| matches!(other.way, Way::Direct(_)))
    }

    /// Ends all links of a torrent, those that are being tried included.
    pub(super) fn close_links_of(&mut self, now: Time, key: u32) {
        let of_it = self.links.iter().filter(|(_, link)| link.key == key);
        let links: Vec<LinkId> = of_it.map(|(id, _)| *id).collect();
        for link in links {
            if let Some(session) = self.session_of(link) {
                session.handle_link_closed(now, link);
            }
            self.close_link(link, &CloseReason::Stopped);
        }
        self.direct.close_all_of(key);
    }
}
