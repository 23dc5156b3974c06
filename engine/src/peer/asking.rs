//! What a peer was asked for: how much at a time, what of it has come, and when it is late.

use std::time::Duration;

use shared::geometry::BLOCK_LEN;
use shared::wire::{Bitfield, Message};
use shared::{BlockSpan, Geometry, PieceIndex};

use super::{MAX_QUEUED_REQUESTS, Peer};
use crate::api::{LinkId, Time};

/// Bytes asked of one of our own peers before its rate is known: the relay is full from the first round trip on.
const OWN_PIPELINE: u32 = 512 * 1024;
/// The same where several serve us, who share [`OWN_PIPELINE`], at least: a block.
const LEAST_OWN_PIPELINE: u32 = 128 * 1024;
/// Bytes asked of a stranger before its rate is known.
const STRANGER_PIPELINE: u32 = 10 * BLOCK_LEN;
/// Most bytes asked of one peer at a time.
const MAX_PIPELINE: u32 = 8 << 20;
/// The pipeline is what arrives in two round trips, but at least in this time: browsers come to their turns late.
const PIPELINE_TIME: Duration = Duration::from_millis(500);
/// Least requests in a pipeline, so that the next is there when one is answered.
const LEAST_REQUESTS: u32 = 2;
/// A pipeline that is at least so long, in bytes, is filled by quarters: several requests in one message cost a browser no more
/// than one. In a shorter one each counts.
const BATCH_FROM: u32 = 1 << 20;
/// So long after its first block a peer's rate is believed, also where it is low.
const RATE_PATIENCE: Duration = Duration::from_secs(2);
/// A request is for what comes in this time at most, so that a slow peer does not hold up the piece for long.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// A peer is silent after this many times the usual time between its blocks, …
const SILENCE_GAPS: u32 = 16;
/// … at least after this time, …
const LEAST_SILENCE: Duration = Duration::from_secs(4);
/// … at most after this, …
const MOST_SILENCE: Duration = Duration::from_secs(30);
/// … and after this one when nothing has ever come from it.
const FIRST_SILENCE: Duration = Duration::from_secs(10);
/// Requests that a peer takes when it does not say how many (libtorrent's default).
const DEFAULT_REQQ: u32 = 250;
/// Pieces that a peer allows us while it chokes us, at most; BEP 6 speaks of ten.
const MAX_ALLOWED: usize = 64;
/// Suggestions of one peer that are remembered, the latest.
const MAX_SUGGESTED: usize = 32;
/// Blocks nobody asked for that are forgiven: some are on the way when requests are cancelled.
const MAX_UNASKED: u32 = 256;

/// A block that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outstanding {
    /// The block.
    pub(crate) span: BlockSpan,
    /// When.
    pub(crate) asked_at: Time,
    /// Nothing else was on the way then, so that its answer shows the round trip.
    alone: bool,
    /// It was cancelled, or asked of others since it did not come: welcome, but not waited for.
    pub(crate) given_up: bool,
    /// It was taken back, to be asked of the peer at this link unless it is on its way.
    pub(crate) recalled_for: Option<LinkId>,
    /// It was taken back from another: it stays here for longer, or would go back and forth.
    pub(crate) handed: bool,
}

impl Peer {
    /// Bytes a second that come from it, once there is reason to believe the number.
    fn known_rate(&self, now: Time) -> Option<f64> {
        let since = self.first_block.filter(|first| now.since(*first) >= RATE_PATIENCE);
        since.map(|_| self.down.per_second(now))
    }

    /// Time from a request to its answer, without the time that the answer itself takes at its rate.
    fn round_trip(&self, now: Time) -> Duration {
        let Some((took, len)) = self.answer else { return Duration::ZERO };
        let rate = self.known_rate(now).filter(|rate| *rate > 0.0);
        let sending = rate.and_then(|rate| Duration::try_from_secs_f64(f64::from(len) / rate).ok());
        took.saturating_sub(sending.unwrap_or_default())
    }

    /// Length of the next block to ask it for, in bytes: as long as both sides take, if it is fast enough for that.
    pub(crate) fn request_len(&self, now: Time) -> u32 {
        if self.snubbed {
            return BLOCK_LEN;
        }
        let Some(rate) = self.known_rate(now) else { return self.block_len() };
        // A float above the limit saturates.
        let bytes = (rate * BLOCK_TIME.as_secs_f64()) as u32;
        (bytes / BLOCK_LEN * BLOCK_LEN).clamp(BLOCK_LEN, self.block_len())
    }

