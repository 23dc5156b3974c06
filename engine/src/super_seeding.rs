//! Super-seeding (BEP 16): a swarm's first seeder sends every piece once before it sends any twice.
//!
//! It does not say that it has everything, but shows each peer a few pieces at a time, others to each, and further ones as
//! those come back: as other peers say that they have them. So no two peers fetch the same piece from it, and who passes
//! on what it got is given more. It ends when every piece is somewhere else, or another seeder is there.

use fastrand::Rng;
use shared::wire::Bitfield;
use shared::{Geometry, PieceIndex};

/// Bytes that a peer is shown ahead of what it has, …
pub(crate) const AHEAD_BYTES: u64 = 256 * 1024;
/// … and pieces, if that is more: one under way and one to come.
pub(crate) const AHEAD_PIECES: usize = 2;
/// A peer with more pieces that nobody else has is shown a further one only when no other peer could be.
pub(crate) const UNSPREAD: usize = 1;

/// Where each piece is.
#[derive(Debug)]
pub(crate) struct SuperSeeding {
    /// Linked peers that have it.
    elsewhere: Vec<u32>,
    /// Peers that it was shown to while they were served, or that asked for it unshown.
    given: Vec<u32>,
    /// Pieces that nobody else has.
    alone: usize,
}

impl SuperSeeding {
    /// Nobody has anything.
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let pieces = geometry.piece_count() as usize;
        Self { elsewhere: vec![0; pieces], given: vec![0; pieces], alone: pieces }
    }

    /// A peer has this piece.
    pub(crate) fn peer_got(&mut self, piece: PieceIndex) {
        let peers = &mut self.elsewhere[piece.as_usize()];
        self.alone -= usize::from(*peers == 0);
        *peers += 1;
    }

    /// A peer that has this piece left.
    pub(crate) fn peer_left(&mut self, piece: PieceIndex) {
        let peers = &mut self.elsewhere[piece.as_usize()];
        *peers = peers.saturating_sub(1);
        self.alone += usize::from(*peers == 0);
    }

    /// This piece is on its way to a peer.
    pub(crate) fn give(&mut self, piece: PieceIndex) {
        self.given[piece.as_usize()] += 1;
    }

    /// Whether every piece is somewhere else.
    pub(crate) fn is_done(&self) -> bool {
        self.alone == 0
    }

    /// Whether no more than one peer has it.
    pub(crate) fn is_unspread(&self, piece: PieceIndex) -> bool {
        self.elsewhere[piece.as_usize()] <= 1
    }

    /// What to show next to a peer for which `fits`: what is not under way to another, of that what the fewest have, of that
    /// what was given to the fewest, of that any.
    pub(crate) fn choose(
        &self,
        geometry: &Geometry,
        fits: impl Fn(PieceIndex) -> bool,
        under_way: &Bitfield,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let rank = |piece: PieceIndex| {
            (under_way.has(piece), self.elsewhere[piece.as_usize()], self.given[piece.as_usize()])
        };
        let mut best = None;
        let mut equals = 0;
        for piece in geometry.pieces().filter(|piece| fits(*piece)) {
            match best.map(|best: PieceIndex| rank(piece).cmp(&rank(best))) {
                None | Some(std::cmp::Ordering::Less) => {
                    best = Some(piece);
                    equals = 1;
                }
                Some(std::cmp::Ordering::Equal) => {
                    equals += 1;
                    if rng.u32(..equals) == 0 {
                        best = Some(piece);
                    }
                }
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_piece_is_given_once_before_any_is_given_twice() {
        let geometry = Geometry::new(20, 1).unwrap();
        let mut pieces = SuperSeeding::new(&geometry);
        let mut rng = Rng::with_seed(1);
        let none = Bitfield::none(geometry.piece_count());
        for _ in 0..3 {
            let mut given = BTreeSet::new();
            for _ in 0..20 {
                let piece = pieces.choose(&geometry, |_| true, &none, &mut rng).unwrap();
                pieces.give(piece);
                given.insert(piece);
            }
            assert_eq!(given.len(), 20);
        }
    }

    #[test]
    fn what_nobody_else_has_comes_first_and_it_ends_when_there_is_none() {
        let geometry = Geometry::new(3, 1).unwrap();
        let mut pieces = SuperSeeding::new(&geometry);
        let mut rng = Rng::with_seed(1);
        let none = Bitfield::none(geometry.piece_count());
        let all: Vec<_> = geometry.pieces().collect();
        pieces.peer_got(all[0]);
        pieces.peer_got(all[1]);
        pieces.give(all[2]);
        assert_eq!(pieces.choose(&geometry, |_| true, &none, &mut rng), Some(all[2]));
        assert!(!pieces.is_done());
        pieces.peer_got(all[2]);
        assert!(pieces.is_done());
        pieces.peer_left(all[1]);
        assert!(!pieces.is_done());
        assert_eq!(pieces.choose(&geometry, |_| true, &none, &mut rng), Some(all[1]));
    }
}
