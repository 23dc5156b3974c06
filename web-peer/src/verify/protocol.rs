//! What the page and its hashing workers say to each other.

use serde::{Deserialize, Serialize};

/// From the page to a hashing worker: hash these bytes, cut into pieces. Beside it: the blobs that they are, end to
/// end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToHasher {
    /// Bytes in every piece but the last.
    pub(super) piece_length: u32,
    /// Bytes in all.
    pub(super) len: u64,
}

/// From a hashing worker to the page.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHasher {
    /// Beside it: a buffer with the digests of the pieces, in order.
    Hashed,
    /// A blob, the one with this number, cannot be read, or has other bytes than it should.
    Unreadable { index: usize },
}
