//! What becomes of each piece: missing → in flight → verifying → had. Holds the bytes of pieces in flight.
//!
//! Blocks are counted in units of 16 KiB ([`BLOCK_LEN`]), whatever the length of the requests that bring them.
//! What happens to a piece that fails its hash is in `blame`.

mod blame;

use bytes::Bytes;
use shared::geometry::BLOCK_LEN;
use shared::order::{SortedMap, SortedSet};
use shared::wire::Bitfield;
use shared::{BlockSpan, Geometry, PeerId, PieceIndex};

use crate::api::LinkId;
pub(crate) use blame::Unparked;
use blame::{Proven, Suspect};
pub(crate) use blame::{Refusal, Verdict};

/// Bytes of pieces that may be with the verifier and the store at a time; above, nothing more is asked for. A disk that
/// writes 30 MiB/s is never idle with it, and memory stays flat.
const MAX_STORING_BYTES: u64 = 32 << 20;

/// Pieces that may be with the verifier and the store, however long they are: one to work on, one to come.
const MIN_STORING_PIECES: usize = 2;

/// Bytes of all pieces in flight and being stored, above which no further piece is begun.
const MAX_BUFFERED_BYTES: u64 = 64 << 20;

/// One unit of a piece in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Missing,
    /// Asked of this many peers.
    Requested(u8),
    /// From this one of the contributors.
    Received(u16),
}

impl Unit {
    fn has_come(self) -> bool {
        matches!(self, Self::Received(_))
    }
}

/// A piece with the verifier.
#[derive(Debug)]
struct Delivered {
    /// Who sent each unit.
    senders: Vec<PeerId>,
    /// Its bytes, if there will be something to compare: it has several senders, or is a suspect.
    data: Option<Bytes>,
}

impl Delivered {
    /// The only one who sent anything.
    fn only_sender(&self) -> Option<PeerId> {
        let first = *self.senders.first()?;
        self.senders.iter().all(|sender| *sender == first).then_some(first)
    }
}

/// A piece in flight.
#[derive(Debug)]
struct Begun {
    units: Vec<Unit>,
    /// Units that nobody has been asked for.
    missing: u32,
    /// Units that have not come.
    outstanding: u32,
    /// All of the piece's bytes; made when the first block comes.
    buffer: Vec<u8>,
    /// Everybody who sent a unit, once.
    contributors: Vec<PeerId>,
    /// The only peer that may be asked, for a piece that failed its hash before, or for a peer on probation.
    owner: Option<LinkId>,
}

/// What a block did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// All of it was there already, or its piece is not in flight.
    Useless,
    /// It was new; `contested` if others have been asked for it too.
    Part {
        /// Others should be told to spare it.
        contested: bool,
    },
    /// It was the piece's last. The piece is with the verifier now.
    Whole {
        /// Others should be told to spare it.
        contested: bool,
        /// The piece.
        data: Bytes,
    },
}

/// Every piece's state.
///
/// Invariant: a piece is in at most one of `have`, `begun`, `verifying`, `parked`; `open` are the begun ones with units that nobody
/// was asked for; the byte counts are those of the pieces in their maps.
#[derive(Debug)]
pub(crate) struct Pieces {
    geometry: Geometry,
    have: Bitfield,
    had_bytes: u64,
    begun: SortedMap<PieceIndex, Begun>,
    begun_bytes: u64,
    open: SortedSet<PieceIndex>,
    verifying: SortedMap<PieceIndex, Delivered>,
    verifying_bytes: u64,
    /// Failed their hash with units of several peers.
    suspects: SortedMap<PieceIndex, Suspect>,
    /// Failed their hash while there was a suspect: who sent each unit, and all bytes.
    parked: SortedMap<PieceIndex, (Vec<PeerId>, Bytes)>,
    /// Bytes of those, and of suspects that are kept.
    parked_bytes: u64,
    proven: Proven,
}

impl Pieces {
    /// These are had, the others missing.
    pub(crate) fn new(geometry: Geometry, have: Bitfield) -> Self {
        let had_bytes = geometry
            .pieces()
            .filter(|piece| have.has(*piece))
            .map(|p| u64::from(geometry.piece_len(p)))
            .sum();
        Self {
            geometry,
            have,
            had_bytes,
            begun: SortedMap::new(),
            begun_bytes: 0,
            open: SortedSet::new(),
            verifying: SortedMap::new(),
            verifying_bytes: 0,
            suspects: SortedMap::new(),
            parked: SortedMap::new(),
            parked_bytes: 0,
            proven: Proven::default(),
        }
    }

