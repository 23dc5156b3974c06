//! Fetching the info dictionary by its hash alone (BEP 9).
//!
//! Each peer says how long the dictionary is. There is one assembly for each length that somebody claims, filled from all
//! the peers that claim it, in parallel; the first whose bytes have the right hash wins. One that has not is thrown away:
//! if one peer sent it all, that peer is to blame; if several did, the next attempt is made with one of them at a time.

use std::time::Duration;

use bytes::Bytes;
use shared::PeerId;
use shared::order::{SortedMap, SortedSet};
use shared::wire::extension::METADATA_PIECE_LEN;

use crate::api::{LinkId, Time};

/// A request unanswered for this long is asked of others, and the peer is left alone for [`REST`].
const PATIENCE: Duration = Duration::from_secs(10);
/// An idle peer is asked for what another was asked for this long ago.
const SPREAD_AFTER: Duration = Duration::from_secs(2);
/// How long a peer that rejected or did not answer a request is not asked.
const REST: Duration = Duration::from_secs(10);
/// Lengths that are believed in at a time; a liar holds one of them until its data has come and failed, or [`PATIENCE`]
/// has run out [`MAX_LAPSES`] times.
const MAX_ASSEMBLIES: usize = 8;
/// After so many unanswered or rejected requests a peer's claim counts no more.
const MAX_LAPSES: u32 = 3;
/// Requests that one peer has to answer at a time.
const MAX_ASKED: usize = 8;

/// One piece of the dictionary.
#[derive(Debug, Default)]
struct Slot {
    data: Option<(Bytes, PeerId)>,
    asked: Vec<(LinkId, Time)>,
}

/// The dictionary in one of the lengths that it may have.
#[derive(Debug)]
struct Assembly {
    slots: Vec<Slot>,
    /// Several peers have spoiled it: one alone is asked now.
    solo: bool,
    soloist: Option<LinkId>,
}

/// A peer that claims to have the dictionary.
#[derive(Debug)]
struct Source {
    size: u32,
    rests_until: Time,
    lapses: u32,
}

/// What a piece of metadata led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was not asked for, or does not fit.
    Ignored,
    /// More is to come.
    Part,
    /// All bytes are there. To be hashed; if that is wrong, [`Fetch::spoiled`].
    Whole {
        /// The dictionary, if everybody told the truth.
        info: Bytes,
        /// Who sent it.
        from: Vec<PeerId>,
    },
}

/// The search for one info dictionary.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    assemblies: SortedMap<u32, Assembly>,
    sources: SortedMap<LinkId, Source>,
}

impl Fetch {
    /// A peer claims to have the dictionary, with this many bytes.
    pub(crate) fn peer_offers(&mut self, link: LinkId, size: u32) {
        if size == 0 || self.sources.contains_key(&link) {
            return;
        }
        if !self.assemblies.contains_key(&size) {
            if self.assemblies.len() >= MAX_ASSEMBLIES {
                return;
            }
            let mut slots = Vec::new();
            slots.resize_with((size as usize).div_ceil(METADATA_PIECE_LEN), Slot::default);
            self.assemblies.insert(size, Assembly { slots, solo: false, soloist: None });
        }
        self.sources.insert(link, Source { size, rests_until: Time::default(), lapses: 0 });
    }

    /// A peer is gone; what it was asked for is free again.
    pub(crate) fn peer_left(&mut self, link: LinkId) {
        let Some(source) = self.sources.remove(&link) else { return };
        if !self.sources.values().any(|other| other.size == source.size) {
            self.assemblies.remove(&source.size);
        } else if let Some(assembly) = self.assemblies.get_mut(&source.size) {
            assembly.forget_requests(link);
            if assembly.soloist == Some(link) {
                assembly.start_over();
            }
        }
    }

    /// Whether any peer claims to have the dictionary.
    pub(crate) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// What to ask this peer for now.
    pub(crate) fn next_requests(&mut self, now: Time, link: LinkId) -> Vec<u32> {
        let Some(source) = self.sources.get(&link).filter(|source| source.rests_until <= now) else {
            return Vec::new();
        };
        let Some(assembly) = self.assemblies.get_mut(&source.size) else { return Vec::new() };
        if assembly.solo && *assembly.soloist.get_or_insert(link) != link {
            return Vec::new();
        }
        let asked = assembly.slots.iter().filter(|slot| slot.was_asked(link)).count();
        let mut pieces = Vec::new();
        for (piece, slot) in assembly.slots.iter_mut().enumerate() {
            if asked + pieces.len() >= MAX_ASKED {
                break;
            }
            let fresh = slot.asked.last().is_none_or(|(_, at)| now.since(*at) >= SPREAD_AFTER);
            if slot.data.is_none() && fresh && !slot.was_asked(link) {
                slot.asked.push((link, now));
                pieces.push(piece as u32);
            }
        }
        pieces
    }

