//! One session, and at each of its links a peer whose every word is scripted.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine::{Action, CloseReason, Content, Found, LinkId, Session, SessionConfig, Time, Transport};
use shared::wire::extension::ExtendedHandshake;
use shared::wire::{Decoder, HANDSHAKE_LEN, Handshake, Message};
use shared::{InfoHash, PeerId};

use crate::world::{BOTH_WAYS, Torrent};

pub(crate) const OUR_ID: PeerId = PeerId::new(*b"-EX0100-ourselves...");

/// A session under a script.
pub(crate) struct Script {
    pub(crate) now: Time,
    pub(crate) session: Session,
    pub(crate) info_hash: InfoHash,
    /// What it wanted done, but for what was sent and closed.
    pub(crate) actions: Vec<Action>,
    said: Vec<(LinkId, Bytes)>,
    pub(crate) closed: Vec<(LinkId, CloseReason)>,
    decoders: std::collections::BTreeMap<LinkId, (Decoder, bool)>,
}

impl Script {
    pub(crate) fn new(torrent: &Torrent, content: Content) -> Self {
        let info_hash = torrent.info.info_hash();
        let config = SessionConfig { content, ways: BOTH_WAYS, ..SessionConfig::new(info_hash, OUR_ID) };
        let session = Session::new(Time::default(), config, 1).unwrap();
        Self {
            now: Time::default(),
            session,
            info_hash,
            actions: Vec::new(),
            said: Vec::new(),
            closed: Vec::new(),
            decoders: Default::default(),
        }
    }

    pub(crate) fn seeding(torrent: &Torrent) -> Self {
        Self::new(torrent, Content::Known { info: torrent.info.raw().clone(), have: None })
    }

    /// It has everything and gives nothing.
    pub(crate) fn withholding(torrent: &Torrent) -> Self {
        let content = Content::Known { info: torrent.info.raw().clone(), have: None };
        let new = SessionConfig::new(torrent.info.info_hash(), OUR_ID);
        let config = SessionConfig { content, ways: BOTH_WAYS, upload: false, ..new };
        Self { session: Session::new(Time::default(), config, 1).unwrap(), ..Self::seeding(torrent) }
    }

    /// The first of its swarm that has everything.
    pub(crate) fn first_seeder(torrent: &Torrent) -> Self {
        let info_hash = torrent.info.info_hash();
        let content = Content::Known { info: torrent.info.raw().clone(), have: None };
        let new = SessionConfig::new(info_hash, OUR_ID);
        let config = SessionConfig { content, ways: BOTH_WAYS, first_seeder: true, ..new };
        Self { session: Session::new(Time::default(), config, 1).unwrap(), ..Self::seeding(torrent) }
    }

    pub(crate) fn leeching(torrent: &Torrent) -> Self {
        let none = vec![false; torrent.info.geometry().piece_count() as usize];
        Self::new(torrent, Content::Known { info: torrent.info.raw().clone(), have: Some(none) })
    }

