//! One torrent's bytes in the private file system: `data`, all of them, piece *i* at *i* × piece length, and `have`,
//! which pieces of them are good.
//!
//! What makes `have` true after a crash: a piece is written to `data` only once its hash is right; its bit reaches the
//! file `have` only after `data` was flushed; bits are added, so that of an old and a new `have` any mixture of bytes is
//! right too. A check alone takes bits away, of pieces that turned out to be spoiled: a crash right then leaves what was
//! claimed before it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use gloo_timers::callback::Timeout;
use js_sys::Uint8Array;
use shared::Geometry;
use web_sys::{Blob, FileSystemDirectoryHandle};

use super::blobs;
use super::have::Have;
use super::opfs::OpenFile;
use super::protocol::{LoadError, StoreError};

const DATA: &str = "data";
/// Also read where a torrent is only remembered.
pub(super) const HAVE: &str = "have";

/// Milliseconds after which pieces that were written are flushed and noted: what a crash or a reload may cost. A flush
/// waits for the disk, so it should not be for every piece.
const CHECKPOINT_AFTER_MS: u32 = 250;

/// Bytes after which they are, sooner: a flush holds up everything else for as long as the disk needs for so many.
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;

/// One torrent's bytes in the private file system.
#[derive(Debug)]
pub(super) struct Private {
    geometry: Geometry,
    data: OpenFile,
    noted: OpenFile,
    /// Verified and written.
    have: RefCell<Have>,
    /// Written since the last checkpoint, in bytes.
    unflushed: Cell<u64>,
    timer: RefCell<Option<Timeout>>,
    itself: Weak<Self>,
}

impl Private {
    /// Opens the torrent in this folder, or makes it. It takes its whole length from the browser's quota at once, so
    /// that want of room shows before anything is downloaded.
    pub(super) async fn open(
        folder: &FileSystemDirectoryHandle,
        geometry: Geometry,
    ) -> Result<Rc<Self>, StoreError> {
        let (data, noted) =
            futures::future::try_join(OpenFile::open(folder, DATA), OpenFile::open(folder, HAVE)).await?;
        let mut have = Have::none(geometry.piece_count());
        let bits = Uint8Array::new_with_length(have.as_bytes().len() as u32);
        // Of another length, the data is not what the bits were written for.
        if data.size()? == geometry.total() && noted.read_at(0, &bits)? {
            have = Have::from_bytes(geometry.piece_count(), &bits.to_vec());
        } else {
            if noted.size()? > 0 {
                noted.set_size(0)?;
                noted.flush()?;
            }
            data.set_size(geometry.total())?;
        }
        Ok(Rc::new_cyclic(|itself| Self {
            geometry,
            data,
            noted,
            have: RefCell::new(have),
            unflushed: Cell::new(0),
            timer: RefCell::new(None),
            itself: itself.clone(),
        }))
    }

    /// Which pieces are there.
    pub(super) fn have(&self) -> Have {
        self.have.borrow().clone()
    }

    /// Keeps a piece whose hash is right.
    pub(super) fn write(&self, piece: u32, offset: u64, bytes: &Uint8Array) -> Result<(), StoreError> {
        self.data.write_at(offset, bytes)?;
        self.have.borrow_mut().set(piece);
        self.changed(u64::from(bytes.length()))
    }

    /// So many bytes more are to be flushed and noted.
    fn changed(&self, bytes: u64) -> Result<(), StoreError> {
        self.unflushed.set(self.unflushed.get() + bytes);
        if self.unflushed.get() >= CHECKPOINT_BYTES || self.have.borrow().is_complete() {
            return self.checkpoint();
        }
        let mut timer = self.timer.borrow_mut();
        if timer.is_none() {
            let itself = self.itself.clone();
            *timer = Some(Timeout::new(CHECKPOINT_AFTER_MS, move || {
                if let Some(private) = itself.upgrade() {
                    private.timer.take();
                    // If it fails, the pieces stay unnoted and the next checkpoint tries again.
                    drop(private.checkpoint());
                }
            }));
        }
        Ok(())
    }

    /// Makes all that was written survive.
    fn checkpoint(&self) -> Result<(), StoreError> {
        if self.unflushed.get() == 0 {
            return Ok(());
        }
        self.data.flush()?;
        self.noted.write_at(0, &Uint8Array::from(self.have.borrow().as_bytes()))?;
        self.noted.flush()?;
        self.unflushed.set(0);
        self.timer.take();
        Ok(())
    }

    /// Reads a piece that need not be there; `None` if the file is too short for it, which is mended.
    pub(super) fn reread(&self, offset: u64, len: u32) -> Result<Option<Uint8Array>, LoadError> {
        let bytes = Uint8Array::new_with_length(len);
        if self.data.read_at(offset, &bytes)? {
            return Ok(Some(bytes));
        }
        self.data.set_size(self.geometry.total())?;
        Ok(None)
    }

    /// A piece was read again, and is right or not.
    pub(super) fn note(&self, piece: u32, is_right: bool) -> Result<(), StoreError> {
        if self.have.borrow().has(piece) == is_right {
            return Ok(());
        }
        if is_right {
            self.have.borrow_mut().set(piece);
        } else {
            self.have.borrow_mut().unset(piece);
        }
        self.changed(1)
    }

    /// Reads bytes of pieces that are there, as many as `into` has.
    pub(super) fn read(&self, offset: u64, into: &Uint8Array) -> Result<(), LoadError> {
        if !covered(&self.geometry, &self.have.borrow(), offset, u64::from(into.length())) {
            return Err(LoadError::Missing);
        }
        match self.data.read_at(offset, into) {
            Ok(true) => Ok(()),
            Ok(false) => Err(LoadError::Missing),
            Err(error) => Err(LoadError::Browser(error.to_string())),
        }
    }

    /// These bytes as a blob, which can be read for as long as nothing is written.
    pub(super) async fn blob(&self, offset: u64, len: u64) -> Result<Blob, StoreError> {
        if !covered(&self.geometry, &self.have.borrow(), offset, len) {
            return Err(StoreError::NotOpen);
        }
        self.checkpoint()?;
        blobs::slice(&*self.data.snapshot().await?, offset, offset + len)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // The last chance; what fails here is fetched again.
        drop(self.checkpoint());
    }
}

/// Whether all of these bytes are of pieces that are there.
pub(super) fn covered(geometry: &Geometry, have: &Have, offset: u64, len: u64) -> bool {
    let Some(end) = offset.checked_add(len).filter(|end| *end <= geometry.total()) else { return false };
    let piece_length = u64::from(geometry.piece_length());
    // Within the total, so these are numbers of pieces.
    (offset / piece_length..end.div_ceil(piece_length)).all(|piece| have.has(piece as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_there_only_if_every_piece_they_touch_is() {
        let geometry = Geometry::new(100, 32).unwrap();
        let mut have = Have::none(4);
        for piece in [0, 1, 3] {
            have.set(piece);
        }
        assert!(covered(&geometry, &have, 0, 64));
        assert!(covered(&geometry, &have, 96, 4));
        assert!(!covered(&geometry, &have, 0, 65));
        assert!(!covered(&geometry, &have, 96, 5));
        assert!(!covered(&geometry, &have, u64::MAX, 1));
    }
}