    /// A peer sent a piece.
    pub(crate) fn received(
        &mut self,
        link: LinkId,
        from: PeerId,
        piece: u32,
        total_size: u32,
        data: Bytes,
    ) -> Progress {
        let Some(source) = self.sources.get_mut(&link).filter(|source| source.size == total_size) else {
            return Progress::Ignored;
        };
        let Some(assembly) = self.assemblies.get_mut(&source.size) else { return Progress::Ignored };
        let begin = piece as usize * METADATA_PIECE_LEN;
        let expected = (total_size as usize).saturating_sub(begin).min(METADATA_PIECE_LEN);
        let Some(slot) = assembly.slots.get_mut(piece as usize) else { return Progress::Ignored };
        if !slot.was_asked(link) || slot.data.is_some() || data.len() != expected {
            return Progress::Ignored;
        }
        source.lapses = 0;
        slot.asked.clear();
        slot.data = Some((data, from));
        if assembly.slots.iter().any(|slot| slot.data.is_none()) {
            return Progress::Part;
        }
        let parts = assembly.slots.iter().filter_map(|slot| slot.data.as_ref());
        let mut info = Vec::with_capacity(total_size as usize);
        let mut from = Vec::new();
        for (data, peer) in parts {
            info.extend_from_slice(data);
            if !from.contains(peer) {
                from.push(*peer);
            }
        }
        Progress::Whole { info: info.into(), from }
    }

    /// The dictionary of this length has the wrong hash: begin again, and if several peers had a part in it, with one at a
    /// time.
    pub(crate) fn spoiled(&mut self, size: u32, by_several: bool) {
        if let Some(assembly) = self.assemblies.get_mut(&size) {
            assembly.solo |= by_several;
            assembly.start_over();
        }
    }

    /// A peer will not send this piece.
    pub(crate) fn rejected(&mut self, now: Time, link: LinkId, piece: u32) {
        let Some(source) = self.sources.get(&link) else { return };
        let Some(assembly) = self.assemblies.get_mut(&source.size) else { return };
        let Some(slot) = assembly.slots.get_mut(piece as usize).filter(|slot| slot.was_asked(link)) else {
            return;
        };
        slot.forget_request(link);
        self.lapse(now, link);
    }

    /// Gives up on requests that were not answered in time.
    pub(crate) fn expire(&mut self, now: Time) {
        let is_late = |at: Time| now.since(at) >= PATIENCE;
        let asked =
            self.assemblies.values().flat_map(|assembly| &assembly.slots).flat_map(|slot| &slot.asked);
        let late: SortedSet<_> = asked.filter(|(_, at)| is_late(*at)).map(|(link, _)| *link).collect();
        for link in late {
            for assembly in self.assemblies.values_mut() {
                assembly.forget_requests(link);
            }
            self.lapse(now, link);
        }
    }

    fn lapse(&mut self, now: Time, link: LinkId) {
        let Some(source) = self.sources.get_mut(&link) else { return };
        source.rests_until = now + REST;
        source.lapses += 1;
        if source.lapses >= MAX_LAPSES {
            self.peer_left(link);
        } else if let Some(assembly) = self.assemblies.get_mut(&source.size)
            && assembly.soloist == Some(link)
        {
            assembly.start_over();
        }
    }
}

impl Assembly {
    fn start_over(&mut self) {
        self.soloist = None;
        self.slots.fill_with(Slot::default);
    }

    fn forget_requests(&mut self, link: LinkId) {
        self.slots.iter_mut().for_each(|slot| slot.forget_request(link));
    }
}

impl Slot {
    fn was_asked(&self, link: LinkId) -> bool {
        self.asked.iter().any(|(asked, _)| *asked == link)
    }

