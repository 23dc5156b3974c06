//! Bytes that wait on a channel, and in whose memory.
//!
//! A payload comes as a part of the buffer that it was read into. To hand it on as it is costs nothing; but as long as it waits, the
//! whole buffer is kept. So one that is a large enough part of it is handed on as it is, as long as its client keeps up: it is then
//! written right after the sender's turn. When its client is behind, because more waits for it than two turns bring, or because
//! it takes nothing at all, only those stay as they are that are a third of a buffer or more; the others are copied, once.
//! So what is held for long takes at most three times the memory of its bytes, whatever a sender mixes, and what is held for a turn,
//! of which there is not much for each client, at most nine times.

use bytes::{Buf, Bytes, BytesMut};

/// Payloads shorter than this, in bytes, are put together while they wait: many tiny ones would take many times the memory that
/// their bytes are credited for. Channels carry a stream of bytes; frame bounds mean nothing. Those from this length on are
/// handed on in the memory that they were read into, while nothing stalls: a block of 16 KiB is.
pub(super) const MERGE_LEN: usize = 16 * 1024;

/// Bytes that wait for a client that keeps up, at most: what others send in a turn or two.
pub(super) const MAX_LENT: usize = 256 * 1024;

/// Payloads from this length, in bytes, stay in the memory that they were read into even if they wait for long.
const SHARE_LEN: usize = 48 * 1024;

/// Bytes that wait on a channel, or for being written.
#[derive(Debug)]
pub(crate) enum Payload {
    /// In memory of their own, or almost; there may be room for more.
    Gathered(BytesMut),
    /// As read.
    Shared(Bytes),
}

impl Payload {
    /// For a client that keeps up, or one that is behind.
    pub(super) fn new(bytes: Bytes, is_behind: bool) -> Self {
        let shared_from = if is_behind { SHARE_LEN } else { MERGE_LEN };
        if bytes.len() < shared_from {
            Self::Gathered(BytesMut::from(&bytes[..]))
        } else {
            Self::Shared(bytes)
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Gathered(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// The first of them are gone.
    pub(crate) fn advance(&mut self, count: usize) {
        match self {
            Self::Gathered(bytes) => bytes.advance(count),
            Self::Shared(bytes) => bytes.advance(count),
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

    /// They will wait for long: keep no memory but their own, or not much.
    pub(crate) fn let_go(&mut self) {
        if let Self::Shared(bytes) = self
            && bytes.len() < SHARE_LEN
        {
            *self = Self::Gathered(BytesMut::from(&bytes[..]));
        }
    }
}

#[cfg(test)]
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}
