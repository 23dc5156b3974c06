//! A zip that is made while somebody reads it: of no file more than a piece is in memory at a time.

use js_sys::Uint8Array;
use shared::InfoHash;

use super::archive::{Archive, Run};
use super::protocol::{Entry, LoadError, StoreError};
use crate::buffers;

/// Bytes that [`Zipping::next`] gives at a time, about; a little more where headers come between.
const CHUNK: u64 = 512 * 1024;

/// How far the making of one zip is.
pub(super) struct Zipping {
    /// Whose files they are.
    pub(super) info_hash: InfoHash,
    /// Those that have not begun.
    entries: std::vec::IntoIter<Entry>,
    /// What is left of the one that has: where in the torrent, in bytes.
    left: std::ops::Range<u64>,
    /// `None` once the end was made.
    archive: Option<Archive>,
}

impl Zipping {
    pub(super) fn new(info_hash: InfoHash, entries: Vec<Entry>) -> Self {
        Self { info_hash, entries: entries.into_iter(), left: 0..0, archive: Some(Archive::new()) }
    }

    /// The next bytes of the zip; none at its end. `load` reads so many bytes at a place of the torrent, into a buffer that
    /// has nothing else.
    pub(super) fn next(
        &mut self,
        mut load: impl FnMut(u64, u32) -> Result<Uint8Array, LoadError>,
    ) -> Result<Vec<u8>, StoreError> {
        let failed = |error: std::io::Error| StoreError::Browser(error.to_string());
        let mut made = Vec::new();
        while (made.len() as u64) < CHUNK {
            let Some(archive) = &mut self.archive else { break };
            if !self.left.is_empty() {
                // At most a chunk, so it fits.
                let len = CHUNK.min(self.left.end - self.left.start);
                let bytes = buffers::taken(&load(self.left.start, len as u32)?.buffer());
                self.left.start += len;
                archive.content(&bytes).map_err(failed)?;
                append(&mut made, archive.take(), &bytes);
            } else if let Some(entry) = self.entries.next() {
                archive.begin(&entry.path, entry.len).map_err(failed)?;
                append(&mut made, archive.take(), &[]);
                self.left = entry.offset..entry.offset.saturating_add(entry.len);
            } else if let Some(archive) = self.archive.take() {
                append(&mut made, archive.finish().map_err(failed)?, &[]);
            }
        }
        Ok(made)
    }
}

/// Puts runs of the archive behind what was made of it; `files` are the files' bytes in them.
fn append(made: &mut Vec<u8>, runs: Vec<Run>, mut files: &[u8]) {
    for run in runs {
        match run {
            Run::Own(own) => made.extend(own),
            Run::Files(len) => {
                // What the archive was given is what it made runs of.
                let (now, later) = files.split_at((len as usize).min(files.len()));
                made.extend_from_slice(now);
                files = later;
            }
        }
    }
}

impl From<LoadError> for StoreError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Changed { file } | LoadError::Altered { file } => Self::Changed(file),
            LoadError::Missing => Self::NotOpen,
            LoadError::Browser(words) => Self::Browser(words),
        }
    }
}
