//! One remote peer at one link: where the conversation stands, what was asked in either direction, and what is to be
//! said next.

mod outline;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::geometry::BLOCK_LEN;
use shared::limits::MAX_BLOCK_BYTES;
use shared::order::SortedSet;
use shared::wire::extension::ExtendedHandshake;
use shared::wire::{Bitfield, Decoder, Handshake, Message};
use shared::{BlockSpan, Geometry, PeerId, PieceIndex};

use crate::api::{LinkId, Time, Transport};
use crate::introductions::Neighbour;
use crate::rate::Rate;
pub(crate) use outline::Outline;

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
/// Requests of one peer that are queued here; what comes above is rejected. Told to the peer (`reqq`, BEP 10).
pub(crate) const MAX_QUEUED_REQUESTS: usize = 1024;
/// HAVEs for pieces that come before the metadata, and so before they can be checked.
const MAX_EARLY_HAVES: usize = 16 * 1024;
/// Pieces that a peer allows us while it chokes us, at most; BEP 6 speaks of ten.
const MAX_ALLOWED: usize = 64;
/// Suggestions of one peer that are remembered, the latest.
const MAX_SUGGESTED: usize = 32;
/// HAVEs wait this long for company.
const HAVE_DELAY: Duration = Duration::from_millis(50);
/// This many HAVEs do not wait.
const MANY_HAVES: usize = 64;
/// Bytes that go into one `Send`, unless a single message is longer.
const SEND_LEN: usize = 64 * 1024;
/// What is sent at once and is no longer than this is copied out of the outbox.
const SMALL: usize = 1024;
/// Bytes that are sent to a peer although its link has no room, since they are not blocks: far more than a large torrent's
/// bitfield, metadata and HAVEs. A peer that asks and asks and never reads would otherwise fill the memory.
const MAX_UNREAD: usize = 4 << 20;
/// A link's buffer is taken to be empty so long after the last block, if the link does not say so before: longer than the blocks
/// that share a line take, of which no more are given to links than go out in a quarter of this.
const BACKLOG_BELIEVED: Duration = Duration::from_secs(1);
/// Who has taken more than so many times what it gave, …
const DEBT_TIMES: u64 = 2;
/// … and this much, in bytes, is in debt: two of the longest blocks, so that whoever is new has something to give in return.
const DEBT_CREDIT: u64 = 256 * 1024;
/// Blocks nobody asked for that are forgiven: some are on the way when requests are cancelled.
const MAX_UNASKED: u32 = 256;

/// What a peer said that it has, before the metadata tells how many pieces there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// HAVE_ALL.
    All,
    /// HAVE_NONE.
    None,
    /// BITFIELD.
    Bits(Bytes),
}

/// Which pieces a peer has.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// As it said, unchecked: the metadata is not known.
    Unchecked {
        /// Its first word.
        claim: Option<Claim>,
        /// What it said behind that.
        haves: Vec<u32>,
    },
    /// Checked against the torrent.
    Known(Bitfield),
}

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
    /// It was taken back from another: it stays here now, or would go back and forth for ever.
    pub(crate) handed: bool,
}

