//! Direct links: which connection is for whom, what was offered, and what became of it. The connections themselves are the
//! transport's ([`RtcLinks`]); whom to reach is the engine's to decide.
//!
//! Three kinds of connections are made here:
//! - for one peer that exists, because the engine wants it ([`Role::Targeted`]);
//! - to answer somebody's offer ([`Role::Answer`]);
//! - for whoever answers first ([`Role::Spare`]), which is how WebTorrent meets. Only strangers are met so, and one that
//!   nobody answered is offered again: a browser has only so many connections.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use engine::{DirectFailure, LinkId, Signal, Time};
use futures::channel::mpsc;
use shared::order::SortedMap;
use shared::signal::{Answer, Forwarded, IceServer, Offer, SessionDescription, TargetedOffer, ToTracker};
use shared::{OfferId, PeerId};

use super::Event;
use super::links::{Link, Way};
use super::peer::Peer;
use super::trackers::{Tracker, TrackerId};
use crate::snapshot::{IceChoice, IceView, RtcView, TransportMode};
use crate::transport::rtc::{RtcEnd, RtcError, RtcEvent, RtcId, RtcLinks};

/// An offer that is not answered for this long is given up (WebTorrent's patience).
const ANSWER_WITHIN: Duration = Duration::from_secs(50);
/// A spare offer is made anew after this long: what STUN told of a NAT's mapping may not hold any more (RFC 4787 asks NATs
/// for two minutes at least).
const SPARE_LIFETIME: Duration = Duration::from_secs(110);
/// Most spare connections in this tab.
const MAX_SPARES: usize = 15;
/// Offers that trackers brought and that may yet be answered, at most.
const MAX_BROUGHT: usize = 256;
/// The time in which a tracker takes the answer to an offer.
const BROUGHT_LIFETIME: Duration = Duration::from_secs(120);

/// Helps peers behind NATs to find their addresses, where neither user nor tracker say otherwise: WebTorrent's choice. They
/// see that an address uses WebRTC, and nothing else.
const DEFAULT_ICE: [&str; 2] = ["stun:stun.l.google.com:19302", "stun:global.stun.twilio.com:3478"];

/// Why there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Targeted,
    Answer,
    Spare,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    /// The torrent that it is for, by its key.
    key: u32,
    role: Role,
    /// Who is, or should be, at the other end; of a spare one, who answered.
    peer: Option<PeerId>,
    offer_id: OfferId,
    made: Time,
    /// Our offer, once it is ready; only a spare one's is kept.
    offer: Option<SessionDescription>,
    /// Both descriptions are known: from now on it is the transport that watches the time.
    answered: bool,
    link: Option<LinkId>,
}

impl Connection {
    /// One that was just made.
    fn new(now: Time, key: u32, role: Role, peer: Option<PeerId>, offer_id: OfferId) -> Self {
        // Who answers has both descriptions from the beginning.
        let answered = role == Role::Answer;
        Self { key, role, peer, offer_id, made: now, offer: None, answered, link: None }
    }

    /// When it has waited long enough for an answer.
    fn due(&self) -> Option<Time> {
        let patience = if self.role == Role::Spare { SPARE_LIFETIME } else { ANSWER_WITHIN };
        (!self.answered && self.link.is_none()).then_some(self.made + patience)
    }

    fn is_spare(&self, key: u32) -> bool {
        self.role == Role::Spare && !self.answered && self.key == key
    }
}

/// All direct links of this tab, and those on the way.
pub(super) struct Direct {
    mode: TransportMode,
    available: bool,
    transport: RtcLinks,
    connections: SortedMap<RtcId, Connection>,
    /// Which tracker brought an offer, and so takes its answer.
    brought: SortedMap<OfferId, (TrackerId, Time)>,
}

impl Direct {
    pub(super) fn new(mode: TransportMode, events: mpsc::UnboundedSender<Event>) -> Self {
        let transport = RtcLinks::new(move |id, event| {
            let _ = events.unbounded_send(Event::Rtc(id, event));
        });
        Self {
            mode,
            available: RtcLinks::is_available(),
            transport,
            connections: SortedMap::new(),
            brought: SortedMap::new(),
        }
    }

