//! Talking to the trackers: connecting and reconnecting, announcing, and what they say.

use std::time::Duration;

use engine::{Found, Time};
use sha1::{Digest, Sha1};
use shared::limits::MAX_NUMWANT;
use shared::relay::Frame;
use shared::signal::{
    self, Announce, Announced, ENXAME_VERSION, EnxameHello, RelayOpen, RelayOpened, ToPeer, ToTracker,
};
use shared::{InfoHash, PeerId};

use super::Event;
use super::peer::Peer;
use super::torrent::{Torrent, by_key};
use super::trackers::{Membership, Tracker, TrackerId};
use super::visits::VISIT_WITHIN;
use crate::snapshot::{TrackerKind, TrackerState, TransportMode};
use crate::transport::socket::{SocketEvent, TrackerSocket};

/// Longest attempt to open a socket before the next one.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Longest time over which a tracker that restarts spreads its clients; it is gone soon after what it says.
const LONGEST_SPREAD: Duration = Duration::from_secs(5 * 60);

impl Peer {
    /// Starts an attempt to reach the page's own tracker.
    pub(super) fn connect_own(&mut self, now: Time) {
        let own = self.trackers.own().id;
        self.connect(now, own);
    }

    /// The network is back: tries every tracker that is out of reach, at once.
    pub(super) fn connect_all(&mut self, now: Time) {
        for id in self.trackers.ids() {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            if tracker.is_node() {
                self.try_node_again(id);
            } else if !tracker.is_connected() {
                tracker.backoff.reset();
                self.connect(now, id);
            }
        }
    }

    pub(super) fn connect(&mut self, now: Time, id: TrackerId) {
        let events = self.events.clone();
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        tracker.number += 1;
        let number = tracker.number;
        let connected = TrackerSocket::connect(&tracker.socket_url(), move |event| {
            let _ = events.unbounded_send(Event::Socket(id, number, event));
        });
        match connected {
            Ok(socket) => {
                tracker.socket = Some(socket);
                tracker.due = Some(now + if tracker.is_node() { VISIT_WITHIN } else { CONNECT_WITHIN });
            }
            // An address that the browser will not even try.
            Err(_) => self.disconnected(now, id),
        }
    }

    pub(super) fn disconnected(&mut self, now: Time, id: TrackerId) {
        self.changed = true;
        // Eleven bits less: what a float holds exactly.
        let jitter = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        if tracker.is_node() {
            return self.node_lost(now, id);
        }
        tracker.socket = None;
        tracker.state = TrackerState::Unreachable;
        tracker.due = Some(now + tracker.backoff.next_delay(jitter));
        for membership in tracker.memberships.values_mut() {
            membership.announcer.disconnected();
        }
        for link in tracker.relay.close_all() {
            self.link_closed(now, link);
        }
        for torrent in &mut self.torrents {
            for peer in torrent.take_dials(|_, tracker| tracker == id) {
                if let Some(session) = torrent.session_mut() {
                    session.handle_dial_failed(now, peer);
                }
            }
        }
    }

    pub(super) fn tracker_deadlines(&mut self, now: Time) {
        for id in self.trackers.ids() {
            let Some(tracker) = self.trackers.get(id) else { continue };
            if tracker.is_node() {
                self.node_deadline(now, id);
            } else if tracker.due.is_some_and(|due| due <= now) {
                if tracker.socket.is_some() {
                    self.disconnected(now, id);
                } else {
                    self.connect(now, id);
                }
            } else if tracker.is_mute(now) {
                self.disconnected(now, id);
            }
        }
    }

