//! Blocks are asked for, come, and become pieces; pieces are verified, stored, and announced.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use shared::order::sorted;
use shared::wire::{BlockRequest, Message};
use shared::{BlockSpan, PeerId, PieceIndex};

use super::incoming::{Offence, offence};
use super::uploading::LIMIT_JITTER;
use super::{Session, Store, Torrent};
use crate::api::{Action, LinkId, Notice, StoreOutcome, Time};
use crate::peer::{Outstanding, Peer};
use crate::pieces::{Receipt, Refusal, Unparked, Verdict};

/// When nothing else is left to ask for, blocks that others have owed for this long are asked of idle peers too.
const ENDGAME_AFTER: Duration = Duration::from_millis(500);
/// While there are pieces to come that nobody has yet, idle peers are no sign of the end, and more patience is shown. What is
/// asked twice is sent twice only where it waits in neither's queue when it comes from the other: the cancel is quicker.
const SCARCITY_AFTER: Duration = Duration::from_secs(1);
/// Patience with a slow peer ends here.
const MOST_PATIENCE: Duration = Duration::from_secs(10);
/// Whoever comes within this time after a ban is on probation: until it has sent a whole piece that is right, it is asked for
/// pieces that nobody else has a part in.
const PROBATION: Duration = Duration::from_secs(30 * 60);
/// A suggested piece is taken before one that is rarer by up to this part.
const RARER: u32 = 4;
/// Bytes that an idle peer is asked for in this way at a time.
const ENDGAME_BYTES: u32 = 256 * 1024;

impl Session {
    /// Fills every peer's pipeline; those that have been reliable choose first.
    pub(super) fn ask_for_blocks(&mut self, now: Time) {
        if self.is_slowed(now) {
            return;
        }
        let Some(torrent) = &mut self.torrent else { return };
        if torrent.is_complete() || torrent.pieces.is_congested() {
            return;
        }
        let outlines = self.swarm.links.outlines();
        torrent.servers = outlines.iter().filter(|outline| outline.serves_us).count() as u32;
        let mut idle = false;
        for snubbed in [false, true] {
            for place in 0..self.swarm.links.len() {
                let outline = self.swarm.links.outline(place);
                if outline.snubbed != snubbed || !outline.may_be_asked {
                    continue;
                }
                if outline.nothing_at == Some(self.epoch) {
                    idle |= outline.is_idle;
                    continue;
                }
                let (link, peer) = self.swarm.links.at_mut(place);
                fill(now, link, peer, torrent, self.epoch, &mut self.rng);
                idle |= peer.is_idle();
            }
        }
        let is_the_end = !torrent.pieces.any_open() && torrent.picker.is_exhausted();
        if idle {
            self.recall_for_all(now);
        }
        if idle && is_the_end {
            self.endgame(now);
        }
        self.hurry(now);
    }

    /// Whether a limit forbids to ask for more now; then it is looked at again.
    fn is_slowed(&mut self, now: Time) -> bool {
        let ready = self.limits.may_ask_at(now);
        if ready <= now || self.is_complete() {
            return false;
        }
        let time = ready + LIMIT_JITTER.mul_f64(self.rng.f64());
        self.limit_ends = Some(self.limit_ends.map_or(time, |before| before.min(time)));
        true
    }

    /// Fills one peer's pipeline.
    pub(super) fn ask_for_blocks_at(&mut self, now: Time, link: LinkId) {
        if self.is_slowed(now) {
            return;
        }
        let Some(torrent) = &mut self.torrent else { return };
        if torrent.is_complete() || torrent.pieces.is_congested() {
            return;
        }
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        if peer.may_be_asked() && peer.nothing_at != Some(self.epoch) {
            fill(now, link, peer, torrent, self.epoch, &mut self.rng);
        }
        self.recall_for(now, link);
    }

    /// Asks idle peers for blocks that others owe.
    fn endgame(&mut self, now: Time) {
        let Some(torrent) = &mut self.torrent else { return };
        let least = if torrent.picker.nothing_is_left() { ENDGAME_AFTER } else { SCARCITY_AFTER };
        let owed = self.swarm.links.values().flat_map(|peer| {
            let patience = least.max(patience(now, peer));
            peer.awaited().map(move |owed| (peer, owed, patience))
        });
        let late = owed.filter(|(_, outstanding, patience)| now.since(outstanding.asked_at) >= *patience);
        // Who owes a block on a link that is doubted may be asked for it on another.
        let late = late
            .map(|(peer, owed, _)| (owed.asked_at, owed.span, peer.id.filter(|_| peer.doubted.is_none())));
        let late = sorted(late.collect());
        for (link, peer) in self.swarm.links.iter_mut() {
            if !peer.may_be_asked() || peer.snubbed || !peer.is_idle() {
                continue;
            }
            let mut asked = 0;
            let id = peer.id;
            for (_, span, _) in late.iter().filter(|(_, _, debtor)| debtor.is_none() || *debtor != id) {
                let piece = span.piece();
                let fits = peer.serves(piece) && torrent.pieces.may_ask(piece, *link);
                if asked >= ENDGAME_BYTES || !fits || !torrent.pieces.is_single(*span) {
                    continue;
                }
                asked += ask_in_parts(now, torrent, peer, *span);
            }
        }
    }