    /// Whether direct links can be had.
    pub(super) fn is_open(&self) -> bool {
        self.available && self.mode != TransportMode::Relay
    }

    /// What the engine should know of this tab.
    pub(super) fn ways(&self) -> engine::Ways {
        let direct = match self.mode {
            TransportMode::Relay => engine::Direct::Off,
            _ if self.available => engine::Direct::Open,
            _ => engine::Direct::Absent,
        };
        engine::Ways { relay: self.mode != TransportMode::Direct, direct }
    }

    pub(super) fn view(&self, ice: IceView) -> RtcView {
        RtcView {
            available: self.available,
            mode: self.mode,
            ice,
            open: self.transport.open_count(),
            made: self.transport.made(),
        }
    }

    pub(super) fn send(&mut self, id: RtcId, bytes: Bytes) {
        self.transport.send(id, bytes);
    }

    pub(super) fn room(&self, id: RtcId) -> usize {
        self.transport.room(id)
    }

    pub(super) fn close(&mut self, id: RtcId) {
        self.connections.remove(&id);
        self.transport.close(id);
    }

    /// Closes everything that a torrent has.
    pub(super) fn close_all_of(&mut self, key: u32) {
        let of_it = self.connections.iter().filter(|(_, connection)| connection.key == key);
        let ids: Vec<_> = of_it.map(|(id, _)| *id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// When something here has waited long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.connections.values().filter_map(Connection::due).min()
    }

    /// Whether no spare offer is still being made.
    pub(super) fn are_offers_ready(&self, key: u32) -> bool {
        let mut spares = self.connections.values().filter(|connection| connection.is_spare(key));
        spares.all(|connection| connection.offer.is_some())
    }

    /// Offers for whoever answers.
    pub(super) fn ready_offers(&self, key: u32) -> impl Iterator<Item = Offer> {
        let spares = self.connections.values().filter(move |connection| connection.is_spare(key));
        spares.filter_map(|connection| {
            Some(Offer { offer: connection.offer.clone()?, offer_id: connection.offer_id })
        })
    }

    /// The connection that waits for this peer's answer.
    fn targeted(&self, key: u32, peer: PeerId) -> Option<RtcId> {
        let found = self.connections.iter().find(|(_, connection)| {
            let waits = connection.role == Role::Targeted && !connection.answered;
            waits && connection.key == key && connection.peer == Some(peer)
        });
        found.map(|(id, _)| *id)
    }

    /// Whether something is still under way to this peer.
    fn is_trying(&self, key: u32, peer: PeerId) -> bool {
        let mut own = self.connections.values().filter(|connection| connection.key == key);
        own.any(|connection| connection.peer == Some(peer) && connection.link.is_none())
    }

    /// The connection whose offer this was, if it is still waiting for the answer of this peer.
    fn waiting(&self, key: u32, offer_id: OfferId, from: PeerId) -> Option<RtcId> {
        let found = self.connections.iter().find(|(_, connection)| {
            connection.key == key
                && connection.offer_id == offer_id
                && connection.role != Role::Answer
                && !connection.answered
                && connection.peer.is_none_or(|peer| peer == from)
        });
        found.map(|(id, _)| *id)
    }
}

impl Peer {
    /// The ICE servers in force: the user's, else those of the page's own tracker, else the usual ones. (Another tracker,
    /// which a torrent named, has no say in whom this browser talks to.)
    fn ice(&self) -> (Cow<'_, [IceServer]>, IceChoice) {
        if let Some(ice) = &self.settings.ice {
            (ice.into(), IceChoice::User)
        } else if let Some(ice) = &self.trackers.own().ice {
            (ice.into(), IceChoice::Tracker)
        } else {
            let usual = DEFAULT_ICE.map(|url| IceServer::open(vec![url.into()]));
            (usual.to_vec().into(), IceChoice::Usual)
        }
    }

    pub(super) fn ice_view(&self) -> IceView {
        let (servers, chosen_by) = self.ice();
        IceView { urls: servers.iter().flat_map(|server| &server.urls).cloned().collect(), chosen_by }
    }

