//! The connection to the tracker: reconnecting, announcing, and the relay channels inside it.

use std::time::Duration;

use bytes::Bytes;
use engine::{CloseReason, LinkId, Session, Time, Transport};
use shared::PeerId;
use shared::limits::MAX_NUMWANT;
use shared::relay::{ChannelId, Frame};
use shared::signal::{
    self, Announce, ENXAME_VERSION, EnxameHello, RelayClose, RelayOpen, RelayOpened, RelayReason, ToPeer,
    ToTracker,
};

use super::Event;
use super::peer::Peer;
use crate::snapshot::TrackerState;
use crate::transport::socket::{SocketEvent, TrackerSocket};

/// Longest attempt to open the socket before the next one.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

impl Peer {
    /// Starts an attempt to reach the tracker.
    pub(super) fn connect(&mut self, now: Time) {
        self.connection.number += 1;
        let number = self.connection.number;
        let events = self.events.clone();
        let connected = TrackerSocket::connect(&self.settings.tracker, move |event| {
            let _ = events.unbounded_send(Event::Socket(number, event));
        });
        match connected {
            Ok(socket) => {
                self.connection.socket = Some(socket);
                self.connection.due = Some(now + CONNECT_WITHIN);
            }
            // An address that the browser will not even try.
            Err(_) => self.disconnected(now),
        }
    }

    pub(super) fn disconnected(&mut self, now: Time) {
        self.changed = true;
        self.connection.socket = None;
        self.connection.state = TrackerState::Unreachable;
        let jitter = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        self.connection.due = Some(now + self.connection.backoff.next_delay(jitter));
        for link in self.relay.close_all() {
            self.link_closed(now, link);
        }
        for torrent in &mut self.torrents {
            torrent.announcer.disconnected();
            for peer in std::mem::take(&mut torrent.dialing) {
                if let Some(session) = torrent.session_mut() {
                    session.handle_dial_failed(now, peer);
                }
            }
        }
    }

    pub(super) fn socket_event(&mut self, now: Time, event: SocketEvent) {
        match event {
            SocketEvent::Opened => {
                self.connection.state = TrackerState::Connected;
                self.connection.due = None;
                for torrent in &mut self.torrents {
                    torrent.announcer.connected(now);
                }
            }
            SocketEvent::Closed => self.disconnected(now),
            SocketEvent::Text(text) => {
                // Whatever the tracker says, it is alive: only now is the next failure a first one.
                self.connection.backoff.reset();
                // A message that is not understood is one for a version to come.
                if let Ok(message) = ToPeer::from_json(&text) {
                    self.tracker_message(now, message);
                }
            }
            SocketEvent::Binary(bytes) => match Frame::decode(bytes) {
                Ok(Frame::Data { channel, payload }) => self.relay_data(now, channel, payload),
                Ok(Frame::Credit { channel, bytes }) => self.relay_credit(now, channel, bytes),
                // A tracker that breaks the protocol is a tracker to reconnect to.
                Err(_) => self.disconnected(now),
            },
        }
    }

    pub(super) fn tell(&self, message: &ToTracker) {
        if let Some(socket) = &self.connection.socket {
            socket.send_text(&message.to_json());
        }
    }

    pub(super) fn tracker_message(&mut self, now: Time, message: ToPeer) {
        match message {
            ToPeer::Announced(reply) => {
                let Some(torrent) = self.by_hash(reply.info_hash) else { return };
                torrent.announcer.answered(now, Some(reply.interval));
                let named = reply.enxame.map(|enxame| enxame.peers).unwrap_or_default();
                if !named.is_empty() {
                    torrent.announcer.fed();
                }
                if let Some(session) = torrent.session_mut() {
                    // Two that have everything have nothing to say to each other.
                    let complete = session.left() == Some(0);
                    let useful = named.iter().filter(|peer| !(complete && peer.seeder));
                    let peers: Vec<PeerId> = useful.map(|peer| peer.peer_id).collect();
                    session.handle_peers_found(now, &peers);
                }
            }
            ToPeer::Failed(failed) => {
                if let Some(torrent) = failed.info_hash.and_then(|hash| self.by_hash(hash)) {
                    torrent.announcer.answered(now, None);
                }
            }
            ToPeer::RelayOpened(opened) => self.relay_opened(now, &opened),
            ToPeer::RelayRefused { info_hash, to_peer_id, .. } => {
                let Some(torrent) = self.by_hash(info_hash) else { return };
                torrent.dialing.retain(|peer| *peer != to_peer_id);
                if let Some(session) = torrent.session_mut() {
                    session.handle_dial_failed(now, to_peer_id);
                }
            }
            ToPeer::RelayClosed { channel, .. } => {
                if let Some(link) = self.relay.close_channel(channel) {
                    self.link_closed(now, link);
                }
            }
            // Offers and answers are the direct way's; nobody asked for a scrape.
            ToPeer::Offer(_) | ToPeer::Answer(_) | ToPeer::Scraped(_) => {}
        }
    }

