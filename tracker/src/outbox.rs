//! What waits to be sent to one connection.
//!
//! An [`Outbox`] is filled by other connections and by the hub, and emptied by the connection's own actor. Signals go
//! first, then credits, then the relay channels in turn, a frame each, so that none starves another. Everything in it
//! is bounded: signals by [`MAX_SIGNAL_BACKLOG`] (a client that lets more pile up is disconnected; offers and answers of
//! others are dropped before, so that nobody can be flooded out), credits by one sum
//! a channel, relayed bytes by the credit of each channel.
//!
//! What was accepted on a channel before the other side closed it is still delivered, and the notice of the closing
//! comes behind it: a peer that leaves right after its last block has not sent it in vain. So that opening, filling
//! and closing channels cannot pile up bytes, all closed channels together keep at most one window; so that they cannot
//! pile up notices either, a channel that was closed before its client read of its opening leaves no trace, unless it was
//! the client who asked for it: then the answer is one of its signals.

mod payload;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use shared::InfoHash;
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame};
use shared::signal::RelayReason;

use crate::limits::Limits;
use crate::lock;
use crate::relay::{Credit, CreditError};
use crate::signal::ToPeer;
use crate::sum::Sum;
pub(crate) use payload::Payload;
use payload::{MAX_LENT, MERGE_LEN};

/// Most bytes of signals that wait for one connection: what 15 announces with the most offers of usual size (3 KiB)
/// bring, or 3 with the longest offers that any client sends. Who is further behind does not read.
pub(crate) const MAX_SIGNAL_BACKLOG: usize = 1024 * 1024;

/// Most bytes of signals behind which an offer or an answer of somebody else is still queued. The other half is for
/// replies to the client itself.
const MAX_FORWARD_BACKLOG: usize = MAX_SIGNAL_BACKLOG / 2;

/// What a signal is counted as beside its session description, in bytes; also bounds their number.
const SIGNAL_OVERHEAD: usize = 512;

/// A thread looks whether too much waits for all when it has changed that by this part of what may wait.
const LOOKS: usize = 256;

/// What waits for all connections together.
#[derive(Debug)]
pub(crate) struct Queues {
    held: Sum,
    bound: usize,
    per_connection: usize,
}

impl Queues {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            held: Sum::default(),
            bound: bytes(limits.queue),
            per_connection: bytes(limits.queue_per_connection),
        }
    }

    /// Bytes that wait.
    pub(crate) fn held(&self) -> usize {
        self.held.value()
    }

    /// Whether somebody must go, for all that is known: asked after each frame, it looks at the sum only when this thread has
    /// moved a good part of the bound since it last did.
    pub(crate) fn may_be_over(&self) -> bool {
        self.held.has_moved(self.bound / LOOKS) && self.is_over(self.held())
    }

    /// Whether so many bytes are too many.
    pub(crate) fn is_over(&self, held: usize) -> bool {
        held > self.bound
    }
}

/// Why bytes were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DataError {
    /// The sender broke the rules of the credits.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// Too much waits for the receiver.
    #[error("too much waits for the receiver")]
    Full,
}

/// What to do next for a connection.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum Next {
    /// Send this.
    Signal(ToPeer),
    /// Note that the connection has this channel, and send the message.
    Opened(ChannelId, ToPeer),
    /// Forget the channel, and send the message.
    Closed(ChannelId, ToPeer),
    /// Send this relay frame.
    Frame(Bytes),
    /// Send these bytes on this channel.
    Data(ChannelId, Payload),
    /// End the connection.
    End(Ending),
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Too much is waiting for it.
    SlowReader,
    /// Its peer id went over to another connection of the same peer.
    Superseded,
    /// More waits for all connections than may, and most of it for this one.
    Crowded,
}

/// What waits to be sent to one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
    queues: Arc<Queues>,
    /// Bytes that wait, for those who look at all connections and should not have to wait for each.
    held: AtomicUsize,
    /// Whether the client takes nothing at the moment. Changed while `waiting` is locked.
    is_stalled: AtomicBool,
    /// Whether the connection is gone, or told to go.
    is_over: AtomicBool,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new(Arc::new(Queues::new(&Limits::default())))
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Invariant: `ring` holds each channel that has something to send, once.
#[derive(Debug, Default)]
struct Waiting {
    ending: Option<Ending>,
    /// Each with the bytes that it counts for.
    signals: VecDeque<(usize, ToPeer)>,
    signal_bytes: usize,
    credits: BTreeMap<ChannelId, u32>,
    lanes: HashMap<ChannelId, Lane>,
    ring: VecDeque<ChannelId>,
    /// Bytes held for channels that are closed.
    orphaned: usize,
    /// Bytes held for all channels.
    relayed: usize,
}

