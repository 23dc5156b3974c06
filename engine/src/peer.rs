//! One remote peer at one link: who it is, what it has, and where the conversation stands. What it was asked for is in
//! `asking`, what is to be said next in `speaking`, and what is looked at all the time in `outline`.

mod asking;
mod outline;
mod speaking;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::geometry::BLOCK_LEN;
use shared::limits::MAX_BLOCK_BYTES;
use shared::order::SortedSet;
use shared::wire::extension::ExtendedHandshake;
use shared::wire::{Bitfield, Decoder, Handshake};
use shared::{BlockSpan, Geometry, PeerId, PieceIndex};

use crate::api::{Time, Transport};
use crate::introductions::Neighbour;
use crate::rate::Rate;
pub(crate) use asking::Outstanding;
pub(crate) use outline::Outline;

/// Requests of one peer that are queued here; what comes above is rejected. Told to the peer (`reqq`, BEP 10).
pub(crate) const MAX_QUEUED_REQUESTS: usize = 1024;
/// HAVEs for pieces that come before the metadata, and so before they can be checked.
const MAX_EARLY_HAVES: usize = 16 * 1024;
/// Who has taken more than so many times what it gave, …
const DEBT_TIMES: u64 = 2;
/// … and this much, in bytes, is in debt: two of the longest blocks, so that whoever is new has something to give in return.
const DEBT_CREDIT: u64 = 256 * 1024;

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
    /// Pieces that it may ask for while it is choked (BEP 6), …
    pub(crate) fast_set: Vec<PieceIndex>,
    /// … and bytes of them that it may still be sent in this way.
    pub(crate) fast_left: u64,
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
            fast_set: Vec::new(),
            fast_left: 0,
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

    /// Whether it has taken far more than it has given, on this link.
    pub(crate) fn is_in_debt(&self) -> bool {
        self.uploaded > self.downloaded.saturating_mul(DEBT_TIMES) + DEBT_CREDIT
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
