//! What is written to one client: WebSocket frames (RFC 6455, section 5.2; a server's are not masked), gathered and then handed
//! to the system in one write.
//!
//! Relay frames are most of what a tracker writes. Their payloads are kept as they are, between the frames that are copied, and
//! go out in one vectored write. Between writes a carrier holds no buffer: what is gathered is put into one of the thread's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use shared::relay::{ChannelId, HEADER_LEN, data_header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::outbox::Payload;

/// Bytes gathered before the client must take some.
const MAX_GATHERED: usize = 256 * 1024;

/// Payloads from this length are kept as they are; copying shorter ones costs less than another slice.
const MIN_SLICE: usize = 4 * 1024;

/// Most slices of one write.
const MAX_SLICES: usize = 32;

/// Slices for which room is kept while there are none.
const KEPT_SLICES: usize = 16;

/// What a thread's buffer grows to at least, and what it may have grown to and still be kept.
const MIN_BUFFER: usize = 16 * 1024;
const MAX_BUFFER: usize = 2 * MAX_GATHERED;

/// The kinds of frames, each a whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Text = 0x81,
    Binary = 0x82,
    Close = 0x88,
    Ping = 0x89,
    Pong = 0x8a,
}

thread_local! {
    /// What the connections of this thread gather into, one after the other.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    /// A text, as it is written.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream, and what is gathered for it.
///
/// Invariant: `gathered` is the sum of the lengths of `slices` and `tail`.
#[derive(Debug)]
pub(super) struct Carrier<S> {
    stream: S,
    slices: VecDeque<Payload>,
    tail: BytesMut,
    gathered: usize,
    unflushed: bool,
}

impl<S> Carrier<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, slices: VecDeque::new(), tail: BytesMut::new(), gathered: 0, unflushed: false }
    }

    /// Whether more may be gathered now.
    pub(super) fn has_room(&self) -> bool {
        self.gathered < MAX_GATHERED
    }

    /// Whether something was gathered since all was written.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Gathers a frame.
    pub(super) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.header(opcode, payload.len());
        self.append(payload);
    }

    /// Gathers a text message, which `write` appends to what it is handed.
    pub(super) fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = TEXT.take();
        write(&mut text);
        self.frame(Opcode::Text, &text);
        if text.capacity() <= MAX_BUFFER {
            text.clear();
            TEXT.set(text);
        }
    }

    /// Gathers a relay data frame.
    pub(super) fn relay(&mut self, channel: ChannelId, payload: Payload) {
        self.header(Opcode::Binary, HEADER_LEN + payload.len());
        self.append(&data_header(channel));
        if payload.len() < MIN_SLICE {
            self.append(payload.bytes());
        } else {
            self.gathered += payload.len();
            self.slices.push_back(Payload::Gathered(self.tail.split()));
            self.slices.push_back(payload);
        }
    }

    /// The client does not take it now: what would keep the memory of others is copied.
    pub(super) fn let_go(&mut self) {
        self.slices.iter_mut().for_each(Payload::let_go);
    }

    fn header(&mut self, opcode: Opcode, length: usize) {
        if self.tail.capacity() == 0 {
            self.tail = BUFFER.take();
            self.tail.reserve(MIN_BUFFER);
        }
        self.unflushed = true;
        let first = opcode as u8;
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => self.append(&[first, short]),
            (_, Ok(length)) => {
                self.append(&[first, 126]);
                self.append(&length.to_be_bytes());
            }
            _ => {
                self.append(&[first, 127]);
                self.append(&(length as u64).to_be_bytes());
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.gathered += bytes.len();
    }

    /// All is written: the buffer is free for others.
    fn release(&mut self) {
        let mut buffer = std::mem::take(&mut self.tail);
        if buffer.capacity() > 0 && buffer.capacity() <= MAX_BUFFER {
            buffer.clear();
            BUFFER.set(buffer);
        }
        if self.slices.capacity() > KEPT_SLICES {
            self.slices = VecDeque::new();
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.gathered -= written;
        while let Some(first) = self.slices.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.slices.pop_front();
        }
        self.tail.advance(written);
    }
}

impl<S: AsyncRead + Unpin> Carrier<S> {
    /// Appends what the client has sent, so many bytes at most; none when it sends nothing more.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        poll_read_buf(Pin::new(&mut self.stream), context, &mut buffer.limit(most))
    }
}

