//! Blocks for others, read from the store in larger loads.
//!
//! One read of a file costs a browser about a millisecond, whatever its length, so blocks are cut from loads of up to
//! [`LOAD_LEN`] bytes, and the loads behind the one being sent are asked for ahead: the link never waits for the store.

use bytes::{Bytes, BytesMut};
use shared::order::SortedMap;
use shared::{BlockSpan, Geometry, PieceIndex};

use crate::api::LoadId;

/// Longest load, in bytes; a piece is cut into loads from its start.
const LOAD_LEN: u32 = 512 * 1024;

/// Bytes that are kept or on the way, at most, while anything else is left to throw away.
const MAX_CACHED_BYTES: u64 = 16 << 20;

/// Bytes of loads that one peer's queue of requests makes ready: what it takes now, and what comes next.
pub(crate) const READ_AHEAD: u32 = 4 * LOAD_LEN;

/// Loads that may be on the way at a time.
const MAX_LOADING: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    piece: PieceIndex,
    /// Counted in [`LOAD_LEN`].
    load: u32,
}

#[derive(Debug)]
struct Entry {
    span: BlockSpan,
    data: Option<Bytes>,
    used: u64,
}

/// Loads that are there or on the way, the ones used longest ago thrown away first.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    entries: SortedMap<Place, Entry>,
    loading: SortedMap<LoadId, Place>,
    last_load: u64,
    bytes: u64,
    clock: u64,
}

impl Uploads {
    /// Makes sure that this block is there or on the way; which loads that takes.
    pub(crate) fn want(
        &mut self,
        geometry: &Geometry,
        span: BlockSpan,
        mut start: impl FnMut(LoadId, BlockSpan),
    ) {
        for place in places(span) {
            if self.entries.contains_key(&place) {
                continue;
            }
            let begin = place.load * LOAD_LEN;
            let len = geometry.piece_len(place.piece).saturating_sub(begin).min(LOAD_LEN);
            let Some(span) = geometry.span(place.piece.as_u32(), begin, len) else { continue };
            if self.loading.len() >= MAX_LOADING {
                return;
            }
            self.make_room(u64::from(len));
            self.last_load += 1;
            let load = LoadId(self.last_load);
            self.clock += 1;
            self.entries.insert(place, Entry { span, data: None, used: self.clock });
            self.loading.insert(load, place);
            self.bytes += u64::from(len);
            start(load, span);
        }
    }

    fn make_room(&mut self, len: u64) {
        while self.bytes + len > MAX_CACHED_BYTES {
            let ready = self.entries.iter().filter(|(_, entry)| entry.data.is_some());
            let Some(oldest) = ready.min_by_key(|(_, entry)| entry.used).map(|(place, _)| *place) else {
                return;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, place: Place) {
        if let Some(entry) = self.entries.remove(&place) {
            self.bytes -= u64::from(entry.span.len());
        }
    }

    /// Whether all of this block's bytes are there.
    pub(crate) fn has(&self, span: BlockSpan) -> bool {
        places(span).all(|place| self.entries.get(&place).is_some_and(|entry| entry.data.is_some()))
    }

    /// Appends this block's bytes to `out`; nothing unless [`Self::has`] them.
    pub(crate) fn append(&mut self, span: BlockSpan, out: &mut BytesMut) {
        if !self.has(span) {
            return;
        }
        self.clock += 1;
        for place in places(span) {
            let Some(entry) = self.entries.get_mut(&place) else { continue };
            entry.used = self.clock;
            let Some(data) = &entry.data else { continue };
            let from = span.begin().max(entry.span.begin()) - entry.span.begin();
            let to = span.end().min(entry.span.end()) - entry.span.begin();
            out.extend_from_slice(&data[from as usize..to as usize]);
        }
    }

    /// A load was answered. The piece that could not be read, if that is the answer; `None` also for a load that nobody
    /// waits for any more.
    pub(crate) fn loaded(&mut self, load: LoadId, data: Option<Bytes>) -> Option<PieceIndex> {
        let place = self.loading.remove(&load)?;
        let entry = self.entries.get_mut(&place)?;
        match data.filter(|data| data.len() == entry.span.len() as usize) {
            Some(data) => {
                self.clock += 1;
                entry.used = self.clock;
                entry.data = Some(data);
                None
            }
            None => {
                self.remove(place);
                Some(place.piece)
            }
        }
    }

    /// Forgets everything; answers that are on the way will be ignored.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.loading.clear();
        self.bytes = 0;
    }
}

fn places(span: BlockSpan) -> impl Iterator<Item = Place> {
    let (first, last) = (span.begin() / LOAD_LEN, (span.end() - 1) / LOAD_LEN);
    (first..=last).map(move |load| Place { piece: span.piece(), load })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uploads: &mut Uploads, geometry: &Geometry, span: BlockSpan) -> Vec<(LoadId, BlockSpan)> {
        let mut loads = Vec::new();
        uploads.want(geometry, span, |load, span| loads.push((load, span)));
        loads
    }

