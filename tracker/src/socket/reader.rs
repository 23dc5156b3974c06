//! WebSocket messages out of bytes, as a server reads them (RFC 6455, section 5): masked frames in, whole messages out.
//!
//! A [`Reader`] is pure: it is handed bytes, and does no IO. Between messages it keeps none, so a connection that is silent costs
//! no buffer: the connections of a thread share theirs (`buffers`). That, and payloads that are handed on where they were
//! read, is why this is not tungstenite's reader, which keeps (and fills with zeros before each read) a buffer for each
//! connection. The tests hold it against that one.

use std::str::Utf8Error;

use bytes::{Buf, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Most frames of one message: an empty one costs its sender six bytes, and adds nothing to the message.
const MAX_FRAGMENTS: u32 = 16 * 1024;

/// Longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A message, or a control frame, which may come in the middle of a fragmented message, or a fragment that is not the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// To be answered with a pong of the same bytes.
    Ping(Bytes),
    /// A sign of life.
    Pong,
    /// So many bytes of a message whose end has not come. The reader keeps them.
    Fragment(usize),
    /// The client ends the connection, and this is to be sent back.
    Close(Bytes),
}

impl Incoming {
    /// Bytes of its payload.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.as_str().len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Close(bytes) => bytes.len(),
            Self::Fragment(length) => *length,
            Self::Pong => 0,
        }
    }
}

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// A frame that RFC 6455 does not allow here.
    #[error("{0}")]
    Protocol(&'static str),
    /// A message above the limit.
    #[error("a message is too long")]
    TooLong,
    /// A message in more fragments than anybody needs.
    #[error("a message has too many fragments")]
    TooManyFragments,
    /// A text, or the reason of a close, that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
}

/// What kind of message a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// A message of which some fragments have come.
#[derive(Debug)]
struct Fragments {
    kind: Kind,
    bytes: BytesMut,
    /// So many of its first bytes are known to be whole characters.
    checked: usize,
    /// How many have come.
    count: u32,
}

/// One frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the header itself.
    start: usize,
    payload: usize,
}

/// Reads one client's messages.
#[derive(Debug)]
pub(super) struct Reader {
    max: usize,
    fragments: Option<Box<Fragments>>,
}

impl Reader {
    /// For messages that are at most so long, in bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { max, fragments: None }
    }

    /// Takes the next frame out of these bytes, and gives what comes of it; `None` if it is not all there.
    ///
    /// # Errors
    /// [`Fault`]: the connection is to be closed.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Incoming>, Fault> {
        let Some(header) = Header::read(bytes)? else { return Ok(None) };
        let is_data = header.opcode <= BINARY;
        let before = self.fragments.as_ref().filter(|_| is_data).map_or(0, |message| message.bytes.len());
        if header.payload > self.max.saturating_sub(before) {
            return Err(Fault::TooLong);
        }
        self.check_order(header)?;
        let Some(end) = header.start.checked_add(header.payload).filter(|end| *end <= bytes.len()) else {
            return Ok(None);
        };
        bytes.advance(header.start);
        let mut payload = bytes.split_to(end - header.start);
        unmask(&mut payload, header.mask);
        self.accept(header, payload).map(Some)
    }

    /// Whether a message has begun whose end has not come.
    pub(super) fn is_amid_message(&self) -> bool {
        self.fragments.is_some()
    }

    /// Whether such a frame may come now (RFC 6455, section 5.4).
    fn check_order(&self, header: Header) -> Result<(), Fault> {
        match (header.opcode, &self.fragments) {
            (CONTINUATION, None) => Err(Fault::Protocol("a continuation of nothing")),
            (TEXT | BINARY, Some(_)) => Err(Fault::Protocol("a message inside another")),
            _ => Ok(()),
        }
    }

    fn accept(&mut self, header: Header, payload: BytesMut) -> Result<Incoming, Fault> {
        let kind = match header.opcode {
            PING => return Ok(Incoming::Ping(payload.freeze())),
            PONG => return Ok(Incoming::Pong),
            CLOSE => return close(payload),
            TEXT if header.is_final => return finish(Kind::Text, payload),
            BINARY if header.is_final => return finish(Kind::Binary, payload),
            BINARY => Kind::Binary,
            // Of a continuation the order was checked: there is a message, and its kind stays.
            _ => Kind::Text,
        };
        // Copied: the bytes would keep what was read with them.
        let mut message = self.fragments.take().unwrap_or_else(|| Box::new(Fragments::new(kind)));
        message.extend(&payload)?;
        if header.is_final {
            return message.finish();
        }
        self.fragments = Some(message);
        Ok(Incoming::Fragment(payload.len()))
    }
}

