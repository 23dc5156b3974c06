//! The stream under a WebSocket, which gathers what is to be written.
//!
//! Relay frames are most of what a tracker writes. Through tungstenite each would be copied into its buffer first; a
//! [`Carrier`] takes their payloads as they are, between the messages that tungstenite writes, and hands everything to
//! the system in one vectored write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use shared::relay::{ChannelId, HEADER_LEN, data_header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered before the client must take some.
const MAX_GATHERED: usize = 256 * 1024;

/// Payloads from this length are kept as they are; copying shorter ones costs less than another slice.
const MIN_SLICE: usize = 4 * 1024;

/// Most slices of one write.
const MAX_SLICES: usize = 32;

/// A stream that gathers what is to be written.
///
/// Invariant: `gathered` is the sum of the lengths of `slices` and `tail`. Every write appends whole, so that frames of
/// tungstenite's and relay frames never mix.
#[derive(Debug)]
pub(super) struct Carrier<S> {
    stream: S,
    slices: VecDeque<Bytes>,
    tail: BytesMut,
    gathered: usize,
}

impl<S: AsyncWrite + Unpin> Carrier<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, slices: VecDeque::new(), tail: BytesMut::new(), gathered: 0 }
    }

    /// Whether more may be gathered now.
    pub(super) fn has_room(&self) -> bool {
        self.gathered < MAX_GATHERED
    }

    /// Gathers a relay data frame, as one binary message from a server (RFC 6455, section 5.2: not masked).
    pub(super) fn relay(&mut self, channel: ChannelId, payload: Bytes) {
        const FINAL_BINARY: u8 = 0x82;
        let length = HEADER_LEN + payload.len();
        let before = self.tail.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => self.tail.extend_from_slice(&[FINAL_BINARY, short]),
            (_, Ok(length)) => {
                self.tail.extend_from_slice(&[FINAL_BINARY, 126]);
                self.tail.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                self.tail.extend_from_slice(&[FINAL_BINARY, 127]);
                self.tail.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        self.tail.extend_from_slice(&data_header(channel));
        self.gathered += self.tail.len() - before + payload.len();
        if payload.len() < MIN_SLICE {
            self.tail.extend_from_slice(&payload);
        } else {
            self.slices.push_back(self.tail.split().freeze());
            self.slices.push_back(payload);
        }
    }

    /// Writes what is gathered until the client takes no more, or nothing is left.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gathered > 0 {
            if !self.tail.is_empty() {
                self.slices.push_back(self.tail.split().freeze());
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            for (slice, bytes) in slices.iter_mut().zip(&self.slices) {
                *slice = IoSlice::new(bytes);
            }
            let count = self.slices.len().min(MAX_SLICES);
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
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
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Carrier<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Carrier<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.has_room() {
            match self.poll_drain(context) {
                Poll::Ready(result) => result?,
                Poll::Pending if self.has_room() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        self.tail.extend_from_slice(bytes);
        self.gathered += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use shared::relay::Frame;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn relay_frames_of_every_length_are_messages_that_a_library_reads() {
        let (here, there) = duplex(1 << 20);
        let mut carrier = Carrier::new(here);
        let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        for length in [1, 120, 121, 125, MIN_SLICE - 1, MIN_SLICE, 65_530, 65_531, 135_168] {
            let payload = Bytes::from(vec![length as u8; length]);
            carrier.relay(ChannelId(7), payload.clone());
            carrier.flush().await.unwrap();
            let expected = Frame::Data { channel: ChannelId(7), payload }.encode();
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(expected), "{length}");
        }
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_in_order_however_little_the_client_takes() {
        let (here, mut there) = duplex(1000);
        let mut carrier = Carrier::new(here);
        for n in 0..50_u8 {
            carrier.relay(ChannelId(1), Bytes::from(vec![n; 10]));
            carrier.relay(ChannelId(1), Bytes::from(vec![n; MIN_SLICE]));
            carrier.write_all(&[n; 3]).await.unwrap();
        }
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut there, &mut all).await.unwrap();
            all
        });
        carrier.shutdown().await.unwrap();
        drop(carrier);
        let mut expected = Vec::new();
        for n in 0..50_u8 {
            expected.extend_from_slice(&[0x82, 15, 1, 0, 0, 0, 1]);
            expected.extend_from_slice(&[n; 10]);
            expected.extend_from_slice(&[0x82, 126, 0x10, 0x05, 1, 0, 0, 0, 1]);
            expected.extend_from_slice(&[n; MIN_SLICE]);
            expected.extend_from_slice(&[n; 3]);
        }
        assert!(reading.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_stops_the_gathering() {
        let (here, _there) = duplex(10);
        let mut carrier = Carrier::new(here);
        let mut written = 0;
        while carrier.write_all(&[0; 1000]).now_or_never().is_some() {
            written += 1000;
            assert!(written < 2 * MAX_GATHERED);
        }
        assert!(!carrier.has_room());
    }
}
