//! What all channels of one tracker share: the numbers of each connection's, and how many are open.

use std::collections::HashMap;
use std::sync::Mutex;

use shared::relay::ChannelId;

use crate::{ConnectionId, lock};

/// The numbers of channels: each is used once on its connection.
///
/// The lock in here is held for a moment, and none is taken under it.
#[derive(Debug)]
pub struct Numbers {
    per_connection: usize,
    in_all: usize,
    state: Mutex<State>,
}

/// Invariant: `open` is half of the sum of that of all sides, and of those that were forgotten before their channels were closed.
#[derive(Debug, Default)]
struct State {
    open: usize,
    sides: HashMap<ConnectionId, Side>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    /// The highest number used; numbers start at 1.
    highest: u32,
    /// Channels that are open.
    open: usize,
}

impl Numbers {
    /// With so many channels of one connection, and in all.
    pub fn new(per_connection: usize, in_all: usize) -> Self {
        Self { per_connection, in_all, state: Mutex::default() }
    }

    /// A number at either end of a new channel; `None` if there may be none.
    pub(super) fn take(&self, one: ConnectionId, other: ConnectionId) -> Option<(ChannelId, ChannelId)> {
        let mut state = lock(&self.state);
        if state.open >= self.in_all {
            return None;
        }
        let next = |connection| {
            let side: Side = state.sides.get(&connection).copied().unwrap_or_default();
            let highest = side.highest.checked_add(1).filter(|_| side.open < self.per_connection)?;
            Some(Side { highest, open: side.open + 1 })
        };
        let (first, second) = (next(one)?, next(other)?);
        state.sides.insert(one, first);
        state.sides.insert(other, second);
        state.open += 1;
        Some((ChannelId(first.highest), ChannelId(second.highest)))
    }

    /// Keeps no room for those who have left.
    pub(crate) fn shrink(&self) {
        lock(&self.state).sides.shrink_to_fit();
    }

    /// A channel between the two is closed.
    pub(super) fn give_back(&self, one: ConnectionId, other: ConnectionId) {
        let mut state = lock(&self.state);
        state.open -= 1;
        for connection in [one, other] {
            if let Some(side) = state.sides.get_mut(&connection) {
                side.open = side.open.saturating_sub(1);
            }
        }
    }

    /// A connection is gone, and all of its channels are closed.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        lock(&self.state).sides.remove(&connection);
    }

    /// Number of open channels.
    pub(crate) fn open(&self) -> usize {
        lock(&self.state).open
    }
}
