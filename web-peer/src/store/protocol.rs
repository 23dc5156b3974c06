//! What the page and its storage worker say to each other. What goes beside a message is named with it.
//!
//! In which order things are done: `Remember`, `Create`, `Attach` and `Remove`, of all torrents, one after the other and as they came,
//! so that the last word on a torrent holds. They are answered in that order. The others wait for none of these, nor these for them:
//! whoever reads from a torrent or writes to it waits for the answer that says that it is open.

use serde::{Deserialize, Serialize};
use shared::InfoHash;

use super::record::Lengths;

/// From the page to the storage worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToStorage {
    /// Open the store: this folder if it can be had. Comes first, once, and nothing else before its answer: that would be refused
    /// (`NotOpen`). Answered by `Opened`.
    Open { preferred: Option<String> },
    /// Remember a torrent. Beside it: the buffer of its record, and of its info dictionary, if that is known. Answered
    /// by `Done`.
    Remember { info_hash: InfoHash },
    /// Open the store of one torrent. Answered by `Have`.
    Create { info_hash: InfoHash, lengths: Lengths },
    /// Serve this torrent from these files. Beside it: the files. With `unverified`, the length of its pieces, no byte is
    /// given before its piece's hash was found right; the buffer of those hashes stands before the files then. Answered by
    /// `Done`.
    Attach { info_hash: InfoHash, names: Vec<String>, unverified: Option<u32> },
    /// Verify a piece and keep it. Beside it: its buffer, lent. Answered by `Verdict`.
    Store { info_hash: InfoHash, piece: u32, offset: u64, expected: [u8; 20] },
    /// Read. Beside it: a buffer to fill, lent. Answered by `Loaded`.
    Load { info_hash: InfoHash, offset: u64 },
    /// Read this piece, wherever it lies, and compare it with its hash; of one that is not right nothing is given any more.
    /// Answered by `Checked`.
    Check { info_hash: InfoHash, piece: u32, offset: u64, len: u32, expected: [u8; 20] },
    /// Bytes of a torrent as a blob. Answered by `Blob`.
    Blob { info_hash: InfoHash, offset: u64, len: u64 },
    /// A zip of these. Answered by `Blob`.
    Zip { info_hash: InfoHash, entries: Vec<Entry> },
    /// Make a zip of these while it is read; `zip` names it. Answered by `Done`.
    ZipBegin { zip: u32, info_hash: InfoHash, entries: Vec<Entry> },
    /// The next bytes of that zip. Answered by `Loaded`, with an empty buffer at the end.
    ZipNext { zip: u32 },
    /// Nobody reads that zip any more. Answered by `Done`.
    ZipEnd { zip: u32 },
    /// Forget a torrent and delete its data. Answered by `Done`.
    Remove { info_hash: InfoHash },
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path, parts joined by `/`.
    pub path: String,
    /// Where it begins in the torrent, in bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// From the storage worker to the page.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromStorage {
    /// The store is open.
    Opened {
        /// The folder, where the store is the private file system.
        folder: Option<String>,
        /// Most bytes it takes, where it is memory.
        limit: Option<u64>,
        /// What the folder had. Beside the message three buffers for each: record, info dictionary (empty: not known),
        /// bits of the pieces that are there.
        remembered: Vec<InfoHash>,
    },
    /// It is done.
    Done,
    /// A torrent's store is open. Beside it: a buffer with the bits of the pieces that are there.
    Have,
    /// What became of a piece. Beside it: its buffer, given back.
    Verdict(Verdict),
    /// Read. Beside it: the buffer, full.
    Loaded,
    /// Whether the piece is there and right.
    Checked(bool),
    /// Beside it: the blob.
    Blob,
    /// It could not be done.
    Failed(StoreError),
    /// It could not be read.
    LoadFailed(LoadError),
}

/// What became of a piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Its hash is right and it is in the store.
    Stored,
    /// Its hash is wrong; it was thrown away.
    HashMismatch,
    /// It could not be written.
    Failed(StoreError),
}

impl From<Verdict> for engine::StoreOutcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Stored => Self::Stored,
            Verdict::HashMismatch => Self::HashMismatch,
            Verdict::Failed(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Why the store could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StoreError {
    /// The browser gives no more room.
    #[error("the browser has no more room for this")]
    Full,
    /// The torrent, with what is there already, is more than memory is used for.
    #[error("{total} bytes are more than the {limit} that are kept in memory")]
    TooLargeForMemory {
        /// Bytes that would be kept.
        total: u64,
        /// Bytes that memory is used for.
        limit: u64,
    },
    /// This torrent has no open store.
    #[error("this torrent is not in the store")]
    NotOpen,
    /// The info dictionary cannot be read.
    #[error("the info dictionary cannot be read: {0}")]
    BadInfo(String),
    /// A seeded file is gone or was changed since it was chosen.
    #[error("{0} is gone or was changed since it was chosen")]
    Changed(String),
    /// The browser failed otherwise; the words are its own.
    #[error("{0}")]
    Browser(String),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        Self::Browser(error.to_string())
    }
}

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LoadError {
    /// A seeded file is gone or was changed since it was chosen.
    #[error("{file} is gone or was changed since it was chosen")]
    Changed {
        /// Its name.
        file: String,
    },
    /// A seeded file has other bytes than the torrent, though its length and its time are what they were.
    #[error("{file} was changed since it was shared")]
    Altered {
        /// Its name.
        file: String,
    },
    /// Not all of these bytes are there.
    #[error("these bytes are not in the store")]
    Missing,
    /// The browser failed otherwise; the words are its own.
    #[error("{0}")]
    Browser(String),
}
