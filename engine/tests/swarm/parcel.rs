//! Messages on their way. A block's bytes are all zero, so that none of them has to be kept: what a thousand peers have under
//! way would fill most of a gibibyte, and every cache.

use bytes::Bytes;
use shared::wire::PIECE_HEADER_LEN;

/// Where a message says what it is, behind its length.
const ID: usize = 4;
/// A block (BEP 3).
const PIECE: u8 = 7;

/// What was sent at once.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A block: all that comes before its bytes, and the length of the whole.
    Block([u8; PIECE_HEADER_LEN], usize),
    /// Anything else.
    Other(Bytes),
}

impl Parcel {
    /// Takes in what a session sends. It sends each block by itself.
    pub(crate) fn pack(bytes: Bytes) -> Self {
        match bytes.first_chunk() {
            Some(header) if header[ID] == PIECE && is_one_message(&bytes) => {
                debug_assert!(bytes.ends_with(&[0; 16]), "a block of something else");
                Self::Block(*header, bytes.len())
            }
            _ => Self::Other(bytes),
        }
    }

    /// What was sent. Blocks are made in the memory of the one before, which is handed in, where nobody holds that any more.
    pub(crate) fn unpack(self, last: &mut Bytes) -> Bytes {
        match self {
            Self::Block(header, len) => {
                let mut bytes = std::mem::take(last).try_into_mut().unwrap_or_default();
                bytes.resize(len, 0);
                bytes[..PIECE_HEADER_LEN].copy_from_slice(&header);
                *last = bytes.freeze();
                last.clone()
            }
            Self::Other(bytes) => bytes,
        }
    }

    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Block(_, len) => *len,
            Self::Other(bytes) => bytes.len(),
        }
    }
}

fn is_one_message(bytes: &Bytes) -> bool {
    bytes.first_chunk().is_some_and(|len| 4 + u32::from_be_bytes(*len) as usize == bytes.len())
}
