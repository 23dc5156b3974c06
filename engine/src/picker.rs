//! Which piece to begin next: the rarest among the linked peers, one of them at random where several are equally rare.
//!
//! Availability is kept as peers come, announce pieces and go, so that a choice does not look at every piece.

use fastrand::Rng;
use shared::wire::Bitfield;
use shared::{Geometry, PieceIndex};

/// Marks a piece that is not on offer.
const ABSENT: u32 = u32::MAX;

/// How many linked peers have each piece, and the pieces on offer sorted by it.
///
/// Invariant: a piece on offer is in `buckets[availability]`, at `place`; another is in none.
#[derive(Debug)]
pub(crate) struct Picker {
    geometry: Geometry,
    availability: Vec<u32>,
    buckets: Vec<Vec<PieceIndex>>,
    place: Vec<u32>,
}

impl Picker {
    /// No peers, and no piece on offer.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let pieces = geometry.piece_count() as usize;
        Self { geometry, availability: vec![0; pieces], buckets: Vec::new(), place: vec![ABSENT; pieces] }
    }

    /// A peer with these pieces came.
    pub(crate) fn peer_joined(&mut self, has: &Bitfield) {
        self.count_all(has, |availability| availability + 1);
    }

    /// A peer with these pieces left.
    pub(crate) fn peer_left(&mut self, has: &Bitfield) {
        self.count_all(has, |availability| availability.saturating_sub(1));
    }

    fn count_all(&mut self, has: &Bitfield, change: impl Fn(u32) -> u32) {
        if has.is_none() {
            return;
        }
        for piece in self.geometry.pieces().filter(|piece| has.has(*piece)) {
            let count = &mut self.availability[piece.as_usize()];
            *count = change(*count);
        }
        // Nearly every piece may have changed its bucket.
        let on_offer: Vec<_> = self.geometry.pieces().filter(|piece| self.is_offered(*piece)).collect();
        self.buckets.clear();
        for piece in on_offer {
            self.put(piece);
        }
    }

    /// A peer got this piece.
    pub(crate) fn peer_got(&mut self, piece: PieceIndex) {
        self.change(piece, |availability| availability + 1);
    }

    /// A peer lost this piece.
    pub(crate) fn peer_lost(&mut self, piece: PieceIndex) {
        self.change(piece, |availability| availability.saturating_sub(1));
    }

    fn change(&mut self, piece: PieceIndex, change: impl Fn(u32) -> u32) {
        let offered = self.is_offered(piece);
        if offered {
            self.take(piece);
        }
        let count = &mut self.availability[piece.as_usize()];
        *count = change(*count);
        if offered {
            self.put(piece);
        }
    }

    /// This piece may be begun.
    pub(crate) fn offer(&mut self, piece: PieceIndex) {
        if !self.is_offered(piece) {
            self.put(piece);
        }
    }

    /// This piece must not be begun (any more): it is had, or under way.
    pub(crate) fn withdraw(&mut self, piece: PieceIndex) {
        if self.is_offered(piece) {
            self.take(piece);
        }
    }

    /// Whether no piece is on offer that any linked peer has.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.buckets.iter().skip(1).all(Vec::is_empty)
    }

    /// One of the rarest pieces on offer that this peer has.
    pub(crate) fn rarest(&self, has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
        // What this peer has is had by one at least.
        self.buckets.iter().skip(1).find_map(|bucket| one_of(bucket, has, rng))
    }

    /// Any piece on offer that this peer has, whatever its rarity: for the first piece, where having one soon to give
    /// away counts more than which.
    pub(crate) fn any(&self, has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
        let buckets = self.buckets.len();
        let start = rng.usize(0..buckets.max(1));
        (0..buckets).find_map(|step| one_of(&self.buckets[(start + step) % buckets], has, rng))
    }

    fn is_offered(&self, piece: PieceIndex) -> bool {
        self.place[piece.as_usize()] != ABSENT
    }

    fn put(&mut self, piece: PieceIndex) {
        let availability = self.availability[piece.as_usize()] as usize;
        if self.buckets.len() <= availability {
            self.buckets.resize_with(availability + 1, Vec::new);
        }
        let bucket = &mut self.buckets[availability];
        self.place[piece.as_usize()] = bucket.len() as u32;
        bucket.push(piece);
    }

    fn take(&mut self, piece: PieceIndex) {
        let place = std::mem::replace(&mut self.place[piece.as_usize()], ABSENT) as usize;
        let bucket = &mut self.buckets[self.availability[piece.as_usize()] as usize];
        bucket.swap_remove(place);
        if let Some(moved) = bucket.get(place) {
            self.place[moved.as_usize()] = place as u32;
        }
    }
}

