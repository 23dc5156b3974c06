//! What the storage worker does, without the messages: all torrents of one tab, each wherever its bytes are. Works
//! only in a dedicated worker; the page has the same methods, with the same meanings, in [`Store`](super::Store).

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use sha1::{Digest as _, Sha1};
use shared::InfoHash;
use shared::order::SortedMap;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, FileSystemDirectoryHandle};

use super::archive::{Archive, Run};
use super::blobs::{self, Attached};
use super::claim::{self, Claim};
use super::line::Line;
use super::memory::{MEMORY_LIMIT, Memory};
use super::opfs;
use super::private::{self, Private};
use super::protocol::{LoadError, StoreError, Verdict};
use super::zipping::Zipping;
use crate::digest::Hasher;
use crate::{browser_error, buffers};

pub use super::blobs::Doubt;
pub use super::have::Have;
pub use super::protocol::Entry;
pub use super::record::Lengths;

const RECORD: &str = "record.json";
const INFO: &str = "info";

/// Bytes read at a time for an archive's CRC-32. Between two reads the worker serves everybody else.
const ARCHIVE_CHUNK: u64 = 4 * 1024 * 1024;

/// Zips that are made at a time, at most: each holds the paths of all its files.
const MOST_ZIPS: usize = 8;

/// Where one torrent's bytes are.
#[derive(Clone)]
enum Place {
    Private(Rc<Private>),
    Memory(Rc<Memory>),
    Attached(Rc<Attached>),
}

/// All torrents of one tab.
pub struct Shelf {
    claim: Option<Claim>,
    memory_limit: u64,
    hasher: Hasher,
    places: RefCell<SortedMap<InfoHash, Place>>,
    /// By the number that the page gave them.
    zips: RefCell<SortedMap<u32, Zipping>>,
    /// Those who open, remember, attach and remove torrents, in the order in which they came: it takes several steps, and what
    /// came last is to hold.
    changing: Line,
}

/// What a folder had of one torrent.
pub struct Found {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Its record, as it was given to [`Shelf::remember`]; behind it there may be the rest of a longer one.
    pub record: Vec<u8>,
    /// Its info dictionary, if it is there and its hash is right.
    pub info: Option<Vec<u8>>,
    /// The bits of the pieces that are there, as [`Have::as_bytes`] gives them, not yet checked.
    pub have: Vec<u8>,
}

impl Shelf {
    /// A folder of the private file system, the preferred one if it can be had; else memory.
    pub async fn open(preferred: Option<&str>) -> Self {
        Self {
            claim: claim::claim(preferred).await,
            memory_limit: MEMORY_LIMIT,
            hasher: Hasher::here(),
            places: RefCell::default(),
            zips: RefCell::default(),
            changing: Line::default(),
        }
    }

    /// Memory, up to so many bytes.
    pub fn in_memory(memory_limit: u64) -> Self {
        Self {
            claim: None,
            memory_limit,
            hasher: Hasher::here(),
            places: RefCell::default(),
            zips: RefCell::default(),
            changing: Line::default(),
        }
    }