    fn forget_request(&mut self, link: LinkId) {
        self.asked.retain(|(asked, _)| *asked != link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (LinkId, PeerId) = (LinkId(1), PeerId::new([1; 20]));
    const B: (LinkId, PeerId) = (LinkId(2), PeerId::new([2; 20]));
    const SIZE: u32 = 40_000;

    fn at(seconds: u64) -> Time {
        Time::since_start(Duration::from_secs(seconds))
    }

    fn part(piece: u32) -> Bytes {
        vec![piece as u8; (SIZE as usize - piece as usize * METADATA_PIECE_LEN).min(METADATA_PIECE_LEN)]
            .into()
    }

    fn send(fetch: &mut Fetch, (link, peer): (LinkId, PeerId), piece: u32) -> Progress {
        fetch.received(link, peer, piece, SIZE, part(piece))
    }

    #[test]
    fn everything_is_asked_at_once_and_put_together() {
        let mut fetch = Fetch::default();
        fetch.peer_offers(A.0, SIZE);
        assert_eq!(fetch.next_requests(at(0), A.0), [0, 1, 2]);
        assert_eq!(fetch.next_requests(at(0), A.0), Vec::<u32>::new());
        assert_eq!(send(&mut fetch, A, 2), Progress::Part);
        assert_eq!(send(&mut fetch, A, 2), Progress::Ignored);
        assert_eq!(send(&mut fetch, B, 0), Progress::Ignored);
        assert_eq!(send(&mut fetch, A, 0), Progress::Part);
        let Progress::Whole { info, from } = send(&mut fetch, A, 1) else { panic!() };
        assert_eq!(info.len(), SIZE as usize);
        assert_eq!(info, [part(0), part(1), part(2)].concat());
        assert_eq!(from, [A.1]);
    }

    #[test]
    fn a_large_dictionary_comes_from_several_peers() {
        let mut fetch = Fetch::default();
        let size = 20 * METADATA_PIECE_LEN as u32;
        fetch.peer_offers(A.0, size);
        fetch.peer_offers(B.0, size);
        assert_eq!(fetch.next_requests(at(0), A.0), (0..8).collect::<Vec<_>>());
        assert_eq!(fetch.next_requests(at(0), B.0), (8..16).collect::<Vec<_>>());
    }

    #[test]
    fn pieces_that_do_not_fit_are_ignored() {
        let mut fetch = Fetch::default();
        fetch.peer_offers(A.0, SIZE);
        fetch.next_requests(at(0), A.0);
        assert_eq!(fetch.received(A.0, A.1, 0, SIZE + 1, part(0)), Progress::Ignored);
        assert_eq!(fetch.received(A.0, A.1, 0, SIZE, Bytes::from_static(b"x")), Progress::Ignored);
        assert_eq!(fetch.received(A.0, A.1, 3, SIZE, part(0)), Progress::Ignored);
        assert_eq!(fetch.received(A.0, A.1, u32::MAX, SIZE, part(0)), Progress::Ignored);
    }

    #[test]
    fn the_silent_and_the_unwilling_rest_while_others_are_asked() {
        let mut fetch = Fetch::default();
        fetch.peer_offers(A.0, SIZE);
        fetch.next_requests(at(0), A.0);
        fetch.peer_offers(B.0, SIZE);
        assert!(fetch.next_requests(at(1), B.0).is_empty());
        assert_eq!(fetch.next_requests(at(2), B.0).len(), 3);
        fetch.rejected(at(2), B.0, 1);
        fetch.expire(at(10));
        assert!(fetch.next_requests(at(11), A.0).is_empty());
        fetch.expire(at(12));
        assert_eq!(fetch.next_requests(at(20), A.0).len(), 3);
        assert!(fetch.next_requests(at(21), B.0).is_empty());
    }

    #[test]
    fn a_claim_that_is_never_made_good_is_forgotten() {
        let mut fetch = Fetch::default();
        for liar in 0..MAX_ASSEMBLIES as u64 {
            fetch.peer_offers(LinkId(100 + liar), 1_000 + liar as u32);
        }
        fetch.peer_offers(A.0, SIZE);
        assert!(fetch.next_requests(at(0), A.0).is_empty());
        for second in 0..100 {
            fetch.expire(at(second));
            for liar in 0..MAX_ASSEMBLIES as u64 {
                fetch.next_requests(at(second), LinkId(100 + liar));
            }
        }
        assert!(!fetch.has_sources());
        fetch.peer_offers(A.0, SIZE);
        assert_eq!(fetch.next_requests(at(100), A.0).len(), 3);
    }

    #[test]
    fn what_several_spoiled_is_asked_of_one_at_a_time() {
        let mut fetch = Fetch::default();
        fetch.peer_offers(A.0, SIZE);
        fetch.peer_offers(B.0, SIZE);
        fetch.next_requests(at(0), A.0);
        fetch.next_requests(at(2), B.0);
        send(&mut fetch, A, 0);
        send(&mut fetch, B, 1);
        let Progress::Whole { from, .. } = send(&mut fetch, B, 2) else { panic!() };
        assert_eq!(from, [A.1, B.1]);
        fetch.spoiled(SIZE, true);
        assert_eq!(fetch.next_requests(at(3), B.0).len(), 3);
        assert!(fetch.next_requests(at(9), A.0).is_empty());
        fetch.peer_left(B.0);
        assert_eq!(fetch.next_requests(at(9), A.0).len(), 3);
    }
}