impl Fragments {
    fn new(kind: Kind) -> Self {
        Self { kind, bytes: BytesMut::new(), checked: 0, count: 0 }
    }

    /// Adds a fragment. What cannot become a text any more is told at once (RFC 6455, section 8.1).
    fn extend(&mut self, more: &[u8]) -> Result<(), Fault> {
        self.count += 1;
        if self.count > MAX_FRAGMENTS {
            return Err(Fault::TooManyFragments);
        }
        self.bytes.extend_from_slice(more);
        if self.kind == Kind::Text {
            match std::str::from_utf8(&self.bytes[self.checked..]) {
                Ok(text) => self.checked += text.len(),
                Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Incoming, Fault> {
        finish(self.kind, self.bytes)
    }
}

fn finish(kind: Kind, payload: BytesMut) -> Result<Incoming, Fault> {
    Ok(match kind {
        Kind::Text => Incoming::Text(Utf8Bytes::try_from(payload)?),
        Kind::Binary => Incoming::Binary(payload.freeze()),
    })
}

impl From<Utf8Error> for Fault {
    fn from(_: Utf8Error) -> Self {
        Self::NotUtf8
    }
}

/// A close frame's payload: nothing, or a code that may be sent and a reason (RFC 6455, sections 5.5.1 and 7.4).
fn close(payload: BytesMut) -> Result<Incoming, Fault> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => {}
        None => return Err(Fault::Protocol("a close with half a code")),
        Some((code, reason)) => {
            if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Fault::Protocol("a close with a code that is not to be sent"));
            }
            std::str::from_utf8(reason)?;
        }
    }
    Ok(Incoming::Close(payload.freeze()))
}

impl Header {
    /// Reads the header at the beginning; `None` if it is not all there. What is wrong is told as soon as it is.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(Fault::Protocol("a reserved bit without an extension"));
        }
        if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(Fault::Protocol("a reserved opcode"));
        }
        let is_control = opcode >= CLOSE;
        if is_control && !is_final {
            return Err(Fault::Protocol("a control frame in fragments"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Fault::Protocol("a frame of a client without a mask"));
        }
        let short = second & 0x7f;
        if is_control && usize::from(short) > MAX_CONTROL {
            return Err(Fault::Protocol("a control frame that is too long"));
        }
        let (payload, start, least) = match short {
            126 => {
                let Some(length) = bytes[2..].first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), 4, 126)
            }
            127 => {
                let Some(length) = bytes[2..].first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), 10, 1 << 16)
            }
            short => (u64::from(short), 2, 0),
        };
        if payload < least || payload >> 63 != 0 {
            return Err(Fault::Protocol("a length that is not written in the shortest way"));
        }
        let payload = usize::try_from(payload).map_err(|_| Fault::TooLong)?;
        // Lengths are checked before the mask has come.
        let mask = bytes[start..].first_chunk().copied();
        let start = if mask.is_some() { start + 4 } else { usize::MAX };
        Ok(Some(Self { is_final, opcode, mask: mask.unwrap_or_default(), start, payload }))
    }
}

/// Takes the mask off, eight bytes at a time (RFC 6455, section 5.3).
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    if wide == 0 {
        return;
    }
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