    /// What is verified and stored.
    pub(crate) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether it is being fetched, verified or stored.
    pub(crate) fn is_in_flight(&self, piece: PieceIndex) -> bool {
        self.begun.contains_key(&piece)
            || self.verifying.contains_key(&piece)
            || self.parked.contains_key(&piece)
    }

    /// Bytes of it.
    pub(crate) fn had_bytes(&self) -> u64 {
        self.had_bytes
    }

    /// Whether the verifier and the store have enough to do, so that nothing more should be asked for.
    pub(crate) fn is_congested(&self) -> bool {
        self.verifying_bytes >= MAX_STORING_BYTES && self.verifying.len() >= MIN_STORING_PIECES
    }

    /// Whether memory allows one more piece in flight. One is always allowed.
    pub(crate) fn can_begin(&self, piece: PieceIndex) -> bool {
        let bytes = self.buffered_bytes() + self.len(piece);
        self.begun.is_empty() || bytes <= MAX_BUFFERED_BYTES
    }

    /// Bytes of pieces in memory.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.begun_bytes + self.verifying_bytes + self.parked_bytes
    }

    /// Whether the verifier or the store has something to do.
    pub(crate) fn is_verifying(&self) -> bool {
        !self.verifying.is_empty()
    }

    /// Whether this piece is with the verifier or the store.
    pub(crate) fn is_verified_now(&self, piece: PieceIndex) -> bool {
        self.verifying.contains_key(&piece)
    }

    /// Whether some block of a piece in flight has not been asked for.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Puts a missing piece in flight. It will be asked of the peer at `link` alone if it is a suspect, or `alone` says so; of a
    /// suspect's bytes most may be there still.
    pub(crate) fn begin(&mut self, piece: PieceIndex, link: LinkId, id: Option<PeerId>, alone: bool) {
        if self.have.has(piece) || self.begun.contains_key(&piece) || self.verifying.contains_key(&piece) {
            return;
        }
        if self.begin_suspect(piece, link, id) {
            return;
        }
        let units = self.geometry.block_count(piece);
        let begun = Begun {
            units: vec![Unit::Missing; units as usize],
            missing: units,
            outstanding: units,
            buffer: Vec::new(),
            contributors: Vec::new(),
            owner: (alone || self.suspects.contains_key(&piece)).then_some(link),
        };
        self.begun.insert(piece, begun);
        self.begun_bytes += self.len(piece);
        self.open.insert(piece);
    }

    /// The next block to ask this peer for, out of the pieces in flight, or of those that are asked of it `alone`; at most
    /// `max_len` bytes, in whole units.
    pub(crate) fn next_block(
        &self,
        link: LinkId,
        has: &Bitfield,
        max_len: u32,
        alone: bool,
    ) -> Option<BlockSpan> {
        let open = self.open.iter().copied().filter(|piece| has.has(*piece));
        open.into_iter().find_map(|piece| self.next_block_of(piece, link, max_len, alone))
    }

    /// The same, of this piece.
    pub(crate) fn next_block_of(
        &self,
        piece: PieceIndex,
        link: LinkId,
        max_len: u32,
        alone: bool,
    ) -> Option<BlockSpan> {
        let begun = self.begun.get(&piece)?;
        if begun.owner.map_or(alone, |owner| owner != link) {
            return None;
        }
        let first = begun.units.iter().position(|unit| *unit == Unit::Missing)?;
        let most = (max_len / BLOCK_LEN).max(1) as usize;
        let run = begun.units[first..].iter().take(most).take_while(|unit| **unit == Unit::Missing).count();
        self.geometry.blocks(piece, first as u32, run as u32)
    }

    /// Whether this peer may be asked for blocks of this piece in flight.
    pub(crate) fn may_ask(&self, piece: PieceIndex, link: LinkId) -> bool {
        self.begun.get(&piece).is_some_and(|begun| begun.owner.is_none_or(|owner| owner == link))
    }

    /// Whether each unit of this block that has not come was asked of one peer only, and there is one.
    pub(crate) fn is_single(&self, span: BlockSpan) -> bool {
        let Some(begun) = self.begun.get(&span.piece()) else { return false };
        let units = &begun.units[units(span)];
        units.contains(&Unit::Requested(1))
            && units.iter().all(|unit| matches!(unit, Unit::Requested(1) | Unit::Received(_)))
    }

    /// Whether nobody is asked for any of this block, and none of it has come.
    pub(crate) fn is_missing(&self, span: BlockSpan) -> bool {
        let units = |begun: &Begun| begun.units[units(span)].iter().all(|unit| *unit == Unit::Missing);
        self.begun.get(&span.piece()).is_some_and(units)
    }

    /// Whether all of this block has come, or its piece is no longer in flight.
    pub(crate) fn is_received(&self, span: BlockSpan) -> bool {
        self.begun
            .get(&span.piece())
            .is_none_or(|begun| begun.units[units(span)].iter().all(|unit| unit.has_come()))
    }

    /// A peer was asked for this block.
    pub(crate) fn requested(&mut self, span: BlockSpan) {
        let Some(begun) = self.begun.get_mut(&span.piece()) else { return };
        for unit in &mut begun.units[units(span)] {
            match unit {
                Unit::Missing => {
                    *unit = Unit::Requested(1);
                    begun.missing -= 1;
                }
                Unit::Requested(peers) => *peers = peers.saturating_add(1),
                Unit::Received(_) => {}
            }
        }
        if begun.missing == 0 {
            self.open.remove(&span.piece());
        }
    }

    /// A peer that was asked for this block will not send it. Whether something has to be asked of others now.
    pub(crate) fn released(&mut self, span: BlockSpan) -> bool {
        let Some(begun) = self.begun.get_mut(&span.piece()) else { return false };
        for unit in &mut begun.units[units(span)] {
            match unit {
                Unit::Requested(1) => {
                    *unit = Unit::Missing;
                    begun.missing += 1;
                }
                Unit::Requested(peers) => *peers -= 1,
                Unit::Missing | Unit::Received(_) => {}
            }
        }
        let open = begun.missing > 0;
        if open {
            self.open.insert(span.piece());
        }
        open
    }

    /// A block came. `counted` says whether its sender was still waited for, and so is among those it was asked of.
    pub(crate) fn received(&mut self, span: BlockSpan, data: Bytes, from: PeerId, counted: bool) -> Receipt {
        let piece = span.piece();
        let piece_len = self.geometry.piece_len(piece);
        let Some(begun) = self.begun.get_mut(&piece) else { return Receipt::Useless };
        let range = units(span);
        if data.len() != span.len() as usize || begun.units[range.clone()].iter().all(|unit| unit.has_come())
        {
            return Receipt::Useless;
        }
        let mut contested = false;
        let sender = begun.contributors.iter().position(|other| *other == from).unwrap_or_else(|| {
            begun.contributors.push(from);
            begun.contributors.len() - 1
        });
        // A piece has at most 4096 units, and so contributors.
        let sender = sender as u16;
        // A piece that comes in one block needs no buffer of its own, unless there is one by now.
        let whole = span.len() == piece_len && begun.buffer.is_empty();
        if !whole && begun.buffer.is_empty() {
            begun.buffer = vec![0; piece_len as usize];
        }
        for index in range {
            let before = begun.units[index];
            begun.units[index] = if before.has_come() { before } else { Unit::Received(sender) };
            match before {
                Unit::Received(_) => continue,
                Unit::Missing => begun.missing -= 1,
                Unit::Requested(peers) => contested |= peers > u8::from(counted),
            }
            begun.outstanding -= 1;
            if !whole {
                let from = (index as u32 * BLOCK_LEN).max(span.begin());
                let to = ((index as u32 + 1) * BLOCK_LEN).min(span.end());
                let part = &data[(from - span.begin()) as usize..(to - span.begin()) as usize];
                begun.buffer[from as usize..to as usize].copy_from_slice(part);
            }
        }
        if begun.missing == 0 {
            self.open.remove(&piece);
        }
        if begun.outstanding > 0 {
            return Receipt::Part { contested };
        }
        let Some(begun) = self.begun.remove(&piece) else { return Receipt::Useless };
        self.begun_bytes -= u64::from(piece_len);
        self.verifying_bytes += u64::from(piece_len);
        let data: Bytes = if begun.buffer.is_empty() { data } else { begun.buffer.into() };
        let sender = |unit: &Unit| match unit {
            Unit::Received(sender) => begun.contributors.get(usize::from(*sender)).copied(),
            Unit::Missing | Unit::Requested(_) => None,
        };
        let mut delivered =
            Delivered { senders: begun.units.iter().filter_map(sender).collect(), data: None };
        if delivered.only_sender().is_none() || self.suspects.contains_key(&piece) {
            delivered.data = Some(data.clone());
        }
        self.verifying.insert(piece, delivered);
        Receipt::Whole { contested, data }
    }

    /// The verifier said yes and the store has it. If it was being verified: what that says about those who sent it.
    pub(crate) fn stored(&mut self, piece: PieceIndex) -> Option<Verdict> {
        let delivered = self.leave_verifying(piece)?;
        let mut verdict = self.judge(piece, delivered.data.as_ref());
        verdict.cleared.extend(delivered.only_sender());
        self.proven.note(&delivered.senders);
        self.put(piece);
        Some(verdict)
    }

    /// The store could not take it, and the piece is missing again. Whether it was being stored.
    pub(crate) fn not_stored(&mut self, piece: PieceIndex) -> bool {
        self.leave_verifying(piece).is_some()
    }

    fn leave_verifying(&mut self, piece: PieceIndex) -> Option<Delivered> {
        let delivered = self.verifying.remove(&piece)?;
        self.verifying_bytes -= self.len(piece);
        Some(delivered)
    }

    /// The store had this piece all along, whatever state it was in. Whether that is news.
    pub(crate) fn found(&mut self, piece: PieceIndex) -> bool {
        if self.verifying.contains_key(&piece) {
            // Its answer is on the way.
            return false;
        }
        self.drop_begun(piece);
        self.leave_suspects(piece);
        !self.have.has(piece) && {
            self.put(piece);
            true
        }
    }

    fn put(&mut self, piece: PieceIndex) {
        if self.have.insert(piece) {
            self.had_bytes += self.len(piece);
        }
    }

    /// The store has this piece no more. Whether it had it before.
    pub(crate) fn lost(&mut self, piece: PieceIndex) -> bool {
        let lost = self.have.remove(piece);
        if lost {
            self.had_bytes -= self.len(piece);
        }
        lost
    }

    /// Forgets a piece in flight or parked, and what came of it. Whether it was one.
    pub(crate) fn drop_begun(&mut self, piece: PieceIndex) -> bool {
        let dropped = self.begun.remove(&piece).is_some();
        if dropped {
            self.begun_bytes -= self.len(piece);
            self.open.remove(&piece);
        }
        dropped || self.leave_parked(piece).is_some()
    }

    /// Nobody wants this piece any more: what was in flight of it goes, and what was known of who spoiled it. Whether any was
    /// in flight, or parked.
    pub(crate) fn give_up(&mut self, piece: PieceIndex) -> bool {
        if !self.verifying.contains_key(&piece) {
            self.leave_suspects(piece);
        }
        self.drop_begun(piece)
    }

    /// Forgets every piece in flight, and those that are parked; which they were.
    pub(crate) fn drop_all_begun(&mut self) -> Vec<PieceIndex> {
        let pieces: Vec<_> = self.begun.keys().chain(self.parked.keys()).copied().collect();
        for piece in &pieces {
            self.drop_begun(*piece);
        }
        self.forget_kept();
        pieces
    }

    /// Pieces in flight that only this peer may be asked for.
    pub(crate) fn owned_by(&self, link: LinkId) -> Vec<PieceIndex> {
        self.begun.iter().filter(|(_, begun)| begun.owner == Some(link)).map(|(piece, _)| *piece).collect()
    }

    /// A piece in flight of which nobody is being asked for anything, to make room: the one with the least to lose.
    pub(crate) fn least_advanced_idle(&self) -> Option<PieceIndex> {
        let idle = self.begun.iter().filter(|(_, begun)| begun.missing == begun.outstanding);
        idle.max_by_key(|(_, begun)| begun.missing).map(|(piece, _)| *piece)
    }

    fn len(&self, piece: PieceIndex) -> u64 {
        u64::from(self.geometry.piece_len(piece))
    }
}

