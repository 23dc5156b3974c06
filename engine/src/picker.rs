//! Which piece to begin next: the rarest among the linked peers; where several are equally rare, at random, but a run of
//! neighbours from the same peer. What the user wants first comes before what is rare.
//!
//! Whoever serves a run of neighbours reads its disk once for many blocks instead of once for each, which is most of the
//! cost of serving in a browser (libtorrent's piece extents are the same idea). Runs are short against the torrent, so
//! that peers still fetch different parts, and rarity always comes first.
//!
//! Nothing here looks at every piece when one changes:
//! - a piece that somebody got or lost moves by one level, which is a swap in two lists;
//! - a peer that comes or goes moves the pieces it has, or, if it has more than half, the ones it lacks, since "everybody
//!   has one more" is a shift of all levels at once: a seeder costs nothing;
//! - a choice looks into the levels from the rarest on, and where the peer lacks what is rare, draws a sample of what it has.
//!
//! docs/STRATEGY.md has the figures.

use std::collections::VecDeque;

use fastrand::Rng;
use shared::wire::Bitfield;
use shared::{Geometry, PieceIndex};

use crate::api::Priority;

/// Longest run of neighbours, in bytes: several reads of a store.
const LONGEST_EXTENT: u64 = 4 << 20;
/// A torrent has at least this many runs, so that a swarm's members fetch different ones.
const LEAST_EXTENTS: u64 = 64;

/// Pieces that are looked at from the rarest on, before the search begins with what the peer has instead.
const PROBES: usize = 512;
/// Attempts to find something by chance before it is looked for.
const TRIES: usize = 32;
/// Pieces of which the rarest is taken in that search: all on offer that the peer has, if there are no more. Out of so many
/// drawn at random the rarest is, on average, among the rarest five hundredth.
const SAMPLE: usize = 512;

/// Marks a piece that is in no level.
const ABSENT: u32 = u32::MAX;

/// Pieces that may be begun and are wanted equally, by rarity.
#[derive(Debug)]
struct Ladder {
    /// At `n`, the pieces that `n` linked peers have.
    levels: VecDeque<Vec<PieceIndex>>,
    /// All of them.
    pieces: Bitfield,
}

impl Ladder {
    /// Leaves out levels above the highest that is used.
    fn trim(&mut self) {
        while self.levels.back().is_some_and(Vec::is_empty) {
            self.levels.pop_back();
        }
    }
}

/// How many linked peers have each piece, and the pieces on offer sorted by it.
///
/// Invariant: `base + delta` of a piece is the number of linked peers that have it; a piece on offer that is wanted is in its
/// priority's ladder, in the level of that number, at `place`; another is in none.
#[derive(Debug)]
pub(crate) struct Picker {
    geometry: Geometry,
    base: i32,
    delta: Vec<i32>,
    priority: Vec<Priority>,
    /// Neither had nor under way.
    offered: Bitfield,
    /// The wanted ones among them: high priority, then normal.
    ladders: [Ladder; 2],
    place: Vec<u32>,
    /// Pieces in a run of neighbours, at least one. Runs begin at its multiples.
    extent: u32,
}