fn one_of(bucket: &[PieceIndex], has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
    if bucket.is_empty() {
        return None;
    }
    let (behind, before) = bucket.split_at(rng.usize(0..bucket.len()));
    before.iter().chain(behind).copied().find(|piece| has.has(*piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use proptest::prelude::*;

    fn field(geometry: Geometry, pieces: &[u32]) -> Bitfield {
        let mut field = Bitfield::none(geometry.piece_count());
        for index in pieces {
            field.insert(geometry.piece(*index).unwrap());
        }
        field
    }

    #[test]
    fn the_rarest_piece_that_the_peer_has_comes_first() {
        let geometry = Geometry::new(4, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(1);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let all = Bitfield::all(4);
        picker.peer_joined(&all);
        picker.peer_joined(&field(geometry, &[0, 1, 3]));
        assert_eq!(picker.rarest(&all, &mut rng), geometry.piece(2));
        assert_ne!(picker.rarest(&field(geometry, &[0, 1]), &mut rng), geometry.piece(2));
        picker.withdraw(geometry.piece(2).unwrap());
        picker.peer_lost(geometry.piece(3).unwrap());
        assert_eq!(picker.rarest(&all, &mut rng), geometry.piece(3));
        picker.peer_left(&all);
        assert_eq!(picker.rarest(&field(geometry, &[3]), &mut rng), None);
    }

    #[test]
    fn equally_rare_pieces_are_chosen_at_random() {
        let geometry = Geometry::new(50, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(2);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let all = Bitfield::all(50);
        picker.peer_joined(&all);
        let chosen: std::collections::BTreeSet<_> = (0..200).map(|_| picker.rarest(&all, &mut rng)).collect();
        assert!(chosen.len() > 30, "{}", chosen.len());
    }

    proptest! {
        #[test]
        fn buckets_follow_every_change(steps in proptest::collection::vec((0u8..6, 0u32..20), 0..200)) {
            let geometry = Geometry::new(20, 1).unwrap();
            let mut picker = Picker::new(geometry);
            let mut offered = std::collections::BTreeSet::new();
            for (kind, index) in steps {
                let piece = geometry.piece(index).unwrap();
                match kind {
                    0 => { picker.offer(piece); offered.insert(piece); }
                    1 => { picker.withdraw(piece); offered.remove(&piece); }
                    2 => picker.peer_got(piece),
                    3 => picker.peer_lost(piece),
                    4 => picker.peer_joined(&field(geometry, &[index, (index + 7) % 20])),
                    _ => picker.peer_left(&field(geometry, &[index, (index + 7) % 20])),
                }
                for piece in geometry.pieces() {
                    prop_assert_eq!(picker.is_offered(piece), offered.contains(&piece));
                    if offered.contains(&piece) {
                        let bucket = &picker.buckets[picker.availability[piece.as_usize()] as usize];
                        prop_assert_eq!(bucket[picker.place[piece.as_usize()] as usize], piece);
                    }
                }
                prop_assert_eq!(picker.buckets.iter().map(Vec::len).sum::<usize>(), offered.len());
                let available = offered.iter().any(|piece| picker.availability[piece.as_usize()] > 0);
                prop_assert_eq!(picker.is_exhausted(), !available);
            }
        }
    }
}
