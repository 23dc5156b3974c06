//! Who spoiled a piece.
//!
//! A piece that fails its hash with units of several peers is a *suspect*: who sent which unit is noted, with its digest. Then one
//! peer alone is asked for it again, but not for all of it at once: first for what came from whoever has been right least so far,
//! the rest being kept; and if it still fails, for what came from the next, then two more, four more, and so on. As soon as it is right,
//! whoever had sent another unit lied, and nobody else. If it fails when all of it is that one peer's, that peer lied.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use shared::geometry::BLOCK_LEN;
use shared::order::{SortedMap, SortedSet, sorted};
use shared::wire::Bitfield;
use shared::{PeerId, PieceIndex};

use super::{Begun, Delivered, Pieces, Unit};
use crate::api::LinkId;

/// Units whose senders and digests are remembered, at most; a suspect above that is fetched from one peer all the same. Some
/// 600 KB.
const MAX_TESTIMONIES: usize = 16 * 1024;

/// Bytes of pieces that failed their hash while another is a suspect, and that are kept until the liar is found.
const MAX_PARKED_BYTES: u64 = 16 << 20;

/// Peers of whom it is remembered how much they sent that was right, at most.
const MAX_PROVEN: usize = 1024;

/// Who sent a unit of a piece that failed its hash, and what.
#[derive(Debug)]
struct Testimony {
    sender: PeerId,
    digest: [u8; 20],
}

/// A piece that failed its hash.
#[derive(Debug)]
pub(super) struct Suspect {
    /// One for each unit, or none if there are too many.
    testimonies: Vec<Testimony>,
    /// Who sent each unit and all bytes, as they were when it failed last, unless it is in flight, or they would be too many.
    kept: Option<(Vec<PeerId>, Bytes)>,
    /// How often it was fetched again.
    rounds: u32,
}

/// Units of pieces that were right, by who sent them.
#[derive(Debug, Default)]
pub(super) struct Proven(SortedMap<PeerId, u32>);

impl Proven {
    /// A piece with units of these was right.
    pub(super) fn note(&mut self, senders: &[PeerId]) {
        for sender in senders {
            if let Some(units) = self.0.get_mut(sender) {
                *units = units.saturating_add(1);
            } else if self.0.len() < MAX_PROVEN {
                self.0.insert(*sender, 1);
            }
        }
    }

    fn units(&self, peer: PeerId) -> u32 {
        self.0.get(&peer).copied().unwrap_or(0)
    }

    /// Whether nobody is more likely to be right than this one.
    fn vouches_for(&self, peer: PeerId) -> bool {
        self.0.is_empty() || self.0.contains_key(&peer)
    }
}

/// What a piece that is right says about who sent it, or had sent it before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// They had sent other bytes.
    pub(crate) liars: Vec<PeerId>,
    /// They were suspected, and their bytes were right; or they sent all of it.
    pub(crate) cleared: Vec<PeerId>,
}

/// What goes on since a liar is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unparked {
    /// In flight again, without what the banned had sent.
    pub(crate) resumed: Vec<PieceIndex>,
    /// The next suspect, and who sent it.
    pub(crate) suspect: Option<(PieceIndex, Vec<PeerId>)>,
}

/// What became of a piece that fails its hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One peer had sent all of it. It is missing again.
    Liar(PeerId),
    /// What peers that are banned by now had sent of it is missing again; the rest is kept.
    Resumed,
    /// One of these lied. It is missing again, and a suspect.
    Suspect(Vec<PeerId>),
    /// It was a suspect, and the liar is not found yet. It is missing again.
    Again,
    /// One of several peers lied, and it will soon be known who: it is kept until then.
    Parked,
}