impl Picker {
    /// No peers, and no piece on offer.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let count = geometry.piece_count();
        let pieces = count as usize;
        let bytes = LONGEST_EXTENT.min(geometry.total() / LEAST_EXTENTS);
        // At most `LONGEST_EXTENT`, which fits.
        let extent = (bytes / u64::from(geometry.piece_length())).max(1) as u32;
        let ladder = || Ladder { levels: VecDeque::new(), pieces: Bitfield::none(count) };
        Self {
            geometry,
            base: 0,
            delta: vec![0; pieces],
            priority: vec![Priority::Normal; pieces],
            offered: Bitfield::none(count),
            ladders: [ladder(), ladder()],
            place: vec![ABSENT; pieces],
            extent,
        }
    }

    /// A peer with these pieces came. Takes time for each piece that it has, or that it lacks, whichever are fewer.
    pub(crate) fn peer_joined(&mut self, has: &Bitfield) {
        if is_most(has) {
            self.base += 1;
            for ladder in &mut self.ladders {
                ladder.trim();
                if !ladder.levels.is_empty() {
                    ladder.levels.push_front(Vec::new());
                }
            }
            self.change_all(has, false, -1);
        } else {
            self.change_all(has, true, 1);
        }
    }

    /// A peer with these pieces left. Takes as much time as [`Picker::peer_joined`], however it came by them.
    pub(crate) fn peer_left(&mut self, has: &Bitfield) {
        if !is_most(has) {
            self.change_all(has, true, -1);
            return;
        }
        self.change_all(has, false, 1);
        self.base -= 1;
        for ladder in &mut self.ladders {
            // Everything that it had is had by one at least, and the rest has just moved up.
            let nobody = ladder.levels.pop_front();
            debug_assert!(nobody.is_none_or(|level| level.is_empty()), "a piece that less than nobody has");
            ladder.trim();
        }
    }

    /// Changes the count of the pieces that are in `set`, or that are not.
    fn change_all(&mut self, set: &Bitfield, inside: bool, by: i32) {
        if if inside { set.is_none() } else { set.is_all() } {
            return;
        }
        for index in 0..words(set) {
            let word = word(set, index);
            for piece in pieces_of(self.geometry, index, if inside { word } else { !word }) {
                self.change(piece, by);
            }
        }
    }

    /// A peer got this piece.
    pub(crate) fn peer_got(&mut self, piece: PieceIndex) {
        self.change(piece, 1);
    }

    /// A peer lost this piece.
    pub(crate) fn peer_lost(&mut self, piece: PieceIndex) {
        self.change(piece, -1);
    }

    fn change(&mut self, piece: PieceIndex, by: i32) {
        let placed = self.is_placed(piece);
        if placed {
            self.take(piece);
        }
        self.delta[piece.as_usize()] += by;
        if placed {
            self.put(piece);
        }
    }

    /// Number of linked peers that have this piece.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        u32::try_from(self.base + self.delta[piece.as_usize()]).unwrap_or(0)
    }

    /// This piece may be begun.
    pub(crate) fn offer(&mut self, piece: PieceIndex) {
        if self.offered.insert(piece) {
            self.put(piece);
        }
    }

    /// This piece must not be begun (any more): it is had, or under way.
    pub(crate) fn withdraw(&mut self, piece: PieceIndex) {
        if self.is_placed(piece) {
            self.take(piece);
        }
        self.offered.remove(piece);
    }

    /// How much this piece is wanted.
    pub(crate) fn prioritize(&mut self, piece: PieceIndex, priority: Priority) {
        if self.is_placed(piece) {
            self.take(piece);
        }
        self.priority[piece.as_usize()] = priority;
        if self.offered.has(piece) {
            self.put(piece);
        }
    }

    /// How much this piece is wanted.
    pub(crate) fn priority(&self, piece: PieceIndex) -> Priority {
        self.priority[piece.as_usize()]
    }

    /// Whether no piece is on offer at all: every one that is wanted is had, or under way.
    pub(crate) fn nothing_is_left(&self) -> bool {
        self.ladders.iter().all(|ladder| ladder.pieces.is_none())
    }

    /// Whether no piece is on offer that any linked peer has.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.ladders.iter().all(|ladder| ladder.levels.iter().skip(1).all(Vec::is_empty))
    }

    /// Whether this piece may be begun, and is wanted.
    pub(crate) fn is_on_offer(&self, piece: PieceIndex) -> bool {
        self.is_placed(piece)
    }

    /// One of the rarest pieces on offer that this peer has, of those that are wanted most: if it can be, the one behind
    /// `last`, which was begun with this peer before; else the first of a run chosen at random.
    pub(crate) fn rarest(
        &self,
        has: &Bitfield,
        last: Option<PieceIndex>,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let chosen = self.ladders.iter().find_map(|ladder| self.rarest_of(ladder, has, rng))?;
        let (availability, priority) = (self.availability(chosen), self.priority(chosen));
        let equal = |piece: &PieceIndex| {
            self.is_placed(*piece)
                && has.has(*piece)
                && self.availability(*piece) == availability
                && self.priority(*piece) == priority
        };
        let behind = last.and_then(|last| self.geometry.piece(last.as_u32() + 1));
        if let Some(next) = behind.filter(|next| next.as_u32() % self.extent != 0).filter(equal) {
            return Some(next);
        }
        let start = chosen.as_u32() - chosen.as_u32() % self.extent;
        (start..chosen.as_u32()).filter_map(|index| self.geometry.piece(index)).find(equal).or(Some(chosen))
    }

    /// One of the rarest pieces of this ladder that this peer has; of the rarest in a sample, if neither the rarest few are
    /// among what it has nor what it has are few.
    fn rarest_of(&self, ladder: &Ladder, has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
        let mut probes = PROBES;
        // What this peer has is had by one at least.
        for level in ladder.levels.iter().skip(1).filter(|level| !level.is_empty()) {
            let (behind, before) = level.split_at(rng.usize(0..level.len()));
            for piece in before.iter().chain(behind) {
                if has.has(*piece) {
                    return Some(*piece);
                }
                probes -= 1;
                if probes == 0 {
                    return self.rarest_of_sample(ladder, has, rng);
                }
            }
        }
        None
    }

    fn rarest_of_sample(&self, ladder: &Ladder, has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
        let mut best = Best { rarest: None, equals: 0 };
        let common = ladder.pieces.count_common(has) as usize;
        if common > SAMPLE {
            for _ in 0..SAMPLE {
                let piece = draw(self.geometry, &ladder.pieces, has, rng)?;
                best.see(self.availability(piece), piece, rng);
            }
        } else if common > 0 {
            for index in 0..words(has) {
                for piece in pieces_of(self.geometry, index, word(&ladder.pieces, index) & word(has, index)) {
                    best.see(self.availability(piece), piece, rng);
                }
            }
        }
        best.rarest.map(|(_, piece)| piece)
    }

    /// Any piece on offer that this peer has, of those that are wanted most, whatever its rarity: for the first piece, where
    /// having one soon to give away counts more than which.
    pub(crate) fn any(&self, has: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
        self.ladders.iter().find_map(|ladder| {
            let levels: Vec<_> = ladder.levels.iter().skip(1).filter(|level| !level.is_empty()).collect();
            let mut tries = (0..TRIES).filter_map(|_| {
                let level = levels.get(rng.usize(0..levels.len().max(1)))?;
                Some(level[rng.usize(0..level.len())])
            });
            tries.find(|piece| has.has(*piece)).or_else(|| draw(self.geometry, &ladder.pieces, has, rng))
        })
    }

    fn is_placed(&self, piece: PieceIndex) -> bool {
        self.place[piece.as_usize()] != ABSENT
    }

    fn ladder(&mut self, piece: PieceIndex) -> Option<&mut Ladder> {
        match self.priority[piece.as_usize()] {
            Priority::Skip => None,
            Priority::High => Some(&mut self.ladders[0]),
            Priority::Normal => Some(&mut self.ladders[1]),
        }
    }

    fn put(&mut self, piece: PieceIndex) {
        let availability = self.availability(piece) as usize;
        let Some(ladder) = self.ladder(piece) else { return };
        if ladder.levels.len() <= availability {
            ladder.levels.resize_with(availability + 1, Vec::new);
        }
        let level = &mut ladder.levels[availability];
        let place = level.len() as u32;
        level.push(piece);
        ladder.pieces.insert(piece);
        self.place[piece.as_usize()] = place;
    }

    fn take(&mut self, piece: PieceIndex) {
        let availability = self.availability(piece) as usize;
        let place = std::mem::replace(&mut self.place[piece.as_usize()], ABSENT) as usize;
        let Some(ladder) = self.ladder(piece) else { return };
        ladder.pieces.remove(piece);
        let level = &mut ladder.levels[availability];
        level.swap_remove(place);
        if let Some(moved) = level.get(place).copied() {
            self.place[moved.as_usize()] = place as u32;
        }
    }
}

