//! One WebSocket connection as an actor: it reads, writes, pings and cleans up after itself.
//!
//! Reading and writing share one task and one poll, so that a client that does not read is still heard, and neither
//! needs a lock on the socket. Messages come out of the `reader` and go into the `carrier`; relay payloads are written from
//! where they were read, and between messages a connection holds no buffer of its own. Whichever way the actor ends, its drop
//! guard takes the connection out of the hub.

mod buffers;
mod carrier;
mod reader;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use shared::InfoHash;
use shared::limits::{MAX_RELAY_PAYLOAD, MAX_SIGNAL_BYTES};
use shared::relay::{ChannelId, Frame, HEADER_LEN};
use shared::signal::{Announced, CLOSE_SUPERSEDED, Failed, RelayReason};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use buffers::{Inbox, make_room, replace_grown};
use carrier::{Carrier, Opcode};
use reader::{Fault, Incoming, Reader};

use crate::door::Pass;
use crate::hub::{Connection, Far};
use crate::meter::{Bucket, Meter, Quota};
use crate::metrics::{Action, Rejection};
use crate::outbox::{DataError, Ending, Next, Outbox};
use crate::relay::CreditError;
use crate::server::{App, Ends};
use crate::signal::{Announce, ToPeer, ToTracker};

/// Pings that a client may leave without any sign of life, or without finishing a message that it began, before it is
/// taken for gone.
const MAX_MISSED_PINGS: u32 = 2;

/// Shortest time between two pings.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(1);

/// Time for the closing handshake, in which the client reads why it is closed.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// When so many bytes of one client were handled, no more are read before the others have their turn. Those that the bytes
/// are for are among them: written soon, the bytes are still in the processor's cache.
const READ_TURN: usize = 64 * 1024;

/// When so many were handled, the others have their turn even if more have been read.
const LONGEST_TURN: usize = 256 * 1024;

/// What a frame counts as at least, in these sums: to handle a short one is work as well.
const FRAME_COST: usize = 1024;

/// The longest message of a client, in bytes: a signal, or a relay frame.
const MAX_MESSAGE: usize = if MAX_SIGNAL_BYTES > HEADER_LEN + MAX_RELAY_PAYLOAD {
    MAX_SIGNAL_BYTES
} else {
    HEADER_LEN + MAX_RELAY_PAYLOAD
};

/// Serves one client until it leaves, is told to, or the tracker ends. `read` was read behind the handshake.
pub(crate) async fn serve<S>(stream: S, read: Bytes, pass: Pass, app: Arc<App>, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = app.hub.connect();
    let (id, outbox) = (connection.id, Arc::clone(&connection.outbox));
    let registration = Registration { app, connection };
    let period = registration.app.ping_interval.max(MIN_PING_INTERVAL);
    let now = Instant::now().into_std();
    let mut pings = interval_at(Instant::now() + period, period);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = Client {
        carrier: Carrier::new(stream),
        reader: Reader::new(MAX_MESSAGE),
        inbox: Inbox::new(read),
        registration,
        outbox,
        is_stalled: false,
        channels: HashMap::new(),
        highest_channel: 0,
        warned: false,
        pings,
        missed_pings: 0,
        unfinished_pings: 0,
        pong: None,
        pass,
        meter: Meter::new(now),
        messages: Bucket::new(now),
        pause: None,
        is_ours: false,
        leaving: None,
    };
    tracing::debug!(connection = %id, "connected");
    let goodbye = client.run(&ends).await;
    // The place of this address is taken until the socket is closed.
    let Client { carrier, registration, pass: _pass, .. } = client;
    drop(registration);
    tracing::debug!(connection = %id, ?goodbye, "disconnected");
    close(carrier, goodbye).await;
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
    connection: Connection,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.app.hub.disconnect(self.connection.id);
    }
}

