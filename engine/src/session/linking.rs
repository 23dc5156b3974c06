//! Links open and close; peers are reached for, greeted, and told apart.

use std::time::Duration;

use bytes::Bytes;
use shared::PeerId;
use shared::ids::PEER_ID_PREFIX;
use shared::limits::MAX_BLOCK_BYTES;
use shared::wire::extension::{
    ExtendedHandshake, HANDSHAKE_ID, OUR_ENXAME_SIGNAL, OUR_LT_DONTHAVE, OUR_UT_METADATA,
};
use shared::wire::{Bitfield, Handshake, Message};

use super::Session;
use super::directing::DOUBTFUL_SILENCE;
use super::favouring::end_favour_of;
use crate::api::{Action, CloseReason, LinkId, Notice, Time, Transport};
use crate::peer::{MAX_QUEUED_REQUESTS, Peer};

/// A link that was lost is opened again after this pause by the side that had opened it, …
const REDIAL_OURS: Duration = Duration::from_secs(1);
/// … and after this one by the other, should the first not succeed.
const REDIAL_THEIRS: Duration = Duration::from_secs(4);
/// When a direct link was lost, the relay is dialed by the side that had opened it at once, …
const FALL_BACK_OURS: Duration = Duration::ZERO;
/// … and by the other after this pause.
const FALL_BACK_THEIRS: Duration = Duration::from_secs(2);
/// Of two direct links to one peer that opened so far apart, the earlier is lost if nothing comes over it.
const MUCH_LATER: Duration = Duration::from_secs(10);
/// The tracker is asked for peers this often while there are none, …
const BEG_ALONE: Duration = Duration::from_secs(15);
/// … and this often while there are few.
const BEG_FEW: Duration = Duration::from_secs(60);
/// Whether it may be asked at all is looked at this often.
const BEG_REVIEW: Duration = Duration::from_secs(1);
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
        if now < self.next_beg {
            return;
        }
        if !self.may_beg() {
            // Whether it may takes counting.
            self.next_beg = now + BEG_REVIEW;
            return;
        }
        let peers = self.swarm.peer_count();
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
        let refusal = if self.is_stopped() || !self.may_use(transport) {
            Some(CloseReason::Stopped)
        } else if remote == Some(self.peer_id) || !self.has_room_for(remote) {
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
        let is_trusted = |other: &Peer| other.id.is_some() && other.id == remote && !other.on_probation;
        peer.on_probation = self.may_be_banned_one(now) && !self.swarm.links.values().any(is_trusted);
        let handshake =
            Handshake { info_hash: self.info_hash, peer_id: self.peer_id, extended: true, fast: true };
        peer.say_raw(&handshake.encode());
        if let Some(remote) = remote {
            match transport {
                Transport::Relay => self.swarm.linked(remote),
                Transport::Direct => peer.introduced = self.direct_opened(now, remote, initiator),
            }
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
        if transport == Transport::Relay {
            self.doubt_direct(now, link);
        }
    }

    /// Whether links of this kind are welcome.
    fn may_use(&self, transport: Transport) -> bool {
        match transport {
            Transport::Relay => self.ways.relay,
            Transport::Direct => self.takes_direct(),
        }
    }

    /// Whether one more link fits: a second one to the same peer always does.
    fn has_room_for(&self, remote: Option<PeerId>) -> bool {
        self.swarm.peer_count() < self.max_peers || remote.is_some_and(|remote| self.swarm.is_linked(remote))
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
            enxame_signal: Some(OUR_ENXAME_SIGNAL),
            rtc: Some(self.takes_direct()),
            metadata_size: self.torrent.as_ref().map(|torrent| torrent.info.raw().len() as u32),
            reqq: Some(MAX_QUEUED_REQUESTS as u32),
            upload_only: (self.is_complete() || self.told_upload_only).then_some(self.is_complete()),
            client: Some(self.client.clone()),
            block: Some(MAX_BLOCK_BYTES),
        };
        handshake.encode()
    }

    /// Tells everybody when there is nothing more to want although pieces are missing, or when there is again (BEP 21). That all
    /// pieces are here shows by itself.
    pub(super) fn tell_what_is_wanted(&mut self) {
        let Some(torrent) = &self.torrent else { return };
        let wants_nothing = torrent.is_complete() && !torrent.pieces.have().is_all();
        if wants_nothing == self.told_upload_only || (self.told_upload_only && torrent.is_complete()) {
            return;
        }
        // What is said is not taken back by leaving it out.
        self.told_upload_only = true;
        let payload = self.introduction();
        self.told_upload_only = wants_nothing;
        let greeted =
            |peer: &&mut Peer| peer.greeted && peer.handshake.is_some_and(|handshake| handshake.extended);
        for peer in self.swarm.links.values_mut().filter(greeted) {
            peer.say(&Message::Extended { id: HANDSHAKE_ID, payload: payload.clone() });
        }
    }

    /// Says which pieces are here: one message, exactly once, as soon as the metadata is known.
    pub(super) fn tell_pieces(&self, peer: &mut Peer, fast: bool) {
        let Some(torrent) = self.torrent.as_ref().filter(|_| peer.greeted && !peer.told_pieces) else {
            return;
        };
        let have = torrent.pieces.have();
        let message = match have {
            _ if fast && self.hides_pieces() => Message::HaveNone,
            _ if self.hides_pieces() => Message::Bitfield(Bitfield::none(have.pieces()).to_wire()),
            have if fast && have.is_none() => Message::HaveNone,
            have if fast && have.is_all() => Message::HaveAll,
            have => Message::Bitfield(have.to_wire()),
        };
        peer.say(&message);
        peer.told_pieces = true;
        peer.shown = self.hides_pieces().then(Vec::new);
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
            peer.handshake = Some(handshake);
            self.swarm.links.identify(link, handshake.peer_id);
            self.swarm.is_banned(handshake.peer_id).then_some(CloseReason::BadData)
        };
        if let Some(reason) = refusal {
            self.close(now, link, reason);
            return;
        }
        self.swarm.linked(handshake.peer_id);
        if let Some(mut peer) = self.swarm.links.remove(&link) {
            self.greet(&mut peer, handshake.extended, handshake.fast);
            // A peer that is served goes on being served when it changes links.
            let others = self.swarm.links_to(handshake.peer_id, link);
            if peer.am_choking
                && others.iter().any(|other| self.swarm.links.get(other).is_some_and(|o| !o.am_choking))
            {
                peer.am_choking = false;
                peer.say(&Message::Unchoke);
            }
            self.swarm.links.insert(link, peer);
        }
        self.stirred = true;
        self.keep_one_link(now, link, handshake.peer_id);
    }

    /// Of two links of one kind to one peer, both sides keep the same: the one opened by the side with the lower id; or,
    /// when one side opened both, the later, since that side must have lost the earlier. Direct links that opened far apart
    /// are told apart by whether the earlier still lives: our own make no second one while it does, but strangers do. A
    /// relay link and a direct one are for [`Session::hand_over`] to decide.
    fn keep_one_link(&mut self, now: Time, link: LinkId, id: PeerId) {
        for other in self.swarm.links_to(id, link) {
            let (Some(a), Some(b)) = (self.swarm.links.get(&link), self.swarm.links.get(&other)) else {
                return;
            };
            let both_shaken = a.handshake.is_some() && b.handshake.is_some();
            let apart = a.opened_at().since(b.opened_at()).max(b.opened_at().since(a.opened_at()));
            let spare = match (a.transport, b.transport) {
                (Transport::Direct, Transport::Relay) | (Transport::Relay, Transport::Direct) => None,
                // A direct link that has only opened may never work, or be somebody else's.
                (Transport::Direct, Transport::Direct) if !both_shaken => None,
                (Transport::Direct, Transport::Direct) if apart >= MUCH_LATER => {
                    let (early, late) = (link.min(other), link.max(other));
                    let silent = |peer: &Peer| peer.silent_for(now) >= DOUBTFUL_SILENCE;
                    Some(if self.swarm.links.get(&early).is_some_and(silent) { early } else { late })
                }
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
        peer.take_outbox(now, true, |bytes| self.actions.push_back(Action::Send { link, bytes }));
        self.actions.push_back(Action::CloseLink { link, reason: reason.clone() });
        self.unlink(now, link, &Ending::Closed(reason));
    }

    /// A link ended without our doing.
    pub(super) fn link_lost(&mut self, now: Time, link: LinkId) {
        self.unlink(now, link, &Ending::Lost);
    }

    fn unlink(&mut self, now: Time, link: LinkId, ending: &Ending) {
        let Some(mut peer) = self.swarm.links.remove(&link) else { return };
        self.swarm.stir();
        self.slot_freed(now);
        self.not_taken(end_favour_of(&mut peer));
        if let Some(has) = peer.has() {
            self.gone_with_peer(has);
        }
        self.fetch.peer_left(link);
        self.directs.link_gone(link);
        self.look_for_ways(now);
        self.members_changed(now);
        self.stirred = true;
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
        let others = self.swarm.links_to(id, link);
        let is_direct = peer.transport == Transport::Direct;
        let broke = match ending {
            Ending::Lost => true,
            Ending::Closed(CloseReason::Protocol(_) | CloseReason::TimedOut | CloseReason::BadData) => true,
            Ending::Closed(CloseReason::Redundant | CloseReason::BothSeed | CloseReason::Stopped) => false,
        };
        let was_last = |other: &LinkId| {
            self.swarm.links.get(other).is_none_or(|peer| peer.transport != Transport::Direct)
        };
        if is_direct && broke && others.iter().all(was_last) {
            self.directs.broke(now, id, peer.age(now), &mut self.rng);
        }
        if peer.is_done()
            && let Some(prospect) = self.directs.get_mut(id)
        {
            prospect.complete = true;
        }
        if let Some(other) = others.first().and_then(|other| self.swarm.get_mut(*other)) {
            // What the user is shown is the peer's, whichever link it came by.
            other.downloaded += peer.downloaded;
            other.uploaded += peer.uploaded;
            return;
        }
        if is_direct && !self.swarm.can_be_dialed(id) {
            return;
        }
        if let Some(prospect) = self.directs.get_mut(id) {
            // The relay will show whether it is there still; a connection in the browser is too dear for that.
            prospect.named = false;
        }
        let pause = match (peer.transport, peer.initiator) {
            (Transport::Direct, true) => FALL_BACK_OURS,
            (Transport::Direct, false) => FALL_BACK_THEIRS,
            (Transport::Relay, true) => REDIAL_OURS,
            (Transport::Relay, false) => REDIAL_THEIRS,
        };
        // How a direct link ends says nothing about the relay, but what the peer is says it of both.
        let failed = match ending {
            Ending::Lost => peer.handshake.is_none() && !is_direct,
            Ending::Closed(CloseReason::TimedOut) => !is_direct,
            Ending::Closed(_) => broke,
        };
        self.swarm.unlinked(now, id, pause, failed, &mut self.rng);
        if peer.is_done() {
            self.swarm.mark_complete(id);
        }
    }
}