/// One remote peer at one link.
///
/// Most of what happens on a link is that a message comes, and nearly all others of these lie in memory that no cache holds by
/// then. So the fields stand in the order in which they are used together: what every message needs, what is to be said, what was
/// asked for, and then what is seldom looked at.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Peer {
    /// How it is reached.
    pub(crate) transport: Transport,
    /// Whether it was this side that opened the link.
    pub(crate) initiator: bool,
    /// A neighbour carried the offer and the answer from which this link came.
    pub(crate) introduced: bool,
    /// Our extended handshake went out.
    pub(crate) greeted: bool,
    /// It was told which pieces are here.
    pub(crate) told_pieces: bool,
    /// We do not serve it.
    pub(crate) am_choking: bool,
    /// It was told that it has something we want.
    pub(crate) am_interested: bool,
    /// It does not serve us.
    pub(crate) peer_choking: bool,
    /// It wants something we have.
    pub(crate) peer_interested: bool,
    /// It left requests unanswered; one block at a time is risked until it delivers.
    pub(crate) snubbed: bool,
    /// It came soon after somebody was banned, and could be the same: it has yet to send a whole piece that is right.
    pub(crate) on_probation: bool,
    /// Pieces it has that are missing here.
    pub(crate) useful: u32,
    outstanding_bytes: u32,
    /// Bytes that came since it began to serve us, as far as they can be counted.
    served: u32,
    /// Interest was shown anew this often, since it went on choking.
    toggles: u32,
    unasked: u32,
    last_heard: Time,
    last_sent: Time,
    /// Since when the other side behaves as if this link were dead.
    pub(crate) doubted: Option<Time>,
    /// Since when nothing is asked for on this link any more: another to the same peer has taken over.
    pub(crate) retiring: Option<Time>,
    /// The latest state of the pieces in which there was nothing to ask it for.
    pub(crate) nothing_at: Option<u64>,
    /// When it may be worth the while to look for a request that is taken back for it.
    pub(crate) recalls_from: Time,
    /// Its handshake.
    pub(crate) handshake: Option<Handshake>,
    /// Which pieces it has.
    pub(crate) pieces: Pieces,
    /// What arrived and is not understood yet.
    pub(crate) decoder: Decoder,

    out: BytesMut,
    full: Vec<Bytes>,
    haves: Vec<PieceIndex>,
    haves_due: Option<Time>,
    /// Blocks it asked for, in order.
    pub(crate) requests: VecDeque<BlockSpan>,
    room: usize,
    /// The most room that the link ever had.
    most_room: usize,
    /// When it was sent a block last, or first wanted one.
    pub(crate) served_at: Time,
    /// When the last block went out.
    block_sent: Time,
    /// Bytes sent beyond the room since there was some.
    unread: usize,
    /// Pieces that it serves also while it chokes us (BEP 6), unchecked.
    allowed: SortedSet<u32>,

    outstanding: VecDeque<Outstanding>,
    last_block: Time,
    /// The first block since it began to serve us.
    first_block: Option<Time>,
    /// Usual time between two of its blocks.
    gap: Option<Duration>,
    /// The shortest time in which it answered a request when nothing else was on the way, and that block's length, in bytes.
    answer: Option<(Duration, u32)>,
    /// Blocks received.
    pub(crate) down: Rate,
    /// Bytes of blocks received.
    pub(crate) downloaded: u64,

    /// Who it is: as the transport said, or its handshake.
    pub(crate) id: Option<PeerId>,
    /// What its extended handshake said.
    pub(crate) extended: Option<ExtendedHandshake>,
    opened_at: Time,
    interested_at: Time,
    /// Pieces that are cheap for it to serve (BEP 6), unchecked.
    suggested: VecDeque<u32>,
    /// The piece that was begun with it last: its neighbours are the cheapest for it to serve.
    pub(crate) last_begun: Option<PieceIndex>,
    /// It was told of these alone, though there are more (super-seeding).
    pub(crate) shown: Option<Vec<PieceIndex>>,
    /// Metadata bytes sent to it.
    pub(crate) metadata_sent: u64,
    /// Since when both sides have had everything.
    pub(crate) both_seed_since: Option<Time>,
    /// Blocks sent.
    pub(crate) up: Rate,
    /// Bytes of blocks sent.
    pub(crate) uploaded: u64,
    /// What it says about others, and we to it.
    pub(crate) neighbour: Neighbour,
}

