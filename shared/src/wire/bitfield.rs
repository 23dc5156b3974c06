//! Which pieces somebody has: one bit a piece, the highest bit of the first byte for piece 0 (BEP 3).

use bytes::Bytes;

use crate::geometry::PieceIndex;

/// Why bytes are not this torrent's bitfield.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Not one bit a piece.
    #[error("a bitfield of {bytes} bytes does not fit {pieces} pieces")]
    Length {
        /// Bytes that came.
        bytes: usize,
        /// Pieces of the torrent.
        pieces: u32,
    },
    /// A bit behind the last piece is set.
    #[error("the bitfield claims pieces that do not exist")]
    SpareBits,
}

/// A set of pieces.
///
/// Invariant: bits behind the last piece are zero, and `count` is the number of bits set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitfield {
    bits: Vec<u8>,
    pieces: u32,
    count: u32,
}

impl Bitfield {
    /// No piece out of `pieces`.
    pub fn none(pieces: u32) -> Self {
        Self { bits: vec![0; byte_len(pieces)], pieces, count: 0 }
    }

    /// Every piece out of `pieces`.
    pub fn all(pieces: u32) -> Self {
        let mut bits = vec![0xff; byte_len(pieces)];
        if let (Some(last), spare @ 1..) = (bits.last_mut(), spare_bits(pieces)) {
            *last <<= spare;
        }
        Self { bits, pieces, count: pieces }
    }

    /// Reads a BITFIELD message's payload.
    ///
    /// # Errors
    /// [`BitfieldError`] when it has another length, or claims pieces that do not exist.
    pub fn from_wire(bytes: &[u8], pieces: u32) -> Result<Self, BitfieldError> {
        if bytes.len() != byte_len(pieces) {
            return Err(BitfieldError::Length { bytes: bytes.len(), pieces });
        }
        let spare = spare_bits(pieces);
        if bytes.last().is_some_and(|last| last & ((1u16 << spare) - 1) as u8 != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bits: bytes.to_vec(), pieces, count })
    }

    /// The payload of a BITFIELD message.
    pub fn to_wire(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bits)
    }

    /// The bits as they go on the wire, for whoever looks at many pieces at a time; those behind the last piece are zero.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Number of pieces in this set and not in the other.
    pub fn count_without(&self, other: &Self) -> u32 {
        self.count_by(other, |ours, theirs| ours & !theirs)
    }

    /// Number of pieces in both sets.
    pub fn count_common(&self, other: &Self) -> u32 {
        self.count_by(other, |ours, theirs| ours & theirs)
    }

    /// Eight bytes at a time.
    fn count_by(&self, other: &Self, choose: impl Fn(u64, u64) -> u64) -> u32 {
        let (ours, our_rest) = self.bits.as_chunks();
        let (theirs, their_rest) = other.bits.as_chunks();
        let bits = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
        let count = ours.iter().zip(theirs).map(|(a, b)| choose(bits(a), bits(b)).count_ones()).sum::<u32>();
        let rest = our_rest.iter().zip(their_rest);
        count + rest.map(|(a, b)| choose((*a).into(), (*b).into()).count_ones()).sum::<u32>()
    }

    /// Whether this piece is in the set.
    pub fn has(&self, piece: PieceIndex) -> bool {
        let index = piece.as_usize();
        self.bits.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    /// Puts this piece in; whether it was not there before. A piece of another, larger torrent is not put in.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let new = piece.as_u32() < self.pieces && !self.has(piece);
        if new {
            self.bits[piece.as_usize() / 8] |= 0x80 >> (piece.as_usize() % 8);
            self.count += 1;
        }
        new
    }

    /// Takes this piece out; whether it was there before.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let had = self.has(piece);
        if had {
            self.bits[piece.as_usize() / 8] &= !(0x80 >> (piece.as_usize() % 8));
            self.count -= 1;
        }
        had
    }

    /// Number of pieces in the set.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Number of pieces in the torrent.
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Whether it is every piece; a torrent of no pieces is always complete.
    pub const fn is_all(&self) -> bool {
        self.count == self.pieces
    }

    /// Whether it is no piece.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }
}

const fn byte_len(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

/// Bits of the last byte that stand for no piece.
const fn spare_bits(pieces: u32) -> u32 {
    (8 - pieces % 8) % 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_a_bitfield() {
        let geometry = Geometry::new(10, 1).unwrap();
        let mut field = Bitfield::none(10);
        for index in [0, 7, 9] {
            assert!(field.insert(geometry.piece(index).unwrap()));
        }
        let bytes = [
            0b1000_0001, // pieces 0 and 7
            0b0100_0000, // piece 9; the last six bits are spare
        ];
        assert_eq!(field.to_wire()[..], bytes);
        assert_eq!(Bitfield::from_wire(&bytes, 10), Ok(field));
    }

    #[test]
    fn wrong_lengths_and_spare_bits_are_refused() {
        assert_eq!(Bitfield::from_wire(&[0], 10), Err(BitfieldError::Length { bytes: 1, pieces: 10 }));
        assert_eq!(Bitfield::from_wire(&[0; 3], 10), Err(BitfieldError::Length { bytes: 3, pieces: 10 }));
        assert_eq!(Bitfield::from_wire(&[0xff, 0xe0], 10), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_wire(&[0xff, 0xc0], 10), Ok(Bitfield::all(10)));
        assert_eq!(Bitfield::from_wire(&[], 0), Ok(Bitfield::all(0)));
        assert_eq!(Bitfield::from_wire(&[0xff], 8), Ok(Bitfield::all(8)));
    }

    #[test]
    fn a_piece_of_a_larger_torrent_is_not_put_in() {
        let larger = Geometry::new(100, 1).unwrap();
        let mut field = Bitfield::none(10);
        assert!(!field.insert(larger.piece(12).unwrap()));
        assert!(!field.has(larger.piece(99).unwrap()));
        assert!(!field.remove(larger.piece(99).unwrap()));
        assert!(field.is_none());
    }

    proptest! {
        #[test]
        fn a_bitfield_is_the_set_of_what_was_put_in(pieces in 1u32..200, puts: Vec<(u32, bool)>) {
            let geometry = Geometry::new(pieces.into(), 1).unwrap();
            let mut field = Bitfield::none(pieces);
            let mut set = std::collections::BTreeSet::new();
            for (index, put) in puts {
                let piece = geometry.piece(index % pieces).unwrap();
                if put {
                    prop_assert_eq!(field.insert(piece), set.insert(piece));
                } else {
                    prop_assert_eq!(field.remove(piece), set.remove(&piece));
                }
            }
            prop_assert_eq!(field.count() as usize, set.len());
            prop_assert!(geometry.pieces().all(|piece| field.has(piece) == set.contains(&piece)));
            let even: Vec<_> = geometry.pieces().filter(|piece| piece.as_u32() % 2 == 0).collect();
            let mut evens = Bitfield::none(pieces);
            for piece in &even {
                evens.insert(*piece);
            }
            let shared = even.iter().filter(|piece| set.contains(*piece)).count();
            prop_assert_eq!(field.count_common(&evens) as usize, shared);
            prop_assert_eq!(field.count_without(&evens) as usize, set.len() - shared);
            prop_assert_eq!(Bitfield::from_wire(&field.to_wire(), pieces), Ok(field));
        }
    }
}
