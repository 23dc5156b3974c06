//! Bytes that wait on a channel, and in whose memory.
//!
//! A payload comes as a part of the buffer that it was read into. To hand it on as it is costs nothing; but as long as it waits, the
//! whole buffer is kept. So one that is a large enough part of it is handed on as it is, as long as its client takes what is written
//! to it, which is right after the turn of the client that sent it. Once a client stalls, only those stay as they are that are half
//! a buffer, or almost, and the others are copied; so what is held for long takes at most a few times the memory of its bytes,
//! whatever a sender mixes.

use bytes::{Bytes, BytesMut};

/// Payloads shorter than this, in bytes, are put together while they wait: many tiny ones would take many times the memory that
/// their bytes are credited for. Channels carry a stream of bytes; frame bounds mean nothing. Those from this length on are
/// handed on in the memory that they were read into, while nothing stalls: a block of 16 KiB is.
pub(super) const MERGE_LEN: usize = 16 * 1024;

/// Payloads from this length, in bytes, stay in the memory that they were read into even if they wait for long.
const SHARE_LEN: usize = 48 * 1024;

/// Bytes that wait on a channel.
#[derive(Debug)]
pub(super) enum Payload {
    /// Copied; there may be room for more.
    Gathered(BytesMut),
    /// As read.
    Shared(Bytes),
}

impl Payload {
    /// For a client that takes what is written to it, or one that does not.
    pub(super) fn new(bytes: Bytes, is_stalled: bool) -> Self {
        let shared_from = if is_stalled { SHARE_LEN } else { MERGE_LEN };
        if bytes.len() < shared_from {
            Self::Gathered(BytesMut::from(&bytes[..]))
        } else {
            Self::Shared(bytes)
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Gathered(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// Puts more bytes behind these, or gives them back if they are to be kept by themselves.
    pub(super) fn merge(&mut self, more: Bytes) -> Option<Bytes> {
        match self {
            Self::Gathered(last) if last.len() + more.len() <= MERGE_LEN => {
                last.extend_from_slice(&more);
                None
            }
            _ => Some(more),
        }
    }

    /// It will wait for long: keeps no memory but its own, or not much.
    pub(super) fn let_go(&mut self) {
        if let Self::Shared(bytes) = self {
            let_go(bytes);
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Gathered(bytes) => bytes.freeze(),
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Copies bytes that may be a small part of what they keep.
pub(crate) fn let_go(bytes: &mut Bytes) {
    if bytes.len() < SHARE_LEN {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}
