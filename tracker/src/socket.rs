//! One WebSocket connection as an actor: it reads, writes, pings and cleans up after itself.
//!
//! Reading and writing share one task and one poll, so that a client that does not read is still heard, and neither
//! needs a lock on the socket. Relay payloads are written from where they were read (`carrier`). Whichever way the actor ends, its drop guard takes the connection out of the hub.

mod carrier;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use shared::InfoHash;
use shared::limits::{MAX_RELAY_PAYLOAD, MAX_SIGNAL_BYTES};
use shared::relay::{ChannelId, Frame, HEADER_LEN};
use shared::signal::{
    Announce, Announced, CLOSE_SUPERSEDED, Failed, RelayReason, SignalError, ToPeer, ToTracker,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use carrier::Carrier;

use crate::door::Pass;
use crate::hub::Far;
use crate::meter::{Bucket, Meter, Quota};
use crate::metrics::{Action, Rejection};
use crate::outbox::{DataError, Ending, Next, Outbox};
use crate::relay::{CreditError, End};
use crate::server::{App, Ends};
use crate::{ConnectionId, lock};

/// Pings that a client may leave without any sign of life before it is taken for gone.
const MAX_MISSED_PINGS: u32 = 2;

/// Shortest time between two pings.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(1);

/// Time for the closing handshake, in which the client reads why it is closed.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Bytes read at once from one client: a relay frame of the largest size, about.
const READ_BUFFER: usize = 128 * 1024;

/// Bytes read from one client before the others have their turn. Those that the bytes are for are among them: written
/// soon, the bytes are still in the processor's cache.
const READ_TURN: usize = 256 * 1024;

/// What a message counts as at least, in that sum: to read a short one is work as well.
const MESSAGE_COST: usize = 1024;

/// How the socket reads and writes, and the longest message: a signal's, or a relay frame's.
fn config() -> WebSocketConfig {
    let longest = MAX_SIGNAL_BYTES.max(HEADER_LEN + MAX_RELAY_PAYLOAD);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // The carrier gathers; what tungstenite kept, relay frames would overtake.
        .write_buffer_size(0)
        // Room for any message; full only of pongs that the client, flooding with pings, does not read.
        .max_write_buffer_size(2 * longest)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

/// Serves one client until it leaves, is told to, or the tracker ends. `read` was read behind the handshake.
pub(crate) async fn serve<S>(stream: S, read: Vec<u8>, pass: Pass, app: Arc<App>, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let carrier = Carrier::new(stream);
    let socket = WebSocketStream::from_partially_read(carrier, read, Role::Server, Some(config())).await;
    let (id, outbox) = lock(&app.hub).connect();
    let registration = Registration { app, id };
    let period = registration.app.ping_interval.max(MIN_PING_INTERVAL);
    let now = Instant::now().into_std();
    let mut pings = interval_at(Instant::now() + period, period);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = Client {
        socket,
        registration,
        outbox,
        channels: HashMap::new(),
        highest_channel: 0,
        warned: false,
        pings,
        missed_pings: 0,
        unflushed: false,
        pass,
        meter: Meter::new(now),
        messages: Bucket::new(now),
        pause: None,
        is_ours: false,
        leaving: None,
    };
    tracing::debug!(connection = %id, "connected");
    let goodbye = client.run(ends).await;
    // The place of this address is taken until the socket is closed.
    let Client { socket, registration, pass: _pass, .. } = client;
    drop(registration);
    tracing::debug!(connection = %id, ?goodbye, "disconnected");
    close(socket, goodbye).await;
}

/// The close code and sentence that the client is owed, if it is still there.
type Goodbye = Option<(CloseCode, &'static str)>;

/// Returns from a function that polls when the connection has ended.
macro_rules! ready_or_continue {
    ($poll:expr) => {
        if let Poll::Ready(goodbye) = $poll {
            return Poll::Ready(goodbye);
        }
    };
}

/// Takes the connection out of the hub when dropped.
struct Registration {
    app: Arc<App>,
    id: ConnectionId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.app.hub).disconnect(self.id);
    }
}

/// The state of one connection's actor.
struct Client<S> {
    socket: WebSocketStream<Carrier<S>>,
    registration: Registration,
    outbox: Arc<Outbox>,
    /// Open channels of which the client has been told.
    channels: HashMap<ChannelId, Far>,
    /// The highest number of a channel of which the client has been told. Lower ones that are not open were closed.
    highest_channel: u32,
    /// Whether the client has been told that it uses channels that never were.
    warned: bool,
    pings: Interval,
    missed_pings: u32,
    /// Whether something was gathered since the last flush.
    unflushed: bool,
    /// What its address may send.
    pass: Pass,
    /// What it sent through the relay.
    meter: Meter,
    /// How many text messages it may send.
    messages: Bucket,
    /// Until when nothing is read, because it sent faster than it may.
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether it has announced with our extension.
    is_ours: bool,
    /// When it is closed, after all are told to leave.
    leaving: Option<Leaving>,
}

/// All are told to leave.
enum Leaving {
    /// The client was told, and goes by itself.
    Told,
    /// The client knows no word for it: it is closed at a moment of its own.
    At(Pin<Box<Sleep>>),
}

impl<S> Client<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Runs until the connection ends.
    async fn run(&mut self, ends: Ends) -> Goodbye {
        let mut shutdown = pin!(ends.now.cancelled());
        let mut leave = pin!(ends.leave.cancelled());
        poll_fn(|context| {
            if shutdown.poll_unpin(context).is_ready() {
                return Poll::Ready(Some((CloseCode::Away, "the tracker is shutting down")));
            }
            if self.leaving.is_none() && leave.poll_unpin(context).is_ready() {
                self.leave();
            }
            if let Some(Leaving::At(moment)) = &mut self.leaving
                && moment.poll_unpin(context).is_ready()
            {
                return Poll::Ready(Some((CloseCode::Restart, "the tracker restarts: connect anew")));
            }
            while self.pings.poll_tick(context).is_ready() {
                ready_or_continue!(self.ping(context));
            }
            ready_or_continue!(self.poll_write(context));
            self.poll_read(context)
        })
        .await
    }

    /// The tracker is about to end: tells the client to connect anew within some time, or draws a moment to close it.
    fn leave(&mut self) {
        let within = self.registration.app.reconnect_within;
        self.leaving = Some(if self.is_ours {
            let within = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
            self.outbox.signal(ToPeer::Reconnect { within });
            Leaving::Told
        } else {
            Leaving::At(Box::pin(sleep(within.mul_f64(rand::random()))))
        });
    }

    /// Sends a ping, unless the client has missed too many.
    fn ping(&mut self, context: &mut Context<'_>) -> Poll<Goodbye> {
        if self.pause.is_some() {
            // It may have answered: nobody has looked.
            return Poll::Pending;
        }
        if self.missed_pings >= MAX_MISSED_PINGS {
            self.reject(Rejection::Silent);
            tracing::debug!(connection = %self.registration.id, "silent for too long");
            return Poll::Ready(None);
        }
        self.missed_pings += 1;
        // A socket that takes nothing is not sent the ping; the client's silence counts all the same.
        if self.socket.poll_ready_unpin(context).is_ready() {
            return self.write(Message::Ping(Bytes::new()));
        }
        Poll::Pending
    }

    /// Handles what the client sent, for one turn. Ready only when the connection ends.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Goodbye> {
        let mut read = 0;
        let now = Instant::now();
        while read < READ_TURN {
            if let Some(pause) = &mut self.pause {
                ready!(pause.poll_unpin(context));
                self.pause = None;
            }
            match ready!(self.socket.poll_next_unpin(context)) {
                Some(Ok(message)) => {
                    self.missed_pings = 0;
                    read += message.len().max(MESSAGE_COST);
                    let goodbye = self.handle(message, now);
                    if goodbye.is_some() {
                        return Poll::Ready(goodbye);
                    }
                }
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    self.reject(Rejection::MessageSize);
                    return Poll::Ready(Some((CloseCode::Size, "the message is too long")));
                }
                Some(Err(Error::Utf8(_))) => {
                    return Poll::Ready(Some((CloseCode::Invalid, "the message is not UTF-8")));
                }
                // The commonest end of all: a tab that is closed says nothing.
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return Poll::Ready(None);
                }
                Some(Err(Error::Protocol(error))) => {
                    tracing::debug!(connection = %self.registration.id, %error, "broke the WebSocket protocol");
                    return Poll::Ready(Some((CloseCode::Protocol, "a frame breaks the WebSocket protocol")));
                }
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits, as far as the client takes it. Ready only when the connection ends.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Goodbye> {
        loop {
            match self.socket.poll_ready_unpin(context) {
                Poll::Ready(Ok(())) if self.socket.get_ref().has_room() => {}
                Poll::Ready(Ok(())) => match self.socket.poll_flush_unpin(context) {
                    Poll::Ready(Ok(())) => self.unflushed = false,
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => return self.poll_ending(context),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => return self.poll_ending(context),
            }
            let Poll::Ready(next) = self.outbox.poll_next(context) else { break };
            match next {
                Next::Signal(message) => {
                    if let ToPeer::Announced(Announced { enxame: Some(enxame), .. }) = &message {
                        enxame.peers.iter().filter_map(|peer| peer.channel).for_each(|id| self.told_of(id));
                    }
                    ready_or_continue!(self.write_text(&message));
                }
                Next::Frame(frame) => ready_or_continue!(self.write(Message::Binary(frame))),
                Next::Data(channel, payload) => {
                    self.socket.get_mut().relay(channel, payload);
                    self.unflushed = true;
                }
                Next::Opened(channel, message) => {
                    self.told_of(channel);
                    ready_or_continue!(self.write_text(&message));
                }
                Next::Closed(channel, message) => {
                    self.channels.remove(&channel);
                    ready_or_continue!(self.write_text(&message));
                }
                Next::End(ending) => return Poll::Ready(self.end(ending)),
            }
        }
        if self.unflushed {
            match self.socket.poll_flush_unpin(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// The client hears that a channel is open, and may use it.
    fn told_of(&mut self, channel: ChannelId) {
        self.highest_channel = self.highest_channel.max(channel.0);
        let end = End { connection: self.registration.id, channel };
        // It may be closed again already.
        if let Some(far) = lock(&self.registration.app.hub).far_end(end) {
            self.channels.insert(channel, far);
        }
    }

    /// Gathers one message of the tracker's, and counts it.
    fn write_text(&mut self, message: &ToPeer) -> Poll<Goodbye> {
        self.registration.app.metrics.messages_out.add(1);
        self.write(Message::Text(Utf8Bytes::from(message.to_json())))
    }

    /// Gathers one message. The socket must be ready for it.
    fn write(&mut self, message: Message) -> Poll<Goodbye> {
        self.unflushed = true;
        match self.socket.start_send_unpin(message) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    }

    /// While the client takes nothing, an order to end it must still be seen.
    fn poll_ending(&self, context: &mut Context<'_>) -> Poll<Goodbye> {
        self.outbox.poll_ending(context).map(|ending| self.end(ending))
    }

    fn end(&self, ending: Ending) -> Goodbye {
        if ending == Ending::SlowReader {
            self.reject(Rejection::SlowReader);
        }
        goodbye(ending)
    }

    fn reject(&self, reason: Rejection) {
        self.registration.app.metrics.reject(reason);
    }

    /// Handles one message, and tells whether the client is to go for it.
    fn handle(&mut self, message: Message, now: Instant) -> Goodbye {
        match message {
            Message::Text(text) => return self.handle_text(&text, now),
            Message::Binary(bytes) => self.handle_binary(bytes, now),
            // Pongs are signs of life, pings and closes are answered by the library.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        None
    }

    fn handle_text(&mut self, text: &str, now: Instant) -> Goodbye {
        let app = Arc::clone(&self.registration.app);
        app.metrics.messages_in.add(1);
        let (rate, burst) = (app.limits.messages_per_second.into(), app.limits.message_burst.into());
        if !self.messages.take(now.into_std(), 1, rate, burst).is_zero() {
            self.reject(Rejection::MessageRate);
            return Some((CloseCode::Policy, "too many messages in a second"));
        }
        if text.len() > app.limits.message_bytes {
            self.reject(Rejection::MessageSize);
            return Some((CloseCode::Size, "the message is too long"));
        }
        match ToTracker::from_json(text) {
            Ok(message) => self.handle_message(message, now),
            Err(error) => {
                self.reject(Rejection::Malformed);
                tracing::debug!(connection = %self.registration.id, %error, "malformed message");
                self.outbox.signal(ToPeer::Failed(failure(text, &error)));
            }
        }
        None
    }

    fn handle_message(&mut self, mut message: ToTracker, now: Instant) {
        match &mut message {
            ToTracker::RelayClose(close) => _ = self.channels.remove(&close.channel),
            ToTracker::Announce(Announce { enxame: Some(hello), .. }) => {
                self.is_ours = true;
                if hello.open > 0 && self.may_not_relay(now) {
                    hello.open = 0;
                }
            }
            ToTracker::RelayOpen(open) if self.may_not_relay(now) => {
                self.reject(Rejection::RelayDay);
                return self.outbox.signal(ToPeer::RelayRefused {
                    info_hash: open.info_hash,
                    to_peer_id: open.to_peer_id,
                    reason: RelayReason::Quota,
                });
            }
            _ => {}
        }
        let app = &self.registration.app;
        let (action, began) = (Action::from(&message), Instant::now());
        lock(&app.hub).handle(self.registration.id, message, began.into_std());
        app.metrics.handling[action as usize].observe(began.elapsed());
    }

    fn quota(&self) -> Quota {
        let limits = &self.registration.app.limits;
        Quota { rate: limits.relay_rate, day: limits.relay_per_day }
    }

    /// Whether the day's bytes of the connection or of its address are used up.
    fn may_not_relay(&mut self, now: Instant) -> bool {
        let now = now.into_std();
        self.meter.left_of_day(now, self.quota()) == 0 || self.pass.is_used_up(now)
    }

    fn handle_binary(&mut self, bytes: Bytes, now: Instant) {
        match Frame::decode(bytes) {
            Ok(Frame::Data { channel, payload }) => self.handle_data(channel, payload, now),
            Ok(Frame::Credit { channel, bytes }) => {
                let Some(far) = self.channels.get(&channel) else { return self.unknown_channel(channel) };
                match self.outbox.give(channel, bytes) {
                    Ok(()) => far.outbox.credit(far.channel, bytes),
                    Err(error) => self.break_credit(channel, error),
                }
            }
            Err(error) => {
                self.reject(Rejection::RelayProtocol);
                tracing::debug!(connection = %self.registration.id, %error, "malformed frame");
                self.fail_relay(error.to_string());
            }
        }
    }

    fn handle_data(&mut self, channel: ChannelId, payload: Bytes, now: Instant) {
        let quota = self.quota();
        let Some(far) = self.channels.get(&channel) else { return self.unknown_channel(channel) };
        let bytes = payload.len() as u64;
        let wait = self.meter.charge(now.into_std(), bytes, quota).and_then(|own| {
            let shared = self.pass.charge(now.into_std(), bytes)?;
            Ok(own.max(shared))
        });
        let Ok(wait) = wait else {
            self.reject(Rejection::RelayDay);
            return self.break_channel(channel, RelayReason::Quota);
        };
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep(wait)));
        }
        match far.outbox.data(far.channel, payload) {
            Ok(()) => {
                let app = &self.registration.app;
                app.metrics.relayed_bytes.add(bytes);
                app.metrics.relayed_frames.add(1);
                if app.queues.is_over() {
                    lock(&app.hub).relieve();
                }
            }
            Err(DataError::Credit(error)) => self.break_credit(channel, error),
            Err(DataError::Full) => {
                self.reject(Rejection::QueuePerConnection);
                self.break_channel(channel, RelayReason::QueueFull);
            }
        }
    }

    fn break_credit(&mut self, channel: ChannelId, error: CreditError) {
        self.reject(Rejection::RelayProtocol);
        self.break_channel(
            channel,
            match error {
                CreditError::Exceeded => RelayReason::CreditExceeded,
                CreditError::NotDelivered => RelayReason::Protocol,
            },
        );
    }

    fn break_channel(&mut self, channel: ChannelId, reason: RelayReason) {
        tracing::debug!(connection = %self.registration.id, channel = channel.0, ?reason, "closed a relay channel");
        self.channels.remove(&channel);
        let end = End { connection: self.registration.id, channel };
        lock(&self.registration.app.hub).break_relay(end, reason);
    }

    /// A frame for a channel that is not open: a race if it was, an error of the client if it never was.
    fn unknown_channel(&mut self, channel: ChannelId) {
        let was_open = (1..=self.highest_channel).contains(&channel.0);
        if !was_open && !self.warned {
            self.warned = true;
            self.fail_relay(format!("there is no relay channel {}", channel.0));
        }
    }

    fn fail_relay(&self, reason: String) {
        let failed = Failed { action: "relay".to_owned(), info_hash: Some(NO_SWARM), reason };
        self.outbox.signal(ToPeer::Failed(failed));
    }
}

fn goodbye(ending: Ending) -> Goodbye {
    Some(match ending {
        Ending::SlowReader => (CloseCode::Again, "too many messages are waiting to be read"),
        Ending::Crowded => {
            (CloseCode::Again, "the tracker is full, and most of it waits for this connection")
        }
        Ending::Superseded => {
            (CloseCode::from(CLOSE_SUPERSEDED), "the same peer came over another connection")
        }
    })
}

/// The swarm of failures that belong to none, or to nobody knows which. Other clients need the field: without it
/// bittorrent-tracker's throws where nobody catches, and libtorrent closes the connection. One that is not theirs they ignore.
const NO_SWARM: InfoHash = InfoHash::new([0; 20]);

/// The refusal of a message that was not understood, with as much of it as can be made out.
fn failure(text: &str, error: &SignalError) -> Failed {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let action = value.get("action").and_then(serde_json::Value::as_str);
    let known = ["announce", "scrape", "relay-open", "relay-close"];
    let read = |hash: &serde_json::Value| InfoHash::from_byte_string(hash.as_str()?).ok();
    let info_hash = value.get("info_hash").and_then(|hash| match hash {
        serde_json::Value::Array(hashes) => hashes.iter().find_map(read),
        hash => read(hash),
    });
    Failed {
        action: action.filter(|action| known.contains(action)).unwrap_or("announce").to_owned(),
        info_hash: Some(info_hash.unwrap_or(NO_SWARM)),
        reason: error.to_string(),
    }
}

/// Sends what is gathered, tells the client why it is closed if that is owed, and gives it a moment to read: closing a
/// socket with unread bytes resets the connection, and the reason would be lost.
async fn close<S>(mut socket: WebSocketStream<Carrier<S>>, goodbye: Goodbye)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ending = async {
        let told = goodbye.is_some();
        if let Some((code, reason)) = goodbye {
            socket.close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })).await?;
        }
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while told && stream.read(&mut unread).await? > 0 {}
        Ok::<_, Error>(())
    };
    match timeout(CLOSING_TIME, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the client was gone already"),
        Err(_) => tracing::debug!("the client did not end its connection"),
    }
}
