//! Reads ahead in files and blobs. Reading one goes through the browser's own process and costs about a millisecond
//! however little is read, so that 16 KiB at a time would be some 15 MiB/s. Peers ask for blocks that follow each
//! other, so a chunk is read and kept for the next ones; and the longer they follow each other, the longer the chunks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

use js_sys::Uint8Array;

use crate::buffers;

/// Bytes read at a time where nothing says that what follows will be asked for too. Chunks begin at its multiples.
const CHUNK: u64 = 512 * 1024;

/// Bytes read at a time, at the most.
const LONGEST: u64 = 4 << 20;

/// Bytes kept, at the most: as many peers as are served at a time, each in a piece of its own.
const KEPT: u64 = 16 << 20;

/// The chunks read last.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    chunks: RefCell<Chunks>,
}

/// Invariant: `bytes` is the sum of the chunks' lengths.
#[derive(Debug, Default)]
struct Chunks {
    /// Which bytes each has; the one used last stands last.
    kept: VecDeque<(Range<u64>, Uint8Array)>,
    bytes: u64,
}

impl ReadAhead {
    /// Reads as many bytes as `into` has, at `offset`. `fetch` reads from wherever they are, into a buffer of its own, and is
    /// asked only within `bounds`.
    pub(super) fn read<E>(
        &self,
        offset: u64,
        into: &Uint8Array,
        bounds: Range<u64>,
        fetch: impl FnOnce(u64, u32) -> Result<Uint8Array, E>,
    ) -> Result<(), E> {
        let len = into.length();
        let asked = offset..offset.saturating_add(u64::from(len));
        let mut chunks = self.chunks.borrow_mut();
        let (range, chunk) = match chunks.take(&asked) {
            Some(found) => found,
            None => match window(&asked, &bounds, chunks.before(&asked)) {
                // At most `LONGEST`, so it fits.
                Some(window) => {
                    let bytes = fetch(window.start, (window.end - window.start) as u32)?;
                    (window, bytes)
                }
                None => {
                    let bytes = fetch(offset, len)?;
                    into.set(&bytes, 0);
                    buffers::let_go(bytes.length());
                    return Ok(());
                }
            },
        };
        let from = (offset - range.start) as u32;
        into.set(&chunk.subarray(from, from + len), 0);
        chunks.keep(range, chunk);
        Ok(())
    }

    /// Keeps bytes that were read for another reason and will be asked for next.
    pub(super) fn keep(&self, range: Range<u64>, bytes: Uint8Array) {
        self.chunks.borrow_mut().keep(range, bytes);
    }

    /// What was read is not what there is any more.
    pub(super) fn forget(&self) {
        *self.chunks.borrow_mut() = Chunks::default();
    }
}

impl Chunks {
    /// Takes out the chunk that has all of these bytes.
    fn take(&mut self, asked: &Range<u64>) -> Option<(Range<u64>, Uint8Array)> {
        let index =
            self.kept.iter().position(|(range, _)| range.start <= asked.start && asked.end <= range.end)?;
        let (range, chunk) = self.kept.remove(index)?;
        self.bytes -= range.end - range.start;
        Some((range, chunk))
    }

    /// Length of the chunk that ends where the one with these bytes would begin; zero if there is none.
    fn before(&self, asked: &Range<u64>) -> u64 {
        let start = asked.start / CHUNK * CHUNK;
        let neighbour = self.kept.iter().find(|(range, _)| range.end == start || range.end == asked.start);
        neighbour.map_or(0, |(range, _)| range.end - range.start)
    }

    fn keep(&mut self, range: Range<u64>, chunk: Uint8Array) {
        self.bytes += range.end - range.start;
        self.kept.push_back((range, chunk));
        while self.bytes > KEPT
            && let Some((oldest, chunk)) = self.kept.pop_front()
        {
            self.bytes -= oldest.end - oldest.start;
            buffers::let_go(chunk.length());
        }
    }
}

/// The chunk within `bounds` that has all of these bytes, twice as long as the one before it; `None` if they do not lie in
/// one.
fn window(asked: &Range<u64>, bounds: &Range<u64>, before: u64) -> Option<Range<u64>> {
    if !bounds.contains(&asked.start) {
        return None;
    }
    let start = bounds.start + (asked.start - bounds.start) / CHUNK * CHUNK;
    let end = bounds.end.min(start + (before * 2).clamp(CHUNK, LONGEST));
    (asked.end <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_lies_within_its_bounds() {
        assert_eq!(window(&(0..16_384), &(0..CHUNK * 3), 0), Some(0..CHUNK));
        assert_eq!(window(&(CHUNK + 5..CHUNK + 16_389), &(0..CHUNK * 3), 0), Some(CHUNK..CHUNK * 2));
        let end = CHUNK * 2 + 10;
        assert_eq!(window(&(CHUNK * 2..end), &(0..end), LONGEST), Some(CHUNK * 2..end));
        assert_eq!(window(&(130..150), &(100..200), 0), Some(100..200));
    }

    #[test]
    fn chunks_that_follow_each_other_become_longer_up_to_a_bound() {
        let bounds = 0..LONGEST * 4;
        let next = CHUNK..CHUNK + 100;
        assert_eq!(window(&next, &bounds, CHUNK), Some(CHUNK..CHUNK * 3));
        assert_eq!(window(&next, &bounds, LONGEST), Some(CHUNK..CHUNK + LONGEST));
    }

    #[test]
    fn what_does_not_lie_in_one_chunk_is_read_by_itself() {
        assert_eq!(window(&(CHUNK - 1..CHUNK + 1), &(0..CHUNK * 3), 0), None);
        assert_eq!(window(&(0..CHUNK + 1), &(0..CHUNK * 3), 0), None);
        assert_eq!(window(&(190..210), &(100..200), 0), None);
        assert_eq!(window(&(90..110), &(100..200), 0), None);
        assert_eq!(window(&(0..0), &(0..0), 0), None);
    }
}