/// The state of one connection's actor.
struct Client<S> {
    carrier: Carrier<S>,
    reader: Reader,
    inbox: Inbox,
    registration: Registration,
    outbox: Arc<Outbox>,
    /// Whether the client did not take what was to be written, and has not since.
    is_stalled: bool,
    /// Open channels of which the client has been told.
    channels: HashMap<ChannelId, Far>,
    /// The highest number of a channel of which the client has been told. Lower ones that are not open were closed.
    highest_channel: u32,
    /// Whether the client has been told that it uses channels that never were.
    warned: bool,
    pings: Interval,
    missed_pings: u32,
    /// Pings since the fragments came of which the client has not sent the last.
    unfinished_pings: u32,
    /// What the client's last ping is to be answered with: who floods with pings gets the newest answer (RFC 6455, section 5.5.3).
    pong: Option<Bytes>,
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
    async fn run(&mut self, ends: &Ends) -> Goodbye {
        let mut shutdown = pin!(ends.now.cancelled());
        let mut leave = pin!(ends.leave.cancelled());
        let mut waits = false;
        poll_fn(|context| {
            // All connections share these two, and their locks. To have asked once is enough to be woken.
            if !waits || ends.is_told() {
                waits = true;
                if shutdown.poll_unpin(context).is_ready() {
                    return Poll::Ready(Some((CloseCode::Away, "the tracker is shutting down")));
                }
                if self.leaving.is_none() && leave.poll_unpin(context).is_ready() {
                    self.leave();
                }
            }
            if let Some(Leaving::At(moment)) = &mut self.leaving
                && moment.poll_unpin(context).is_ready()
            {
                return Poll::Ready(Some((CloseCode::Restart, "the tracker restarts: connect anew")));
            }
            while self.pings.poll_tick(context).is_ready() {
                ready_or_continue!(self.ping());
            }
            // What reading puts into its own outbox is written right behind it: nobody need wake this task for that.
            self.outbox.unwatch();
            ready_or_continue!(self.poll_read(context));
            self.poll_write(context)
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
    fn ping(&mut self) -> Poll<Goodbye> {
        if self.pause.is_some() {
            // It may have answered: nobody has looked.
            return Poll::Pending;
        }
        // Between fragments signs of life may come. A frame that is not finished ends as silence: nothing comes inside it.
        let is_unfinished = self.reader.is_amid_message();
        if self.missed_pings >= MAX_MISSED_PINGS
            || (is_unfinished && self.unfinished_pings >= MAX_MISSED_PINGS)
        {
            self.reject(Rejection::Silent);
            tracing::debug!(connection = %self.registration.connection.id, "silent for too long");
            return Poll::Ready(None);
        }
        self.missed_pings += 1;
        self.unfinished_pings = if is_unfinished { self.unfinished_pings + 1 } else { 0 };
        // A socket that takes nothing is not sent the ping; the client's silence counts all the same.
        if self.carrier.has_room() {
            self.carrier.frame(Opcode::Ping, &[]);
        }
        Poll::Pending
    }

    /// Handles what the client sent, for one turn. Ready only when the connection ends.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Goodbye> {
        let mut buffer = self.inbox.take();
        let polled = self.poll_turn(context, &mut buffer);
        self.inbox.put_back(buffer);
        polled
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Goodbye> {
        let mut read = 0;
        let now = Instant::now();
        while read < LONGEST_TURN {
            if let Some(pause) = &mut self.pause {
                ready!(pause.poll_unpin(context));
                self.pause = None;
            }
            match self.reader.next(buffer) {
                Ok(Some(message)) => {
                    replace_grown(buffer, message.len());
                    read += message.len().max(FRAME_COST);
                    ready_or_continue!(self.handle(message, now));
                }
                Ok(None) if read >= READ_TURN => break,
                Ok(None) => {
                    let most = make_room(buffer);
                    // The commonest end of all: a tab that is closed says nothing.
                    if !matches!(ready!(self.carrier.poll_read(context, buffer, most)), Ok(1..)) {
                        return Poll::Ready(None);
                    }
                }
                Err(fault) => return Poll::Ready(self.fail(fault)),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The client sent what ends its connection.
    fn fail(&self, fault: Fault) -> Goodbye {
        tracing::debug!(connection = %self.registration.connection.id, %fault, "broke the WebSocket protocol");
        Some(match fault {
            Fault::TooLong => {
                self.reject(Rejection::MessageSize);
                (CloseCode::Size, "the message is too long")
            }
            Fault::TooManyFragments => (CloseCode::Policy, "a message has too many fragments"),
            Fault::NotUtf8 => (CloseCode::Invalid, "the message is not UTF-8"),
            Fault::Protocol(_) => (CloseCode::Protocol, "a frame breaks the WebSocket protocol"),
        })
    }

    /// Writes what waits, as far as the client takes it. Ready only when the connection ends.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Goodbye> {
        loop {
            if !self.carrier.has_room() {
                match self.poll_flush(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => return self.poll_ending(context),
                }
            }
            if let Some(pong) = self.pong.take() {
                self.carrier.frame(Opcode::Pong, &pong);
            }
            let Poll::Ready(next) = self.outbox.poll_next(context) else { break };
            match next {
                Next::Signal(message) => {
                    if let ToPeer::Announced(Announced { enxame: Some(enxame), .. }) = &message {
                        enxame.peers.iter().filter_map(|peer| peer.channel).for_each(|id| self.told_of(id));
                    }
                    self.write_text(&message);
                }
                Next::Frame(frame) => self.carrier.frame(Opcode::Binary, &frame),
                Next::Data(channel, payload) => self.carrier.relay(channel, payload),
                Next::Opened(channel, message) => {
                    self.told_of(channel);
                    self.write_text(&message);
                }
                Next::Closed(channel, message) => {
                    self.channels.remove(&channel);
                    self.write_text(&message);
                }
                Next::End(ending) => return Poll::Ready(self.end(ending)),
            }
        }
        if self.carrier.is_unflushed()
            && let Poll::Ready(Err(_)) = self.poll_flush(context)
        {
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// Writes what is gathered. While the client does not take it, nothing is held that keeps more than itself.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.carrier.poll_flush(context);
        let is_stalled = flushed.is_pending();
        if is_stalled != self.is_stalled {
            self.is_stalled = is_stalled;
            self.outbox.stall(is_stalled);
            if is_stalled {
                self.carrier.let_go();
            }
        }
        flushed
    }

    /// The client hears that a channel is open, and may use it.
    fn told_of(&mut self, channel: ChannelId) {
        self.highest_channel = self.highest_channel.max(channel.0);
        let Registration { app, connection } = &self.registration;
        // It may be closed again already.
        if let Some(far) = app.hub.far_end(connection, channel) {
            self.channels.insert(channel, far);
        }
    }

    /// Gathers one message of the tracker's, and counts it.
    fn write_text(&mut self, message: &ToPeer) {
        self.registration.app.metrics.messages_out.add(1);
        self.carrier.text(|text| message.write_json(text));
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

    /// Handles one message. Ready if the client is to go for it, or goes by itself.
    fn handle(&mut self, message: Incoming, now: Instant) -> Poll<Goodbye> {
        match message {
            // A message that never ends is no sign of life.
            Incoming::Fragment(_) => return Poll::Pending,
            Incoming::Text(_) | Incoming::Binary(_) => self.unfinished_pings = 0,
            _ => {}
        }
        self.missed_pings = 0;
        match message {
            Incoming::Text(text) => {
                let goodbye = self.handle_text(&text, now);
                return if goodbye.is_some() { Poll::Ready(goodbye) } else { Poll::Pending };
            }
            Incoming::Binary(bytes) => self.handle_binary(bytes, now),
            // Copied: it may have to wait, and would keep all that was read with it.
            Incoming::Ping(bytes) => self.pong = Some(Bytes::copy_from_slice(&bytes)),
            Incoming::Pong | Incoming::Fragment(_) => {}
            Incoming::Close(reply) => {
                self.carrier.frame(Opcode::Close, &reply);
                return Poll::Ready(None);
            }
        }
        Poll::Pending
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
        match ToTracker::read(text) {
            Ok(message) if self.pass.is_for_visits && !is_about_visits(&message) => {
                self.reject(Rejection::Token);
                self.outbox.signal(ToPeer::Failed(failure(text, ONLY_VISITS.to_owned())));
            }
            Ok(message) => self.handle_message(message, now),
            Err(error) => {
                self.reject(Rejection::Malformed);
                tracing::debug!(connection = %self.registration.connection.id, %error, "malformed message");
                self.outbox.signal(ToPeer::Failed(failure(text, error.to_string())));
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
            ToTracker::RelayVisit(visit) => {
                // It knows all of our words, though it announces elsewhere.
                self.is_ours = true;
                if self.may_not_relay(now) {
                    self.reject(Rejection::RelayDay);
                    return self.outbox.signal(ToPeer::RelayRefused {
                        info_hash: visit.info_hash,
                        to_peer_id: visit.to_peer_id,
                        reason: RelayReason::Quota,
                    });
                }
            }
            _ => {}
        }
        let app = &self.registration.app;
        let (action, began) = (Action::from(&message), Instant::now());
        app.hub.handle(&self.registration.connection, message, began.into_std());
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
                match self.outbox.give(channel, bytes).map(|()| far.credit(bytes)) {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => self.break_full(channel),
                    Err(error) => self.break_credit(channel, error),
                }
            }
            Err(error) => {
                self.reject(Rejection::RelayProtocol);
                tracing::debug!(connection = %self.registration.connection.id, %error, "malformed frame");
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
        match far.data(payload) {
            Ok(queued) => {
                let wait = wait.max(queued);
                if !wait.is_zero() {
                    self.pause = Some(Box::pin(sleep(wait)));
                }
                let app = &self.registration.app;
                app.metrics.relayed_bytes.add(bytes);
                app.metrics.relayed_frames.add(1);
                app.hub.relieve();
            }
            Err(DataError::Credit(error)) => self.break_credit(channel, error),
            Err(DataError::Full) => self.break_full(channel),
        }
    }

    fn break_full(&mut self, channel: ChannelId) {
        self.reject(Rejection::QueuePerConnection);
        self.break_channel(channel, RelayReason::QueueFull);
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
        tracing::debug!(connection = %self.registration.connection.id, channel = channel.0, ?reason, "closed a relay channel");
        self.channels.remove(&channel);
        let Registration { app, connection } = &self.registration;
        app.hub.break_relay(connection, channel, reason);
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

/// What is said to who was let in with a ticket and wants more.
const ONLY_VISITS: &str =
    "a ticket is for a relay channel alone: all else takes a token of this private tracker";

/// Whether a message is one of those that a ticket is for.
fn is_about_visits(message: &ToTracker) -> bool {
    matches!(message, ToTracker::RelayVisit(_) | ToTracker::RelayClose(_))
}

/// The refusal of a message that was not understood, or may not be said, with as much of it as can be made out.
fn failure(text: &str, reason: String) -> Failed {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let action = value.get("action").and_then(serde_json::Value::as_str);
    let known = ["announce", "scrape", "relay-open", "relay-visit", "relay-close"];
    let read = |hash: &serde_json::Value| InfoHash::from_byte_string(hash.as_str()?).ok();
    let info_hash = value.get("info_hash").and_then(|hash| match hash {
        serde_json::Value::Array(hashes) => hashes.iter().find_map(read),
        hash => read(hash),
    });
    Failed {
        action: action.filter(|action| known.contains(action)).unwrap_or("announce").to_owned(),
        info_hash: Some(info_hash.unwrap_or(NO_SWARM)),
        reason,
    }
}

/// Sends what is gathered, tells the client why it is closed if that is owed, and gives it a moment to read: closing a
/// socket with unread bytes resets the connection, and the reason would be lost.
async fn close<S>(mut carrier: Carrier<S>, goodbye: Goodbye)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some((code, reason)) = goodbye {
        let payload = [&u16::from(code).to_be_bytes()[..], reason.as_bytes()].concat();
        carrier.frame(Opcode::Close, &payload);
    }
    let ending = async {
        poll_fn(|context| carrier.poll_shutdown(context)).await?;
        let mut unread = BytesMut::with_capacity(4096);
        while goodbye.is_some() && poll_fn(|context| carrier.poll_read(context, &mut unread, 4096)).await? > 0
        {
            unread.clear();
        }
        Ok::<_, io::Error>(())
    };
    match timeout(CLOSING_TIME, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the client was gone already"),
        Err(_) => tracing::debug!("the client did not end its connection"),
    }
}

#[cfg(test)]
mod tests;