    fn new_offer_id(&mut self) -> OfferId {
        let mut bytes = [0; 20];
        for chunk in bytes.chunks_mut(8) {
            let draw = self.draw().to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
        OfferId::new(bytes)
    }

    fn make(&mut self, now: Time, key: u32, role: Role, peer: Option<PeerId>) -> Result<(), RtcError> {
        let ice = self.ice().0.into_owned();
        let id = self.direct.transport.offer(&ice)?;
        let offer_id = self.new_offer_id();
        let connection = Connection::new(now, key, role, peer, offer_id);
        self.direct.connections.insert(id, connection);
        Ok(())
    }

    /// Makes a connection for this peer.
    pub(super) fn dial_direct(&mut self, now: Time, key: u32, peer: PeerId) {
        if let Err(error) = self.make(now, key, Role::Targeted, Some(peer))
            && let Some(session) = self.session(key)
        {
            session.handle_direct_failed(now, peer, error.into());
        }
    }

    /// Sees to it that there are so many spare offers, or as many as there may be.
    pub(super) fn prepare_offers(&mut self, now: Time, key: u32, wanted: usize) {
        let spare = |connection: &&Connection| connection.role == Role::Spare && !connection.answered;
        let all = self.direct.connections.values().filter(spare).count();
        let own = self.direct.connections.values().filter(|connection| connection.is_spare(key)).count();
        for _ in 0..wanted.saturating_sub(own).min(MAX_SPARES.saturating_sub(all)) {
            // Strangers that come later bring offers of their own.
            if self.make(now, key, Role::Spare, None).is_err() {
                return;
            }
        }
    }

    /// The engine has a signal for the transport.
    pub(super) fn take_signal(&mut self, now: Time, key: u32, from: PeerId, signal: &Signal) {
        let Signal { offer_id, description } = signal;
        if description.kind != "offer" {
            if let Some(id) = self.direct.waiting(key, *offer_id, from) {
                self.accept(id, from, description);
            }
            return;
        }
        // The engine prefers this offer to our own (both sides made one).
        if let Some(id) = self.direct.targeted(key, from) {
            self.direct.close(id);
        }
        let ice = self.ice().0.into_owned();
        match self.direct.transport.answer(&ice, description) {
            Ok(id) => {
                let connection = Connection::new(now, key, Role::Answer, Some(from), *offer_id);
                self.direct.connections.insert(id, connection);
            }
            Err(error) => {
                log::debug!("{from}: an offer cannot be answered: {error:?}");
                if let Some(session) = self.session(key) {
                    session.handle_direct_failed(now, from, error.into());
                }
            }
        }
    }

    fn accept(&mut self, id: RtcId, from: PeerId, answer: &SessionDescription) {
        if let Some(connection) = self.direct.connections.get_mut(&id) {
            connection.answered = true;
            connection.peer = Some(from);
            connection.offer = None;
            self.direct.transport.accept(id, answer);
        }
    }

    /// The engine wants a signal carried by a tracker.
    pub(super) fn tell_tracker(&mut self, now: Time, key: u32, to: PeerId, signal: Signal) {
        let peer_id = self.settings.peer_id;
        let Signal { offer_id, description } = signal;
        let is_offer = description.kind == "offer";
        let through = if is_offer {
            self.tracker_towards(key, to)
        } else {
            let brought = self.direct.brought.remove(&offer_id).map(|(tracker, _)| tracker);
            brought.filter(|id| self.trackers.get(*id).is_some_and(Tracker::is_connected))
        };
        let Some(torrent) = self.torrent(key) else { return };
        let Some(session) = torrent.session_mut() else { return };
        let info_hash = session.info_hash();
        let Some(id) = through else {
            session.handle_signal_lost(now, to, offer_id);
            return;
        };
        let message = if is_offer {
            ToTracker::Offer(TargetedOffer {
                info_hash,
                peer_id,
                to_peer_id: to,
                offer_id,
                offer: description,
            })
        } else {
            ToTracker::Answer(Answer { info_hash, peer_id, to_peer_id: to, offer_id, answer: description })
        };
        self.tell(id, &message);
    }

    /// A tracker brings an offer.
    pub(super) fn offer_came(&mut self, now: Time, id: TrackerId, offer: Forwarded) {
        let Some(key) = self.key_of(offer.info_hash).filter(|_| self.direct.is_open()) else { return };
        let brought = &mut self.direct.brought;
        brought.retain(|_, (_, since)| now.since(*since) < BROUGHT_LIFETIME);
        if brought.len() >= MAX_BROUGHT {
            return;
        }
        brought.insert(offer.offer_id, (id, now));
        if let Some(session) = self.session(key) {
            let signal = Signal { offer_id: offer.offer_id, description: offer.description };
            session.handle_signal_came(now, offer.peer_id, signal);
        }
    }

    /// A tracker brings an answer.
    pub(super) fn answer_came(&mut self, answer: &Forwarded) {
        let Some(key) = self.key_of(answer.info_hash) else { return };
        match self.direct.waiting(key, answer.offer_id, answer.peer_id) {
            Some(id) => self.accept(id, answer.peer_id, &answer.description),
            None => log::debug!("{}: an answer to no offer of ours", answer.peer_id),
        }
    }

    /// Something happened to a connection.
    pub(super) fn rtc_event(&mut self, now: Time, id: RtcId, event: RtcEvent) {
        let Some(connection) = self.direct.connections.get_mut(&id) else { return };
        let (key, peer, link) = (connection.key, connection.peer, connection.link);
        match event {
            RtcEvent::Described(description) if connection.role == Role::Spare => {
                connection.offer = Some(description);
                self.announce_offers(now, key);
            }
            RtcEvent::Described(description) => {
                let signal = Signal { offer_id: connection.offer_id, description };
                let session = self.session(key);
                if let (Some(session), Some(peer)) = (session, peer) {
                    session.handle_signal_made(now, peer, signal);
                }
            }
            RtcEvent::Opened => {
                let initiator = connection.role != Role::Answer;
                let link = self.new_link_id();
                if let Some(connection) = self.direct.connections.get_mut(&id) {
                    connection.link = Some(link);
                }
                let room = self.direct.room(id);
                self.open_link(now, link, Link { key, peer, way: Way::Direct(id) }, initiator, room);
            }
            RtcEvent::Data(bytes) => {
                if let Some(link) = link
                    && let Some(session) = self.session_of(link)
                {
                    session.handle_bytes(now, link, bytes);
                }
            }
            RtcEvent::Room => {
                if let Some(link) = link {
                    self.has_room(now, link);
                }
            }
            RtcEvent::Closed(end) => self.connection_ended(now, id, &end),
        }
    }

    fn connection_ended(&mut self, now: Time, id: RtcId, end: &RtcEnd) {
        let Some(connection) = self.direct.connections.remove(&id) else { return };
        log::debug!("{:?}: a direct connection ended: {end:?}", connection.peer);
        if let Some(link) = connection.link {
            self.link_closed(now, link);
        } else if let Some(peer) = connection.peer
            // What has failed is not the newer one.
            && !self.direct.is_trying(connection.key, peer)
            && let Some(session) = self.session(connection.key)
        {
            session.handle_direct_failed(now, peer, end.into());
        }
    }

    /// Gives up offers that nobody answers.
    pub(super) fn direct_deadlines(&mut self, now: Time) {
        let connections = self.direct.connections.iter();
        let due = connections.filter(|(_, connection)| connection.due().is_some_and(|due| due <= now));
        let due: Vec<_> = due.map(|(id, connection)| (*id, connection.key, connection.peer)).collect();
        for (id, key, peer) in due {
            self.direct.close(id);
            if let Some(peer) = peer
                && let Some(session) = self.session(key)
            {
                session.handle_direct_failed(now, peer, DirectFailure::NoAnswer);
            }
        }
    }
}

impl From<RtcError> for DirectFailure {
    fn from(error: RtcError) -> Self {
        match error {
            RtcError::TooMany => Self::TooMany,
            RtcError::Unavailable | RtcError::Refused(_) => Self::Refused,
        }
    }
}

impl From<&RtcEnd> for DirectFailure {
    fn from(end: &RtcEnd) -> Self {
        match end {
            RtcEnd::NoPath | RtcEnd::TimedOut | RtcEnd::Lost | RtcEnd::ByPeer => Self::NoPath,
            RtcEnd::Text | RtcEnd::BadDescription(_) | RtcEnd::Refused(_) => Self::Refused,
        }
    }
}
