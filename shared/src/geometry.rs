//! How a torrent's bytes are cut: into pieces, which are verified whole, and blocks, which are asked for.
//!
//! A [`PieceIndex`] and a [`BlockSpan`] come only from a [`Geometry`], which checks the range once; whoever
//! holds one may index with it.

use std::ops::Range;

use crate::limits::{MAX_PIECE_LENGTH, MAX_PIECES, MAX_TORRENT_BYTES};

/// The block length every client accepts, in bytes (BEP 3; clients drop larger requests from strangers).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A piece of one torrent, known to be inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The index as it goes on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// The index for slices.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A run of bytes inside one piece, known to be inside it and not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockSpan {
    piece: PieceIndex,
    begin: u32,
    len: u32,
}

impl BlockSpan {
    /// The piece it lies in.
    pub const fn piece(self) -> PieceIndex {
        self.piece
    }

    /// Offset in the piece, in bytes.
    pub const fn begin(self) -> u32 {
        self.begin
    }

    /// Length in bytes, at least one.
    pub const fn len(self) -> u32 {
        self.len
    }

    /// Never: a span has at least one byte.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Offset just behind it in the piece, in bytes.
    pub const fn end(self) -> u32 {
        self.begin + self.len
    }
}

/// Why these numbers cut no torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Zero, or above [`MAX_PIECE_LENGTH`].
    #[error("a piece length of {0} bytes is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength(u64),
    /// Above [`MAX_TORRENT_BYTES`].
    #[error("a torrent of {0} bytes is larger than {MAX_TORRENT_BYTES}")]
    Total(u64),
    /// Above [`MAX_PIECES`].
    #[error("{0} pieces are more than {MAX_PIECES}")]
    Pieces(u64),
}

/// A torrent's total length and piece length, in bytes, within limits.
///
/// Invariant: `piece_count == ceil(total / piece_length)`; a torrent of no bytes has no pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_length: u32,
    piece_count: u32,
}

impl Geometry {
    /// Cuts `total` bytes into pieces of `piece_length` bytes, the last one shorter.
    ///
    /// # Errors
    /// [`GeometryError`] when a number is outside its limit.
    pub fn new(total: u64, piece_length: u64) -> Result<Self, GeometryError> {
        let length = u32::try_from(piece_length)
            .ok()
            .filter(|length| (1..=MAX_PIECE_LENGTH).contains(length))
            .ok_or(GeometryError::PieceLength(piece_length))?;
        if total > MAX_TORRENT_BYTES {
            return Err(GeometryError::Total(total));
        }
        let pieces = total.div_ceil(u64::from(length));
        let piece_count = u32::try_from(pieces)
            .ok()
            .filter(|count| *count <= MAX_PIECES)
            .ok_or(GeometryError::Pieces(pieces))?;
        Ok(Self { total, piece_length: length, piece_count })
    }

    /// Bytes in all.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes in every piece but the last.
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces.
    pub const fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// The piece with this number, if there is one.
    pub const fn piece(&self, index: u32) -> Option<PieceIndex> {
        if index < self.piece_count { Some(PieceIndex(index)) } else { None }
    }

    /// All pieces, in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// Bytes in this piece.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let start = self.piece_offset(piece);
        // At most `piece_length`, so it fits.
        (self.total - start).min(u64::from(self.piece_length)) as u32
    }

    /// Where this piece begins in the torrent, in bytes.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// A run of bytes that somebody asked for or sent, if it lies inside a piece and is not empty.
    pub fn span(&self, piece: u32, begin: u32, len: u32) -> Option<BlockSpan> {
        let piece = self.piece(piece)?;
        let end = begin.checked_add(len)?;
        (len > 0 && end <= self.piece_len(piece)).then_some(BlockSpan { piece, begin, len })
    }

    /// Number of [`BLOCK_LEN`] blocks in this piece.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// A run of `count` [`BLOCK_LEN`] blocks from block `first` of this piece, cut at the piece's end.
    /// `None` when the run is empty or begins behind the end.
    pub fn blocks(&self, piece: PieceIndex, first: u32, count: u32) -> Option<BlockSpan> {
        let begin = first.checked_mul(BLOCK_LEN)?;
        let rest = self.piece_len(piece).checked_sub(begin)?;
        let len = rest.min(count.saturating_mul(BLOCK_LEN));
        (len > 0).then_some(BlockSpan { piece, begin, len })
    }

    /// Where this span lies in the torrent, in bytes.
    pub fn absolute(&self, span: BlockSpan) -> Range<u64> {
        let start = self.piece_offset(span.piece) + u64::from(span.begin);
        start..start + u64::from(span.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_is_shorter() {
        let geometry = Geometry::new(100_000, 65_536).unwrap();
        assert_eq!(geometry.piece_count(), 2);
        let last = geometry.piece(1).unwrap();
        assert_eq!(geometry.piece_len(last), 34_464);
        assert_eq!(geometry.block_count(last), 3);
        assert_eq!(geometry.blocks(last, 2, 8).unwrap().len(), 34_464 - 2 * 16_384);
        assert_eq!(geometry.absolute(geometry.blocks(last, 2, 1).unwrap()), 98_304..100_000);
        assert!(geometry.piece(2).is_none());
    }

    #[test]
    fn an_empty_torrent_has_no_pieces() {
        let geometry = Geometry::new(0, 65_536).unwrap();
        assert_eq!(geometry.piece_count(), 0);
        assert!(geometry.span(0, 0, 0).is_none());
    }

    #[test]
    fn numbers_outside_their_limits_are_refused() {
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength(0)));
        assert!(matches!(Geometry::new(1, u64::MAX), Err(GeometryError::PieceLength(_))));
        assert!(matches!(Geometry::new(u64::MAX, 16_384), Err(GeometryError::Total(_))));
        assert!(matches!(Geometry::new(1 << 40, 1), Err(GeometryError::Pieces(_))));
    }

    #[test]
    fn spans_outside_their_piece_are_refused() {
        let geometry = Geometry::new(100, 64).unwrap();
        assert!(geometry.span(0, 0, 64).is_some());
        assert!(geometry.span(1, 0, 36).is_some());
        for (piece, begin, len) in
            [(0, 0, 65), (1, 0, 37), (2, 0, 1), (0, 64, 1), (0, 1, u32::MAX), (0, 0, 0)]
        {
            assert!(geometry.span(piece, begin, len).is_none(), "{piece} {begin} {len}");
        }
    }
}