    /// Bytes that should be on the way from it: what its rate brings in two round trips, as far as that is known.
    ///
    /// What is not known is shared among so many `servers`: what is asked of one cannot be had from another that is idle.
    pub(crate) fn pipeline(&self, now: Time, servers: u32) -> u32 {
        if self.snubbed {
            return BLOCK_LEN;
        }
        let time = PIPELINE_TIME.max(self.round_trip(now) * 2);
        // A float above the limit saturates.
        let bytes = (self.down.per_second(now) * time.as_secs_f64()) as u32;
        if self.known_rate(now).is_some() {
            return bytes.clamp(LEAST_REQUESTS * self.request_len(now), MAX_PIPELINE);
        }
        let own = (OWN_PIPELINE / servers.max(1)).max(LEAST_OWN_PIPELINE);
        let first = if self.is_own() { own } else { STRANGER_PIPELINE };
        // At most one more byte for each that came, which doubles it in a round trip: the first blocks say little yet.
        bytes.clamp(first, MAX_PIPELINE.min(first.saturating_add(self.served)))
    }

    /// How long it will take to send what it owes and one block more.
    pub(crate) fn time_to_serve(&self, now: Time) -> Duration {
        // One that has not been asked for anything yet is worth a try.
        let rate = self.down.per_second(now).max(f64::from(BLOCK_LEN));
        let owed = self.outstanding_bytes + self.request_len(now);
        self.round_trip(now) + Duration::from_secs_f64(f64::from(owed) / rate)
    }

    /// It serves us from now on: what it was like before may be long ago.
    pub(crate) fn unchoked_us(&mut self) {
        self.peer_choking = false;
        self.nothing_at = None;
        self.first_block = None;
        self.served = 0;
    }

    /// Whether it has left requests unanswered for longer than it usually takes.
    pub(crate) fn is_silent(&self, now: Time) -> bool {
        let round_trips = self.round_trip(now) * 2;
        let patience = self.gap.map_or(FIRST_SILENCE, |gap| {
            (gap * SILENCE_GAPS + round_trips).clamp(LEAST_SILENCE, MOST_SILENCE)
        });
        self.stalled_for(now) >= patience
    }

    /// Whether enough of the pipeline is free to ask for more.
    pub(crate) fn should_refill(&self, pipeline: u32) -> bool {
        let batch = if pipeline < BATCH_FROM { 0 } else { pipeline / 4 };
        self.outstanding_bytes < pipeline && self.outstanding_bytes <= pipeline - batch
    }

    /// Whether one more request of this length fits.
    pub(crate) fn has_pipeline_room(&self, pipeline: u32) -> bool {
        let reqq = self.extended.as_ref().and_then(|extended| extended.reqq).unwrap_or(DEFAULT_REQQ);
        self.outstanding_bytes < pipeline
            && self.outstanding.len() < reqq.min(MAX_QUEUED_REQUESTS as u32) as usize
    }