    pub(super) fn socket_event(&mut self, now: Time, id: TrackerId, number: u32, event: SocketEvent) {
        let Some(tracker) = self.trackers.get_mut(id).filter(|tracker| tracker.number == number) else {
            return;
        };
        match event {
            SocketEvent::Opened => {
                tracker.state = TrackerState::Connected;
                if tracker.is_node() {
                    return self.node_opened(id);
                }
                tracker.due = None;
                for membership in tracker.memberships.values_mut() {
                    membership.announcer.connected(now);
                }
            }
            SocketEvent::Closed => self.disconnected(now, id),
            SocketEvent::Text(text) => {
                // Whatever the tracker says, it is alive: only now is the next failure a first one.
                tracker.backoff.reset();
                // A message that is not understood is one for a version to come.
                if let Ok(message) = ToPeer::from_json(&text) {
                    self.tracker_message(now, id, message);
                }
            }
            SocketEvent::Binary(bytes) => match Frame::decode(bytes) {
                Ok(Frame::Data { channel, payload }) => self.relay_data(now, id, channel, payload),
                Ok(Frame::Credit { channel, bytes }) => self.relay_credit(now, id, channel, bytes),
                // A tracker that breaks the protocol is a tracker to reconnect to.
                Err(_) => self.disconnected(now, id),
            },
        }
    }

    /// Sends a message, if the tracker is connected.
    pub(super) fn tell(&self, id: TrackerId, message: &ToTracker) {
        if let Some(socket) = self.trackers.get(id).and_then(|tracker| tracker.socket.as_ref()) {
            socket.send_text(&message.to_json());
        }
    }

    fn tracker_message(&mut self, now: Time, id: TrackerId, message: ToPeer) {
        let is_node = self.trackers.get(id).is_some_and(Tracker::is_node);
        if is_node && !is_said_by_nodes(&message) {
            return;
        }
        match message {
            ToPeer::RelayRefused { info_hash, to_peer_id, .. } if is_node => {
                self.visit_refused(now, id, info_hash, to_peer_id);
            }
            ToPeer::RelayOpened(opened) if is_node => self.visit_opened(now, id, &opened),
            ToPeer::RelayAt(at) => self.relay_at(now, id, &at),
            ToPeer::Announced(reply) => self.announced(now, id, reply),
            ToPeer::Failed(failed) => {
                let key = failed.info_hash.and_then(|hash| self.by_hash(hash)).map(|torrent| torrent.key);
                if let Some(membership) = key.and_then(|key| self.membership(id, key)) {
                    membership.announcer.answered(now, None, false);
                    membership.failure = Some(failed.reason);
                }
            }
            ToPeer::RelayOpened(opened) => self.relay_opened(now, id, &opened),
            ToPeer::RelayRefused { info_hash, to_peer_id, .. } => {
                // Only what was asked there: others may open a channel to the same peer.
                if self.take_dial(info_hash, to_peer_id, id).is_some() {
                    self.dial_failed(now, info_hash, to_peer_id);
                }
            }
            ToPeer::RelayClosed { channel, .. } => {
                let closed =
                    self.trackers.get_mut(id).and_then(|tracker| tracker.relay.close_channel(channel));
                if let Some(link) = closed {
                    self.link_closed(now, link);
                }
            }
            ToPeer::Offer(offer) => self.offer_came(now, id, offer),
            ToPeer::Answer(answer) => self.answer_came(&answer),
            ToPeer::OfferRefused(refused) => {
                let Some(torrent) = self.by_hash(refused.info_hash) else { return };
                if let Some(session) = torrent.session_mut() {
                    session.handle_signal_lost(now, refused.to_peer_id, refused.offer_id);
                }
            }
            ToPeer::Reconnect { within } => {
                // Eleven bits less: what a float holds exactly.
                let share = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
                let wait = Duration::from_millis(within.into()).min(LONGEST_SPREAD).mul_f64(share);
                if let Some(tracker) = self.trackers.get_mut(id) {
                    // The links stay until then.
                    tracker.due = Some(now + wait);
                }
            }
            // Nobody asked for a scrape.
            ToPeer::Scraped(_) => {}
        }
    }

    fn membership(&mut self, id: TrackerId, key: u32) -> Option<&mut Membership> {
        self.trackers.get_mut(id)?.memberships.get_mut(&key)
    }

