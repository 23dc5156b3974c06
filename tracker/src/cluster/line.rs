//! The end of a relay channel that is at another node.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::relay::ChannelId;
use shared::signal::{RelayOpen, RelayReason};

use super::Shared;
use super::backend::NodeId;
use super::message::{self, Message, Words};
use crate::lock;
use crate::outbox::{DataError, Outbox};
use crate::relay::{Credit, End};

/// The end of a relay channel that is at another node: takes what goes there, and checks what comes from there.
///
/// Each side counts what it says on the line. What comes out of turn ends the channel: something before it was lost, and
/// what a peer gets must never have a gap.
#[derive(Debug)]
pub(crate) struct Line {
    /// Our number for it, among the connections.
    pub(crate) number: u64,
    /// The other node.
    pub(crate) node: NodeId,
    /// The end that is here.
    pub(crate) here: End,
    /// Where what comes from there goes.
    pub(crate) outbox: Arc<Outbox>,
    /// What was asked for, by the peer that is here or there.
    pub(crate) open: RelayOpen,
    /// When it was asked for.
    pub(crate) since: Instant,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The other node's number for it; none while it has not agreed.
    theirs: Option<u64>,
    said: u64,
    heard: u64,
    /// What went there, and came back as credit.
    credit: Credit,
}

impl Line {
    pub(crate) fn new(
        number: u64,
        node: NodeId,
        (here, outbox): (End, Arc<Outbox>),
        open: RelayOpen,
        theirs: Option<u64>,
        shared: Arc<Shared>,
        since: Instant,
    ) -> Self {
        let state = Mutex::new(State { theirs, ..State::default() });
        Self { number, node, here, outbox, open, since, shared, state }
    }

    /// The channel's number at the end that is here.
    pub(crate) fn channel(&self) -> ChannelId {
        self.here.channel
    }

    /// Whether the other node has not agreed yet.
    pub(crate) fn is_pending(&self) -> bool {
        lock(&self.state).theirs.is_none()
    }

    /// The other node's number for it.
    pub(crate) fn theirs(&self) -> Option<u64> {
        lock(&self.state).theirs
    }

    /// The other node agrees. Gives whether it had not before.
    pub(crate) fn agree(&self, theirs: u64) -> bool {
        let mut state = lock(&self.state);
        let is_new = state.theirs.is_none();
        state.theirs.get_or_insert(theirs);
        is_new
    }

    /// Whether what came is what comes next.
    pub(crate) fn hear(&self, from: NodeId, on: message::Line) -> bool {
        let mut state = lock(&self.state);
        state.heard += 1;
        from == self.node && state.theirs == Some(on.from) && on.place == state.heard
    }

    /// Sends bytes there. Gives how long the sender should wait before more.
    ///
    /// # Errors
    /// [`DataError`] when the sender has no credit for them, or too much waits for other nodes.
    pub(crate) fn data(&self, payload: Bytes) -> Result<Duration, DataError> {
        // Held until it is queued, so that what is counted first goes first.
        let mut state = lock(&self.state);
        let len = payload.len();
        state.credit.accept(len)?;
        state.credit.deliver(len);
        let Some(on) = state.next(self.number) else { return Ok(Duration::ZERO) };
        let message = Message::Data { from: self.shared.me(), on, payload };
        if !self.shared.push(self.node, &message) {
            return Err(DataError::Full);
        }
        Ok(self.shared.bus.pause())
    }

    /// Passes on credit for what came from there.
    ///
    /// # Errors
    /// [`DataError::Full`] when too much waits for other nodes. Without that credit the channel would stand still.
    pub(crate) fn credit(&self, bytes: u32) -> Result<(), DataError> {
        let mut state = lock(&self.state);
        let Some(on) = state.next(self.number) else { return Ok(()) };
        let told = self.shared.tell(self.node, Words::Credit { on, bytes });
        if told { Ok(()) } else { Err(DataError::Full) }
    }

    /// The other end gave credit.
    ///
    /// # Errors
    /// [`DataError`] when it was not sent so much.
    pub(crate) fn credited(&self, bytes: u32) -> Result<(), DataError> {
        lock(&self.state).credit.give(bytes)?;
        self.outbox.credit(self.channel(), bytes);
        Ok(())
    }

    /// Tells the other node that the channel is closed.
    pub(crate) fn close(&self, reason: RelayReason) {
        let mut state = lock(&self.state);
        let words = match state.next(self.number) {
            Some(on) => Words::Closed { on, reason },
            None => Words::Cancelled { line: self.number },
        };
        self.shared.bus.push_end(self.node, Message::Words(self.shared.me(), words).encode());
    }
}

impl State {
    fn next(&mut self, number: u64) -> Option<message::Line> {
        let to = self.theirs?;
        self.said += 1;
        Some(message::Line { to, from: number, place: self.said })
    }
}