    /// Whether it serves us, has something that is wanted, and is believed to be there.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.am_interested
            && (!self.peer_choking || !self.allowed.is_empty())
            && self.doubted.is_none()
            && self.retiring.is_none()
    }

    /// Whether it serves this piece: it has it, and does not choke us or makes an exception.
    pub(crate) fn serves(&self, piece: PieceIndex) -> bool {
        let may = !self.peer_choking || self.allowed.contains(&piece.as_u32());
        may && self.has().is_some_and(|has| has.has(piece))
    }

    /// What it serves while it chokes us.
    pub(crate) fn exceptions(&self, geometry: &Geometry) -> Bitfield {
        let mut pieces = Bitfield::none(geometry.piece_count());
        let allowed = self.allowed.iter().filter_map(|index| geometry.piece(*index));
        for piece in allowed.filter(|piece| self.serves(*piece)) {
            pieces.insert(piece);
        }
        pieces
    }

    /// It allows us a piece while it chokes us.
    pub(crate) fn allow(&mut self, piece: u32) {
        if self.allowed.len() < MAX_ALLOWED {
            self.allowed.insert(piece);
            self.nothing_at = None;
        }
    }

    /// It does not serve this piece after all.
    pub(crate) fn disallow(&mut self, piece: PieceIndex) {
        self.allowed.remove(&piece.as_u32());
    }

    /// It would like to be asked for this piece.
    pub(crate) fn suggest(&mut self, piece: u32) {
        self.suggested.retain(|other| *other != piece);
        if self.suggested.len() == MAX_SUGGESTED {
            self.suggested.pop_front();
        }
        self.suggested.push_back(piece);
    }

    /// What it would like to be asked for, the latest first.
    pub(crate) fn suggestions(&self) -> impl Iterator<Item = u32> {
        self.suggested.iter().rev().copied()
    }

    /// Whether nothing is waited for.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding_bytes == 0
    }

    /// Asks for a block.
    pub(crate) fn ask(&mut self, now: Time, span: BlockSpan) {
        let alone = self.outstanding_bytes == 0;
        self.outstanding.push_back(Outstanding {
            span,
            asked_at: now,
            alone,
            given_up: false,
            recalled_for: None,
            handed: false,
        });
        self.outstanding_bytes += span.len();
        self.say(&Message::Request(span.into()));
    }

    /// Blocks that are waited for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &Outstanding> {
        self.outstanding.iter().filter(|outstanding| !outstanding.given_up)
    }

    /// A block came. As what it had been asked for, if it had.
    pub(crate) fn delivered(&mut self, now: Time, span: BlockSpan) -> Option<Outstanding> {
        let before = std::mem::replace(&mut self.last_block, now);
        self.first_block.get_or_insert(now);
        self.served = self.served.saturating_add(span.len());
        self.down.add(now, span.len().into());
        let outstanding = self.forget(span)?;
        self.snubbed = false;
        let gap = now.since(before.max(outstanding.asked_at));
        self.gap = Some(self.gap.map_or(gap, |usual| (usual * 7 + gap) / 8));
        if outstanding.alone && !outstanding.given_up {
            let answer = (now.since(outstanding.asked_at), span.len());
            self.answer = Some(self.answer.map_or(answer, |least| least.min(answer)));
        }
        Some(outstanding)
    }

    /// Bytes that are waited for.
    pub(crate) fn owes(&self) -> u32 {
        self.outstanding_bytes
    }

    /// Takes a request back for the peer at another link. It is waited for until there is an answer.
    pub(crate) fn recall(&mut self, span: BlockSpan, link: LinkId) {
        let outstanding = self.outstanding.iter_mut().find(|outstanding| outstanding.span == span);
        if let Some(outstanding) = outstanding {
            outstanding.recalled_for = Some(link);
            self.say(&Message::Cancel(span.into()));
        }
    }

    /// What is asked for within these bytes was taken back from another.
    pub(crate) fn mark_handed(&mut self, span: BlockSpan) {
        let within = |outstanding: &&mut Outstanding| {
            outstanding.span.piece() == span.piece()
                && (span.begin()..span.end()).contains(&outstanding.span.begin())
        };
        self.outstanding.iter_mut().filter(within).for_each(|outstanding| outstanding.handed = true);
    }

    /// Counts a block that was not asked for; whether that is one too many.
    pub(crate) fn is_one_too_many(&mut self) -> bool {
        self.unasked += 1;
        self.unasked > MAX_UNASKED
    }

    /// Takes a block off the list of those asked for.
    pub(crate) fn forget(&mut self, span: BlockSpan) -> Option<Outstanding> {
        let place = self.outstanding.iter().position(|outstanding| outstanding.span == span)?;
        let outstanding = self.outstanding.remove(place)?;
        if !outstanding.given_up {
            self.outstanding_bytes -= span.len();
        }
        Some(outstanding)
    }

    /// Takes all blocks off the list; those that were waited for.
    pub(crate) fn forget_all(&mut self) -> Vec<BlockSpan> {
        self.outstanding_bytes = 0;
        self.outstanding
            .drain(..)
            .filter(|outstanding| !outstanding.given_up)
            .map(|outstanding| outstanding.span)
            .collect()
    }

    /// No longer waits for the blocks for which `which` holds; those are returned. They stay on the list, since they may
    /// yet come.
    pub(crate) fn give_up(&mut self, which: impl Fn(&Outstanding) -> bool) -> Vec<BlockSpan> {
        let mut spans = Vec::new();
        for outstanding in self.outstanding.iter_mut().filter(|outstanding| !outstanding.given_up) {
            if which(outstanding) {
                outstanding.given_up = true;
                self.outstanding_bytes -= outstanding.span.len();
                spans.push(outstanding.span);
            }
        }
        // Those that never came must not pile up.
        let mut spare = self.outstanding.iter().filter(|outstanding| outstanding.given_up).count();
        self.outstanding.retain(|outstanding| {
            let drop = outstanding.given_up && spare > MAX_QUEUED_REQUESTS / 2;
            spare -= usize::from(drop);
            !drop
        });
        spans
    }

    /// How long it has left a request unanswered while sending nothing else.
    fn stalled_for(&self, now: Time) -> Duration {
        let oldest = self.awaited().map(|outstanding| outstanding.asked_at).min();
        oldest.map_or(Duration::ZERO, |asked_at| now.since(asked_at.max(self.last_block)))
    }

    /// Says whether it has something we want, if that is news.
    pub(crate) fn show_interest(&mut self, now: Time, interested: bool) {
        // On a link that retires the last word means that everything has come.
        let is_too_early = self.retiring.is_some() && (interested || self.awaited().next().is_some());
        if interested == self.am_interested || is_too_early {
            return;
        }
        self.am_interested = interested;
        self.interested_at = now;
        self.toggles = 0;
        self.say(if interested { &Message::Interested } else { &Message::NotInterested });
    }

    /// Shows interest anew if it has not been answered for long: WebTorrent may have missed it.
    pub(crate) fn insist(&mut self, now: Time, patience: Duration) {
        // Ever more rarely: most of those who choke have their reasons.
        let patience = patience * (1 << self.toggles.min(4));
        if self.am_interested && self.peer_choking && now.since(self.interested_at) >= patience {
            self.interested_at = now;
            self.toggles += 1;
            self.say(&Message::NotInterested);
            self.say(&Message::Interested);
        }
    }
}