    /// These blocks will not come from where they were asked.
    pub(super) fn release(&mut self, spans: &[BlockSpan]) {
        let Some(torrent) = &mut self.torrent else { return };
        for span in spans {
            torrent.pieces.released(*span);
        }
        self.epoch += 1;
    }

    pub(super) fn rejection_came(&mut self, now: Time, link: LinkId, block: BlockRequest) {
        let (Some(peer), Some(torrent)) = (self.swarm.get_mut(link), &mut self.torrent) else { return };
        let Some(span) = torrent.geometry.span(block.piece, block.begin, block.len) else { return };
        let Some(outstanding) = peer.forget(span) else { return };
        if outstanding.recalled_for.is_none() {
            peer.disallow(span.piece());
        }
        if outstanding.given_up {
            return;
        }
        torrent.pieces.released(span);
        self.epoch += 1;
        if let Some(to) = outstanding.recalled_for
            && self.give_recalled(now, span, to)
        {
            return;
        }
        // An unchoked peer that rejects would be asked for the same again at once, and for ever: it must wait for the
        // next change. Unless it was we who took the request back.
        if outstanding.recalled_for.is_none()
            && let Some(peer) = self.swarm.get_mut(link)
        {
            peer.nothing_at = Some(self.epoch);
        }
    }

