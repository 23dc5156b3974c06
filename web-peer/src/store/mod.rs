//! Where torrents' bytes are kept: the page's handle to this tab's storage worker.
//!
//! In the worker, in reading order: `serve` takes messages (`protocol`); `shelf` has all torrents, and opens, remembers and
//! removes them in the order of the requests (`line`); `claim` says which folder is this tab's, by a Web Lock (`locks`);
//! `private` keeps a torrent in the private file system (`opfs`), with the pieces that it has (`have`) and what is
//! remembered of it (`record`); `memory` where there is no such file system; `blobs` reads the user's own files, and
//! ahead (`read_ahead`); `archive` makes a zip, `zipping` while it is read, through the page's `zip`.

mod archive;
mod blobs;
mod claim;
mod have;
mod line;
mod locks;
mod memory;
mod opfs;
mod private;
mod protocol;
mod read_ahead;
mod record;
mod serve;
pub mod shelf;
mod zip;
mod zipping;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use js_sys::ArrayBuffer;
use shared::InfoHash;
use shared::metainfo::Info;
use shared::order::{SortedMap, sorted};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, File};

use self::have::Have;
use self::protocol::{Entry, FromStorage, ToStorage};
use self::record::{Lengths, Written};
use crate::buffers::{self, Pool};
use crate::dedicated::{Dedicated, Message, Part, WorkerGone, part};
use crate::snapshot::{StorageKind, StorageView};

pub use self::protocol::{LoadError, StoreError, Verdict};
pub use self::record::{Record, Remembered, Seeded, Wishes};
pub use self::serve::serve;
pub use self::zip::Zip;

/// The name of the storage worker's role.
pub const ROLE: &str = "store";

/// Where the tab keeps the name of its folder: a place that a reload leaves and a new tab does not share.
const SESSION_KEY: &str = "enxame-store";

impl From<WorkerGone> for StoreError {
    fn from(gone: WorkerGone) -> Self {
        Self::Browser(gone.to_string())
    }
}

impl From<WorkerGone> for LoadError {
    fn from(gone: WorkerGone) -> Self {
        Self::Browser(gone.to_string())
    }
}

/// This tab's store. Clones are handles to the same one; with the last the worker ends.
#[derive(Clone)]
pub struct Store {
    inner: Rc<Inner>,
}

struct Inner {
    worker: Dedicated,
    /// What pieces and loads travel in.
    pool: Pool,
    view: Cell<StorageView>,
    /// This tab's, where the store is the private file system.
    folder: Option<String>,
    remembered: RefCell<Vec<Remembered>>,
    /// Zips begun; each has a number of its own.
    zips: Cell<u32>,
    /// The info dictionaries of open torrents: where their files lie.
    open: RefCell<SortedMap<InfoHash, Rc<Info>>>,
}

type Reply = Message<FromStorage, JsValue>;

impl Store {
    /// Starts the storage worker and opens this tab's folder: after a reload its own, else one that a tab that is gone
    /// left, else a new one; where there is no private file system, memory.
    ///
    /// A worker that does not start shows as memory for zero bytes, and in the error of everything that is asked of it.
    pub async fn open() -> Self {
        let worker = Dedicated::start(ROLE);
        let session = session();
        let preferred = session.as_ref().and_then(|session| session.get_item(SESSION_KEY).ok().flatten());
        let mut view = StorageView { kind: StorageKind::Memory, limit: Some(0) };
        let mut found = Vec::new();
        let mut own = None;
        let reply: Result<Reply, _> = worker.request(&ToStorage::Open { preferred }, Vec::new()).await;
        if let Ok(Message { body: FromStorage::Opened { folder, limit, remembered }, parts }) = reply {
            let kind = if folder.is_some() { StorageKind::Private } else { StorageKind::Memory };
            view = StorageView { kind, limit };
            own.clone_from(&folder);
            if let (Some(session), Some(folder)) = (session, folder) {
                // Without it a reload adopts the folder like any other.
                drop(session.set_item(SESSION_KEY, &folder));
            }
            for (hash, parts) in remembered.into_iter().zip(parts.chunks_exact(3)) {
                match remember(hash, parts) {
                    Some(torrent) => found.push(torrent),
                    // What is left of it takes room that nobody could free.
                    None => drop(
                        worker.request::<_, FromStorage>(&ToStorage::Remove { info_hash: hash }, Vec::new()),
                    ),
                }
            }
            let order =
                sorted(found.iter().enumerate().map(|(place, found)| (found.record.added, place)).collect());
            found = order.into_iter().map(|(_, place)| found[place].clone()).collect();
        }
        Self {
            inner: Rc::new(Inner {
                worker,
                pool: Pool::default(),
                view: Cell::new(view),
                folder: own,
                remembered: RefCell::new(found),
                zips: Cell::new(0),
                open: RefCell::default(),
            }),
        }
    }

