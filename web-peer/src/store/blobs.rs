//! Files and blobs laid end to end: the bytes of a torrent that is seeded from the user's own files.

use std::cell::RefCell;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::{Blob, FileReaderSync};

use super::have::Have;
use super::protocol::{LoadError, StoreError};
use super::read_ahead::ReadAhead;
use crate::digest::{self, DIGEST_LEN};
use crate::{browser_error, buffers};

/// Reads a whole blob at once, which only workers can.
pub(super) fn read(blob: &Blob) -> Result<Uint8Array, JsValue> {
    let buffer: ArrayBuffer = FileReaderSync::new()?.read_as_array_buffer(blob)?;
    Ok(Uint8Array::new(&buffer))
}

/// Part of a blob; no bytes are read.
pub(super) fn slice(blob: &Blob, start: u64, end: u64) -> Result<Blob, StoreError> {
    // Lengths are below 2^53 (`shared::limits::MAX_TORRENT_BYTES`), so they are exact as numbers.
    blob.slice_with_f64_and_f64(start as f64, end as f64).map_err(|error| super::opfs::failure(&error))
}

/// Blobs one behind the other as one; no bytes are read.
pub(super) fn concatenated(blobs: &[Blob]) -> Result<Blob, StoreError> {
    let parts: Array = blobs.iter().collect();
    Blob::new_with_blob_sequence(&parts).map_err(|error| super::opfs::failure(&error))
}

/// One of the files.
#[derive(Debug)]
struct Laid {
    name: String,
    offset: u64,
    len: u64,
    blob: Blob,
}

/// The pieces of files that were not read since the page was opened: taken for what they were on the file system's word
/// alone, and compared with their hashes before they are first given to anybody.
#[derive(Debug)]
pub struct Doubt {
    piece_length: u64,
    hashes: Vec<[u8; DIGEST_LEN]>,
    /// Those found right.
    right: RefCell<Have>,
}

impl Doubt {
    /// `hashes` are those of all pieces, 20 bytes each; a piece without one is never found right.
    pub fn new(piece_length: u32, hashes: &[u8]) -> Self {
        let hashes = hashes.as_chunks().0.to_vec();
        // A torrent's pieces are counted in 32 bits.
        let right = RefCell::new(Have::none(hashes.len() as u32));
        Self { piece_length: u64::from(piece_length.max(1)), hashes, right }
    }
}

/// The user's files in the torrent's order. Never copied: read where they lie, when somebody asks.
///
/// Invariant: each begins where the one before it ends.
#[derive(Debug)]
pub(super) struct Attached {
    files: Vec<Laid>,
    total: u64,
    read_ahead: ReadAhead,
    doubt: Option<Doubt>,
}

impl Attached {
    /// Lays files end to end. A file's length is what it was when it was chosen.
    pub(super) fn new(files: impl IntoIterator<Item = (String, Blob)>, doubt: Option<Doubt>) -> Self {
        let mut total = 0;
        let files = files
            .into_iter()
            .map(|(name, blob)| {
                let len = blob.size() as u64;
                let offset = total;
                total += len;
                Laid { name, offset, len, blob }
            })
            .collect();
        Self { files, total, read_ahead: ReadAhead::default(), doubt }
    }

    /// The parts of files that these bytes are, in order; `None` where they go beyond the end.
    fn slices(&self, offset: u64, len: u64) -> Result<Vec<(&str, Blob)>, StoreError> {
        let end = offset.checked_add(len).filter(|end| *end <= self.total).ok_or(StoreError::NotOpen)?;
        let first = self.files.partition_point(|file| file.offset + file.len <= offset);
        let mut slices = Vec::new();
        for file in self.files[first..].iter().take_while(|file| file.offset < end) {
            let start = offset.max(file.offset) - file.offset;
            let stop = end.min(file.offset + file.len) - file.offset;
            if start < stop {
                slices.push((file.name.as_str(), slice(&file.blob, start, stop)?));
            }
        }
        Ok(slices)
    }