    fn announced(&mut self, now: Time, id: TrackerId, reply: Announced) {
        let Some(torrent) = self.by_hash(reply.info_hash) else { return };
        let key = torrent.key;
        let complete = torrent.session().is_some_and(|session| session.left() == Some(0));
        let wants_peers = torrent.session().is_some_and(engine::Session::wants_peers);
        let strangers = strangers(&reply, complete);
        let offers = if wants_peers && self.direct.is_open() { strangers.min(MAX_OFFERED) } else { 0 };
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        let foreign = reply.enxame.is_none();
        tracker.kind = Some(if foreign { TrackerKind::WebTorrent } else { TrackerKind::Enxame });
        let Some(membership) = tracker.memberships.get_mut(&key) else { return };
        membership.announcer.answered(now, Some(reply.interval), foreign);
        membership.complete = reply.complete;
        membership.incomplete = reply.incomplete;
        membership.failure = None;
        membership.offers_wanted = offers;
        let wants_offers = offers > 0 && !membership.offered;
        let window = reply.enxame.as_ref().map_or(0, |enxame| enxame.window);
        let (peers, ice) = reply.enxame.map(|enxame| (enxame.peers, enxame.ice)).unwrap_or_default();
        if ice.is_some() {
            tracker.ice = ice;
        }
        if !peers.is_empty() {
            membership.announcer.fed();
        }
        // Before they are found, so that nobody dials them.
        for peer in &peers {
            if let Some(channel) = peer.channel {
                let info_hash = reply.info_hash;
                let opened =
                    RelayOpened { info_hash, peer_id: peer.peer_id, channel, window, initiator: true };
                self.relay_opened(now, id, &opened);
            }
        }
        if let Some(torrent) = self.torrent(key) {
            // Two that have everything have nothing to say to each other.
            let useful = peers.iter().filter(|peer| !(complete && peer.seeder));
            let found: Vec<Found> = useful
                .map(|peer| Found { peer: peer.peer_id, relay: peer.relay, direct: peer.rtc })
                .collect();
            torrent.named(id, found.iter().map(|found| found.peer));
            if let Some(session) = torrent.session_mut() {
                session.handle_peers_found(now, &found);
            }
        }
        if wants_offers {
            self.prepare_offers(now, key, offers);
            self.announce_offers(now, key);
        }
    }

    /// Announces again to the trackers that lack offers, once all that are being made are ready. Where none can be made, the
    /// next announce is soon enough.
    pub(super) fn announce_offers(&mut self, now: Time, key: u32) {
        if !self.direct.are_offers_ready(key) || self.direct.ready_offers(key).next().is_none() {
            return;
        }
        for membership in self.trackers.memberships(key) {
            if membership.offers_wanted > 0 && !membership.offered {
                membership.announcer.again(now);
            }
        }
    }

    /// Tells a torrent's trackers that it takes part in its swarm.
    pub(super) fn join_swarm(&mut self, now: Time, key: u32) {
        let Some(torrent) = self.torrent(key) else { return };
        for id in torrent.trackers.clone() {
            if let Some(tracker) = self.trackers.get_mut(id) {
                tracker.join(now, key);
            }
        }
    }

    /// Closes a torrent's links and tells the trackers that it left the swarm.
    pub(super) fn leave_swarm(&mut self, now: Time, key: u32) {
        self.drain(now, key);
        self.close_links_of(now, key);
        let Some(torrent) = self.torrent(key) else { return };
        torrent.take_dials(|_, _| true);
        for id in torrent.trackers.clone() {
            let Some(tracker) = self.trackers.get_mut(id) else { continue };
            let was_member = tracker.memberships.remove(&key).is_some();
            if was_member && tracker.is_connected() {
                self.announce(id, key, signal::Event::Stopped);
            }
        }
    }

    /// Asks all trackers of a torrent for peers, as soon as that makes sense.
    pub(super) fn want_peers(&mut self, key: u32) {
        for membership in self.trackers.memberships(key) {
            membership.announcer.want_peers();
        }
    }

    /// Tells all trackers of a torrent that it is complete.
    pub(super) fn tell_completed(&mut self, now: Time, key: u32) {
        for membership in self.trackers.memberships(key) {
            membership.announcer.completed(now);
        }
    }