    /// Where downloads are kept.
    pub fn kind(&self) -> StorageView {
        self.inner.view.get()
    }

    /// The name of this tab's folder, which no other open tab has; `None` where nothing outlives the tab.
    pub fn folder(&self) -> Option<&str> {
        self.inner.folder.as_deref()
    }

    /// The torrents that the predecessor of this tab left, in the order in which they were added. Told once. Those whose
    /// info dictionary is known are open, as after [`create`](Self::create).
    ///
    /// Those whose data was the user's own files ([`attach`](Self::attach)) are not open: the store has nothing of them but
    /// the record, which says so (`seeded`). Nor are those that are not in the list (`unlisted`).
    pub async fn remembered(&self) -> Vec<Remembered> {
        let found = self.inner.remembered.take();
        let opened = found.into_iter().map(|found| async {
            let Remembered { record, have } = found;
            if record.seeded.is_some() {
                return Remembered { have: Vec::new(), record };
            }
            if record.unlisted {
                return Remembered { record, have };
            }
            // One that cannot be opened says so when it is first used.
            match parse(&record) {
                Ok(Some(info)) => Remembered { have: self.open_torrent(info).await.unwrap_or(have), record },
                _ => Remembered { record, have },
            }
        });
        futures::future::join_all(opened).await
    }

    /// Opens the store of one torrent; its pieces that are there.
    fn open_torrent(&self, info: Info) -> impl Future<Output = Result<Vec<bool>, StoreError>> + use<> {
        let request = ToStorage::Create { info_hash: info.info_hash(), lengths: info.geometry().into() };
        let reply = self.request(&request, Vec::new());
        let inner = self.inner.clone();
        async move {
            let bits: ArrayBuffer = part(&reply.await?.parts, 0).ok_or_else(unexpected)?;
            let have = Have::from_bytes(info.geometry().piece_count(), &buffers::copied(&bits));
            inner.open.borrow_mut().insert(info.info_hash(), Rc::new(info));
            Ok(have.to_vec())
        }
    }

    /// Opens the store of one torrent, makes it if it is not there, and remembers the torrent. Answers which pieces are
    /// there already, verified.
    ///
    /// # Errors
    /// [`StoreError::BadInfo`] without a good `record.info`; [`StoreError::Full`] when the browser has no room for all
    /// of it; [`StoreError::TooLargeForMemory`]; or what the browser said.
    pub async fn create(&self, record: Record) -> Result<Vec<bool>, StoreError> {
        let info = parse(&record)?.ok_or_else(|| StoreError::BadInfo("it is not there".into()))?;
        let open = self.open_torrent(info);
        // Behind it, and not waited for: a record that cannot be written costs a reload its memory, not the transfer.
        let remember = self.remember(record);
        spawn_local(async move { drop(remember.await) });
        open.await
    }

