//! A WebSocket client that costs next to nothing, so that it is the server that is measured: whole messages in and out, no
//! fragments.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes read at once.
const READ: usize = 256 * 1024;

/// The mask of every message. A browser draws a new one each time; what a server has to do for it is the same.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

thread_local! {
    /// What is read, before it is known what it is.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A message from the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Close,
}

/// One connection.
pub(crate) struct Socket {
    stream: TcpStream,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    /// What is to be written.
    pub(crate) out: Vec<u8>,
    /// Whether the last of it is a close: nothing may follow.
    is_closing: bool,
}

impl Socket {
    /// Connects, and opens the WebSocket.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 || head.len() > 4096 {
                bail!("no handshake: {}", String::from_utf8_lossy(&head));
            }
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!("refused: {}", String::from_utf8_lossy(&head));
        }
        Ok(Self { stream, partial: Vec::new(), out: Vec::new(), is_closing: false })
    }

    /// Adds a text message to what is to be written.
    pub(crate) fn text(&mut self, text: &[u8]) {
        put(&mut self.out, TEXT, &[text]);
    }

    /// Adds a close to what is to be written, and from now on discards what would follow it: a server that has closed answers
    /// more with a reset, and its own close is lost.
    pub(crate) fn close(&mut self) {
        put(&mut self.out, CLOSE, &[&[0x03, 0xe8]]);
        self.is_closing = true;
    }

    /// Writes what waits, as far as it goes without waiting.
    pub(crate) fn write(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The server may be gone first: what it said is to be read still.
                Err(_) if self.is_closing => self.out.clear(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until all is written.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        loop {
            self.write()?;
            if self.out.is_empty() {
                return Ok(());
            }
            self.stream.writable().await?;
        }
    }

    /// Writes what waits while it waits for messages, and hands over those that come at once, with what is to be written
    /// for them. `false` when the server has hung up.
    pub(crate) async fn receive(
        &mut self,
        mut handle: impl FnMut(Received<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        loop {
            self.write()?;
            if self.out.is_empty() {
                self.stream.readable().await?;
            } else {
                let both = tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE;
                self.stream.ready(both).await?;
            }
            let Self { stream, partial, out, is_closing } = self;
            let mut discarded = Vec::new();
            let out = if *is_closing { &mut discarded } else { out };
            let read = SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch) {
                Ok(0) => Ok(Some(false)),
                Ok(read) => take(&scratch[..read], partial, out, &mut handle).map(|()| Some(true)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            })?;
            if let Some(is_open) = read {
                return Ok(is_open);
            }
        }
    }

    /// Waits for a text that holds this.
    pub(crate) async fn expect(&mut self, word: &str) -> Result<String> {
        let mut found = None;
        while found.is_none() {
            let is_open = self.receive(|message, _| match message {
                Received::Text(text) if text.contains(word) => {
                    found = Some(text.to_owned());
                    Ok(())
                }
                other => bail!("not {word}: {other:?}"),
            });
            if !is_open.await? {
                bail!("the server hung up");
            }
        }
        found.context("it was found")
    }

    /// Ends the connection as a machine that crashes does, and leaves nothing behind here either.
    pub(crate) fn reset(self) {
        // If it cannot be set, the connection ends in the usual way.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Appends one whole message of a client (RFC 6455, section 5.2).
fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.extend_from_slice(&[kind, 0x80 | short]),
        (_, Ok(length)) => {
            out.extend_from_slice(&[kind, 0x80 | 126]);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[kind, 0x80 | 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let (fours, rest) = out[start..].as_chunks_mut::<4>();
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ u32::from_ne_bytes(MASK)).to_ne_bytes();
    }
    rest.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
}

/// Appends a text message of a client.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put(out, TEXT, &[text]);
}

/// Appends a binary message of a client.
pub(crate) fn put_binary(out: &mut Vec<u8>, parts: &[&[u8]]) {
    put(out, BINARY, parts);
}

fn take(
    read: &[u8],
    partial: &mut Vec<u8>,
    out: &mut Vec<u8>,
    handle: &mut impl FnMut(Received<'_>, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    if partial.is_empty() {
        let used = take_whole(read, out, handle)?;
        partial.extend_from_slice(&read[used..]);
    } else {
        partial.extend_from_slice(read);
        let used = take_whole(partial, out, handle)?;
        partial.drain(..used);
    }
    Ok(())
}

/// Hands over all messages that are whole; gives how many bytes they took.
fn take_whole(
    bytes: &[u8],
    out: &mut Vec<u8>,
    handle: &mut impl FnMut(Received<'_>, &mut Vec<u8>) -> Result<()>,
) -> Result<usize> {
    let mut used = 0;
    while let Some((kind, payload)) = whole(&bytes[used..]) {
        used += payload.end;
        let payload = &bytes[used - (payload.end - payload.start)..used];
        match kind {
            TEXT => handle(Received::Text(std::str::from_utf8(payload)?), out)?,
            BINARY => handle(Received::Binary(payload), out)?,
            CLOSE => handle(Received::Close, out)?,
            PING => put(out, PONG, &[payload]),
            PONG => {}
            other => bail!("a frame of kind {other:#x}"),
        }
    }
    Ok(used)
}

/// The first message, if it is whole: its kind, and where its payload is.
fn whole(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (kind, short) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = start + length;
    (bytes.len() >= end).then_some((kind, start..end))
}