impl Pieces {
    /// A piece that failed its hash before, and that nobody is being asked for now, out of what this peer has; none for one who has
    /// not been right yet, while others have.
    pub(crate) fn next_suspect(&self, has: &Bitfield, id: Option<PeerId>) -> Option<PieceIndex> {
        if !id.is_some_and(|id| self.proven.vouches_for(id)) {
            return None;
        }
        let idle =
            |piece: &PieceIndex| !self.begun.contains_key(piece) && !self.verifying.contains_key(piece);
        self.suspects.keys().copied().find(|piece| has.has(*piece) && idle(piece))
    }

    /// The verifier said no. If it was being verified: what that means.
    pub(crate) fn refused(
        &mut self,
        piece: PieceIndex,
        is_banned: impl Fn(PeerId) -> bool,
    ) -> Option<Refusal> {
        let delivered = self.leave_verifying(piece)?;
        if let Some(liar) = delivered.only_sender() {
            return Some(Refusal::Liar(liar));
        }
        let Delivered { senders, data } = delivered;
        let data = data.unwrap_or_default();
        if senders.iter().any(|sender| is_banned(*sender)) {
            self.suspects.remove(&piece);
            self.resume(piece, &senders, &data, &is_banned, None);
            return Some(Refusal::Resumed);
        }
        if self.suspects.contains_key(&piece) {
            let kept = self.may_park(piece).then_some((senders, data));
            if let Some(suspect) = self.suspects.get_mut(&piece) {
                suspect.kept = kept;
            }
            return Some(Refusal::Again);
        }
        if !self.suspects.is_empty() && self.may_park(piece) {
            self.parked.insert(piece, (senders, data));
            return Some(Refusal::Parked);
        }
        Some(Refusal::Suspect(self.suspect(piece, &senders, &data)))
    }

    /// Whether there is room to keep this piece, which is counted then.
    fn may_park(&mut self, piece: PieceIndex) -> bool {
        let bytes = self.parked_bytes + self.len(piece);
        let has_room = bytes <= MAX_PARKED_BYTES;
        if has_room {
            self.parked_bytes = bytes;
        }
        has_room
    }

    /// Notes who sent what; who they are.
    fn suspect(&mut self, piece: PieceIndex, senders: &[PeerId], data: &Bytes) -> Vec<PeerId> {
        let known = self.suspects.values().map(|suspect| suspect.testimonies.len()).sum::<usize>();
        let room = known + senders.len() <= MAX_TESTIMONIES;
        let units = senders.iter().zip(data.chunks(BLOCK_LEN as usize)).filter(|_| room);
        let testimony = |(sender, unit): (&PeerId, &[u8])| Testimony {
            sender: *sender,
            digest: Sha1::digest(unit).into(),
        };
        let testimonies = units.map(testimony).collect();
        let kept = self.may_park(piece).then(|| (senders.to_vec(), data.clone()));
        self.suspects.insert(piece, Suspect { testimonies, kept, rounds: 0 });
        senders.iter().copied().collect::<SortedSet<_>>().into_iter().collect()
    }

    /// Puts a suspect in flight of which there are bytes that need not come again. Whether there are.
    pub(super) fn begin_suspect(&mut self, piece: PieceIndex, link: LinkId, id: Option<PeerId>) -> bool {
        let Some(suspect) = self.suspects.get_mut(&piece) else { return false };
        let Some((senders, data)) = suspect.kept.take() else { return false };
        let more = 1 << suspect.rounds.saturating_sub(1).min(16);
        suspect.rounds += 1;
        self.parked_bytes -= self.len(piece);
        let others: SortedSet<_> = senders.iter().copied().filter(|sender| Some(*sender) != id).collect();
        let others = sorted(others.into_iter().map(|peer| (self.proven.units(peer), peer)).collect());
        let again: SortedSet<_> = others.into_iter().take(more).map(|(_, peer)| peer).collect();
        self.resume(piece, &senders, &data, &|peer| again.contains(&peer), Some(link));
        true
    }