    /// Remembers a torrent, or what changed about it; also one whose info dictionary is not known yet. In memory
    /// nothing is remembered, and nothing fails.
    ///
    /// # Errors
    /// [`StoreError::BadInfo`] when `record.info` is there and not good; or what the browser said.
    pub fn remember(&self, record: Record) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let request = parse(&record).and_then(|info| {
            let info_hash = record.info_hash;
            let mut parts: Vec<_> = record.info.iter().map(|info| Part::copied(info)).collect();
            let lengths = info.map(|info| Lengths::from(info.geometry()));
            let json = serde_json::to_vec(&Written { record, lengths });
            let json = json.map_err(|error| StoreError::Browser(error.to_string()))?;
            parts.insert(0, Part::copied(&json));
            Ok(self.request(&ToStorage::Remember { info_hash }, parts))
        });
        async move { request?.await.map(drop) }
    }

    /// Serves this torrent from the user's own files, given in the torrent's order. They are read when somebody asks
    /// and never copied. Nothing is remembered. Files that are not `verified` are taken at their word only until somebody
    /// asks for a piece: that is compared with its hash before it is first given.
    ///
    /// # Errors
    /// [`StoreError::BadInfo`]; [`StoreError::Changed`] when a file's length is not that of the torrent's file.
    pub async fn attach(
        &self,
        hash: InfoHash,
        info: Bytes,
        files: Vec<File>,
        verified: bool,
    ) -> Result<(), StoreError> {
        let info = Info::from_bytes(info).map_err(|error| StoreError::BadInfo(error.to_string()))?;
        if info.info_hash() != hash {
            return Err(StoreError::BadInfo("it is another torrent's".into()));
        }
        let fits = |(file, place): (&File, &shared::metainfo::File)| file.size() == place.length as f64;
        if let Some((file, _)) = files.iter().zip(info.files()).find(|pair| !fits(*pair)) {
            return Err(StoreError::Changed(file.name()));
        }
        if files.len() != info.files().len() {
            return Err(StoreError::BadInfo("it has another number of files".into()));
        }
        let names = files.iter().map(File::name).collect();
        let mut parts: Vec<_> = files.into_iter().map(|file| Part::Shared(file.into())).collect();
        let unverified = (!verified).then(|| info.geometry().piece_length());
        if unverified.is_some() {
            parts.insert(0, Part::copied(info.piece_hashes().as_flattened()));
        }
        self.request(&ToStorage::Attach { info_hash: hash, names, unverified }, parts).await?;
        self.inner.open.borrow_mut().insert(hash, Rc::new(info));
        Ok(())
    }

    /// Compares a piece's SHA-1 with `expected` and, if it is right, keeps the piece. `offset` is where the piece
    /// begins in the torrent, in bytes. On its way when this returns.
    pub fn verify_and_store(
        &self,
        hash: InfoHash,
        piece: u32,
        offset: u64,
        data: Bytes,
        expected: [u8; 20],
    ) -> impl Future<Output = Verdict> + use<> {
        let request = ToStorage::Store { info_hash: hash, piece, offset, expected };
        let reply = self.request(&request, vec![Part::Moved(self.inner.pool.filled(&data))]);
        // The worker has its own copy now; a page that waits for a slow disk need not hold both.
        drop(data);
        let inner = self.inner.clone();
        async move {
            match reply.await {
                Ok(Message { body: FromStorage::Verdict(verdict), parts }) => {
                    part(&parts, 0).into_iter().for_each(|buffer| inner.pool.give_back(buffer));
                    verdict
                }
                Ok(_) => Verdict::Failed(unexpected()),
                Err(error) => Verdict::Failed(error),
            }
        }
    }

    /// Reads `len` bytes at `offset` in the torrent, of pieces that are there. On its way when this returns.
    pub fn load(
        &self,
        hash: InfoHash,
        offset: u64,
        len: u32,
    ) -> impl Future<Output = Result<Bytes, LoadError>> + use<> {
        let request = ToStorage::Load { info_hash: hash, offset };
        let reply = self.inner.worker.request(&request, vec![Part::Moved(self.inner.pool.lend(len))]);
        let inner = self.inner.clone();
        async move {
            let Message { body, parts } = reply.await?;
            match body {
                FromStorage::Loaded => {
                    let buffer: ArrayBuffer = part(&parts, 0).ok_or(LoadError::Missing)?;
                    let bytes = buffers::copied(&buffer);
                    inner.pool.give_back(buffer);
                    Ok(bytes)
                }
                FromStorage::LoadFailed(error) => Err(error),
                FromStorage::Failed(error) => Err(LoadError::Browser(error.to_string())),
                _ => Err(LoadError::Missing),
            }
        }
    }

    /// Reads a piece again, wherever it lies, and says whether it is there and has this hash; if not, it is not there from now on.
    /// `offset` is where it begins in the torrent, and `len` how long it is, in bytes. On its way when this returns.
    ///
    /// # Errors
    /// [`LoadError`]; for the user's own files also where they have other bytes, since then it has to be said which.
    pub fn check(
        &self,
        hash: InfoHash,
        piece: u32,
        (offset, len): (u64, u32),
        expected: [u8; 20],
    ) -> impl Future<Output = Result<bool, LoadError>> + use<> {
        let request = ToStorage::Check { info_hash: hash, piece, offset, len, expected };
        let reply = self.inner.worker.request(&request, Vec::new());
        async move {
            let reply: Reply = reply.await?;
            match reply.body {
                FromStorage::Checked(is_right) => Ok(is_right),
                FromStorage::LoadFailed(error) => Err(error),
                FromStorage::Failed(error) => Err(LoadError::Browser(error.to_string())),
                _ => Err(LoadError::Missing),
            }
        }
    }

    /// Forgets a torrent and deletes what was downloaded of it; the user's own files are let go of. What cannot be
    /// deleted now is deleted when the folder changes hands.
    pub async fn remove(&self, hash: InfoHash) {
        self.inner.open.borrow_mut().remove(&hash);
        drop(self.request(&ToStorage::Remove { info_hash: hash }, Vec::new()).await);
    }

    /// One file of a torrent, complete or at least all of that file's pieces, as a blob: a view, not a copy.
    /// `file_index` counts all of [`Info::files`], hidden ones too.
    ///
    /// # Errors
    /// [`StoreError::NotOpen`] when the torrent or the file is not there; [`StoreError::Changed`]; or what the browser
    /// said.
    pub async fn file_blob(&self, hash: InfoHash, file_index: usize) -> Result<Blob, StoreError> {
        let info = self.info(hash)?;
        let file = info.files().get(file_index).ok_or(StoreError::NotOpen)?;
        let request = ToStorage::Blob { info_hash: hash, offset: file.offset, len: file.length };
        blob(&self.request(&request, Vec::new()).await?)
    }

    /// These files of a torrent as one zip, stored without compression, in a folder with the torrent's name. Every byte is
    /// read once, for the checksums, but none is copied. `files` are indices of [`Info::files`], and all their pieces are
    /// there.
    ///
    /// # Errors
    /// As [`file_blob`](Self::file_blob).
    pub async fn zip_blob(&self, hash: InfoHash, files: &[usize]) -> Result<Blob, StoreError> {
        let entries = self.entries(hash, files)?;
        blob(&self.request(&ToStorage::Zip { info_hash: hash, entries }, Vec::new()).await?)
    }

    /// The same zip, made while it is read: nothing is read before somebody wants it, and little of it is in memory.
    ///
    /// # Errors
    /// As [`file_blob`](Self::file_blob); also when more zips are being made than the worker makes at a time.
    pub async fn zip(&self, hash: InfoHash, files: &[usize]) -> Result<Zip, StoreError> {
        let entries = self.entries(hash, files)?;
        let number = self.inner.zips.get().wrapping_add(1);
        self.inner.zips.set(number);
        let zip = Zip::new(self.inner.clone(), number);
        self.request(&ToStorage::ZipBegin { zip: number, info_hash: hash, entries }, Vec::new()).await?;
        Ok(zip)
    }

    fn entries(&self, hash: InfoHash, files: &[usize]) -> Result<Vec<Entry>, StoreError> {
        let info = self.info(hash)?;
        let entry = |index: &usize| {
            let file = info.files().get(*index).ok_or(StoreError::NotOpen)?;
            Ok(Entry { path: archive_path(&info, file), offset: file.offset, len: file.length })
        };
        files.iter().map(entry).collect()
    }

    fn info(&self, hash: InfoHash) -> Result<Rc<Info>, StoreError> {
        self.inner.open.borrow().get(&hash).cloned().ok_or(StoreError::NotOpen)
    }

    fn request(
        &self,
        request: &ToStorage,
        parts: Vec<Part>,
    ) -> impl Future<Output = Result<Reply, StoreError>> + use<> {
        let reply = self.inner.worker.request(request, parts);
        async move {
            match reply.await? {
                Message { body: FromStorage::Failed(error), .. } => Err(error),
                reply => Ok(reply),
            }
        }
    }
}