/// The direction of one relay channel that leads to this connection.
#[derive(Debug)]
struct Lane {
    info_hash: InfoHash,
    opening: Option<ToPeer>,
    /// Whether this client asked for the channel: it is owed an answer, which counts as a signal while it waits.
    asked: bool,
    credit: Credit,
    payloads: VecDeque<Payload>,
    closing: Option<RelayReason>,
    in_ring: bool,
}

impl Lane {
    /// With nothing to send.
    fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            opening: None,
            asked: false,
            credit: Credit::default(),
            payloads: VecDeque::new(),
            closing: None,
            in_ring: false,
        }
    }

    /// What the notice of the opening counts for among the signals, in bytes.
    fn opening_cost(&self) -> usize {
        if self.opening.is_some() && self.asked { SIGNAL_OVERHEAD } else { 0 }
    }
}

impl Outbox {
    /// An empty one, whose bytes are counted there as well.
    pub(crate) fn new(queues: Arc<Queues>) -> Self {
        Self {
            waiting: Mutex::default(),
            waker: AtomicWaker::new(),
            queues,
            held: AtomicUsize::new(0),
            is_stalled: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Tells the sum of all connections what changed here.
    fn settle(&self, waiting: &Waiting) {
        let now = waiting.bytes();
        let before = self.held.swap(now, Ordering::Relaxed);
        self.queues.held.change(before, now);
    }

    /// Queues a message.
    pub(crate) fn signal(&self, message: ToPeer) {
        let bytes = cost(&message);
        let mut waiting = lock(&self.waiting);
        if waiting.signal_bytes + bytes > MAX_SIGNAL_BACKLOG {
            self.end_with(&mut waiting, Ending::SlowReader);
        } else {
            waiting.push_signal(bytes, message);
        }
        self.settle(&waiting);
        drop(waiting);
        self.waker.wake();
    }

    /// Queues what another client sends to this one, and tells whether there was room.
    pub(crate) fn forward(&self, message: ToPeer) -> bool {
        let bytes = cost(&message);
        let mut waiting = lock(&self.waiting);
        if waiting.signal_bytes + bytes > MAX_FORWARD_BACKLOG {
            return false;
        }
        waiting.push_signal(bytes, message);
        self.settle(&waiting);
        drop(waiting);
        self.waker.wake();
        true
    }

    /// The swarm of a channel that is open, or whose end the client has not read.
    pub(crate) fn swarm_of(&self, channel: ChannelId) -> Option<InfoHash> {
        lock(&self.waiting).lanes.get(&channel).map(|lane| lane.info_hash)
    }

    /// Whether the connection is gone, or told to go: it has no say any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// The connection is gone: nothing is kept for it.
    pub(crate) fn discard(&self) {
        self.is_over.store(true, Ordering::Release);
        let mut waiting = lock(&self.waiting);
        waiting.clear();
        self.settle(&waiting);
    }

    /// Ends the connection, before anything that waits.
    pub(crate) fn end(&self, ending: Ending) {
        let mut waiting = lock(&self.waiting);
        self.end_with(&mut waiting, ending);
        self.settle(&waiting);
        drop(waiting);
        self.waker.wake();
    }

    /// Nothing else is said from here on, nothing kept, and the connection has no say any more.
    fn end_with(&self, waiting: &mut Waiting, ending: Ending) {
        self.is_over.store(true, Ordering::Release);
        waiting.ending.get_or_insert(ending);
        waiting.clear();
    }

    /// A channel is open: queues the message that tells so, ahead of what other channels hold.
    pub(crate) fn open(&self, channel: ChannelId, info_hash: InfoHash, message: ToPeer) {
        let asked = matches!(&message, ToPeer::RelayOpened(opened) if opened.initiator);
        let lane = Lane { opening: Some(message), asked, in_ring: true, ..Lane::new(info_hash) };
        let cost = lane.opening_cost();
        let mut waiting = lock(&self.waiting);
        if waiting.signal_bytes + cost > MAX_SIGNAL_BACKLOG {
            self.end_with(&mut waiting, Ending::SlowReader);
        } else {
            waiting.signal_bytes += cost;
            waiting.lanes.insert(channel, lane);
            waiting.ring.push_front(channel);
        }
        self.settle(&waiting);
        drop(waiting);
        self.waker.wake();
    }

    /// A channel is open, and the signal that tells so is queued next: signals go out before what channels hold.
    pub(crate) fn open_untold(&self, channel: ChannelId, info_hash: InfoHash) {
        lock(&self.waiting).lanes.insert(channel, Lane::new(info_hash));
    }

    /// Queues bytes from the other end. On a channel that is closed they are dropped: the sender will learn of it.
    ///
    /// # Errors
    /// [`DataError`] when the sender has no credit for them, or too much waits already.
    pub(crate) fn data(&self, channel: ChannelId, payload: Bytes) -> Result<(), DataError> {
        let len = payload.len();
        // Copied before the lock is taken, if that is to be seen by then and it cannot be put behind what waits.
        let is_behind = len >= MERGE_LEN && self.is_stalled.load(Ordering::Relaxed);
        let payload = if is_behind { Payload::new(payload, true) } else { Payload::Shared(payload) };
        let mut waiting = lock(&self.waiting);
        let waiting = &mut *waiting;
        let held = waiting.bytes();
        let Some(lane) = waiting.lanes.get_mut(&channel).filter(|lane| lane.closing.is_none()) else {
            return Ok(());
        };
        if held + len > self.queues.per_connection {
            return Err(DataError::Full);
        }
        lane.credit.accept(len)?;
        waiting.relayed += len;
        let is_behind = waiting.relayed > MAX_LENT || self.is_stalled.load(Ordering::Relaxed);
        let more = match (lane.payloads.back_mut(), payload) {
            (Some(last), Payload::Shared(more)) => last.merge(more).map(|more| Payload::new(more, is_behind)),
            (None, Payload::Shared(more)) => Some(Payload::new(more, is_behind)),
            (_, copied) => Some(copied),
        };
        lane.payloads.extend(more);
        if !lane.in_ring {
            lane.in_ring = true;
            waiting.ring.push_back(channel);
        }
        self.settle(waiting);
        self.waker.wake();
        Ok(())
    }

    /// The client takes what is written to it no more, or takes it again. While it does not, what waits here keeps no memory but
    /// its own.
    pub(crate) fn stall(&self, is_stalled: bool) {
        let mut waiting = lock(&self.waiting);
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
        if is_stalled {
            waiting.lanes.values_mut().flat_map(|lane| &mut lane.payloads).for_each(Payload::let_go);
        }
    }

    /// The connection gives credit for bytes that came out of this outbox. On a channel that is closed it means
    /// nothing any more.
    ///
    /// # Errors
    /// [`CreditError`] when there were not so many.
    pub(crate) fn give(&self, channel: ChannelId, bytes: u32) -> Result<(), CreditError> {
        lock(&self.waiting).lanes.get_mut(&channel).map_or(Ok(()), |lane| lane.credit.give(bytes))
    }

    /// Queues credit that the other end gave.
    pub(crate) fn credit(&self, channel: ChannelId, bytes: u32) {
        let mut waiting = lock(&self.waiting);
        if waiting.lanes.get(&channel).is_some_and(|lane| lane.closing.is_none()) {
            let sum = waiting.credits.entry(channel).or_default();
            *sum = sum.saturating_add(bytes);
        }
        drop(waiting);
        self.waker.wake();
    }

    /// The channel was closed by the other side, or for it: what waits is still delivered, then the reason. Who did not ask
    /// for it, and has not yet read that it was opened, is spared all of it.
    pub(crate) fn close(&self, channel: ChannelId, reason: RelayReason) {
        let mut waiting = lock(&self.waiting);
        let waiting = &mut *waiting;
        let Some(lane) = waiting.lanes.get_mut(&channel).filter(|lane| lane.closing.is_none()) else {
            return;
        };
        if lane.opening.is_some() && !lane.asked {
            waiting.forget(channel);
            self.settle(waiting);
            return;
        }
        lane.closing = Some(reason);
        let held = lane.credit.held() as usize;
        if waiting.orphaned + held > RELAY_WINDOW as usize {
            lane.payloads.clear();
            lane.credit = Credit::default();
            waiting.relayed -= held;
        } else {
            waiting.orphaned += held;
        }
        waiting.credits.remove(&channel);
        if !lane.in_ring {
            lane.in_ring = true;
            waiting.ring.push_back(channel);
        }
        self.settle(waiting);
        self.waker.wake();
    }

    /// The channel was closed by this side: nothing more is said about it.
    pub(crate) fn forget(&self, channel: ChannelId) {
        let mut waiting = lock(&self.waiting);
        waiting.forget(channel);
        self.settle(&waiting);
    }

    /// Nobody is woken for what comes until somebody asks again.
    pub(crate) fn unwatch(&self) {
        self.waker.take();
    }

    /// What to do next; waits while there is nothing. One task only may ask.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        if let Some(next) = self.next() {
            return Poll::Ready(next);
        }
        self.waker.register(context.waker());
        // Something may have come before the waker was in its place.
        self.next().map_or(Poll::Pending, Poll::Ready)
    }

