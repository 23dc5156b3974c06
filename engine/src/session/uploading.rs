//! Blocks are asked of us: queued, read from the store, and sent as the link takes them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::limits::MAX_BLOCK_BYTES;
use shared::order::sorted;
use shared::wire::extension::encode_dont_have;
use shared::wire::{Bitfield, BlockRequest, Message, PIECE_HEADER_LEN, piece_header};

use super::Session;
use super::incoming::{Offence, offence};
use crate::api::{Action, LinkId, LoadId, Time};
use crate::choker::{Contender, REVIEW_EVERY, REVIEW_SOON, Role};
use crate::peer::{MAX_QUEUED_REQUESTS, Peer};
use crate::uploads::READ_AHEAD;

/// Whom a limit stops goes on up to this much later than it could.
pub(super) const LIMIT_JITTER: Duration = Duration::from_millis(20);

/// Of what is given to links, so much waits in their buffers at a time: what goes out in this time, at the rate measured, …
const BACKLOG_TIME: Duration = Duration::from_millis(250);
/// … and so many bytes, so that the rate can rise.
const LEAST_BACKLOG: usize = 64 * 1024;
/// Who was not served for so long comes first, however common the piece.
const STARVES_AFTER: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn request_came(
        &mut self,
        now: Time,
        link: LinkId,
        block: BlockRequest,
    ) -> Result<(), Offence> {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return Ok(()) };
        if block.len > MAX_BLOCK_BYTES {
            return Err(offence(format!("it asks for {} bytes at once", block.len)));
        }
        let Some(torrent) = &self.torrent else {
            refuse(peer, block);
            return Ok(());
        };
        let span = torrent
            .geometry
            .span(block.piece, block.begin, block.len)
            .ok_or_else(|| offence(format!("it asks for what does not exist: {block:?}")))?;
        if peer.requests.contains(&span) {
            return Ok(());
        }
        let can = torrent.pieces.have().has(span.piece()) && peer.requests.len() < MAX_QUEUED_REQUESTS;
        let may = can && (!peer.am_choking || self.may_have(link, span));
        let Some(peer) = self.swarm.links.get_mut(&link) else { return Ok(()) };
        if may {
            if peer.requests.is_empty() {
                peer.served_at = now;
            }
            peer.requests.push_back(span);
            self.serve_due = true;
            if peer.shown.is_none()
                && span.begin() == 0
                && let Some(super_seeding) = &mut self.super_seeding
            {
                super_seeding.give(span.piece());
            }
        } else {
            refuse(peer, block);
        }
        Ok(())
    }

    pub(super) fn cancel_came(&mut self, link: LinkId, block: BlockRequest) {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        if let Some(place) = peer.requests.iter().position(|span| BlockRequest::from(*span) == block) {
            peer.requests.remove(place);
            // Every request is answered, also one that was taken back (BEP 6).
            refuse(peer, block);
            self.not_had(link, block);
        }
    }

    /// Somebody wants to be served: at once, if there are slots enough for everybody.
    pub(super) fn interest_came(&mut self, now: Time) {
        if self.withholds {
            return;
        }
        let slots = self.choker.slots();
        // One too many is enough to know.
        let contenders = self.swarm.links.values().filter(|peer| is_contender(peer)).take(slots + 1).count();
        if contenders <= slots {
            self.choose_whom_to_serve(now);
        }
    }

    /// Somebody who may have had a slot wants it no more, or is gone.
    pub(super) fn slot_freed(&mut self, now: Time) {
        self.next_review = self.next_review.min(now + REVIEW_SOON);
    }

    /// Serves one of our own from the start while there are slots enough: it need not ask first.
    pub(super) fn unchoke_early(&self, peer: &mut Peer) {
        if peer.am_choking
            && !self.withholds
            && !peer.is_done()
            && self.swarm.links.len() < self.choker.slots()
        {
            peer.am_choking = false;
            peer.say(&Message::Unchoke);
        }
    }

    /// Gives the slots anew.
    pub(super) fn choose_whom_to_serve(&mut self, now: Time) {
        self.wide = true;
        self.next_review = now + REVIEW_EVERY;
        if self.withholds {
            return;
        }
        let complete = self.is_complete();
        let contenders = self.swarm.links.iter().filter(|(_, peer)| is_contender(peer));
        let contenders: Vec<_> = contenders
            .map(|(link, peer)| Contender {
                link: *link,
                bytes: match complete {
                    true => self.spread_by(peer).unwrap_or(peer.uploaded),
                    false => peer.downloaded,
                },
                snubs: peer.snubbed,
                newcomer: peer.has().is_none_or(Bitfield::is_none),
            })
            .collect();
        let role = match complete {
            true if self.super_seeding.is_some() => Role::FirstSeeder,
            true => Role::Seeder,
            false => Role::Downloader,
        };
        let chosen = self.choker.choose(now, role, &contenders, &mut self.rng);
        let mut choked = Vec::new();
        for (link, peer) in self.swarm.links.iter_mut() {
            let choke = !chosen.contains(link);
            // Who is being handed over is served until that is done.
            if choke == peer.am_choking || peer.handshake.is_none() || peer.retiring.is_some() {
                continue;
            }
            peer.am_choking = choke;
            if choke {
                peer.say(&Message::Choke);
                choked.push(*link);
            } else {
                // What waits was counted against its set; now it comes anyway, and the set is as good as before.
                peer.fast_left += peer.requests.iter().map(|span| u64::from(span.len())).sum::<u64>();
                peer.say(&Message::Unchoke);
            }
        }
        for link in choked {
            self.reject_all(link);
        }
    }

    /// Rejects what a peer that is choked now had asked for, but for what it is allowed (BEP 6).
    fn reject_all(&mut self, link: LinkId) {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        for span in std::mem::take(&mut peer.requests) {
            let may = self.may_have(link, span);
            let Some(peer) = self.swarm.links.get_mut(&link) else { return };
            if may {
                peer.requests.push_back(span);
            } else {
                refuse(peer, span.into());
            }
        }
    }

    /// Sends blocks as far as links take them, and has the next ones read: of those that are asked for, the rarest first, so
    /// that what is new spreads, and one after the other, so that it spreads at once.
    ///
    /// What waits in the links' buffers cannot be overtaken any more. So no more is given to them than goes out in
    /// [`BACKLOG_TIME`]; of eight links that share a line each would else take eight times as long for its block.
    pub(super) fn serve(&mut self, now: Time) {
        self.serve_due = false;
        let Some(torrent) = &self.torrent else { return };
        let complete = torrent.is_complete();
        let mut backlog: usize = 0;
        let mut busy = Vec::new();
        let mut oldest: Option<Time> = None;
        let mut waiting: Vec<(bool, bool, u32, Time, usize)> = Vec::new();
        for (place, outline) in self.swarm.links.outlines().iter().enumerate() {
            let (bytes, until) = outline.backlog(now);
            if bytes > 0 {
                backlog += bytes;
                busy.push(place);
                oldest = Some(oldest.map_or(until, |other| other.min(until)));
            }
            let Some(piece) = outline.waits_for else { continue };
            let served = outline.served_at;
            // Who has nothing to be given can be owed nothing.
            let in_debt = outline.in_debt && !complete;
            let starves = now.since(served) >= STARVES_AFTER && !in_debt;
            // Links lie in the order of their ids.
            waiting.push((in_debt, !starves, torrent.picker.availability(piece), served, place));
        }
        // What was given to links and is still there has not gone out.
        let rate = self.up.per_second_without(now, backlog as u64);
        let most = (rate * BACKLOG_TIME.as_secs_f64()) as usize + LEAST_BACKLOG;
        let alone = matches!(waiting[..], [(_, _, _, _, place)] if busy.iter().all(|other| *other == place));
        for (_, _, _, _, place) in sorted(waiting) {
            let link = self.swarm.links.id(place);
            // There is nobody whom a long queue on the only link would keep waiting.
            if backlog >= most && !alone {
                self.read_ahead(link);
                if let Some(time) = oldest {
                    self.limit_ends = Some(self.limit_ends.map_or(time, |before| before.min(time)));
                }
                break;
            }
            backlog += self.serve_at(now, link, if alone { usize::MAX } else { most - backlog });
        }
    }

    /// Sends blocks of up to about so many bytes as far as this link takes them, and has the next ones read. Bytes sent.
    fn serve_at(&mut self, now: Time, link: LinkId, most: usize) -> usize {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return 0 };
        let mut sent = 0;
        while peer.has_room()
            && sent < most
            && let Some(span) = peer.requests.front().copied()
            && self.uploads.has(span)
        {
            let ready = self.limits.may_send_at(now);
            if ready > now {
                // Not quite at once, so that of sessions that share a limit none is always first.
                let time = ready + LIMIT_JITTER.mul_f64(self.rng.f64());
                self.limit_ends = Some(self.limit_ends.map_or(time, |before| before.min(time)));
                break;
            }
            peer.requests.pop_front();
            let mut message = BytesMut::with_capacity(PIECE_HEADER_LEN + span.len() as usize);
            message.extend_from_slice(&piece_header(span));
            self.uploads.append(span, &mut message);
            peer.sent_block(now, message.len());
            peer.served_at = now;
            sent += message.len();
            let bytes = u64::from(span.len());
            self.limits.sent(now, bytes);
            if let Some(allowance) = self.allowance.as_mut().filter(|_| !peer.am_choking) {
                allowance.sent(bytes);
            }
            peer.uploaded += bytes;
            peer.up.add(now, bytes);
            self.uploaded += bytes;
            self.up.add(now, bytes);
            self.actions.push_back(Action::Send { link, bytes: message.freeze() });
        }
        self.read_ahead(link);
        sent
    }

    /// Has the store read what this peer asks for.
    pub(super) fn read_ahead(&mut self, link: LinkId) {
        let (Some(torrent), Some(peer)) = (&self.torrent, self.swarm.links.get(&link)) else { return };
        let (mut ahead, mut begun) = (0, Vec::new());
        for span in &peer.requests {
            let actions = &mut self.actions;
            self.uploads.want(&torrent.geometry, *span, |load, span| {
                begun.extend(Some(span.piece()).filter(|_| span.begin() == 0));
                actions.push_back(Action::Load { load, span });
            });
            ahead += span.len();
            if ahead >= READ_AHEAD {
                break;
            }
        }
        for piece in begun {
            self.suggest(piece);
        }
    }

    /// The store answered a load. A piece that it cannot read is not there: whoever asked for it is told so. Whether that
    /// happened.
    pub(super) fn load_answered(&mut self, now: Time, load: LoadId, data: Option<Bytes>) -> bool {
        let Some(piece) = self.uploads.loaded(load, data) else { return false };
        let Some(torrent) = &mut self.torrent else { return false };
        let was_complete = torrent.is_complete();
        if !torrent.pieces.lost(piece) {
            return false;
        }
        // So it was said, if only by having everything, and is to be taken back.
        self.told_upload_only |= was_complete;
        torrent.picker.offer(piece);
        torrent.note_change_of(piece);
        self.swarm.stir();
        let wanted = torrent.wants(piece);
        self.epoch += 1;
        for peer in self.swarm.links.values_mut() {
            let (lost, kept): (Vec<_>, Vec<_>) =
                peer.requests.drain(..).partition(|span| span.piece() == piece);
            peer.requests = kept.into();
            for span in lost {
                refuse(peer, span.into());
            }
            let their_number = peer.extended.as_ref().and_then(|extended| extended.lt_donthave);
            if let Some(id) = their_number.filter(|_| peer.told_pieces) {
                peer.say(&Message::Extended { id, payload: encode_dont_have(piece.as_u32()) });
            }
            if wanted && peer.has().is_some_and(|has| has.has(piece)) {
                peer.useful += 1;
                peer.show_interest(now, true);
            }
        }
        true
    }
}

/// Says that a block will not come, to peers that know how to hear it (BEP 6).
pub(super) fn refuse(peer: &mut Peer, block: BlockRequest) {
    if peer.is_fast() {
        peer.say(&Message::RejectRequest(block));
    }
}

/// Who wants to be served; our own, served from the start, need not have said so before their first block.
fn is_contender(peer: &Peer) -> bool {
    peer.handshake.is_some()
        && peer.retiring.is_none()
        && (peer.peer_interested
            || (!peer.am_choking && peer.is_own() && peer.uploaded == 0 && !peer.is_done()))
}