impl<S: AsyncWrite + Unpin> Carrier<S> {
    /// Writes what is gathered. Ready when nothing is left.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gathered > 0 {
            let stream = Pin::new(&mut self.stream);
            let written = if self.slices.is_empty() {
                ready!(stream.poll_write(context, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let tail: &[u8] = &self.tail;
                let mut count = 0;
                let gathered = self.slices.iter().map(Payload::bytes).chain([tail]);
                for (slice, bytes) in slices.iter_mut().zip(gathered) {
                    *slice = IoSlice::new(bytes);
                    count += 1;
                }
                ready!(stream.poll_write_vectored(context, &slices[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        self.release();
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes what is gathered, and says that nothing more comes.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures::{FutureExt, StreamExt};
    use shared::relay::Frame;
    use tokio::io::duplex;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn flush<S: AsyncWrite + Unpin>(carrier: &mut Carrier<S>) {
        poll_fn(|context| carrier.poll_flush(context)).await.unwrap();
    }

    #[tokio::test]
    async fn frames_of_every_length_are_messages_that_a_library_reads() {
        let (here, there) = duplex(1 << 20);
        let mut carrier = Carrier::new(here);
        let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        for length in
            [0, 1, 120, 121, 125, 126, MIN_SLICE - 1, MIN_SLICE, 65_530, 65_531, 65_535, 65_536, 135_168]
        {
            if length > 0 {
                let payload = Bytes::from(vec![length as u8; length]);
                carrier.relay(ChannelId(7), Payload::Shared(payload.clone()));
                flush(&mut carrier).await;
                let expected = Frame::Data { channel: ChannelId(7), payload }.encode();
                assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(expected), "{length}");
            }
            let text = "t".repeat(length);
            carrier.text(|to| to.extend_from_slice(text.as_bytes()));
            flush(&mut carrier).await;
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text), "{length}");
        }
        assert_eq!(carrier.tail.capacity(), 0, "between writes it holds no buffer");
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_in_order_however_little_the_client_takes() {
        let (here, mut there) = duplex(1000);
        let mut carrier = Carrier::new(here);
        for n in 0..50_u8 {
            carrier.relay(ChannelId(1), Payload::Shared(Bytes::from(vec![n; 10])));
            carrier.relay(ChannelId(1), Payload::Shared(Bytes::from(vec![n; MIN_SLICE])));
            carrier.frame(Opcode::Pong, &[n; 3]);
        }
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut there, &mut all).await.unwrap();
            all
        });
        poll_fn(|context| carrier.poll_shutdown(context)).await.unwrap();
        assert!(!carrier.is_unflushed());
        drop(carrier);
        let mut expected = Vec::new();
        for n in 0..50_u8 {
            expected.extend_from_slice(&[0x82, 15, 1, 0, 0, 0, 1]);
            expected.extend_from_slice(&[n; 10]);
            expected.extend_from_slice(&[0x82, 126, 0x10, 0x05, 1, 0, 0, 0, 1]);
            expected.extend_from_slice(&[n; MIN_SLICE]);
            expected.extend_from_slice(&[0x8a, 3, n, n, n]);
        }
        assert!(reading.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn what_a_client_does_not_take_keeps_no_more_than_itself() {
        let (here, mut there) = duplex(10);
        let mut carrier = Carrier::new(here);
        let read = Bytes::from(vec![7; 130_000]);
        carrier.relay(ChannelId(1), Payload::Shared(read.slice(..16 * 1024)));
        carrier.relay(ChannelId(1), Payload::Shared(read.slice(20_000..25_000)));
        assert!(poll_fn(|context| carrier.poll_flush(context)).now_or_never().is_none());
        assert!(!read.is_unique());
        carrier.let_go();
        assert!(read.is_unique(), "all of what was read is free again");
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut there, &mut all).await.unwrap();
            all.iter().filter(|byte| **byte == 7).count()
        });
        poll_fn(|context| carrier.poll_shutdown(context)).await.unwrap();
        drop(carrier);
        assert_eq!(reading.await.unwrap(), 16 * 1024 + 5000);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_stops_the_gathering() {
        let (here, _there) = duplex(10);
        let mut carrier = Carrier::new(here);
        let mut gathered = 0;
        while carrier.has_room() {
            carrier.frame(Opcode::Binary, &[0; 1000]);
            assert!(poll_fn(|context| carrier.poll_flush(context)).now_or_never().is_none());
            gathered += 1000;
            assert!(gathered < 2 * MAX_GATHERED);
        }
        assert!(carrier.is_unflushed());
    }
}