    fn next(&self) -> Option<Next> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.next();
        self.settle(&waiting);
        next
    }

    /// Whether the connection is to end; waits until it is, or until something else comes.
    pub(crate) fn poll_ending(&self, context: &mut Context<'_>) -> Poll<Ending> {
        self.waker.register(context.waker());
        lock(&self.waiting).ending.map_or(Poll::Pending, Poll::Ready)
    }

    /// Relayed bytes that wait.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let waiting = lock(&self.waiting);
        waiting.lanes.values().flat_map(|lane| &lane.payloads).map(Payload::len).sum()
    }
}

/// What a signal counts for, in bytes.
fn cost(message: &ToPeer) -> usize {
    SIGNAL_OVERHEAD
        + match message {
            ToPeer::Offer(forwarded) | ToPeer::Answer(forwarded) => forwarded.description.sdp.len(),
            ToPeer::Announced(reply) => reply.enxame.as_ref().map_or(0, |enxame| {
                let ice = enxame.ice.iter().flatten().flat_map(|server| &server.urls).map(String::len);
                enxame.peers.len() * 128 + ice.sum::<usize>()
            }),
            ToPeer::Scraped(reply) => reply.files.len() * 128,
            _ => 0,
        }
}

impl Waiting {
    fn push_signal(&mut self, bytes: usize, message: ToPeer) {
        self.signal_bytes += bytes;
        self.signals.push_back((bytes, message));
    }