    /// The folder's name, where this is in the private file system.
    pub fn folder(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.id.as_str())
    }

    /// Most bytes it takes, where this is memory.
    pub fn limit(&self) -> Option<u64> {
        self.claim.is_none().then_some(self.memory_limit)
    }

    /// What the folder has. Folders that are none of ours are deleted.
    pub async fn found(&self) -> Vec<Found> {
        let Some(claim) = &self.claim else { return Vec::new() };
        let _turn = self.changing.turn().await;
        let mut found = Vec::new();
        for name in opfs::folders(&claim.folder).await {
            let Some(folder) = opfs::existing_folder(&claim.folder, &name).await else { continue };
            match find(&folder, &name).await {
                Some(torrent) => found.push(torrent),
                // What is left of it takes room that nobody could free; it was worth nothing if that fails too.
                None => drop(opfs::remove(&claim.folder, &name).await),
            }
        }
        found
    }

    /// Keeps a torrent's record, and its info dictionary. Nothing to do in memory.
    pub async fn remember(
        &self,
        hash: InfoHash,
        record: &[u8],
        info: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let Some(claim) = &self.claim else { return Ok(()) };
        let _turn = self.changing.turn().await;
        let folder = opfs::folder(&claim.folder, &hash.to_string()).await?;
        if let Some(info) = info {
            // It never changes, so it is written once.
            let there = opfs::read(&folder, INFO).await;
            if there.as_deref() != Some(info) {
                opfs::write(&folder, INFO, info).await?;
            }
        }
        opfs::write(&folder, RECORD, record).await
    }

    /// Opens one torrent's store and says which pieces are there.
    pub async fn create(&self, hash: InfoHash, lengths: Lengths) -> Result<Have, StoreError> {
        let geometry = lengths.geometry().ok_or_else(|| StoreError::BadInfo("its lengths".into()))?;
        let _turn = self.changing.turn().await;
        match self.place(hash) {
            Some(Place::Private(private)) => return Ok(private.have()),
            Some(Place::Memory(memory)) => return Ok(memory.have()),
            Some(Place::Attached(_)) | None => {}
        }
        if let Some(claim) = &self.claim {
            let folder = opfs::folder(&claim.folder, &hash.to_string()).await?;
            let private = Private::open(&folder, geometry).await?;
            let have = private.have();
            self.places.borrow_mut().insert(hash, Place::Private(private));
            return Ok(have);
        }
        let total = self.in_memory_already().saturating_add(geometry.total());
        if total > self.memory_limit {
            return Err(StoreError::TooLargeForMemory { total, limit: self.memory_limit });
        }
        let memory = Memory::new(geometry);
        let have = memory.have();
        self.places.borrow_mut().insert(hash, Place::Memory(Rc::new(memory)));
        Ok(have)
    }

    fn in_memory_already(&self) -> u64 {
        let places = self.places.borrow();
        places.values().map(|place| if let Place::Memory(memory) = place { memory.total() } else { 0 }).sum()
    }

    /// Reads this torrent from the user's own files from now on; with `doubt`, no piece before its hash was found right.
    pub async fn attach(&self, hash: InfoHash, files: Vec<(String, Blob)>, doubt: Option<Doubt>) {
        let _turn = self.changing.turn().await;
        self.places.borrow_mut().insert(hash, Place::Attached(Rc::new(Attached::new(files, doubt))));
    }

    fn place(&self, hash: InfoHash) -> Option<Place> {
        self.places.borrow().get(&hash).cloned()
    }

    /// Keeps a piece if its hash is right.
    pub async fn store(
        &self,
        hash: InfoHash,
        piece: u32,
        offset: u64,
        bytes: &Uint8Array,
        expected: [u8; 20],
    ) -> Verdict {
        if self.hasher.sha1(bytes).await != expected {
            return Verdict::HashMismatch;
        }
        let written = match self.place(hash) {
            Some(Place::Private(private)) => private.write(piece, offset, bytes),
            Some(Place::Memory(memory)) => memory.write(piece, bytes),
            Some(Place::Attached(_)) | None => Err(StoreError::NotOpen),
        };
        written.map_or_else(Verdict::Failed, |()| Verdict::Stored)
    }

    /// Reads bytes that are there, as many as `into` has, into it.
    pub fn load(&self, hash: InfoHash, offset: u64, into: &Uint8Array) -> Result<(), LoadError> {
        match self.place(hash) {
            Some(Place::Private(private)) => private.read(offset, into),
            Some(Place::Memory(memory)) => memory.read(offset, into),
            Some(Place::Attached(files)) => files.read(offset, into),
            None => Err(LoadError::Missing),
        }
    }

    /// Reads a piece (its number, where it begins, its length in bytes) again, whether it is noted or not, and compares it with its
    /// hash. Whether it is right: noted as there from then on, or as not there.
    ///
    /// # Errors
    /// [`LoadError`]. The user's own files are not right by pieces: of those it is said which file has other bytes.
    pub async fn check(
        &self,
        hash: InfoHash,
        (piece, offset, len): (u32, u64, u32),
        expected: [u8; 20],
    ) -> Result<bool, LoadError> {
        let place = self.place(hash).ok_or(LoadError::Missing)?;
        let bytes = match &place {
            Place::Private(private) => private.reread(offset, len)?,
            Place::Memory(memory) => memory.reread(piece),
            Place::Attached(files) => Some(files.reread(offset, len)?),
        };
        let is_right = match bytes {
            Some(bytes) => {
                let found = self.hasher.sha1(&bytes).await;
                buffers::let_go(bytes.length());
                found == expected
            }
            None => false,
        };
        match place {
            Place::Private(private) => private.note(piece, is_right)?,
            Place::Memory(memory) if !is_right => memory.forget(piece),
            Place::Memory(_) => {}
            Place::Attached(files) => files.compared(piece, offset, is_right)?,
        }
        Ok(is_right)
    }

    /// Bytes that are there, as a blob. No bytes are there wherever they lie.
    pub async fn blob(&self, hash: InfoHash, offset: u64, len: u64) -> Result<Blob, StoreError> {
        match self.place(hash) {
            Some(_) if len == 0 => blobs::concatenated(&[]),
            Some(Place::Private(private)) => private.blob(offset, len).await,
            Some(Place::Memory(memory)) => memory.blob(offset, len),
            Some(Place::Attached(files)) => files.blob(offset, len),
            None => Err(StoreError::NotOpen),
        }
    }

    /// These files as one zip. Reads them all once; what lies between them need not be there.
    pub async fn zip(&self, hash: InfoHash, entries: &[Entry]) -> Result<Blob, StoreError> {
        self.place(hash).ok_or(StoreError::NotOpen)?;
        let mut files = Vec::new();
        let mut archive = Archive::new();
        let failed = |error: std::io::Error| StoreError::Browser(error.to_string());
        for entry in entries {
            archive.begin(&entry.path, entry.len).map_err(failed)?;
            if entry.len == 0 {
                continue;
            }
            let file = self.blob(hash, entry.offset, entry.len).await?;
            let mut at = 0;
            while at < entry.len {
                let next = entry.len.min(at + ARCHIVE_CHUNK);
                archive.content(&read(&blobs::slice(&file, at, next)?).await?).map_err(failed)?;
                at = next;
            }
            files.push(file);
        }
        let parts = Array::new();
        // Every file has a header before it, so a run of files' bytes is one file.
        let mut files = files.iter();
        for run in archive.finish().map_err(failed)? {
            match run {
                Run::Own(bytes) => {
                    parts.push(&Uint8Array::from(bytes.as_slice()));
                }
                Run::Files(_) => {
                    files.next().map(|file| parts.push(file));
                }
            }
        }
        Blob::new_with_blob_sequence(&parts).map_err(|error| opfs::failure(&error))
    }

    /// Begins a zip that is made while it is read.
    pub fn zip_begin(&self, zip: u32, hash: InfoHash, entries: Vec<Entry>) -> Result<(), StoreError> {
        let mut zips = self.zips.borrow_mut();
        if zips.len() >= MOST_ZIPS {
            return Err(StoreError::Browser("too many zips are being made at the same time".into()));
        }
        self.place(hash).ok_or(StoreError::NotOpen)?;
        zips.insert(zip, Zipping::new(hash, entries));
        Ok(())
    }

    /// The next bytes of that zip; none at its end.
    pub fn zip_next(&self, zip: u32) -> Result<Vec<u8>, StoreError> {
        let mut zips = self.zips.borrow_mut();
        let zipping = zips.get_mut(&zip).ok_or(StoreError::NotOpen)?;
        let hash = zipping.info_hash;
        zipping.next(|offset, len| {
            let bytes = Uint8Array::new_with_length(len);
            self.load(hash, offset, &bytes)?;
            Ok(bytes)
        })
    }

    /// Nobody reads that zip any more.
    pub fn zip_end(&self, zip: u32) {
        self.zips.borrow_mut().remove(&zip);
    }

    /// Forgets a torrent and deletes its data.
    pub async fn remove(&self, hash: InfoHash) -> Result<(), StoreError> {
        let _turn = self.changing.turn().await;
        let place = self.places.borrow_mut().remove(&hash);
        // Closes its files, unless a zip of it is being made; then the deletion waits for that.
        drop(place);
        match &self.claim {
            Some(claim) => opfs::remove(&claim.folder, &hash.to_string()).await,
            None => Ok(()),
        }
    }
}

/// Reads a blob without keeping the worker from its other work.
async fn read(blob: &Blob) -> Result<Vec<u8>, StoreError> {
    let buffer: JsValue = JsFuture::from(blob.array_buffer())
        .await
        .map_err(|error| StoreError::Browser(browser_error::sentence(&error)))?;
    Ok(buffers::taken(buffer.unchecked_ref::<ArrayBuffer>()).into())
}

/// What a torrent's folder says.
async fn find(folder: &FileSystemDirectoryHandle, name: &str) -> Option<Found> {
    let info_hash: InfoHash = name.parse().ok()?;
    let record = opfs::read(folder, RECORD).await?;
    let info = opfs::read(folder, INFO).await;
    let info = info.filter(|info| <[u8; 20]>::from(Sha1::digest(info)) == *info_hash.as_bytes());
    let have = opfs::read(folder, private::HAVE).await.unwrap_or_default();
    Some(Found { info_hash, record, info, have })
}