    fn content(geometry: &Geometry, span: BlockSpan) -> Bytes {
        geometry.absolute(span).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn one_load_serves_many_blocks_and_a_block_may_need_two() {
        let geometry = Geometry::new(3 << 20, 2 << 20).unwrap();
        let mut uploads = Uploads::default();
        let piece = geometry.piece(0).unwrap();
        let first = geometry.blocks(piece, 0, 8).unwrap();
        let loads = wanted(&mut uploads, &geometry, first);
        assert_eq!(loads.len(), 1);
        assert_eq!((loads[0].1.begin(), loads[0].1.len()), (0, LOAD_LEN));
        assert!(wanted(&mut uploads, &geometry, geometry.blocks(piece, 8, 8).unwrap()).is_empty());
        let mut out = BytesMut::new();
        assert!(!uploads.has(first));
        assert_eq!(uploads.loaded(loads[0].0, Some(content(&geometry, loads[0].1))), None);
        uploads.append(first, &mut out);
        assert_eq!(out, content(&geometry, first));

        let across = geometry.blocks(piece, 30, 8).unwrap();
        let loads = wanted(&mut uploads, &geometry, across);
        assert_eq!(loads.len(), 1);
        uploads.loaded(loads[0].0, Some(content(&geometry, loads[0].1)));
        let mut out = BytesMut::new();
        uploads.append(across, &mut out);
        assert_eq!(out, content(&geometry, across));
    }

    #[test]
    fn the_cache_is_bounded() {
        let geometry = Geometry::new(64 << 20, 1 << 20).unwrap();
        let mut uploads = Uploads::default();
        for piece in geometry.pieces() {
            let span = geometry.blocks(piece, 0, 1).unwrap();
            for (load, span) in wanted(&mut uploads, &geometry, span) {
                uploads.loaded(load, Some(content(&geometry, span)));
            }
            assert!(uploads.bytes <= MAX_CACHED_BYTES);
        }
        let last = geometry.blocks(geometry.piece(63).unwrap(), 0, 1).unwrap();
        assert!(uploads.has(last));
        uploads.clear();
        assert!(!uploads.has(last));
    }

    #[test]
    fn a_load_that_fails_or_has_the_wrong_length_names_its_piece_once() {
        let geometry = Geometry::new(1 << 20, 1 << 20).unwrap();
        let mut uploads = Uploads::default();
        let piece = geometry.piece(0).unwrap();
        let span = geometry.blocks(piece, 0, 1).unwrap();
        let load = wanted(&mut uploads, &geometry, span)[0].0;
        assert_eq!(uploads.loaded(load, None), Some(piece));
        assert_eq!(uploads.loaded(load, None), None);
        let load = wanted(&mut uploads, &geometry, span)[0].0;
        assert_eq!(uploads.loaded(load, Some(Bytes::from_static(b"short"))), Some(piece));
        assert_eq!(uploads.loaded(LoadId(999), None), None);
    }
}
