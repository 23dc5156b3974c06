//! One torrent's bytes in memory, where there is no private file system. Pieces are blobs: the browser keeps them
//! outside of this worker and may move them to disk, and saving puts them together without a copy.

use std::cell::RefCell;

use js_sys::{Array, Uint8Array};
use shared::Geometry;
use shared::order::SortedMap;
use web_sys::Blob;

use super::blobs;
use super::have::Have;
use super::opfs::failure;
use super::protocol::{LoadError, StoreError};
use super::read_ahead::ReadAhead;
use crate::browser_error;

/// Most bytes that all torrents of a tab together keep in memory. Browsers hold some 2 GiB of blobs in memory before
/// they move them to disk, if they do, and phones have little more.
pub(super) const MEMORY_LIMIT: u64 = 1 << 30;

/// One torrent's bytes in memory.
#[derive(Debug)]
pub(super) struct Memory {
    geometry: Geometry,
    pieces: RefCell<SortedMap<u32, Blob>>,
    read_ahead: ReadAhead,
}

impl Memory {
    /// With nothing in it.
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, pieces: RefCell::default(), read_ahead: ReadAhead::default() }
    }

    /// Bytes of the whole torrent, which are counted against the limit from the beginning.
    pub(super) fn total(&self) -> u64 {
        self.geometry.total()
    }

    /// Which pieces are there.
    pub(super) fn have(&self) -> Have {
        let mut have = Have::none(self.geometry.piece_count());
        for piece in self.pieces.borrow().keys() {
            have.set(*piece);
        }
        have
    }

    /// Keeps a piece whose hash is right.
    pub(super) fn write(&self, piece: u32, bytes: &Uint8Array) -> Result<(), StoreError> {
        let blob = Blob::new_with_u8_array_sequence(&Array::of1(bytes)).map_err(|error| failure(&error))?;
        self.pieces.borrow_mut().insert(piece, blob);
        Ok(())
    }

    /// Reads a piece, if it is there and can be read.
    pub(super) fn reread(&self, piece: u32) -> Option<Uint8Array> {
        blobs::read(self.pieces.borrow().get(&piece)?).ok()
    }

    /// A piece is not right, and so not there any more.
    pub(super) fn forget(&self, piece: u32) {
        self.pieces.borrow_mut().remove(&piece);
        self.read_ahead.forget();
    }

    /// Reads bytes of pieces that are there, as many as `into` has.
    pub(super) fn read(&self, offset: u64, into: &Uint8Array) -> Result<(), LoadError> {
        let piece_length = u64::from(self.geometry.piece_length());
        let start = offset / piece_length * piece_length;
        // Within a piece, since the next one may not be there.
        let bounds = start..start.saturating_add(piece_length).min(self.geometry.total());
        self.read_ahead.read(offset, into, bounds, |offset, len| self.fetch(offset, len))
    }

    fn fetch(&self, offset: u64, len: u32) -> Result<Uint8Array, LoadError> {
        let blob = self.blob(offset, u64::from(len)).map_err(|error| match error {
            StoreError::NotOpen => LoadError::Missing,
            other => LoadError::Browser(other.to_string()),
        })?;
        blobs::read(&blob).map_err(|error| LoadError::Browser(browser_error::sentence(&error)))
    }

    /// These bytes as a blob.
    pub(super) fn blob(&self, offset: u64, len: u64) -> Result<Blob, StoreError> {
        let geometry = &self.geometry;
        let end =
            offset.checked_add(len).filter(|end| *end <= geometry.total()).ok_or(StoreError::NotOpen)?;
        let piece_length = u64::from(geometry.piece_length());
        let pieces = self.pieces.borrow();
        let mut parts = Vec::new();
        // Within the total, so these are numbers of pieces.
        for piece in offset / piece_length..end.div_ceil(piece_length) {
            let blob = pieces.get(&(piece as u32)).ok_or(StoreError::NotOpen)?;
            let start = piece * piece_length;
            let from = offset.max(start) - start;
            let to = end.min(start + piece_length) - start;
            parts.push(blobs::slice(blob, from, to)?);
        }
        match parts.as_slice() {
            [only] => Ok(only.clone()),
            parts => blobs::concatenated(parts),
        }
    }
}
