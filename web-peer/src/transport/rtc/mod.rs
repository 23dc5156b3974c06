//! Direct links: WebRTC data channels between two browsers, each a stream of bytes.
//!
//! In reading order: [`RtcLinks`] is what the driver holds; `table` has all connections and takes each from its
//! descriptions to its end; `connection` is one of them in the browser's terms, its handlers, and how they are released;
//! `outbox` cuts bytes into messages; `description` reads session descriptions before the browser does.
//!
//! As WebTorrent does it (simple-peer; there is no BEP): the initiator makes one channel with a random label, ordered
//! and reliable; all ICE candidates stand in the description, none follow it. Nothing here knows a tracker or the
//! engine: how descriptions travel is the driver's.

mod collect;
mod connection;
mod description;
mod outbox;
mod table;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use shared::signal::{IceServer, SessionDescription};

use table::Table;

/// Most connections alive in a tab. Chromium refuses the 501st, counting closed ones that it has not collected yet.
pub const MAX_CONNECTIONS: usize = 64;

/// Longest message that we send, in bytes: half a block of 128 KiB with its header, so that a block goes out in two.
/// Measured, as docs/FIGURES.md has it: shorter ones are slower, longer ones no faster.
pub const MESSAGE_BYTES: usize = 64 * 1024 + 16;

/// Bytes in the browser's send buffer beyond which nothing is given to it (the message that passes the mark is its last).
/// Measured: docs/FIGURES.md. Chromium closes a channel whose buffer passes 16 MiB.
pub const HIGH_WATER: usize = 256 * 1024;

/// Bytes in the browser's send buffer at which it asks for more.
pub const LOW_WATER: usize = HIGH_WATER / 2;

/// From both descriptions to the open channel, at most; WebTorrent's limit.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(25);

/// After the first candidate, others are waited for this long: those of the same computer come at once, those from a STUN
/// server within a round trip.
pub const GATHER_MORE: Duration = Duration::from_secs(1);

/// A description goes out after this time whatever has been gathered.
pub const GATHER_AT_MOST: Duration = Duration::from_secs(3);

/// A connection that the browser calls disconnected for this long is lost. It says so after some seconds of silence;
/// a change of network takes one or two more.
pub const DISCONNECTED_AT_MOST: Duration = Duration::from_secs(3);

/// One connection of this tab. Numbered by [`RtcLinks`], never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RtcId(pub u64);

impl fmt::Display for RtcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtc {}", self.0)
    }
}

/// What happens on a connection, in order: `Described` at most once, `Opened` at most once, then data and room, and
/// `Closed` at most once, as the last.
#[derive(Debug)]
pub enum RtcEvent {
    /// Our description is ready to be sent to the other side, with all the candidates that there are.
    Described(SessionDescription),
    /// Bytes can be sent and will come.
    Opened,
    /// Some bytes of the stream, never empty.
    Data(Bytes),
    /// There is room ([`RtcLinks::room`]): again, after there was none, and each time that [`LOW_WATER`] bytes have been
    /// sent and are on their way, and when all are, so that who counts by itself is never left with too little.
    Room,
    /// It ended, and everything is released. Not sent after [`RtcLinks::close`].
    Closed(RtcEnd),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RtcEnd {
    /// No way between the two was found (ICE failed).
    NoPath,
    /// It did not open within [`CONNECT_TIMEOUT`].
    TimedOut,
    /// It had been open, and the way between the two broke.
    Lost,
    /// The other side closed it.
    ByPeer,
    /// The other side sent a message that was not bytes.
    Text,
    /// The other side's description cannot be used. The words have nothing of it in them.
    BadDescription(String),
    /// The browser would not; its words.
    Refused(String),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RtcError {
    /// [`MAX_CONNECTIONS`] are alive.
    #[error("this tab has as many direct connections as it may have")]
    TooMany,
    /// This browser has no WebRTC, or it is switched off.
    #[error("this browser has no WebRTC")]
    Unavailable,
    /// The browser would not; its words.
    #[error("the browser refused a direct connection: {0}")]
    Refused(String),
}

/// All direct connections of a tab. Dropping it closes them, without events.
pub struct RtcLinks {
    table: Rc<Table>,
}

impl RtcLinks {
    /// No connections yet. `on_event` is called from the event loop, never from within a method of this type, and may
    /// call all of them.
    pub fn new(on_event: impl Fn(RtcId, RtcEvent) + 'static) -> Self {
        Self { table: Table::new(on_event) }
    }

    /// Whether connections can be made here. The first time that it is so costs one that is closed at once.
    pub fn is_available() -> bool {
        connection::is_available()
    }

    /// Begins a connection. `Described` brings the offer; [`accept`](Self::accept) takes the answer.
    ///
    /// # Errors
    /// No connection is made then.
    pub fn offer(&mut self, ice: &[IceServer]) -> Result<RtcId, RtcError> {
        self.table.offer(ice)
    }

    /// Takes up the connection that `offer` begins. `Described` brings the answer. An offer that cannot be used ends the
    /// connection as [`RtcEnd::BadDescription`].
    ///
    /// # Errors
    /// No connection is made then.
    pub fn answer(&mut self, ice: &[IceServer], offer: &SessionDescription) -> Result<RtcId, RtcError> {
        self.table.answer(ice, offer)
    }

    /// The answer to our offer has come. Ignored if there is no such connection, it is no offer of ours, or it has been
    /// answered; an answer that cannot be used ends it as [`RtcEnd::BadDescription`].
    pub fn accept(&mut self, id: RtcId, answer: &SessionDescription) {
        self.table.accept(id, answer);
    }

    /// Sends bytes, or queues what is beyond the browser's buffer. Nothing happens if it is not open: `Closed` has come
    /// or is on its way.
    pub fn send(&mut self, id: RtcId, bytes: Bytes) {
        self.table.send(id, bytes);
    }

    /// Bytes that can be sent without waiting here; 0 if it is not open. While this is 0 for an open one, a `Room` is on
    /// its way.
    pub fn room(&self, id: RtcId) -> usize {
        self.table.room(id)
    }

    /// Ends a connection without an event.
    pub fn close(&mut self, id: RtcId) {
        self.table.close(id);
    }

    /// Connections alive, opened or not; at most [`MAX_CONNECTIONS`].
    pub fn open_count(&self) -> usize {
        self.table.alive()
    }

    /// Connections made so far, whatever came of them.
    pub fn made(&self) -> u64 {
        self.table.made()
    }
}

impl Drop for RtcLinks {
    fn drop(&mut self) {
        self.table.close_all();
    }
}
