//! One WebSocket connection as an actor: it reads, writes, pings and cleans up after itself.
//!
//! Reading and writing share one task and one poll, so that a client that does not read is still heard, and neither
//! needs a lock on the socket. Whichever way the actor ends, its drop guard takes the connection out of the hub.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use shared::InfoHash;
use shared::limits::{MAX_RELAY_PAYLOAD, MAX_SIGNAL_BYTES};
use shared::relay::{ChannelId, Frame, HEADER_LEN};
use shared::signal::{CLOSE_SUPERSEDED, Failed, RelayReason, SignalError, ToPeer, ToTracker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::hub::Far;
use crate::outbox::{Ending, Next, Outbox};
use crate::relay::{CreditError, End};
use crate::server::App;
use crate::{ConnectionId, lock};

/// Pings that a client may leave without any sign of life before it is taken for gone.
const MAX_MISSED_PINGS: u32 = 2;

/// Time for the closing handshake, in which the client reads why it is closed.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Bytes read at once from one client: at full speed a read brings half a frame of the largest size.
const READ_BUFFER: usize = 64 * 1024;

/// Bytes gathered before a write: below this, frames that wait together share one system call.
const WRITE_BUFFER: usize = 128 * 1024;

/// How the socket reads and writes, and the longest message: a signal's, or a relay frame's.
pub(crate) fn config() -> WebSocketConfig {
    let longest = MAX_SIGNAL_BYTES.max(HEADER_LEN + MAX_RELAY_PAYLOAD);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(2 * (WRITE_BUFFER + longest))
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

/// Serves one client until it leaves, is told to, or the tracker ends.
pub(crate) async fn serve<S>(socket: WebSocketStream<S>, app: Arc<App>, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (id, outbox) = lock(&app.hub).connect();
    let registration = Registration { app, id };
    let period = registration.app.ping_interval;
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
    };
    tracing::debug!(connection = %id, "connected");
    let goodbye = client.run(shutdown).await;
    let Client { socket, registration, .. } = client;
    drop(registration);
    tracing::debug!(connection = %id, ?goodbye, "disconnected");
    if let Some((code, reason)) = goodbye {
        close(socket, code, reason).await;
    }
}

/// The close code and sentence that the client is owed, if it is still there.
type Goodbye = Option<(CloseCode, &'static str)>;

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
    socket: WebSocketStream<S>,
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
    /// Whether something was written since the last flush.
    unflushed: bool,
}

/// What woke the actor up.
enum Step {
    Received(Message),
    Gone,
    End(CloseCode, &'static str),
}

impl<S> Client<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(&mut self, shutdown: CancellationToken) -> Goodbye {
        let mut shutdown = pin!(shutdown.cancelled());
        loop {
            let step = poll_fn(|context| {
                if shutdown.poll_unpin(context).is_ready() {
                    return Poll::Ready(Step::End(CloseCode::Away, "the tracker is shutting down"));
                }
                self.poll(context)
            });
            match step.await {
                Step::Received(message) => {
                    self.missed_pings = 0;
                    self.handle(message);
                }
                Step::Gone => return None,
                Step::End(code, reason) => return Some((code, reason)),
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.pings.poll_tick(context).is_ready() {
            if self.missed_pings >= MAX_MISSED_PINGS {
                tracing::debug!(connection = %self.registration.id, "silent for too long");
                return Poll::Ready(Step::Gone);
            }
            self.missed_pings += 1;
            // Written at the next chance; a socket that is stuck drops the ping, and the client's silence counts.
            if self.socket.poll_ready_unpin(context).is_ready() {
                if self.socket.start_send_unpin(Message::Ping(Bytes::new())).is_err() {
                    return Poll::Ready(Step::Gone);
                }
                self.unflushed = true;
            }
            // Asks the timer to wake this task again.
            if self.pings.poll_tick(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        if let Poll::Ready(step) = self.poll_write(context) {
            return Poll::Ready(step);
        }
        match self.socket.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Step::Received(message)),
            Poll::Ready(Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. })))) => {
                Poll::Ready(Step::End(CloseCode::Size, "the message is too long"))
            }
            Poll::Ready(Some(Err(Error::Utf8(_)))) => {
                Poll::Ready(Step::End(CloseCode::Invalid, "the message is not UTF-8"))
            }
            Poll::Ready(Some(Err(Error::Protocol(error)))) => {
                tracing::debug!(connection = %self.registration.id, %error, "broke the WebSocket protocol");
                Poll::Ready(Step::End(CloseCode::Protocol, "a frame breaks the WebSocket protocol"))
            }
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Step::Gone),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes what waits, as far as the client takes it, then flushes. Ready only when the connection ends.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            match self.socket.poll_ready_unpin(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Gone),
                Poll::Pending => return self.poll_ending(context),
            }
            let Poll::Ready(next) = self.outbox.poll_next(context) else { break };
            let message = match next {
                Next::Signal(message) => text(&message),
                Next::Frame(frame) => Message::Binary(frame),
                Next::Opened(channel, message) => {
                    self.highest_channel = self.highest_channel.max(channel.0);
                    let end = End { connection: self.registration.id, channel };
                    // Closed again in the meantime, or open.
                    if let Some(far) = lock(&self.registration.app.hub).far_end(end) {
                        self.channels.insert(channel, far);
                    }
                    text(&message)
                }
                Next::Closed(channel, message) => {
                    self.channels.remove(&channel);
                    text(&message)
                }
                Next::End(ending) => return Poll::Ready(end(ending)),
            };
            if self.socket.start_send_unpin(message).is_err() {
                return Poll::Ready(Step::Gone);
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match self.socket.poll_flush_unpin(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Gone),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// While the client takes nothing, an order to end it must still be seen.
    fn poll_ending(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        self.outbox.poll_ending(context).map(end)
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Text(text) => self.handle_text(&text),
            Message::Binary(bytes) => self.handle_binary(bytes),
            // Pongs are signs of life, pings and closes are answered by the library.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str) {
        match ToTracker::from_json(text) {
            Ok(message) => {
                if let ToTracker::RelayClose(close) = &message {
                    self.channels.remove(&close.channel);
                }
                lock(&self.registration.app.hub).handle(
                    self.registration.id,
                    message,
                    Instant::now().into_std(),
                );
            }
            Err(error) => {
                tracing::debug!(connection = %self.registration.id, %error, "malformed message");
                self.outbox.signal(ToPeer::Failed(failure(text, &error)));
            }
        }
    }

    fn handle_binary(&mut self, bytes: Bytes) {
        match Frame::decode(bytes) {
            Ok(Frame::Data { channel, payload }) => {
                let Some(far) = self.channels.get(&channel) else { return self.unknown_channel(channel) };
                match far.outbox.data(far.channel, &payload) {
                    Ok(()) => {
                        let bytes = payload.len() as u64;
                        self.registration.app.relayed_bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    Err(error) => self.break_channel(channel, error),
                }
            }
            Ok(Frame::Credit { channel, bytes }) => {
                let Some(far) = self.channels.get(&channel) else { return self.unknown_channel(channel) };
                match self.outbox.give(channel, bytes) {
                    Ok(()) => far.outbox.credit(far.channel, bytes),
                    Err(error) => self.break_channel(channel, error),
                }
            }
            Err(error) => {
                tracing::debug!(connection = %self.registration.id, %error, "malformed frame");
                self.fail_relay(error.to_string());
            }
        }
    }

    fn break_channel(&mut self, channel: ChannelId, error: CreditError) {
        tracing::debug!(connection = %self.registration.id, channel = channel.0, %error, "closed a relay channel");
        self.channels.remove(&channel);
        let reason = match error {
            CreditError::Exceeded => RelayReason::CreditExceeded,
            CreditError::NotDelivered => RelayReason::Protocol,
        };
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
        self.outbox.signal(ToPeer::Failed(Failed { action: "relay".to_owned(), info_hash: None, reason }));
    }
}

fn text(message: &ToPeer) -> Message {
    Message::Text(Utf8Bytes::from(message.to_json()))
}

fn end(ending: Ending) -> Step {
    match ending {
        Ending::SlowReader => Step::End(CloseCode::Again, "too many messages are waiting to be read"),
        Ending::Superseded => {
            Step::End(CloseCode::from(CLOSE_SUPERSEDED), "the same peer came over another connection")
        }
    }
}

/// The refusal of a message that was not understood, with as much of it as can be made out: other clients need the
/// action and the swarm.
fn failure(text: &str, error: &SignalError) -> Failed {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let word = |field: &str| value.get(field).and_then(serde_json::Value::as_str);
    let known = ["announce", "scrape", "relay-open", "relay-close"];
    Failed {
        action: word("action").filter(|action| known.contains(action)).unwrap_or("announce").to_owned(),
        info_hash: word("info_hash").and_then(|hash| InfoHash::from_byte_string(hash).ok()),
        reason: error.to_string(),
    }
}

/// Tells the client why it is closed, and gives it a moment to read that: closing a socket with unread bytes resets
/// the connection, and the reason would be lost.
async fn close<S>(mut socket: WebSocketStream<S>, code: CloseCode, reason: &'static str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        socket.close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })).await?;
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, Error>(())
    };
    match timeout(CLOSING_TIME, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the client was gone before it was told why"),
        Err(_) => tracing::debug!("the client did not end its connection"),
    }
}