/// The rarest piece so far; of several, each with the same probability.
struct Best {
    rarest: Option<(u32, PieceIndex)>,
    equals: u32,
}

impl Best {
    fn see(&mut self, availability: u32, piece: PieceIndex, rng: &mut Rng) {
        let least = self.rarest.map_or(u32::MAX, |(least, _)| least);
        if availability > least {
            return;
        }
        self.equals = if availability < least { 1 } else { self.equals + 1 };
        if rng.u32(0..self.equals) == 0 {
            self.rarest = Some((availability, piece));
        }
    }
}

/// A piece that is in both sets, at random: in the first word that has one, out of some chosen at random; or, where those are
/// few among the words, the next from there.
fn draw(geometry: Geometry, a: &Bitfield, b: &Bitfield, rng: &mut Rng) -> Option<PieceIndex> {
    let words = words(a);
    let common = |index: usize| (index, word(a, index) & word(b, index));
    let is_some = |(_, word): &(usize, u64)| *word != 0;
    let by_chance = (0..TRIES).map(|_| rng.usize(0..words.max(1))).map(common).find(is_some);
    let start = rng.usize(0..words.max(1));
    let (index, word) = by_chance.or_else(|| (start..words).chain(0..start).map(common).find(is_some))?;
    let turn = rng.u32(0..64);
    let bit = (word.rotate_left(turn).leading_zeros() + turn) % 64;
    // At most a million pieces.
    geometry.piece(index as u32 * 64 + bit)
}