    fn clear(&mut self) {
        let ending = self.ending;
        *self = Self { ending, ..Self::default() };
    }

    /// Drops a channel, and what waits on it.
    fn forget(&mut self, channel: ChannelId) {
        let Some(lane) = self.lanes.remove(&channel) else { return };
        let held = lane.credit.held() as usize;
        self.signal_bytes -= lane.opening_cost();
        self.relayed -= held;
        if lane.closing.is_some() {
            self.orphaned -= held;
        }
        self.ring.retain(|other| *other != channel);
        self.credits.remove(&channel);
    }

    /// Bytes that wait.
    fn bytes(&self) -> usize {
        self.signal_bytes + self.relayed
    }

    fn next(&mut self) -> Option<Next> {
        if let Some(ending) = self.ending {
            return Some(Next::End(ending));
        }
        if let Some((bytes, message)) = self.signals.pop_front() {
            self.signal_bytes -= bytes;
            if self.signals.is_empty() {
                // Most connections are silent most of the time: room for signals is not kept for them.
                self.signals = VecDeque::new();
            }
            return Some(Next::Signal(message));
        }
        if let Some((channel, bytes)) = self.credits.pop_first() {
            return Some(Next::Frame(Frame::Credit { channel, bytes }.encode()));
        }
        let channel = self.ring.pop_front()?;
        let lane = self.lanes.get_mut(&channel)?;
        let opening_cost = lane.opening_cost();
        if let Some(message) = lane.opening.take() {
            self.signal_bytes -= opening_cost;
            lane.in_ring = !lane.payloads.is_empty() || lane.closing.is_some();
            if lane.in_ring {
                self.ring.push_front(channel);
            }
            return Some(Next::Opened(channel, message));
        }
        if let Some(payload) = lane.payloads.pop_front() {
            let bytes = payload.len();
            lane.credit.deliver(bytes);
            self.relayed -= bytes;
            if lane.closing.is_some() {
                self.orphaned -= bytes;
            }
            lane.in_ring = !lane.payloads.is_empty() || lane.closing.is_some();
            if lane.in_ring {
                self.ring.push_back(channel);
            }
            return Some(Next::Data(channel, payload));
        }
        let lane = self.lanes.remove(&channel)?;
        let reason = lane.closing.unwrap_or(RelayReason::Other);
        Some(Next::Closed(channel, ToPeer::RelayClosed { info_hash: lane.info_hash, channel, reason }))
    }
}

#[cfg(test)]
mod tests;