    /// A piece is right, of which these are the bytes if it was a suspect: who lied about it, and who did not.
    pub(super) fn judge(&mut self, piece: PieceIndex, data: Option<&Bytes>) -> Verdict {
        let (mut liars, mut cleared) = (SortedSet::new(), SortedSet::new());
        if let (Some(suspect), Some(data)) = (self.leave_suspects(piece), data) {
            for (testimony, unit) in suspect.testimonies.iter().zip(data.chunks(BLOCK_LEN as usize)) {
                let right = Sha1::digest(unit)[..] == testimony.digest;
                if right { &mut cleared } else { &mut liars }.insert(testimony.sender);
            }
        }
        let cleared = cleared.into_iter().filter(|peer| !liars.contains(peer)).collect();
        Verdict { liars: liars.into_iter().collect(), cleared }
    }

    /// Goes on with pieces that were parked, and suspects that wait: with those that somebody who is banned by now had a part in;
    /// and, when there is no suspect any more, with one that becomes the next.
    pub(crate) fn unpark(&mut self, is_banned: impl Fn(PeerId) -> bool) -> Unparked {
        let kept = self.suspects.iter().filter_map(|(piece, suspect)| Some((piece, suspect.kept.as_ref()?)));
        let waiting = self.parked.iter().chain(kept);
        let spoiled = waiting.filter(|(_, (senders, _))| senders.iter().any(|sender| is_banned(*sender)));
        let resumed: Vec<_> = spoiled.map(|(piece, _)| *piece).collect();
        for piece in &resumed {
            let kept = self.leave_parked(*piece).or_else(|| self.leave_suspects(*piece)?.kept);
            if let Some((senders, data)) = kept {
                self.resume(*piece, &senders, &data, &is_banned, None);
            }
        }
        let next =
            self.parked.first_key_value().filter(|_| self.suspects.is_empty()).map(|(piece, _)| *piece);
        let suspect = next.and_then(|piece| {
            let (senders, data) = self.leave_parked(piece)?;
            Some((piece, self.suspect(piece, &senders, &data)))
        });
        Unparked { resumed, suspect }
    }

    /// A parked piece that this peer has becomes a suspect, since there is nothing else to ask it for.
    pub(crate) fn unpark_for(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let piece = self.parked.keys().copied().find(|piece| has.has(*piece))?;
        let (senders, data) = self.leave_parked(piece)?;
        self.suspect(piece, &senders, &data);
        Some(piece)
    }

    pub(super) fn leave_suspects(&mut self, piece: PieceIndex) -> Option<Suspect> {
        let suspect = self.suspects.remove(&piece)?;
        if suspect.kept.is_some() {
            self.parked_bytes -= self.len(piece);
        }
        Some(suspect)
    }

    /// What is kept of suspects comes again.
    pub(super) fn forget_kept(&mut self) {
        for suspect in self.suspects.values_mut() {
            suspect.kept = None;
        }
        self.parked_bytes = 0;
    }

    pub(super) fn leave_parked(&mut self, piece: PieceIndex) -> Option<(Vec<PeerId>, Bytes)> {
        let parked = self.parked.remove(&piece)?;
        self.parked_bytes -= self.len(piece);
        Some(parked)
    }

    /// In flight again, without what some had sent.
    fn resume(
        &mut self,
        piece: PieceIndex,
        senders: &[PeerId],
        data: &[u8],
        is_dropped: &impl Fn(PeerId) -> bool,
        owner: Option<LinkId>,
    ) {
        let mut contributors: Vec<PeerId> = Vec::new();
        let mut units = Vec::new();
        for sender in senders {
            if is_dropped(*sender) {
                units.push(Unit::Missing);
                continue;
            }
            let place = contributors.iter().position(|other| other == sender).unwrap_or_else(|| {
                contributors.push(*sender);
                contributors.len() - 1
            });
            units.push(Unit::Received(place as u16));
        }
        let missing = units.iter().filter(|unit| **unit == Unit::Missing).count() as u32;
        let buffer = data.to_vec();
        let begun = Begun { units, missing, outstanding: missing, buffer, contributors, owner };
        self.begun.insert(piece, begun);
        self.begun_bytes += self.len(piece);
        self.open.insert(piece);
    }