    pub(super) fn announce_due(&mut self, now: Time) {
        let mut due = Vec::new();
        for tracker in self.trackers.iter_mut() {
            for (key, membership) in tracker.memberships.iter_mut() {
                due.extend(membership.announcer.take(now).map(|event| (tracker.id, *key, event)));
            }
        }
        for (id, key, event) in due {
            self.announce(id, key, event);
        }
    }

    fn announce(&mut self, id: TrackerId, key: u32, event: signal::Event) {
        let Some(tracker) = self.trackers.get(id) else { return };
        let peer_id = self.settings.peer_id;
        let hello = EnxameHello {
            v: ENXAME_VERSION,
            relay: self.settings.transport != TransportMode::Direct,
            rtc: self.direct.is_open(),
            key: Some(key_for(&self.settings.key, &tracker.url)),
            open: self.channels_to_open(id, key, event),
        };
        let wanted = tracker.memberships.get(&key).map_or(0, |membership| membership.offers_wanted);
        let carries_offers = matches!(event, signal::Event::Started | signal::Event::Update);
        let Some(session) = by_key(&self.torrents, key).and_then(Torrent::session) else { return };
        let wants_peers = session.wants_peers();
        let offers = if carries_offers && wants_peers {
            self.direct.ready_offers(key).take(wanted).collect()
        } else {
            Vec::new()
        };
        let offered = !offers.is_empty();
        let announce = Announce {
            info_hash: session.info_hash(),
            peer_id,
            event,
            left: session.left(),
            uploaded: session.uploaded(),
            downloaded: session.downloaded(),
            numwant: Some(if wants_peers { MAX_NUMWANT } else { 0 }),
            offers,
            enxame: Some(hello),
        };
        // bittorrent-tracker's server goes on sending to the socket that was lost, and forgets us when it ends, unless we
        // leave and come again.
        if event == signal::Event::Started && tracker.is_foreign() && tracker.number > 1 {
            let left = Announce { event: signal::Event::Stopped, offers: Vec::new(), ..announce.clone() };
            self.tell(id, &ToTracker::Announce(left));
        }
        self.tell(id, &ToTracker::Announce(announce));
        if let Some(membership) = self.membership(id, key) {
            membership.offered = offered;
        }
    }

    /// Relay channels to ask for in this announce. Who is new meets everybody so; later the engine knows whom it still lacks.
    fn channels_to_open(&self, id: TrackerId, key: u32, event: signal::Event) -> u32 {
        let relays = self.settings.transport != TransportMode::Direct;
        let is_new = event == signal::Event::Started && self.links.values().all(|link| link.key != key);
        // At several trackers it would meet the same peers more than once.
        if relays && is_new && id == self.trackers.own().id { CHANNELS_AT_ONCE } else { 0 }
    }

    /// Asks for a relay channel to this peer.
    pub(super) fn dial(&mut self, now: Time, key: u32, peer: PeerId) {
        let peer_id = self.settings.peer_id;
        let through = self.tracker_towards(key, peer);
        let own = self.trackers.own().id;
        let Some(torrent) = self.torrent(key) else { return };
        let Some(info_hash) = torrent.info_hash() else { return };
        if let Some(id) = through {
            // Only the page's own tracker sends it to other addresses.
            let visit = id == own;
            torrent.dialing.insert((peer, id), visit);
            self.tell(id, &ToTracker::RelayOpen(RelayOpen { info_hash, peer_id, to_peer_id: peer, visit }));
        } else if let Some(session) = torrent.session_mut() {
            session.handle_dial_failed(now, peer);
        }
    }

    /// A tracker that knows this peer and speaks our extension: the one that named it, else any of the torrent's.
    pub(super) fn tracker_towards(&mut self, key: u32, peer: PeerId) -> Option<TrackerId> {
        let torrent = by_key(&self.torrents, key)?;
        let named = torrent.named_by(peer);
        let mut able =
            torrent.trackers.iter().copied().filter(|id| self.trackers.get(*id).is_some_and(Tracker::relays));
        let first = able.clone().next();
        able.find(|id| Some(*id) == named).or(first)
    }