impl Peer {
    /// A link that has just opened.
    pub(crate) fn new(now: Time, transport: Transport, id: Option<PeerId>, initiator: bool) -> Self {
        Self {
            transport,
            initiator,
            id,
            opened_at: now,
            retiring: None,
            doubted: None,
            introduced: false,
            neighbour: Neighbour::new(now),
            decoder: Decoder::new(),
            handshake: None,
            greeted: false,
            extended: None,
            pieces: Pieces::Unchecked { claim: None, haves: Vec::new() },
            useful: 0,
            told_pieces: false,
            shown: None,
            am_choking: true,
            am_interested: false,
            interested_at: now,
            toggles: 0,
            peer_choking: true,
            peer_interested: false,
            allowed: SortedSet::new(),
            suggested: VecDeque::new(),
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            last_block: now,
            first_block: None,
            served: 0,
            gap: None,
            snubbed: false,
            on_probation: false,
            nothing_at: None,
            last_begun: None,
            answer: None,
            unasked: 0,
            recalls_from: now,
            requests: VecDeque::new(),
            room: 0,
            most_room: 0,
            served_at: now,
            unread: 0,
            metadata_sent: 0,
            out: BytesMut::new(),
            full: Vec::new(),
            haves: Vec::new(),
            haves_due: None,
            last_heard: now,
            last_sent: now,
            block_sent: now,
            both_seed_since: None,
            down: Rate::default(),
            up: Rate::default(),
            downloaded: 0,
            uploaded: 0,
        }
    }

    // What it is.

    /// Both sides know the fast extension (BEP 6); ours always does.
    pub(crate) fn is_fast(&self) -> bool {
        self.handshake.is_some_and(|handshake| handshake.fast)
    }

    /// It is this program, so blocks may be longer than strangers take.
    pub(crate) fn is_own(&self) -> bool {
        self.block_len() > BLOCK_LEN
    }

    /// The number under which it takes `enxame_signal` messages, once its handshake has come.
    pub(crate) fn signal_number(&self) -> Option<u8> {
        self.extended.as_ref().filter(|_| self.handshake.is_some())?.enxame_signal
    }

    /// Whether it says that it takes direct links.
    pub(crate) fn takes_direct(&self) -> bool {
        self.extended.as_ref().and_then(|extended| extended.rtc) == Some(true)
    }

    /// Whether its extended handshake is yet to come.
    pub(crate) fn may_yet_introduce_itself(&self) -> bool {
        self.extended.is_none() && self.handshake.is_none_or(|handshake| handshake.extended)
    }

    /// Longest block to ask it for, in bytes.
    pub(crate) fn block_len(&self) -> u32 {
        let agreed = self.extended.as_ref().and_then(|extended| extended.block);
        agreed.unwrap_or(BLOCK_LEN).min(MAX_BLOCK_BYTES)
    }

    /// Which pieces it has, if that is known.
    pub(crate) fn has(&self) -> Option<&Bitfield> {
        match &self.pieces {
            Pieces::Known(has) => Some(has),
            Pieces::Unchecked { .. } => None,
        }
    }

    /// Whether it has every piece.
    pub(crate) fn is_complete(&self) -> bool {
        self.has().is_some_and(Bitfield::is_all)
    }

    /// Whether it wants nothing more: it has every piece, or says that it has all it wants (BEP 21).
    pub(crate) fn is_done(&self) -> bool {
        self.is_complete() || self.extended.as_ref().is_some_and(|said| said.upload_only == Some(true))
    }

    /// It said that it has this piece before the torrent is known. Those above a bound are forgotten, at the price of not
    /// asking it for them.
    pub(crate) fn early_have(&mut self, piece: u32) {
        if let Pieces::Unchecked { claim, haves } = &mut self.pieces {
            claim.get_or_insert(Claim::None);
            if haves.len() < MAX_EARLY_HAVES {
                haves.push(piece);
            }
        }
    }

