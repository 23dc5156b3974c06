//! Links open and close; peers are reached for, greeted, and told apart.

use std::time::Duration;

use bytes::Bytes;
use shared::PeerId;
use shared::ids::PEER_ID_PREFIX;
use shared::limits::MAX_BLOCK_BYTES;
use shared::wire::extension::{ExtendedHandshake, HANDSHAKE_ID, OUR_LT_DONTHAVE, OUR_UT_METADATA};
use shared::wire::{Handshake, Message};

use super::Session;
use crate::api::{Action, CloseReason, LinkId, Notice, Time, Transport};
use crate::peer::{MAX_QUEUED_REQUESTS, Peer};

/// A link that was lost is opened again after this pause by the side that had opened it, …
const REDIAL_OURS: Duration = Duration::from_secs(1);
/// … and after this one by the other, should the first not succeed.
const REDIAL_THEIRS: Duration = Duration::from_secs(4);
/// The tracker is asked for peers this often while there are none, …
const BEG_ALONE: Duration = Duration::from_secs(15);
/// … and this often while there are few.
const BEG_FEW: Duration = Duration::from_secs(60);
/// So many peers are few.
const FEW_PEERS: usize = 3;

/// How a link ended.
enum Ending {
    /// By the other side, or it broke.
    Lost,
    /// By us.
    Closed(CloseReason),
}

impl Session {
    /// Reaches for peers.
    pub(super) fn dial(&mut self, now: Time) {
        let complete = self.is_complete();
        for peer in self.swarm.dial(now, self.max_peers, complete, &mut self.rng) {
            self.actions.push_back(Action::Dial { peer });
        }
    }

    /// Asks for more peers, from time to time.
    pub(super) fn beg(&mut self, now: Time) {
        if now < self.next_beg || !self.may_beg() {
            return;
        }
        let peers = self.swarm.links.len();
        let alone = peers == 0 && !self.swarm.has_candidates(false);
        self.next_beg = now + if peers == 0 { BEG_ALONE } else { BEG_FEW };
        if alone || (1..=FEW_PEERS).contains(&peers) {
            self.notice(Notice::WantPeers);
        }
    }

    pub(super) fn link_opened(
        &mut self,
        now: Time,
        link: LinkId,
        transport: Transport,
        remote: Option<PeerId>,
        initiator: bool,
    ) {
        if self.swarm.links.contains_key(&link) {
            return;
        }
        let refusal = if self.paused {
            Some(CloseReason::Stopped)
        } else if remote == Some(self.peer_id) || self.swarm.links.len() >= self.max_peers {
            Some(CloseReason::Redundant)
        } else if remote.is_some_and(|remote| self.swarm.is_banned(remote)) {
            Some(CloseReason::BadData)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.actions.push_back(Action::CloseLink { link, reason });
            return;
        }
        let mut peer = Peer::new(now, transport, remote, initiator);
        let handshake =
            Handshake { info_hash: self.info_hash, peer_id: self.peer_id, extended: true, fast: true };
        peer.say_raw(&handshake.encode());
        if let Some(remote) = remote {
            self.swarm.linked(remote);
        }
        // Our own program has the extensions: there is no need to wait half a round trip for its handshake to say so.
        let is_own = remote.is_some_and(|remote| remote.as_bytes().starts_with(&PEER_ID_PREFIX[..3]));
        if is_own {
            self.greet(&mut peer, true, true);
            self.unchoke_early(&mut peer);
        }
        self.swarm.links.insert(link, peer);
        if let Some(remote) = remote {
            self.keep_one_link(now, link, remote);
        }
    }

    /// Says what belongs behind the handshakes: the extended handshake, and which pieces are here.
    pub(super) fn greet(&self, peer: &mut Peer, extended: bool, fast: bool) {
        if peer.greeted {
            return;
        }
        peer.greeted = true;
        if extended {
            peer.say(&Message::Extended { id: HANDSHAKE_ID, payload: self.introduction() });
        }
        self.tell_pieces(peer, fast);
    }

    /// Our extended handshake.
    pub(super) fn introduction(&self) -> Bytes {
        let handshake = ExtendedHandshake {
            ut_metadata: Some(OUR_UT_METADATA),
            lt_donthave: Some(OUR_LT_DONTHAVE),
            enxame_signal: None,
            rtc: None,
            metadata_size: self.torrent.as_ref().map(|torrent| torrent.info.raw().len() as u32),
            reqq: Some(MAX_QUEUED_REQUESTS as u32),
            client: Some(self.client.clone()),
            block: Some(MAX_BLOCK_BYTES),
        };
        handshake.encode()
    }

    /// Says which pieces are here: one message, exactly once, as soon as the metadata is known.
    pub(super) fn tell_pieces(&self, peer: &mut Peer, fast: bool) {
        let Some(torrent) = self.torrent.as_ref().filter(|_| peer.greeted && !peer.told_pieces) else {
            return;
        };
        let have = torrent.pieces.have();
        let message = match have {
            have if fast && have.is_none() => Message::HaveNone,
            have if fast && have.is_all() => Message::HaveAll,
            have => Message::Bitfield(have.to_wire()),
        };
        peer.say(&message);
        peer.told_pieces = true;
    }