    /// Reads as many bytes as `into` has.
    pub(super) fn read(&self, offset: u64, into: &Uint8Array) -> Result<(), LoadError> {
        if let Some(doubt) = &self.doubt {
            self.dispel(doubt, offset, u64::from(into.length()))?;
        }
        self.read_ahead.read(offset, into, 0..self.total, |offset, len| self.fetch(offset, len))
    }

    /// Compares the pieces that these bytes lie in with their hashes, each once.
    fn dispel(&self, doubt: &Doubt, offset: u64, len: u64) -> Result<(), LoadError> {
        let end = offset.checked_add(len).filter(|end| *end <= self.total).ok_or(LoadError::Missing)?;
        for piece in offset / doubt.piece_length..end.div_ceil(doubt.piece_length) {
            let index = u32::try_from(piece).map_err(|_| LoadError::Missing)?;
            if doubt.right.borrow().has(index) {
                continue;
            }
            let start = piece * doubt.piece_length;
            let expected = doubt.hashes.get(index as usize).ok_or(LoadError::Missing)?;
            // No longer than a piece, so it fits.
            let end = self.total.min(start + doubt.piece_length);
            let bytes = self.fetch(start, (end - start) as u32)?;
            if digest::in_wasm(&bytes) != *expected {
                buffers::let_go(bytes.length());
                return Err(LoadError::Altered { file: self.name_at(start) });
            }
            doubt.right.borrow_mut().set(index);
            // It is about to be asked for.
            self.read_ahead.keep(start..end, bytes);
        }
        Ok(())
    }

    /// Reads a piece anew.
    pub(super) fn reread(&self, offset: u64, len: u32) -> Result<Uint8Array, LoadError> {
        self.fetch(offset, len)
    }

    /// A piece that begins there was read anew, and is right or not.
    pub(super) fn compared(&self, piece: u32, offset: u64, is_right: bool) -> Result<(), LoadError> {
        if !is_right {
            return Err(LoadError::Altered { file: self.name_at(offset) });
        }
        if let Some(doubt) = &self.doubt {
            doubt.right.borrow_mut().set(piece);
        }
        Ok(())
    }

    /// The file that this byte is in.
    fn name_at(&self, offset: u64) -> String {
        let index = self.files.partition_point(|file| file.offset + file.len <= offset);
        self.files.get(index).map(|file| file.name.clone()).unwrap_or_default()
    }

    fn fetch(&self, offset: u64, len: u32) -> Result<Uint8Array, LoadError> {
        let slices = self.slices(offset, u64::from(len)).map_err(|_| LoadError::Missing)?;
        let read_one = |name: &str, blob: &Blob| {
            let bytes = read(blob).map_err(|error| match browser_error::name(&error).as_str() {
                "NotFoundError" | "NotReadableError" => LoadError::Changed { file: name.to_owned() },
                _ => LoadError::Browser(browser_error::sentence(&error)),
            })?;
            // Some browsers give what is left of a file that became shorter.
            if f64::from(bytes.length()) == blob.size() {
                Ok(bytes)
            } else {
                Err(LoadError::Changed { file: name.to_owned() })
            }
        };
        if let [(name, blob)] = slices.as_slice() {
            return read_one(name, blob);
        }
        let all = Uint8Array::new_with_length(len);
        let mut at = 0;
        for (name, blob) in &slices {
            let bytes = read_one(name, blob)?;
            all.set(&bytes, at);
            at += bytes.length();
            buffers::let_go(bytes.length());
        }
        Ok(all)
    }

    /// These bytes as a blob, if all files that they lie in can still be read.
    pub(super) fn blob(&self, offset: u64, len: u64) -> Result<Blob, StoreError> {
        let mut blobs = Vec::new();
        for (name, blob) in self.slices(offset, len)? {
            if read(&slice(&blob, 0, 1)?).is_err() {
                return Err(StoreError::Changed(name.to_owned()));
            }
            blobs.push(blob);
        }
        concatenated(&blobs)
    }
}