/// Whether it is fewer pieces to say what is missing than what is there.
fn is_most(has: &Bitfield) -> bool {
    has.count() > has.pieces() / 2
}

/// Number of words of 64 pieces.
fn words(set: &Bitfield) -> usize {
    set.as_bytes().len().div_ceil(8)
}

/// 64 pieces of a set, the first of them in the highest bit.
fn word(set: &Bitfield, index: usize) -> u64 {
    let bytes = set.as_bytes().get(index * 8..).unwrap_or_default();
    if let Some(bytes) = bytes.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(padded)
}

/// The pieces whose bits are set in this word of a set; bits behind the last piece stand for none.
fn pieces_of(geometry: Geometry, index: usize, mut word: u64) -> impl Iterator<Item = PieceIndex> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let bit = word.leading_zeros();
        word &= !(1 << (63 - bit));
        // At most a million pieces.
        geometry.piece(index as u32 * 64 + bit)
    })
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

    #[test]
    fn what_is_wanted_more_comes_before_what_is_rare_and_what_is_not_wanted_never() {
        let geometry = Geometry::new(4, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(5);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let all = Bitfield::all(4);
        picker.peer_joined(&all);
        picker.peer_joined(&field(geometry, &[3]));
        picker.prioritize(geometry.piece(3).unwrap(), Priority::High);
        picker.prioritize(geometry.piece(0).unwrap(), Priority::Skip);
        picker.prioritize(geometry.piece(1).unwrap(), Priority::Skip);
        for expected in [Some(3), Some(2), None] {
            let piece = picker.rarest(&all, None, &mut rng);
            assert_eq!(piece.map(PieceIndex::as_u32), expected);
            assert_eq!(picker.any(&all, &mut rng), piece);
            piece.into_iter().for_each(|piece| picker.withdraw(piece));
        }
        assert!(picker.is_exhausted());
        picker.prioritize(geometry.piece(1).unwrap(), Priority::Normal);
        assert_eq!(picker.rarest(&all, None, &mut rng), geometry.piece(1));
    }

    #[test]
    fn who_lacks_all_that_is_rare_is_asked_for_what_it_has_that_is() {
        // Of 20,000 pieces the first half is rare, and this peer has none of it.
        let geometry = Geometry::new(20_000, 1).unwrap();
        let mut picker = Picker::new(geometry);
        let mut rng = Rng::with_seed(6);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let common: Vec<_> = (10_000..20_000).collect();
        let peer = field(geometry, &common);
        picker.peer_joined(&Bitfield::all(20_000));
        picker.peer_joined(&peer);
        picker.peer_joined(&field(geometry, &common[100..]));
        let hits = (0..100).filter(|_| {
            let piece = picker.rarest(&peer, None, &mut rng).unwrap();
            assert!(piece.as_u32() >= 10_000);
            piece.as_u32() < 10_100
        });
        // One in a hundred of what it has is rarer than the rest, so any sample of a thousand has some.
        assert!(hits.count() > 90);
        // Of few it is surely the rarest.
        let few = field(geometry, &[10_050, 15_000, 19_999]);
        picker.peer_joined(&few);
        assert_eq!(picker.rarest(&few, None, &mut rng), geometry.piece(10_050));
        picker.withdraw(geometry.piece(10_050).unwrap());
        let second: std::collections::BTreeSet<_> =
            (0..50).filter_map(|_| picker.rarest(&few, None, &mut rng)).map(PieceIndex::as_u32).collect();
        assert_eq!(second, [15_000, 19_999].into());
        assert_eq!(picker.rarest(&field(geometry, &[10_050]), None, &mut rng), None);
    }

    proptest! {
        /// Peers come, get and lose pieces, and go in any order; pieces are offered, withdrawn and wanted more or less: the
        /// picker counts as somebody would who counts anew each time.
        #[test]
        fn counts_and_levels_follow_every_change(
            steps in proptest::collection::vec((0u8..9, 0u32..150, any::<u64>()), 0..200),
        ) {
            let geometry = Geometry::new(150, 1).unwrap();
            let mut picker = Picker::new(geometry);
            let mut rng = Rng::with_seed(7);
            let mut offered = std::collections::BTreeSet::new();
            let mut peers: Vec<Bitfield> = Vec::new();
            let mut most_peers = 0;
            for (kind, index, dice) in steps {
                let piece = geometry.piece(index).unwrap();
                let any = (dice as usize).checked_rem(peers.len());
                match (kind, any) {
                    (0, _) => { picker.offer(piece); offered.insert(piece); }
                    (1, _) => { picker.withdraw(piece); offered.remove(&piece); }
                    (2 | 3, _) => {
                        let share = dice % 5;
                        let mut set = Rng::with_seed(dice);
                        let pieces: Vec<_> = (0..150).filter(|_| set.u64(0..4) < share).collect();
                        peers.push(field(geometry, &pieces));
                        picker.peer_joined(peers.last().unwrap());
                    }
                    (4, Some(any)) => picker.peer_left(&peers.swap_remove(any)),
                    (5, Some(any)) if peers[any].insert(piece) => picker.peer_got(piece),
                    (6, Some(any)) if peers[any].remove(piece) => picker.peer_lost(piece),
                    (7, Some(any)) => {
                        // It gets everything, and so goes in another way than it came.
                        for piece in geometry.pieces() {
                            if peers[any].insert(piece) {
                                picker.peer_got(piece);
                            }
                        }
                    }
                    (8, _) => {
                        let priorities = [Priority::Skip, Priority::Normal, Priority::High];
                        picker.prioritize(piece, priorities[dice as usize % 3]);
                    }
                    _ => {}
                }
                most_peers = most_peers.max(peers.len());
            }
            let count = |piece| peers.iter().filter(|peer| peer.has(piece)).count();
            for piece in geometry.pieces() {
                prop_assert_eq!(picker.availability(piece) as usize, count(piece));
            }
            let weight = |piece| (std::cmp::Reverse(picker.priority(piece)), count(piece));
            let open: Vec<_> =
                offered.iter().copied().filter(|piece| picker.priority(*piece) != Priority::Skip).collect();
            prop_assert_eq!(picker.is_exhausted(), open.iter().all(|piece| count(*piece) == 0));
            let levels = picker.ladders.iter().flat_map(|ladder| &ladder.levels);
            prop_assert_eq!(levels.map(Vec::len).sum::<usize>(), open.len());
            for ladder in &picker.ladders {
                prop_assert!(ladder.levels.len() <= most_peers + 1);
            }
            for peer in &peers {
                let best = open.iter().copied().filter(|piece| peer.has(*piece)).map(weight).min();
                prop_assert_eq!(picker.rarest(peer, None, &mut rng).map(weight), best);
                let any = picker.any(peer, &mut rng);
                prop_assert_eq!(any.map(|piece| weight(piece).0), best.map(|best| best.0));
                prop_assert!(any.is_none_or(|piece| peer.has(piece) && open.contains(&piece)));
            }
        }
    }
}