    /// Serves one of our own from the start while there are slots enough: it need not ask first.
    pub(super) fn unchoke_early(&self, peer: &mut Peer) {
        if peer.am_choking && self.swarm.links.len() <= self.choker.slots() {
            peer.am_choking = false;
            peer.say(&Message::Unchoke);
        }
    }

    /// Checks who is there.
    pub(super) fn handshake_came(&mut self, now: Time, link: LinkId, handshake: Handshake) {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        let refusal = if handshake.info_hash != self.info_hash {
            Some(CloseReason::Protocol(format!("it speaks about another torrent, {}", handshake.info_hash)))
        } else if handshake.peer_id == self.peer_id {
            Some(CloseReason::Redundant)
        } else if peer.id.is_some_and(|id| id != handshake.peer_id) {
            Some(CloseReason::Protocol("its handshake names another peer than its transport".into()))
        } else {
            peer.id = Some(handshake.peer_id);
            peer.handshake = Some(handshake);
            self.swarm.is_banned(handshake.peer_id).then_some(CloseReason::BadData)
        };
        if let Some(reason) = refusal {
            self.close(now, link, reason);
            return;
        }
        self.swarm.linked(handshake.peer_id);
        if let Some(mut peer) = self.swarm.links.remove(&link) {
            self.greet(&mut peer, handshake.extended, handshake.fast);
            self.swarm.links.insert(link, peer);
        }
        self.keep_one_link(now, link, handshake.peer_id);
    }

    /// Of several links to one peer, keeps the best: a direct one, once its handshake is done, before a relayed one. Of two
    /// alike, both sides keep the same: the one opened by the side with the lower id; or, when one side opened both, the
    /// later, since that side must have lost the earlier.
    fn keep_one_link(&mut self, now: Time, link: LinkId, id: PeerId) {
        for other in self.swarm.links_to(id, link) {
            let (Some(a), Some(b)) = (self.swarm.links.get(&link), self.swarm.links.get(&other)) else {
                return;
            };
            let spare = match (a.transport, b.transport) {
                (Transport::Direct, Transport::Relay) if a.handshake.is_some() => Some(other),
                (Transport::Relay, Transport::Direct) if b.handshake.is_some() => Some(link),
                (Transport::Direct, Transport::Relay) | (Transport::Relay, Transport::Direct) => None,
                _ if a.initiator == b.initiator => Some(link.min(other)),
                _ => Some(if a.initiator == (self.peer_id < id) { other } else { link }),
            };
            if let Some(spare) = spare {
                self.close(now, spare, CloseReason::Redundant);
            }
        }
    }

    /// Ends a link.
    pub(super) fn close(&mut self, now: Time, link: LinkId, reason: CloseReason) {
        let Some(peer) = self.swarm.get_mut(link) else { return };
        // What has been said already may matter to the other side, and comes before the end.
        for bytes in peer.take_outbox(now) {
            self.actions.push_back(Action::Send { link, bytes });
        }
        self.actions.push_back(Action::CloseLink { link, reason: reason.clone() });
        self.unlink(now, link, &Ending::Closed(reason));
    }

    /// A link ended without our doing.
    pub(super) fn link_lost(&mut self, now: Time, link: LinkId) {
        self.unlink(now, link, &Ending::Lost);
    }

    fn unlink(&mut self, now: Time, link: LinkId, ending: &Ending) {
        let Some(mut peer) = self.swarm.links.remove(&link) else { return };
        self.fetch.peer_left(link);
        if let Some(torrent) = &mut self.torrent {
            for span in peer.forget_all() {
                torrent.pieces.released(span);
            }
            if let Some(has) = peer.has() {
                torrent.picker.peer_left(has);
            }
            self.epoch += 1;
        }
        self.drop_owned(link);
        if self.swarm.links.is_empty() {
            self.next_beg = self.next_beg.min(now + REDIAL_OURS);
        }
        let Some(id) = peer.id.filter(|id| *id != self.peer_id) else { return };
        if !self.swarm.links_to(id, link).is_empty() {
            return;
        }
        let pause = if peer.initiator { REDIAL_OURS } else { REDIAL_THEIRS };
        let failed = match ending {
            Ending::Lost => peer.handshake.is_none(),
            Ending::Closed(CloseReason::Protocol(_) | CloseReason::TimedOut | CloseReason::BadData) => true,
            Ending::Closed(CloseReason::Redundant | CloseReason::BothSeed | CloseReason::Stopped) => false,
        };
        self.swarm.unlinked(now, id, pause, failed, &mut self.rng);
        if peer.is_complete() {
            self.swarm.mark_complete(id);
        }
    }
}