    pub(super) fn block_came(
        &mut self,
        now: Time,
        link: LinkId,
        piece: u32,
        begin: u32,
        data: Bytes,
    ) -> Result<(), Offence> {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return Ok(()) };
        let Some(from) = peer.id else { return Ok(()) };
        let bytes = data.len() as u64;
        peer.downloaded += bytes;
        self.downloaded += bytes;
        self.limits.came(now, bytes);
        self.down.add(now, bytes);
        let torrent = self.torrent.as_mut();
        let asked = torrent.and_then(|torrent| {
            let span = torrent.geometry.span(piece, begin, data.len() as u32)?;
            Some((torrent, peer.delivered(now, span)?))
        });
        let Some((torrent, Outstanding { span, given_up, recalled_for, .. })) = asked else {
            return if peer.is_one_too_many() {
                Err(offence("it sends blocks that nobody asked for"))
            } else {
                Ok(())
            };
        };
        // The one for which it was taken back has still nothing to do.
        self.wide |= recalled_for.is_some();
        if !torrent.pieces.may_ask(span.piece(), link) {
            return Ok(());
        }
        match torrent.pieces.received(span, data, from, !given_up) {
            Receipt::Useless | Receipt::Part { contested: false } => {}
            Receipt::Part { contested: true } => self.spare(span.piece()),
            Receipt::Whole { contested, data } => {
                let expected = torrent.info.piece_hash(span.piece());
                match &mut self.store {
                    Store::Open => {
                        self.actions.push_back(Action::VerifyAndStore {
                            piece: span.piece(),
                            data,
                            expected,
                        });
                    }
                    Store::Opening(waiting) | Store::Failed(waiting) => waiting.push((span.piece(), data)),
                }
                if contested {
                    self.spare(span.piece());
                }
            }
        }
        Ok(())
    }

    /// Tells peers that were asked for blocks of this piece to keep those that have come meanwhile.
    fn spare(&mut self, piece: PieceIndex) {
        self.wide = true;
        let Some(torrent) = &self.torrent else { return };
        for peer in self.swarm.links.values_mut() {
            let done = |span: BlockSpan| span.piece() == piece && torrent.pieces.is_received(span);
            for span in peer.give_up(|outstanding| done(outstanding.span)) {
                peer.say(&Message::Cancel(span.into()));
            }
        }
    }

    pub(super) fn store_opened(&mut self, now: Time, have: &[bool]) {
        let Store::Opening(waiting) = &mut self.store else { return };
        let Some(torrent) = &mut self.torrent else { return };
        let waiting = std::mem::take(waiting);
        self.store = Store::Open;
        let stored: Vec<_> =
            torrent.geometry.pieces().zip(have).filter(|(_, have)| **have).map(|(piece, _)| piece).collect();
        for (piece, data) in waiting {
            let expected = torrent.info.piece_hash(piece);
            self.actions.push_back(Action::VerifyAndStore { piece, data, expected });
        }
        for piece in stored {
            let Some(torrent) = &mut self.torrent else { return };
            if torrent.pieces.found(piece) {
                torrent.picker.withdraw(piece);
                torrent.note_change_of(piece);
                self.announce_piece(now, piece);
                self.spare(piece);
            }
        }
        if self.is_complete() {
            self.notice(Notice::Completed);
        }
    }

    pub(super) fn piece_answered(&mut self, now: Time, piece: PieceIndex, outcome: StoreOutcome) {
        let Some(torrent) = &mut self.torrent else { return };
        self.epoch += 1;
        match outcome {
            StoreOutcome::Stored => {
                let Some(Verdict { liars, cleared }) = torrent.pieces.stored(piece) else { return };
                let cleared = |peer: &&mut Peer| peer.id.is_some_and(|id| cleared.contains(&id));
                self.swarm.links.values_mut().filter(cleared).for_each(|peer| peer.on_probation = false);
                let was_wanted = torrent.wants(piece);
                torrent.note_change_of(piece);
                self.announce_piece(now, piece);
                if was_wanted && self.is_complete() {
                    self.notice(Notice::Completed);
                }
                for liar in liars {
                    self.ban(now, liar, piece);
                }
            }
            StoreOutcome::HashMismatch => {
                match torrent.pieces.refused(piece, |peer| self.swarm.is_banned(peer)) {
                    Some(Refusal::Liar(liar)) => {
                        torrent.picker.offer(piece);
                        self.ban(now, liar, piece);
                    }
                    Some(Refusal::Suspect(senders)) => self.suspect(piece, &senders),
                    Some(Refusal::Again) => torrent.picker.offer(piece),
                    Some(Refusal::Parked) => self.notice(Notice::HashMismatch { piece }),
                    Some(Refusal::Resumed) | None => {}
                }
            }
            StoreOutcome::Failed(reason) => {
                if torrent.pieces.not_stored(piece) {
                    torrent.picker.offer(piece);
                    self.fail(reason);
                }
            }
        }
        let Some(torrent) = &mut self.torrent else { return };
        let Unparked { resumed, suspect } = torrent.pieces.unpark(|peer| self.swarm.is_banned(peer));
        resumed.into_iter().for_each(|piece| torrent.picker.withdraw(piece));
        if let Some((piece, senders)) = suspect {
            self.suspect(piece, &senders);
        }
    }

    /// One of these sent bytes that are not the torrent's. Until each has sent a piece that is right, it does not work on
    /// pieces of others, so that it spoils nothing but its own.
    fn suspect(&mut self, piece: PieceIndex, senders: &[PeerId]) {
        if let Some(torrent) = &mut self.torrent {
            torrent.picker.offer(piece);
        }
        for peer in self.swarm.links.values_mut() {
            peer.on_probation |= peer.id.is_some_and(|id| senders.contains(&id));
        }
        self.notice(Notice::HashMismatch { piece });
    }

    /// Tells everybody of a piece that is here now.
    fn announce_piece(&mut self, now: Time, piece: PieceIndex) {
        let complete = self.is_complete();
        let wanted = self.torrent.as_ref().is_some_and(|torrent| torrent.wants(piece));
        for peer in self.swarm.links.values_mut() {
            let has = peer.has().is_some_and(|has| has.has(piece));
            // There is no reason to ask for it.
            peer.disallow(piece);
            // The others will hear of it with all the rest.
            if peer.told_pieces {
                // That there is nothing left to want is of interest to everybody.
                peer.say_have(now, piece, !has || complete);
                self.haves_due = self.haves_due.into_iter().chain(peer.haves_due()).min();
            }
            if wanted && has {
                peer.useful = peer.useful.saturating_sub(1);
                peer.show_interest(now, peer.useful > 0);
            }
        }
    }

    /// A peer sent bytes that are not the torrent's.
    fn ban(&mut self, now: Time, liar: PeerId, piece: PieceIndex) {
        if self.swarm.is_banned(liar) {
            return;
        }
        self.swarm.ban(liar);
        self.directs.remove(liar);
        self.last_ban = Some(now);
        if let Some(torrent) = &mut self.torrent {
            // What else it had a part in would fail too, and look like everybody's doing.
            torrent.pieces.discard_from(liar);
        }
        self.epoch += 1;
        self.notice(Notice::Banned { peer: liar, piece });
        self.close_all_links_to(now, liar);
    }

    /// Whether a peer that comes now could be one that was banned lately, under another name.
    pub(super) fn may_be_banned_one(&self, now: Time) -> bool {
        self.last_ban.is_some_and(|last| now.since(last) < PROBATION)
    }
}

