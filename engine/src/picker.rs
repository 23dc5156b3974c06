//! Which piece to begin next: the rarest among the linked peers; where several are equally rare, at random, but a run of
//! neighbours from the same peer.
//!
//! Whoever serves a run of neighbours reads its disk once for many blocks instead of once for each, which is most of the
//! cost of serving in a browser (libtorrent's piece extents are the same idea). Runs are short against the torrent, so
//! that peers still fetch different parts, and rarity always comes first.
//!
//! Availability is kept as peers come, announce pieces and go, so that a choice does not look at every piece.

use fastrand::Rng;
use shared::wire::Bitfield;
use shared::{Geometry, PieceIndex};

/// Longest run of neighbours, in bytes: several reads of a store.
const LONGEST_EXTENT: u64 = 4 << 20;
/// A torrent has at least this many runs, so that a swarm's members fetch different ones.
const LEAST_EXTENTS: u64 = 64;

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
    /// Pieces in a run of neighbours, at least one. Runs begin at its multiples.
    extent: u32,
}

impl Picker {
    /// No peers, and no piece on offer.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let pieces = geometry.piece_count() as usize;
        let bytes = LONGEST_EXTENT.min(geometry.total() / LEAST_EXTENTS);
        // At most `LONGEST_EXTENT`, which fits.
        let extent = (bytes / u64::from(geometry.piece_length())).max(1) as u32;
        Self {
            geometry,
            availability: vec![0; pieces],
            buckets: Vec::new(),
            place: vec![ABSENT; pieces],
            extent,
        }
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

    /// One of the rarest pieces on offer that this peer has: if it can be, the one behind `last`, which was begun with this
    /// peer before; else the first of a run chosen at random.
    pub(crate) fn rarest(
        &self,
        has: &Bitfield,
        last: Option<PieceIndex>,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        // What this peer has is had by one at least.
        let chosen = self.buckets.iter().skip(1).find_map(|bucket| one_of(bucket, has, rng))?;
        let availability = self.availability[chosen.as_usize()];
        let equal = |piece: &PieceIndex| {
            self.is_offered(*piece) && has.has(*piece) && self.availability[piece.as_usize()] == availability
        };
        let behind = last.and_then(|last| self.geometry.piece(last.as_u32() + 1));
        if let Some(next) = behind.filter(|next| next.as_u32() % self.extent != 0).filter(equal) {
            return Some(next);
        }
        let start = chosen.as_u32() - chosen.as_u32() % self.extent;
        (start..chosen.as_u32()).filter_map(|index| self.geometry.piece(index)).find(equal).or(Some(chosen))
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
        assert_eq!(picker.rarest(&all, None, &mut rng), geometry.piece(2));
        assert_ne!(picker.rarest(&field(geometry, &[0, 1]), None, &mut rng), geometry.piece(2));
        picker.withdraw(geometry.piece(2).unwrap());
        picker.peer_lost(geometry.piece(3).unwrap());
        assert_eq!(picker.rarest(&all, None, &mut rng), geometry.piece(3));
        picker.peer_left(&all);
        assert_eq!(picker.rarest(&field(geometry, &[3]), None, &mut rng), None);
    }

    #[test]
    fn equally_rare_pieces_are_chosen_at_random() {
        let geometry = Geometry::new(50, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(2);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let all = Bitfield::all(50);
        picker.peer_joined(&all);
        let chosen: std::collections::BTreeSet<_> =
            (0..200).map(|_| picker.rarest(&all, None, &mut rng)).collect();
        assert!(chosen.len() > 30, "{}", chosen.len());
    }

    #[test]
    fn neighbours_follow_each_other_until_their_run_ends_or_a_rarer_piece_is_there() {
        // 64 runs of four pieces.
        let geometry = Geometry::new(256, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(3);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let all = Bitfield::all(256);
        picker.peer_joined(&all);
        picker.peer_joined(&all);
        let mut begin = |picker: &mut Picker, last| {
            let piece = picker.rarest(&all, last, &mut rng).unwrap();
            picker.withdraw(piece);
            piece
        };
        let first = begin(&mut picker, None);
        assert_eq!(first.as_u32() % 4, 0);
        let second = begin(&mut picker, Some(first));
        assert_eq!(second.as_u32(), first.as_u32() + 1);
        let rare = geometry.piece((first.as_u32() + 100) % 256).unwrap();
        picker.peer_lost(rare);
        assert_eq!(begin(&mut picker, Some(second)), rare);
        let third = begin(&mut picker, Some(second));
        let fourth = begin(&mut picker, Some(third));
        assert_eq!(fourth.as_u32(), first.as_u32() + 3);
        assert_eq!(begin(&mut picker, Some(fourth)).as_u32() % 4, 0);
    }

    #[test]
    fn the_last_piece_has_none_behind_it() {
        let geometry = Geometry::new(256, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let all = Bitfield::all(256);
        picker.peer_joined(&all);
        picker.offer(geometry.piece(0).unwrap());
        let last = geometry.piece(255);
        assert_eq!(picker.rarest(&all, last, &mut Rng::with_seed(4)), geometry.piece(0));
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
