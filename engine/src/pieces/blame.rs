//! Who spoiled a piece.
//!
//! A piece that fails its hash with units of several peers is a *suspect*: who sent which unit is noted, with its digest, and the
//! piece is fetched again from one peer alone. If that fails, that peer lied. If it is right, whoever had sent another unit lied,
//! and nobody else.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use shared::geometry::BLOCK_LEN;
use shared::wire::Bitfield;
use shared::{PeerId, PieceIndex};

use super::{Begun, Delivered, Pieces, Unit};

/// Units whose senders and digests are remembered, at most; a suspect above that is fetched from one peer all the same. Some
/// 600 KB.
const MAX_TESTIMONIES: usize = 16 * 1024;

/// Bytes of pieces that failed their hash while another is a suspect, and that are kept until the liar is found.
const MAX_PARKED_BYTES: u64 = 16 << 20;

/// Who sent a unit of a piece that failed its hash, and what.
#[derive(Debug)]
pub(super) struct Testimony {
    pub(super) sender: PeerId,
    pub(super) digest: [u8; 20],
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
    /// One of several peers lied, and it will soon be known who: it is kept until then.
    Parked,
}

impl Pieces {
    /// A piece that failed its hash before, and that nobody is being asked for now, out of what this peer has.
    pub(crate) fn next_suspect(&self, has: &Bitfield) -> Option<PieceIndex> {
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
            self.resume(piece, &senders, &data, &is_banned);
            return Some(Refusal::Resumed);
        }
        if !self.suspects.is_empty() && self.parked_bytes + self.len(piece) <= MAX_PARKED_BYTES {
            self.parked_bytes += self.len(piece);
            self.parked.insert(piece, (senders, data));
            return Some(Refusal::Parked);
        }
        Some(Refusal::Suspect(self.suspect(piece, &senders, &data)))
    }

    /// Notes who sent what; who they are.
    fn suspect(&mut self, piece: PieceIndex, senders: &[PeerId], data: &Bytes) -> Vec<PeerId> {
        let known = self.suspects.values().map(Vec::len).sum::<usize>();
        let room = known + senders.len() <= MAX_TESTIMONIES;
        let units = senders.iter().zip(data.chunks(BLOCK_LEN as usize)).filter(|_| room);
        let testimony = |(sender, unit): (&PeerId, &[u8])| Testimony {
            sender: *sender,
            digest: Sha1::digest(unit).into(),
        };
        self.suspects.insert(piece, units.map(testimony).collect());
        senders.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Goes on with pieces that were parked: with those that somebody who is banned by now had a part in, and, when there is no
    /// suspect any more, with one that becomes the next. Which that is, and who sent it.
    pub(crate) fn unpark(&mut self, is_banned: impl Fn(PeerId) -> bool) -> Option<(PieceIndex, Vec<PeerId>)> {
        let spoiled = self.parked.iter().filter(|(_, (senders, _))| senders.iter().any(|s| is_banned(*s)));
        let spoiled: Vec<_> = spoiled.map(|(piece, _)| *piece).collect();
        for piece in spoiled {
            if let Some((senders, data)) = self.leave_parked(piece) {
                self.resume(piece, &senders, &data, &is_banned);
            }
        }
        if !self.suspects.is_empty() {
            return None;
        }
        let piece = *self.parked.first_key_value()?.0;
        let (senders, data) = self.leave_parked(piece)?;
        Some((piece, self.suspect(piece, &senders, &data)))
    }

    /// A parked piece that this peer has becomes a suspect, since there is nothing else to ask it for.
    pub(crate) fn unpark_for(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let piece = self.parked.keys().copied().find(|piece| has.has(*piece))?;
        let (senders, data) = self.leave_parked(piece)?;
        self.suspect(piece, &senders, &data);
        Some(piece)
    }

    pub(super) fn leave_parked(&mut self, piece: PieceIndex) -> Option<(Vec<PeerId>, Bytes)> {
        let parked = self.parked.remove(&piece)?;
        self.parked_bytes -= self.len(piece);
        Some(parked)
    }

    /// In flight again, without what the banned had sent.
    fn resume(
        &mut self,
        piece: PieceIndex,
        senders: &[PeerId],
        data: &[u8],
        is_banned: &impl Fn(PeerId) -> bool,
    ) {
        let mut contributors: Vec<PeerId> = Vec::new();
        let mut units = Vec::new();
        for sender in senders {
            if is_banned(*sender) {
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
        let begun = Begun { units, missing, outstanding: missing, buffer, contributors, owner: None };
        self.begun.insert(piece, begun);
        self.begun_bytes += self.len(piece);
        self.open.insert(piece);
    }

    /// Whatever this peer sent of pieces in flight is missing again.
    pub(crate) fn discard_from(&mut self, peer: PeerId) {
        for (piece, begun) in &mut self.begun {
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
    fn a_piece_that_several_spoiled_is_asked_of_one_alone() {
        let (mut pieces, geometry, all) = pieces();
        let piece = geometry.piece(1).unwrap();
        pieces.begin(piece, LINK, false);
        let first = geometry.blocks(piece, 0, 3).unwrap();
        let rest = geometry.blocks(piece, 3, 8).unwrap();
        pieces.received(first, block(first, 1), A, true);
        assert!(matches!(pieces.received(rest, block(rest, 1), B, true), Receipt::Whole { .. }));
        assert_eq!(pieces.refused(piece, |_| false), Some(Refusal::Suspect(vec![A, B])));
        assert_eq!(pieces.next_suspect(&all), Some(piece));
        pieces.begin(piece, LINK, false);
        assert_eq!(pieces.next_block(LinkId(2), &all, 16_384, false), None);
        assert!(pieces.next_block(LINK, &all, 16_384, false).is_some());
        assert_eq!(pieces.owned_by(LINK), [piece]);
        assert_eq!(pieces.next_suspect(&all), None);
    }

    /// Blocks of three peers: A's with ones, B's with twos, C's with threes.
    fn spoiled() -> (Pieces, PieceIndex, [BlockSpan; 3]) {
        let (mut pieces, geometry, _) = pieces();
        let piece = geometry.piece(0).unwrap();
        pieces.begin(piece, LINK, false);
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
        // Fetched again, from A alone: B had lied, in one of its three units.
        pieces.begin(piece, LINK, false);
        let mut right = block(b, 2).to_vec();
        right[20_000] = 9;
        pieces.received(a, block(a, 1), A, true);
        pieces.received(b, right.into(), A, true);
        assert!(matches!(pieces.received(c, block(c, 3), A, true), Receipt::Whole { .. }));
        assert_eq!(pieces.stored(piece), Some((vec![B], Some(A))));
        assert_eq!(pieces.next_suspect(&Bitfield::all(3)), None);
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
        pieces.begin(piece, LINK, false);
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
        pieces.begin(second, LINK, false);
        for (span, peer) in spans.into_iter().zip([A, B, C]) {
            let span = geometry.span(1, span.begin(), span.len()).unwrap();
            pieces.received(span, block(span, 8), peer, true);
        }
        assert_eq!(pieces.refused(second, |_| false), Some(Refusal::Parked));
        assert_eq!(pieces.buffered_bytes(), 100_000);
        assert_eq!(pieces.unpark(|_| false), None);
        assert_eq!(pieces.unpark(|peer| peer == C), None);
        let owed = pieces.next_block(LINK, &Bitfield::all(3), 131_072, false).unwrap();
        assert_eq!((owed.piece(), owed.begin(), owed.len()), (second, spans[2].begin(), spans[2].len()));
    }
}