/// What it would be surprising to wait for longer: the time in which a peer sends what it owes, at its rate.
fn patience(now: Time, peer: &Peer) -> Duration {
    let owed: u32 = peer.awaited().map(|outstanding| outstanding.span.len()).sum();
    let rate = peer.down.per_second(now);
    if owed == 0 || rate <= 0.0 {
        return Duration::ZERO;
    }
    Duration::from_secs_f64(f64::from(owed) / rate).min(MOST_PATIENCE)
}

/// Asks one peer for a block that somebody else was asked for, in as many parts as it is asked for blocks. Bytes.
pub(super) fn ask_in_parts(now: Time, torrent: &mut Torrent, peer: &mut Peer, span: BlockSpan) -> u32 {
    let mut begin = span.begin();
    while begin < span.end() {
        let len = peer.request_len(now).min(span.end() - begin);
        let Some(part) = torrent.geometry.span(span.piece().as_u32(), begin, len) else { break };
        torrent.pieces.requested(part);
        peer.ask(now, part);
        begin = part.end();
    }
    begin - span.begin()
}

/// Asks one peer for as much as its pipeline takes.
fn fill(now: Time, link: LinkId, peer: &mut Peer, torrent: &mut Torrent, epoch: u64, rng: &mut Rng) {
    // Whatever one that chokes us allows, others do, too.
    let servers = if peer.peer_choking { u32::MAX } else { torrent.servers };
    let pipeline = peer.pipeline(now, servers);
    if !peer.should_refill(pipeline) {
        return;
    }
    while peer.has_pipeline_room(pipeline) {
        let Some(span) = torrent.next_block(now, link, peer, rng) else {
            peer.nothing_at = Some(epoch);
            return;
        };
        torrent.pieces.requested(span);
        peer.ask(now, span);
    }
}

impl Torrent {
    /// What to ask this peer for next: blocks of pieces in flight first, so that they become whole and can be given on.
    fn next_block(&mut self, now: Time, link: LinkId, peer: &mut Peer, rng: &mut Rng) -> Option<BlockSpan> {
        let exceptions = peer.peer_choking.then(|| peer.exceptions(&self.geometry));
        let has = exceptions.as_ref().or_else(|| peer.has())?;
        let len = peer.request_len(now);
        let alone = peer.on_probation;
        for piece in self.urgent().into_iter().filter(|piece| has.has(*piece)) {
            if self.picker.is_on_offer(piece) && self.pieces.can_begin(piece) {
                self.picker.withdraw(piece);
                self.pieces.begin(piece, link, peer.id, alone);
            }
            let span = self.pieces.next_block_of(piece, link, len, alone);
            if span.is_some() {
                return span;
            }
        }
        if let Some(span) = self.pieces.next_block(link, has, len, alone) {
            return Some(span);
        }
        let first = self.pieces.have().is_none();
        // What failed its hash shows who lied as soon as it is there again, most surely from one who has been right.
        let suspect = self.pieces.next_suspect(has, peer.id).filter(|piece| self.picker.is_on_offer(*piece));
        let piece = suspect.or_else(|| match first {
            true => self.picker.any(has, rng),
            false => self.picker.rarest(has, peer.last_begun, rng),
        });
        // What it suggests is cheap for it, unless something is wanted more, or clearly rarer.
        let best = piece.filter(|_| suspect.is_none());
        let suggested = best.and_then(|best| {
            let rarest = self.picker.availability(best);
            let most = if first { u32::MAX } else { rarest + rarest / RARER };
            let mut suggestions = peer.suggestions().filter_map(|index| self.geometry.piece(index));
            suggestions.find(|suggested| {
                self.picker.is_on_offer(*suggested)
                    && has.has(*suggested)
                    && self.picker.priority(*suggested) >= self.picker.priority(best)
                    && self.picker.availability(*suggested) <= most
            })
        });
        let piece = suggested.or(piece).or_else(|| self.pieces.unpark_for(has));
        let Some(piece) = piece else {
            // Whoever is on probation may help with what others began, where there is nothing else.
            return self.pieces.next_block(link, has, len, false).filter(|_| alone);
        };
        if !self.pieces.can_begin(piece) {
            // Memory is full of pieces in flight. If nobody works on one of them, it makes room, lest a peer that has
            // none of them stay idle.
            let idle = self.pieces.least_advanced_idle().filter(|_| peer.is_idle())?;
            self.pieces.drop_begun(idle);
            self.picker.offer(idle);
            if !self.pieces.can_begin(piece) {
                return None;
            }
        }
        self.picker.withdraw(piece);
        self.pieces.begin(piece, link, peer.id, alone);
        let span = self.pieces.next_block(link, has, len, alone);
        peer.last_begun = Some(piece);
        span
    }
}
