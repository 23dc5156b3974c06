//! Offers and answers, and one session with scripted neighbours that carry them.

use engine::{Action, Found, LinkId, Signal, Transport};
use shared::signal::SessionDescription;
use shared::wire::Message;
use shared::wire::extension::{ExtendedHandshake, Introduction};
use shared::{OfferId, PeerId};

use crate::wire::{Script, stranger_id};
use crate::world::torrent;

pub(crate) fn member(number: u64) -> PeerId {
    let mut random = [0; 12];
    random[..8].copy_from_slice(&number.to_le_bytes());
    PeerId::with_prefix(random)
}

pub(crate) fn offer_id(number: u64) -> OfferId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    OfferId::new(id)
}

fn description(kind: &str) -> SessionDescription {
    SessionDescription { kind: kind.into(), sdp: "v=0".into() }
}

pub(crate) fn signal(number: u64, kind: &str) -> Signal {
    Signal { offer_id: offer_id(number), description: description(kind) }
}

pub(crate) fn carried(kind: &str, from: Option<PeerId>, to: PeerId, number: u64) -> Introduction {
    Introduction::Signal { from, to, offer_id: offer_id(number), description: description(kind) }
}

impl Script {
    /// A relay link to `stranger_id(number)`, opened by the other side, that speaks `enxame_signal` (as its number 7).
    pub(crate) fn neighbour(&mut self, number: u64) -> LinkId {
        self.neighbour_by(number, Transport::Relay, false)
    }

    pub(crate) fn neighbour_by(&mut self, number: u64, transport: Transport, initiator: bool) -> LinkId {
        let (link, id) = (LinkId(number), stranger_id(number));
        self.tell(|session, now| session.handle_link_opened(now, link, transport, Some(id), initiator));
        self.tell(|session, now| session.handle_room(now, link, 1 << 20));
        self.shake(link, id, true);
        let said =
            ExtendedHandshake { enxame_signal: Some(7), rtc: Some(true), ..ExtendedHandshake::default() };
        self.say(link, &[Message::Extended { id: 0, payload: said.encode() }, Message::HaveNone]);
        self.heard(link);
        link
    }

    pub(crate) fn introduce(&mut self, link: LinkId, what: &Introduction) {
        self.say(link, &[Message::Extended { id: 3, payload: what.encode() }]);
    }

    pub(crate) fn introductions(&mut self, link: LinkId) -> Vec<Introduction> {
        let payloads = self.heard(link).into_iter().filter_map(|message| match message {
            Message::Extended { id: 7, payload } => Introduction::decode(&payload).unwrap(),
            _ => None,
        });
        payloads.collect()
    }

    /// What it wanted done of this kind since the last call.
    pub(crate) fn wanted<T>(&mut self, kind: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let wanted = self.actions.iter().filter_map(&kind).collect();
        self.actions.retain(|action| kind(action).is_none());
        wanted
    }

    pub(crate) fn direct_dials(&mut self) -> Vec<PeerId> {
        self.wanted(|action| if let Action::DialDirect { peer } = action { Some(*peer) } else { None })
    }

    /// What was given to the transport.
    pub(crate) fn taken(&mut self) -> Vec<(PeerId, Signal)> {
        self.wanted(|action| match action {
            Action::TakeSignal { from, signal } => Some((*from, signal.clone())),
            _ => None,
        })
    }

    pub(crate) fn told_tracker(&mut self) -> Vec<(PeerId, Signal)> {
        self.wanted(|action| match action {
            Action::TellTracker { to, signal } => Some((*to, signal.clone())),
            _ => None,
        })
    }

    pub(crate) fn made(&mut self, to: PeerId, signal: Signal) {
        self.tell(|session, now| session.handle_signal_made(now, to, signal));
    }

    pub(crate) fn find(&mut self, peer: PeerId, relay: bool) {
        let found = [Found { peer, relay, direct: true }];
        self.tell(|session, now| session.handle_peers_found(now, &found));
    }
}

pub(crate) fn script() -> Script {
    Script::leeching(&torrent(1, 100_000, 65_536))
}