    /// Tells the session something.
    pub(crate) fn tell(&mut self, what: impl FnOnce(&mut Session, Time)) {
        what(&mut self.session, self.now);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Send { link, bytes } => self.said.push((link, bytes)),
                Action::CloseLink { link, reason } => self.closed.push((link, reason)),
                action => self.actions.push(action),
            }
        }
    }

    /// Time passes, deadlines are kept.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.tell(|session, now| session.handle_timeout(now));
            let next = self.session.deadline();
            assert!(next.is_none_or(|next| next > self.now), "the deadline {deadline:?} does not pass");
        }
        self.now = end;
    }

    /// A stranger links and shakes hands.
    pub(crate) fn stranger(&mut self, number: u64, fast: bool) -> LinkId {
        let link = self.link(number, None);
        self.shake(link, stranger_id(number), fast);
        link
    }

    /// One of our own links, shakes hands, and says what we say.
    pub(crate) fn own(&mut self, number: u64) -> LinkId {
        let link = self.stranger(number, true);
        let said =
            ExtendedHandshake { block: Some(131_072), ut_metadata: Some(1), ..ExtendedHandshake::default() };
        self.say(link, &[Message::Extended { id: 0, payload: said.encode() }]);
        link
    }

    pub(crate) fn link(&mut self, number: u64, remote: Option<PeerId>) -> LinkId {
        let link = LinkId(number);
        self.tell(|session, now| {
            session.handle_link_opened(now, link, Transport::Relay, remote, false);
            session.handle_room(now, link, 1 << 20);
        });
        link
    }

    pub(crate) fn shake(&mut self, link: LinkId, peer_id: PeerId, fast: bool) {
        let handshake = Handshake { info_hash: self.info_hash, peer_id, extended: true, fast };
        self.say_bytes(link, &handshake.encode());
    }

    pub(crate) fn say(&mut self, link: LinkId, messages: &[Message]) {
        let mut bytes = BytesMut::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        self.say_bytes(link, &bytes);
    }

    /// Sends a block that was asked for: zeros.
    pub(crate) fn give(&mut self, link: LinkId, block: shared::wire::BlockRequest) {
        let data = vec![0; block.len as usize].into();
        self.say(link, &[Message::Piece { piece: block.piece, begin: block.begin, data }]);
    }

    pub(crate) fn say_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.tell(|session, now| session.handle_bytes(now, link, bytes));
    }

    /// The sends to this link since the last call, each as it was made.
    pub(crate) fn sends(&mut self, link: LinkId) -> Vec<Bytes> {
        let (to_link, others) = std::mem::take(&mut self.said).into_iter().partition(|(to, _)| *to == link);
        self.said = others;
        let to_link: Vec<(LinkId, Bytes)> = to_link;
        to_link.into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// What the session said to this link since the last call, behind its handshake.
    pub(crate) fn heard(&mut self, link: LinkId) -> Vec<Message> {
        let sends = self.sends(link);
        let (decoder, shaken) = self.decoders.entry(link).or_default();
        for bytes in sends {
            decoder.push(bytes);
        }
        if !*shaken && decoder.buffered() >= HANDSHAKE_LEN {
            decoder.handshake().unwrap().unwrap();
            *shaken = true;
        }
        let mut messages = Vec::new();
        while let Some(message) = decoder.next().unwrap() {
            messages.push(message);
        }
        messages
    }

    pub(crate) fn close_reason(&self, link: LinkId) -> Option<&CloseReason> {
        self.closed.iter().find(|(closed, _)| *closed == link).map(|(_, reason)| reason)
    }

    /// Ended for breaking the protocol.
    #[track_caller]
    pub(crate) fn assert_protocol_close(&self, link: LinkId) {
        let reason = self.close_reason(link);
        assert!(matches!(reason, Some(CloseReason::Protocol(_))), "{link:?} closed with {reason:?}");
    }

    /// The session stands still: this link was closed, another is closed as it opens, and nobody is reached for.
    #[track_caller]
    pub(crate) fn assert_takes_no_links(&mut self, before: LinkId) {
        assert_eq!(self.close_reason(before), Some(&CloseReason::Stopped));
        let during = self.link(2, Some(stranger_id(2)));
        assert_eq!(self.close_reason(during), Some(&CloseReason::Stopped));
        self.tell(|session, now| session.handle_peers_found(now, &relayed(&[stranger_id(3)])));
        self.wait(Duration::from_secs(100));
        assert!(self.actions.is_empty());
    }

    #[track_caller]
    pub(crate) fn assert_open(&self, link: LinkId) {
        assert_eq!(self.close_reason(link), None, "{link:?}");
    }
}

pub(crate) fn stranger_id(number: u64) -> PeerId {
    let mut id = *b"-WW0200-000000000000";
    id[8..16].copy_from_slice(&number.to_be_bytes());
    PeerId::new(id)
}

/// Peers as a tracker names them that take relay channels.
pub(crate) fn relayed(peers: &[PeerId]) -> Vec<Found> {
    peers.iter().map(|peer| Found { peer: *peer, relay: true, direct: false }).collect()
}

pub(crate) fn requests(messages: &[Message]) -> Vec<shared::wire::BlockRequest> {
    messages
        .iter()
        .filter_map(|message| if let Message::Request(block) = message { Some(*block) } else { None })
        .collect()
}
