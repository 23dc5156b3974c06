//! Which pieces are verified and stored: a bit a piece, in the order of BEP 3 (the first piece is the highest bit of
//! the first byte), in memory and in the file `have` alike.

/// A bit for each piece of one torrent.
///
/// Invariant: bits behind the last piece are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    bits: Vec<u8>,
    pieces: u32,
    count: u32,
}

impl Have {
    /// None of so many pieces.
    pub fn none(pieces: u32) -> Self {
        Self { bits: vec![0; pieces.div_ceil(8) as usize], pieces, count: 0 }
    }

    /// Reads what [`as_bytes`](Self::as_bytes) gave for so many pieces. Anything else was not written by us, or not
    /// for this torrent, and counts as nothing.
    pub fn from_bytes(pieces: u32, bytes: &[u8]) -> Self {
        let mut have = Self::none(pieces);
        if bytes.len() != have.bits.len() {
            return have;
        }
        for piece in 0..pieces {
            let (byte, mask) = place(piece);
            if bytes[byte] & mask != 0 {
                have.set(piece);
            }
        }
        have
    }

    /// The bits, eight to a byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Whether this piece is there. A piece that is not in the torrent is not.
    pub fn has(&self, piece: u32) -> bool {
        let (byte, mask) = place(piece);
        piece < self.pieces && self.bits[byte] & mask != 0
    }

    /// Notes a piece. A piece that is not in the torrent changes nothing.
    pub fn set(&mut self, piece: u32) {
        let (byte, mask) = place(piece);
        if piece < self.pieces && self.bits[byte] & mask == 0 {
            self.bits[byte] |= mask;
            self.count += 1;
        }
    }

    /// Notes that a piece is not there any more.
    pub fn unset(&mut self, piece: u32) {
        if self.has(piece) {
            let (byte, mask) = place(piece);
            self.bits[byte] &= !mask;
            self.count -= 1;
        }
    }

    /// Whether every piece is there.
    pub fn is_complete(&self) -> bool {
        self.count == self.pieces
    }

    /// A truth value for each piece.
    pub fn to_vec(&self) -> Vec<bool> {
        (0..self.pieces).map(|piece| self.has(piece)).collect()
    }
}

fn place(piece: u32) -> (usize, u8) {
    ((piece / 8) as usize, 0x80 >> (piece % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_piece_is_the_highest_bit() {
        let mut have = Have::none(10);
        have.set(0);
        have.set(9);
        assert_eq!(have.as_bytes(), [0x80, 0x40]);
        assert_eq!(Have::from_bytes(10, have.as_bytes()), have);
    }

    #[test]
    fn a_torrent_of_no_pieces_is_complete() {
        assert!(Have::none(0).is_complete());
        assert!(Have::from_bytes(0, &[]).to_vec().is_empty());
    }

    #[test]
    fn it_is_complete_while_every_piece_is_noted_however_often() {
        let mut have = Have::none(3);
        for piece in [0, 2, 2, 0, 7] {
            have.set(piece);
        }
        assert!(!have.is_complete());
        have.set(1);
        assert!(have.is_complete());
        for piece in [1, 1, 7] {
            have.unset(piece);
        }
        assert_eq!(have.to_vec(), [true, false, true]);
        have.set(1);
        assert!(have.is_complete());
    }

    #[test]
    fn a_file_of_another_length_counts_as_nothing_and_spare_bits_are_dropped() {
        assert_eq!(Have::from_bytes(9, &[0xff]), Have::none(9));
        assert_eq!(Have::from_bytes(4, &[0xff]).as_bytes(), [0xf0]);
    }
}