    /// Whoever a tracker speaks of.
    pub(super) fn key_of(&mut self, info_hash: InfoHash) -> Option<u32> {
        self.by_hash(info_hash).filter(|torrent| torrent.is_active()).map(|torrent| torrent.key)
    }
}

/// Relay channels that a first announce asks for: as many as the engine would dial at a time.
const CHANNELS_AT_ONCE: u32 = 12;

/// Most offers in one announce (WebTorrent's number): each is a connection of the browser's that may wait in vain.
const MAX_OFFERED: usize = 5;

/// How many strangers could use an offer of ours, who are `complete` or not.
fn strangers(reply: &Announced, complete: bool) -> usize {
    if let Some(enxame) = &reply.enxame {
        return enxame.strangers as usize;
    }
    let (seeders, leechers) = (reply.complete as usize, reply.incomplete as usize);
    match seeders + leechers {
        // It counts nobody, not even us: it does not count.
        0 => MAX_OFFERED,
        // Of those counted one is this peer.
        _ if complete => leechers,
        all => all - 1,
    }
}

/// Whether nodes that are visited for relay channels say this; all else is said by trackers.
fn is_said_by_nodes(message: &ToPeer) -> bool {
    matches!(
        message,
        ToPeer::RelayOpened(_)
            | ToPeer::RelayRefused { .. }
            | ToPeer::RelayClosed { .. }
            | ToPeer::Reconnect { .. }
    )
}

/// The secret for one tracker: another one must not learn it, since it could take our place there.
fn key_for(secret: &str, url: &str) -> String {
    let digest = Sha1::new().chain_update(secret).chain_update(url).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use shared::relay::ChannelId;
    use shared::signal::{EnxameReply, OfferRefused, RelayReason};
    use shared::{OfferId, PeerId};

    use super::*;

    fn reply(complete: u32, incomplete: u32, enxame: Option<EnxameReply>) -> Announced {
        Announced { info_hash: InfoHash::new([1; 20]), interval: 120, complete, incomplete, enxame }
    }

    #[test]
    fn offers_are_made_for_strangers_that_exist() {
        assert_eq!(strangers(&reply(1, 0, None), true), 0, "a seeder alone");
        assert_eq!(strangers(&reply(3, 2, None), true), 2, "seeders have nothing for each other");
        assert_eq!(strangers(&reply(3, 2, None), false), 4);
        assert_eq!(strangers(&reply(0, 0, None), false), MAX_OFFERED, "a tracker that does not count");
        let ours = EnxameReply { v: 1, window: 0, peers: Vec::new(), strangers: 1, ice: None };
        assert_eq!(strangers(&reply(3, 2, Some(ours)), false), 1, "our own tracker knows");
    }

    #[test]
    fn nothing_but_relay_messages_is_heard_from_a_node() {
        let (info_hash, to_peer_id, offer_id) =
            (InfoHash::new([1; 20]), PeerId::new([2; 20]), OfferId::new([3; 20]));
        let refused = ToPeer::RelayRefused { info_hash, to_peer_id, reason: RelayReason::UnknownPeer };
        let closed = ToPeer::RelayClosed { info_hash, channel: ChannelId(1), reason: RelayReason::Done };
        for heard in [refused, closed, ToPeer::Reconnect { within: 1 }] {
            assert!(is_said_by_nodes(&heard), "{heard:?}");
        }
        let lost = ToPeer::OfferRefused(OfferRefused { info_hash, to_peer_id, offer_id });
        for ignored in [lost, ToPeer::Announced(reply(1, 1, None))] {
            assert!(!is_said_by_nodes(&ignored), "{ignored:?}");
        }
    }

    #[test]
    fn each_tracker_gets_a_secret_of_its_own() {
        assert_eq!(key_for("k", "ws://a"), key_for("k", "ws://a"));
        assert_ne!(key_for("k", "ws://a"), key_for("k", "ws://b"));
        assert!(key_for("k", "ws://a").len() <= shared::limits::MAX_KEY_BYTES);
    }
}