fn unexpected() -> StoreError {
    StoreError::Browser("the storage worker gave another answer than was asked for".into())
}

fn blob(reply: &Reply) -> Result<Blob, StoreError> {
    part(&reply.parts, 0).ok_or_else(unexpected)
}

fn parse(record: &Record) -> Result<Option<Info>, StoreError> {
    let Some(info) = &record.info else { return Ok(None) };
    let info = Info::from_bytes(info.clone()).map_err(|error| StoreError::BadInfo(error.to_string()))?;
    if info.info_hash() == record.info_hash {
        Ok(Some(info))
    } else {
        Err(StoreError::BadInfo("it is another torrent's".into()))
    }
}

fn archive_path(info: &Info, file: &shared::metainfo::File) -> String {
    if info.is_folder() { format!("{}/{}", info.name(), file.display_path()) } else { file.display_path() }
}

/// The tab's session storage. `None` where the browser refuses it.
fn session() -> Option<web_sys::Storage> {
    web_sys::window()?.session_storage().ok()?
}

/// A torrent from what the worker found: its record, its info dictionary and its bits. `None` if the record is not to be
/// read.
fn remember(hash: InfoHash, parts: &[JsValue]) -> Option<Remembered> {
    let bytes = |index| part(parts, index).map(|buffer: ArrayBuffer| buffers::copied(&buffer));
    let Written { mut record, lengths } = record::read(&bytes(0)?)?;
    record.info = bytes(1).filter(|info| !info.is_empty());
    let have = match (&record.info, lengths.and_then(Lengths::geometry)) {
        (Some(_), Some(geometry)) => {
            Have::from_bytes(geometry.piece_count(), &bytes(2).unwrap_or_default()).to_vec()
        }
        _ => Vec::new(),
    };
    (record.info_hash == hash).then_some(Remembered { record, have })
}
