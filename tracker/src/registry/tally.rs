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
    add_within(count, 1, most)
}

/// Adds so many to what stays within this bound by that; whether it does.
pub(crate) fn add_within(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |count: usize| count.checked_add(more).filter(|sum| *sum <= most);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_add_together_stay_within_the_bound() {
        /// Whoever would look first and add then is caught in nine runs of ten.
        const ROUNDS: usize = 1_000_000;
        let (count, most) = (AtomicUsize::new(0), 7);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        if add_within(&count, 7, most) {
                            assert!(count.load(Ordering::Relaxed) <= most);
                            count.fetch_sub(7, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 0);
        let full = AtomicUsize::new(usize::MAX);
        assert!(!add_within(&full, 1, usize::MAX) && add_within(&full, 0, usize::MAX));
    }
}