/// The units that a block covers.
fn units(span: BlockSpan) -> std::ops::Range<usize> {
    (span.begin() / BLOCK_LEN) as usize..span.end().div_ceil(BLOCK_LEN) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const A: PeerId = PeerId::new([1; 20]);
    pub(super) const B: PeerId = PeerId::new([2; 20]);
    pub(super) const C: PeerId = PeerId::new([3; 20]);
    pub(super) const LINK: LinkId = LinkId(1);

    /// Two pieces of 100,000 bytes and one of 50,000.
    pub(super) fn pieces() -> (Pieces, Geometry, Bitfield) {
        let geometry = Geometry::new(250_000, 100_000).unwrap();
        (Pieces::new(geometry, Bitfield::none(3)), geometry, Bitfield::all(3))
    }

    pub(super) fn block(span: BlockSpan, value: u8) -> Bytes {
        vec![value; span.len() as usize].into()
    }

    #[test]
    fn blocks_of_different_lengths_make_up_a_piece() {
        let (mut pieces, geometry, all) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let mut spans = Vec::new();
        for max_len in [16_384, 32_768, 131_072] {
            let span = pieces.next_block(LINK, &all, max_len, false).unwrap();
            pieces.requested(span);
            spans.push(span);
        }
        assert_eq!(
            spans.iter().map(|span| (span.begin(), span.len())).collect::<Vec<_>>(),
            [(0, 16_384), (16_384, 32_768), (49_152, 50_848)]
        );
        assert_eq!(pieces.next_block(LINK, &all, 16_384, false), None);
        assert_eq!(
            pieces.received(spans[2], block(spans[2], 3), A, true),
            Receipt::Part { contested: false }
        );
        assert_eq!(
            pieces.received(spans[0], block(spans[0], 1), A, true),
            Receipt::Part { contested: false }
        );
        assert_eq!(pieces.received(spans[0], block(spans[0], 9), A, true), Receipt::Useless);
        let Receipt::Whole { data, .. } = pieces.received(spans[1], block(spans[1], 2), A, true) else {
            panic!()
        };
        assert_eq!(data.len(), 100_000);
        for span in &spans {
            let value = span.begin() / 16_384 + 1;
            let expected = if value > 3 { 3 } else { value } as u8;
            assert!(data[span.begin() as usize..span.end() as usize].iter().all(|byte| *byte == expected));
        }
        assert_eq!(pieces.had_bytes(), 0);
        assert_eq!(pieces.stored(piece), Some(Verdict { liars: Vec::new(), cleared: vec![A] }));
        assert_eq!(pieces.stored(piece), None);
        assert_eq!(pieces.had_bytes(), 100_000);
        assert_eq!(pieces.buffered_bytes(), 0);
    }

    #[test]
    fn what_a_leaving_peer_was_asked_for_is_asked_of_others_and_what_it_sent_is_kept() {
        let (mut pieces, geometry, all) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let first = pieces.next_block(LINK, &all, 16_384, false).unwrap();
        pieces.requested(first);
        let second = pieces.next_block(LINK, &all, 131_072, false).unwrap();
        pieces.requested(second);
        pieces.received(first, block(first, 1), A, true);
        assert!(pieces.released(second));
        assert_eq!(pieces.next_block(LinkId(2), &all, 131_072, false), Some(second));
    }

    #[test]
    fn a_block_asked_of_two_is_contested() {
        let (mut pieces, geometry, all) = pieces();
        pieces.begin(geometry.piece(2).unwrap(), LINK, Some(A), false);
        let span = pieces.next_block(LINK, &all, 131_072, false).unwrap();
        pieces.requested(span);
        assert!(pieces.is_single(span));
        pieces.requested(span);
        assert!(!pieces.is_single(span));
        let Receipt::Whole { contested: true, data } = pieces.received(span, block(span, 5), A, true) else {
            panic!()
        };
        assert_eq!(data.len(), 50_000);
        assert!(!pieces.released(span));
    }

    #[test]
    fn memory_is_bounded_by_what_the_store_has_taken() {
        let geometry = Geometry::new(100 << 24, 1 << 24).unwrap();
        let mut pieces = Pieces::new(geometry, Bitfield::none(100));
        let mut begun = 0;
        for piece in geometry.pieces() {
            if !pieces.can_begin(piece) {
                break;
            }
            pieces.begin(piece, LINK, Some(A), false);
            begun += 1;
        }
        assert_eq!(begun, 4);
        assert_eq!(pieces.buffered_bytes(), 64 << 20);
        for (index, piece) in geometry.pieces().take(2).enumerate() {
            assert_eq!(pieces.is_congested(), index > 1);
            let span = geometry.blocks(piece, 0, 1024).unwrap();
            pieces.received(span, block(span, 0), A, true);
        }
        assert!(pieces.is_congested());
        pieces.stored(geometry.piece(0).unwrap());
        assert!(!pieces.is_congested());
    }

    #[test]
    fn a_store_that_had_a_piece_all_along_is_believed() {
        let (mut pieces, geometry, _) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        assert!(pieces.found(piece));
        assert!(!pieces.found(piece));
        assert_eq!(pieces.buffered_bytes(), 0);
        assert!(pieces.lost(piece));
        assert!(!pieces.lost(piece));
        assert_eq!(pieces.had_bytes(), 0);
    }
}