    /// Checks what it said to have, now that the torrent is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_pieces(&mut self, geometry: &Geometry) -> Result<(), String> {
        let count = geometry.piece_count();
        let Pieces::Unchecked { claim: Some(claim), haves } = &self.pieces else { return Ok(()) };
        let mut has = match claim {
            Claim::All => Bitfield::all(count),
            Claim::None => Bitfield::none(count),
            Claim::Bits(bits) => Bitfield::from_wire(bits, count).map_err(|error| error.to_string())?,
        };
        for piece in haves {
            has.insert(geometry.piece(*piece).ok_or_else(|| format!("it has piece {piece} of {count}"))?);
        }
        self.pieces = Pieces::Known(has);
        Ok(())
    }

    // What we asked it for.

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

    // What we say.

    /// Puts a message into the outbox.
    pub(crate) fn say(&mut self, message: &Message) {
        let before = self.out.len();
        message.encode(&mut self.out);
        if self.out.len() > SEND_LEN && before > 0 {
            let last = self.out.split_off(before);
            self.full.push(std::mem::replace(&mut self.out, last).freeze());
        }
    }

    /// Puts bytes into the outbox.
    pub(crate) fn say_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A piece is here that it should hear of; it may take a moment. If it `needs` the piece, a short one; else the message
    /// goes with the next that has to: half of all HAVEs are for peers that have the piece.
    pub(crate) fn say_have(&mut self, now: Time, piece: PieceIndex, needs: bool) {
        if needs && self.haves_due.is_none() {
            self.haves_due = Some(now + HAVE_DELAY);
        }
        self.haves.push(piece);
    }

    /// When HAVEs must go out, if any wait.
    pub(crate) fn haves_due(&self) -> Option<Time> {
        self.haves_due
    }

    /// Everything to be sent now, in order. HAVEs go along, or when they have waited or are many; alone and at once if they
    /// are `the_last`, for which no company will come.
    pub(crate) fn take_outbox(&mut self, now: Time, the_last: bool, mut send: impl FnMut(Bytes)) {
        let something = the_last || !self.out.is_empty() || !self.full.is_empty();
        if !self.haves.is_empty()
            && (something || self.haves_due.is_some_and(|due| due <= now) || self.haves.len() >= MANY_HAVES)
        {
            self.haves_due = None;
            let mut haves = std::mem::take(&mut self.haves);
            for piece in haves.drain(..) {
                self.say(&Message::Have(piece.as_u32()));
            }
            self.haves = haves;
        }
        for bytes in std::mem::take(&mut self.full) {
            self.sent(now, bytes.len());
            send(bytes);
        }
        if self.out.is_empty() {
            return;
        }
        self.sent(now, self.out.len());
        if self.out.len() <= SMALL {
            // One allocation of just that length, and the buffer is kept.
            send(Bytes::copy_from_slice(&self.out));
            self.out.clear();
        } else {
            send(self.out.split().freeze());
        }
    }

    /// A block goes out, which with its head has so many bytes.
    pub(crate) fn sent_block(&mut self, now: Time, bytes: usize) {
        self.sent(now, bytes);
        self.block_sent = now;
    }

    /// So many bytes go out.
    pub(crate) fn sent(&mut self, now: Time, bytes: usize) {
        self.last_sent = now;
        self.unread += bytes.saturating_sub(self.room);
        self.room = self.room.saturating_sub(bytes);
    }

    /// The link takes so many bytes now.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.most_room = self.most_room.max(room);
        if room > 0 {
            self.unread = 0;
        }
    }

    /// Whether it has taken far more than it has given, on this link.
    pub(crate) fn is_in_debt(&self) -> bool {
        self.uploaded > self.downloaded.saturating_mul(DEBT_TIMES) + DEBT_CREDIT
    }

    /// Whether the link takes a block now.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Whether it has left too much unread.
    pub(crate) fn is_deaf(&self) -> bool {
        self.unread > MAX_UNREAD
    }

    // How long ago.

    /// Something came.
    pub(crate) fn heard(&mut self, now: Time) {
        self.last_heard = now;
    }

    /// How long nothing has come from it.
    pub(crate) fn silent_for(&self, now: Time) -> Duration {
        now.since(self.last_heard)
    }

    /// How long nothing has gone to it.
    pub(crate) fn unspoken_for(&self, now: Time) -> Duration {
        now.since(self.last_sent)
    }

    /// When the link opened.
    pub(crate) fn opened_at(&self) -> Time {
        self.opened_at
    }

    /// How long the link has been open.
    pub(crate) fn age(&self, now: Time) -> Duration {
        now.since(self.opened_at)
    }
}
