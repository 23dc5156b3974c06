//! Reads ahead in files and blobs. Reading one goes through the browser's own process and costs about a millisecond
//! however little is read, so that 16 KiB at a time would be some 15 MiB/s; peers ask for blocks that follow each
//! other, so a chunk is read and kept for the next ones.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

use js_sys::Uint8Array;

/// Bytes read at a time, at the most.
const CHUNK: u64 = 512 * 1024;

/// Chunks kept, 8 MiB in all: as many peers as are served at a time, each in a piece of its own.
const KEPT: usize = 16;

/// The chunks read last.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// Where each begins and its bytes; the one used last stands last.
    chunks: RefCell<VecDeque<(u64, Uint8Array)>>,
}

impl ReadAhead {
    /// Reads `len` bytes at `offset`. `fetch` reads from wherever they are, and is asked only within `bounds`.
    pub(super) fn read<E>(
        &self,
        offset: u64,
        len: u32,
        bounds: Range<u64>,
        fetch: impl FnOnce(u64, u32) -> Result<Uint8Array, E>,
    ) -> Result<Uint8Array, E> {
        let Some(window) = window(offset, len, bounds) else { return fetch(offset, len) };
        let chunk = match self.kept(window.start) {
            Some(chunk) => chunk,
            // At most `CHUNK`, so it fits.
            None => fetch(window.start, (window.end - window.start) as u32)?,
        };
        let from = (offset - window.start) as u32;
        let bytes = chunk.slice(from, from + len);
        self.keep(window.start, chunk);
        Ok(bytes)
    }

    fn kept(&self, start: u64) -> Option<Uint8Array> {
        let mut chunks = self.chunks.borrow_mut();
        let index = chunks.iter().position(|(at, _)| *at == start)?;
        chunks.remove(index).map(|(_, chunk)| chunk)
    }

    fn keep(&self, start: u64, chunk: Uint8Array) {
        let mut chunks = self.chunks.borrow_mut();
        if chunks.len() == KEPT {
            chunks.pop_front();
        }
        chunks.push_back((start, chunk));
    }
}

/// The chunk within `bounds` that has all of these bytes; `None` if they do not lie in one.
fn window(offset: u64, len: u32, bounds: Range<u64>) -> Option<Range<u64>> {
    if !bounds.contains(&offset) {
        return None;
    }
    let start = bounds.start + (offset - bounds.start) / CHUNK * CHUNK;
    let end = bounds.end.min(start + CHUNK);
    (offset + u64::from(len) <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_lies_within_its_bounds() {
        assert_eq!(window(0, 16_384, 0..CHUNK * 3), Some(0..CHUNK));
        assert_eq!(window(CHUNK + 5, 16_384, 0..CHUNK * 3), Some(CHUNK..CHUNK * 2));
        assert_eq!(window(CHUNK * 2, 10, 0..CHUNK * 2 + 10), Some(CHUNK * 2..CHUNK * 2 + 10));
        assert_eq!(window(130, 20, 100..200), Some(100..200));
    }

    #[test]
    fn what_does_not_lie_in_one_chunk_is_read_by_itself() {
        assert_eq!(window(CHUNK - 1, 2, 0..CHUNK * 3), None);
        assert_eq!(window(0, CHUNK as u32 + 1, 0..CHUNK * 3), None);
        assert_eq!(window(190, 20, 100..200), None);
        assert_eq!(window(90, 20, 100..200), None);
        assert_eq!(window(0, 0, 0..0), None);
    }
}