    pub(super) fn relay_opened(&mut self, now: Time, opened: &RelayOpened) {
        let RelayOpened { info_hash, peer_id, channel, window, initiator } = *opened;
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let wanted = self.by_hash(info_hash).filter(|torrent| torrent.is_active()).map(|torrent| torrent.key);
        let Some(key) = wanted else {
            self.tell(&ToTracker::RelayClose(RelayClose { channel, reason: RelayReason::Done }));
            return;
        };
        if !self.relay.open(channel, link, window) {
            return;
        }
        self.links.insert(link, key);
        let Some(torrent) = self.torrent(key) else { return };
        torrent.links.push(link);
        torrent.dialing.retain(|peer| *peer != peer_id);
        if let Some(session) = torrent.session_mut() {
            session.handle_link_opened(now, link, Transport::Relay, Some(peer_id), initiator);
            session.handle_room(now, link, window as usize);
        }
    }

    pub(super) fn relay_data(&mut self, now: Time, channel: ChannelId, payload: Bytes) {
        // What is on the way when we close a channel still arrives; it is nobody's.
        let Some((link, credit)) = self.relay.received(channel, payload.len()) else { return };
        if let (Some(credit), Some(socket)) = (credit, &self.connection.socket) {
            socket.send_binary(&credit.encode());
        }
        if let Some(session) = self.session_of(link) {
            session.handle_bytes(now, link, payload);
        }
    }

    pub(super) fn relay_credit(&mut self, now: Time, channel: ChannelId, bytes: u32) {
        let socket = &self.connection.socket;
        let credited = self.relay.credited(channel, bytes, |message| {
            if let Some(socket) = socket {
                socket.send_binary(&message);
            }
        });
        let Some(link) = credited else { return };
        let Some(key) = self.links.get(&link).copied() else { return };
        // The room that is told is what is left after everything that the engine has decided to send.
        self.drain(now, key);
        let room = self.relay.room(link);
        if let Some(session) = self.session_of(link) {
            session.handle_room(now, link, room);
        }
    }

    pub(super) fn session_of(&mut self, link: LinkId) -> Option<&mut Session> {
        let key = *self.links.get(&link)?;
        self.torrent(key)?.session_mut()
    }

    /// The other side, or the tracker, ended a link.
    pub(super) fn link_closed(&mut self, now: Time, link: LinkId) {
        if let Some(session) = self.session_of(link) {
            session.handle_link_closed(now, link);
        }
        self.forget_link(link);
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        let Some(key) = self.links.remove(&link) else { return };
        if let Some(torrent) = self.torrent(key) {
            torrent.links.retain(|open| *open != link);
        }
    }

    /// Ends a link from our side.
    pub(super) fn close_link(&mut self, link: LinkId, reason: &CloseReason) {
        if let Some(channel) = self.relay.close_link(link) {
            let reason = match reason {
                CloseReason::Protocol(_) | CloseReason::BadData => RelayReason::Protocol,
                CloseReason::TimedOut => RelayReason::PeerLeft,
                CloseReason::Redundant | CloseReason::BothSeed | CloseReason::Stopped => RelayReason::Done,
            };
            self.tell(&ToTracker::RelayClose(RelayClose { channel, reason }));
        }
        self.forget_link(link);
    }

    /// Closes a torrent's links and tells the tracker that it left the swarm.
    pub(super) fn leave_swarm(&mut self, now: Time, key: u32) {
        self.drain(now, key);
        let Some(torrent) = self.torrent(key) else { return };
        torrent.dialing.clear();
        let links = std::mem::take(&mut torrent.links);
        for link in links {
            if let Some(session) = self.session_of(link) {
                session.handle_link_closed(now, link);
            }
            self.close_link(link, &CloseReason::Stopped);
        }
        if self.connection.state == TrackerState::Connected {
            self.announce(key, signal::Event::Stopped);
        }
        if let Some(torrent) = self.torrent(key) {
            torrent.announcer.disconnected();
        }
    }

    pub(super) fn announce_due(&mut self, now: Time) {
        let active = self.torrents.iter_mut().filter(|torrent| torrent.is_active());
        let due: Vec<_> = active
            .filter_map(|torrent| torrent.announcer.take(now).map(|event| (torrent.key, event)))
            .collect();
        for (key, event) in due {
            self.announce(key, event);
        }
    }

    pub(super) fn announce(&mut self, key: u32, event: signal::Event) {
        let peer_id = self.settings.peer_id;
        let hello =
            EnxameHello { v: ENXAME_VERSION, relay: true, key: Some(self.settings.key.clone()), rtc: false };
        let Some(session) = self.torrent(key).and_then(|torrent| torrent.session()) else { return };
        let announce = Announce {
            info_hash: session.info_hash(),
            peer_id,
            event,
            left: session.left(),
            uploaded: session.uploaded(),
            downloaded: session.downloaded(),
            numwant: Some(if session.wants_peers() { MAX_NUMWANT } else { 0 }),
            offers: Vec::new(),
            enxame: Some(hello),
        };
        self.tell(&ToTracker::Announce(announce));
    }

    /// Asks for a relay channel to this peer.
    pub(super) fn dial(&mut self, now: Time, key: u32, peer: PeerId) {
        let connected = self.connection.state == TrackerState::Connected;
        let peer_id = self.settings.peer_id;
        let Some(torrent) = self.torrent(key) else { return };
        let Some(session) = torrent.session_mut() else { return };
        let info_hash = session.info_hash();
        if connected {
            torrent.dialing.push(peer);
            self.tell(&ToTracker::RelayOpen(RelayOpen { info_hash, peer_id, to_peer_id: peer }));
        } else {
            session.handle_dial_failed(now, peer);
        }
    }
}
