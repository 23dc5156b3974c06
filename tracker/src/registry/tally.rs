//! What the registries of one tracker count together, so that each bound holds for all of them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{ConnectionId, lock};

/// What the registries of one tracker count together.
///
/// Each is changed by a registry whose own lock is held, by whoever runs it. The lock in here is held for a moment, and none
/// is taken under it.
#[derive(Debug, Default)]
pub struct Tally {
    peers: AtomicUsize,
    remembered: AtomicUsize,
    /// How many memberships each connection has.
    memberships: Mutex<HashMap<ConnectionId, usize>>,
}

impl Tally {
    /// Counts one more peer, unless there are as many as that already.
    pub(super) fn enter(&self, most: usize) -> bool {
        add_below(&self.peers, most)
    }

    /// Counts one more torrent whose completed count is kept, unless there are as many as that already.
    pub(super) fn remember(&self, most: usize) -> bool {
        add_below(&self.remembered, most)
    }

    /// A connection has one more membership, of a peer that was counted.
    pub(super) fn join(&self, connection: ConnectionId) {
        *lock(&self.memberships).entry(connection).or_default() += 1;
    }

    /// A connection has one less, and there is a peer less.
    pub(super) fn leave(&self, connection: ConnectionId) {
        self.peers.fetch_sub(1, Ordering::Relaxed);
        let mut memberships = lock(&self.memberships);
        if let Some(count) = memberships.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                memberships.remove(&connection);
            }
        }
    }

    /// Memberships of a connection. They become more only by what that connection says, one after the other.
    pub(super) fn memberships(&self, connection: ConnectionId) -> usize {
        lock(&self.memberships).get(&connection).copied().unwrap_or(0)
    }
}

/// Adds one to what is below this bound; whether it was.
pub(crate) fn add_below(count: &AtomicUsize, most: usize) -> bool {
    let more = |count| (count < most).then(|| count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}