    /// Whatever this peer sent of pieces in flight is missing again.
    pub(crate) fn discard_from(&mut self, peer: PeerId) {
        for (piece, begun) in self.begun.iter_mut() {
            let Some(place) = begun.contributors.iter().position(|other| *other == peer) else { continue };
            for unit in &mut begun.units {
                if *unit == Unit::Received(place as u16) {
                    *unit = Unit::Missing;
                    begun.missing += 1;
                    begun.outstanding += 1;
                }
            }
            if begun.missing > 0 {
                self.open.insert(*piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LinkId;
    use crate::pieces::Receipt;
    use crate::pieces::tests::{A, B, C, LINK, block, pieces};
    use shared::BlockSpan;

    #[test]
    fn a_piece_that_several_spoiled_is_asked_of_one_alone_part_by_part() {
        let (mut pieces, geometry, all) = pieces();
        let piece = geometry.piece(1).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let first = geometry.blocks(piece, 0, 3).unwrap();
        let rest = geometry.blocks(piece, 3, 8).unwrap();
        pieces.received(first, block(first, 1), A, true);
        assert!(matches!(pieces.received(rest, block(rest, 1), B, true), Receipt::Whole { .. }));
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Suspect(vec![A, B])));
        assert_eq!(pieces.buffered_bytes(), 100_000);
        assert_eq!(pieces.next_suspect(&all, Some(C)), Some(piece));
        pieces.begin(piece, LINK, Some(C), false);
        assert_eq!(pieces.next_block(LinkId(2), &all, 131_072, false), None);
        assert_eq!(pieces.next_block(LINK, &all, 131_072, false), Some(first));
        assert_eq!(pieces.owned_by(LINK), [piece]);
        assert_eq!(pieces.next_suspect(&all, Some(C)), None);
        // If its peer goes, somebody else is asked for all of it.
        pieces.drop_begun(piece);
        assert_eq!(pieces.buffered_bytes(), 0);
        pieces.begin(piece, LinkId(2), Some(B), false);
        let all_of_it = geometry.blocks(piece, 0, 8).unwrap();
        assert_eq!(pieces.next_block(LinkId(2), &all, 131_072, false), Some(all_of_it));
        assert_eq!(pieces.next_block(LINK, &all, 131_072, false), None);
    }

    #[test]
    fn a_suspect_that_nobody_wants_any_more_keeps_no_other_waiting() {
        for give_up in [true, false] {
            let (mut pieces, piece, _) = spoiled();
            assert!(matches!(pieces.refused(piece, |_| false), Some(Refusal::Suspect(_))));
            if give_up {
                assert!(!pieces.give_up(piece), "it was not in flight");
            } else {
                assert!(pieces.found(piece));
            }
            assert_eq!((pieces.buffered_bytes(), pieces.next_suspect(&Bitfield::all(3), None)), (0, None));
            assert!(pieces.suspects.is_empty());
        }
    }

    #[test]
    fn who_sends_all_of_a_piece_is_judged_by_that_alone() {
        let (mut pieces, geometry, _) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let (first, all) = (geometry.blocks(piece, 0, 3).unwrap(), geometry.blocks(piece, 0, 7).unwrap());
        pieces.received(first, block(first, 1), A, true);
        // A is banned, and what it sent is to come again.
        pieces.discard_from(A);
        match pieces.received(all, block(all, 2), B, true) {
            Receipt::Whole { data, .. } => assert_eq!(data, block(all, 2)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_of_a_piece_that_comes_after_a_part_of_it_is_kept_but_for_that_part() {
        let (mut pieces, geometry, _) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let (first, all) = (geometry.blocks(piece, 0, 3).unwrap(), geometry.blocks(piece, 0, 7).unwrap());
        pieces.received(first, block(first, 1), A, true);
        match pieces.received(all, block(all, 2), B, true) {
            Receipt::Whole { data, .. } => {
                let (of_a, of_b) = data.split_at(first.len() as usize);
                assert!(of_a.iter().all(|byte| *byte == 1) && of_b.iter().all(|byte| *byte == 2));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Blocks of three peers: A's with ones, B's with twos, C's with threes.
    fn spoiled() -> (Pieces, PieceIndex, [BlockSpan; 3]) {
        let (mut pieces, geometry, _) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let spans =
            [(0, 2), (2, 3), (5, 2)].map(|(first, count)| geometry.blocks(piece, first, count).unwrap());
        for (value, (span, peer)) in (1..).zip(spans.into_iter().zip([A, B, C])) {
            pieces.received(span, block(span, value), peer, true);
        }
        (pieces, piece, spans)
    }

    #[test]
    fn whoever_sent_other_bytes_than_are_right_is_found_and_nobody_else() {
        let (mut pieces, piece, [a, b, c]) = spoiled();
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Suspect(vec![A, B, C])));
        // Asked of A alone, first for what B sent, which had lied, in one of its three units.
        pieces.begin(piece, LINK, Some(A), false);
        assert_eq!(pieces.next_block(LINK, &Bitfield::all(3), 131_072, false), Some(b));
        let mut right = block(b, 2).to_vec();
        right[20_000] = 9;
        assert!(matches!(pieces.received(b, right.into(), A, true), Receipt::Whole { .. }));
        assert_eq!(pieces.stored(piece), Some(Verdict { liars: vec![B], cleared: vec![A, C] }));
        assert_eq!(pieces.next_suspect(&Bitfield::all(3), Some(A)), None);
        assert_eq!((pieces.buffered_bytes(), [a, c].map(|span| pieces.is_received(span))), (0, [true; 2]));
    }

    const D: PeerId = PeerId::new([4; 20]);

    /// What is asked of D next, which sends it.
    fn fetched_again(pieces: &mut Pieces, piece: PieceIndex, value: impl Fn(BlockSpan) -> u8) -> Vec<u32> {
        pieces.begin(piece, LINK, Some(D), false);
        let mut begins = Vec::new();
        while let Some(span) = pieces.next_block(LINK, &Bitfield::all(3), 131_072, false) {
            begins.push(span.begin() / BLOCK_LEN);
            pieces.requested(span);
            pieces.received(span, block(span, value(span)), D, true);
        }
        begins
    }

    #[test]
    fn as_long_as_it_fails_more_of_it_is_fetched_again() {
        let (mut pieces, piece, [a, b, _]) = spoiled();
        pieces.refused(piece, |_| false);
        let value = |span: BlockSpan| {
            if span == a {
                1
            } else if span == b {
                2
            } else {
                9
            }
        };
        assert_eq!(fetched_again(&mut pieces, piece, value), [0]);
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Again));
        assert_eq!(fetched_again(&mut pieces, piece, value), [2]);
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Again));
        assert_eq!(fetched_again(&mut pieces, piece, value), [5]);
        assert_eq!(pieces.stored(piece), Some(Verdict { liars: vec![C], cleared: vec![A, B, D] }));
    }

    #[test]
    fn what_came_from_one_who_was_never_right_is_fetched_again_first_and_of_one_who_was() {
        let (mut pieces, piece, _) = spoiled();
        pieces.refused(piece, |_| false);
        pieces.proven.note(&[A, B, D]);
        let all = Bitfield::all(3);
        assert_eq!(pieces.next_suspect(&all, Some(C)), None);
        assert_eq!(pieces.next_suspect(&all, Some(D)), Some(piece));
        assert_eq!(fetched_again(&mut pieces, piece, |_| 9), [5]);
        assert_eq!(pieces.stored(piece), Some(Verdict { liars: vec![C], cleared: vec![A, B] }));
    }

    #[test]
    fn one_who_is_asked_for_it_again_and_lies_is_found_when_all_of_it_is_its_own() {
        let (mut pieces, piece, _) = spoiled();
        pieces.refused(piece, |_| false);
        for again in [[0], [2]] {
            assert_eq!(fetched_again(&mut pieces, piece, |_| 66), again);
            assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Again));
        }
        assert_eq!(fetched_again(&mut pieces, piece, |_| 66), [5]);
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Liar(D)));
    }

    #[test]
    fn what_waits_as_a_suspect_goes_on_when_one_who_had_a_part_in_it_is_banned_for_another_piece() {
        let (mut pieces, piece, [_, b, _]) = spoiled();
        pieces.refused(piece, |_| false);
        assert_eq!(pieces.unpark(|peer| peer == B), Unparked { resumed: vec![piece], suspect: None });
        assert_eq!(pieces.next_block(LinkId(2), &Bitfield::all(3), 131_072, false), Some(b));
        assert_eq!(pieces.buffered_bytes(), 100_000);
    }

    #[test]
    fn of_a_piece_with_blocks_of_one_who_is_banned_by_then_the_rest_is_kept() {
        let (mut pieces, piece, [_, b, _]) = spoiled();
        assert_eq!(pieces.refused(piece, |peer| peer == B), Some(Refusal::Resumed));
        assert_eq!(pieces.next_block(LINK, &Bitfield::all(3), 131_072, false), Some(b));
        let Receipt::Whole { data, .. } = pieces.received(b, block(b, 7), C, true) else { panic!() };
        assert_eq!([data[0], data[b.begin() as usize], data[99_999]], [1, 7, 3]);
        assert_eq!(pieces.buffered_bytes(), 100_000);
    }

    #[test]
    fn what_a_liar_sent_of_pieces_in_flight_is_fetched_again() {
        let (mut pieces, geometry, all) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, Some(A), false);
        let [first, rest] =
            [(0, 3), (3, 4)].map(|(from, count)| geometry.blocks(piece, from, count).unwrap());
        pieces.received(first, block(first, 1), A, true);
        pieces.discard_from(B);
        assert_eq!(pieces.next_block(LINK, &all, 131_072, false), Some(rest));
        pieces.requested(rest);
        pieces.discard_from(A);
        assert_eq!(pieces.next_block(LINK, &all, 131_072, false), Some(first));
        assert_eq!(pieces.received(rest, block(rest, 2), B, true), Receipt::Part { contested: false });
        let Receipt::Whole { .. } = pieces.received(first, block(first, 3), C, true) else { panic!() };
        let nothing_of_a = Some(Refusal::Suspect(vec![B, C]));
        assert_eq!(pieces.refused(piece, |peer| peer == A), nothing_of_a);
    }

    #[test]
    fn what_fails_while_the_liar_is_looked_for_waits_for_that() {
        let (mut pieces, piece, spans) = spoiled();
        let geometry = pieces.geometry;
        pieces.refused(piece, |_| false);
        let second = geometry.piece(1).unwrap();
        pieces.begin(second, LINK, Some(A), false);
        for (span, peer) in spans.into_iter().zip([A, B, C]) {
            let span = geometry.span(1, span.begin(), span.len()).unwrap();
            pieces.received(span, block(span, 8), peer, true);
        }
        assert_eq!(pieces.refused(second, |_| false), Some(Refusal::Parked));
        assert_eq!(pieces.buffered_bytes(), 200_000);
        assert_eq!(pieces.unpark(|_| false), Unparked { resumed: Vec::new(), suspect: None });
        assert_eq!(pieces.unpark(|peer| peer == C).resumed, [second, piece]);
        pieces.drop_begun(piece);
        let owed = pieces.next_block(LINK, &Bitfield::all(3), 131_072, false).unwrap();
        assert_eq!((owed.piece(), owed.begin(), owed.len()), (second, spans[2].begin(), spans[2].len()));
    }
}
