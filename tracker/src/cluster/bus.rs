//! What waits to be told to other nodes: bounded, in order, filled without waiting.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::backend::NodeId;
use crate::lock;

/// What a message is counted as beside its bytes; also bounds their number.
const OVERHEAD: usize = 128;

/// Most messages of one batch, and most bytes of one to which another may be added.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// Longest wait of one sender after one frame, when the queue is all but full.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What waits to be told to other nodes.
#[derive(Debug)]
pub(crate) struct Bus {
    queue: Mutex<VecDeque<(NodeId, Bytes)>>,
    held: AtomicUsize,
    bound: usize,
    filled: Notify,
}

impl Bus {
    /// Room for so many bytes.
    pub(crate) fn new(bound: u64) -> Self {
        Self {
            queue: Mutex::default(),
            held: AtomicUsize::new(0),
            bound: usize::try_from(bound).unwrap_or(usize::MAX),
            filled: Notify::new(),
        }
    }

    /// Queues a message, and tells whether there was room.
    pub(crate) fn push(&self, to: NodeId, message: Bytes) -> bool {
        self.push_within(self.bound, to, message)
    }

    /// The same for what must be heard, and of which there is little: the end of a channel. It has as much room again.
    pub(crate) fn push_end(&self, to: NodeId, message: Bytes) -> bool {
        self.push_within(self.bound.saturating_mul(2), to, message)
    }

    fn push_within(&self, bound: usize, to: NodeId, message: Bytes) -> bool {
        let cost = message.len() + OVERHEAD;
        let mut queue = lock(&self.queue);
        if self.held.load(Ordering::Relaxed) + cost > bound {
            return false;
        }
        self.held.fetch_add(cost, Ordering::Relaxed);
        queue.push_back((to, message));
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// Bytes that wait.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How long whoever sends in bulk should wait: not at all while the queue is less than a quarter full, ever longer above.
    pub(crate) fn pause(&self) -> Duration {
        let above = self.held().saturating_sub(self.bound / 4);
        LONGEST_PAUSE.mul_f64((above as f64 / self.bound.max(1) as f64).min(1.0))
    }

    /// Forgets what waits.
    pub(crate) fn clear(&self) {
        let mut queue = lock(&self.queue);
        queue.clear();
        self.held.store(0, Ordering::Relaxed);
    }

    /// What waits, as much as goes out at once; waits until there is something.
    pub(crate) async fn take(&self) -> Vec<(NodeId, Bytes)> {
        loop {
            let batch = self.try_take();
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    fn try_take(&self) -> Vec<(NodeId, Bytes)> {
        let mut queue = lock(&self.queue);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && batch.len() < BATCH
            && let Some((to, message)) = queue.pop_front()
        {
            bytes += message.len();
            self.held.fetch_sub(message.len() + OVERHEAD, Ordering::Relaxed);
            batch.push((to, message));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    #[test]
    fn what_is_more_than_there_is_room_for_is_refused_until_something_went_out() {
        let bus = Bus::new(1000);
        let message = Bytes::from(vec![0; 500 - OVERHEAD]);
        assert!(bus.push(NODE, message.clone()) && bus.push(NODE, message.clone()));
        assert!(!bus.push(NODE, Bytes::new()));
        assert!(bus.push_end(NODE, Bytes::new()));
        assert_eq!(bus.try_take().len(), 3);
        assert_eq!(bus.held(), 0);
        assert!(bus.push(NODE, message));
        bus.clear();
        assert_eq!(bus.held(), 0);
    }

    #[test]
    fn senders_wait_longer_the_fuller_it_is() {
        let bus = Bus::new(10_000);
        let message = Bytes::from(vec![0; 2500 - OVERHEAD]);
        let pauses: Vec<Duration> = (0..4)
            .map(|_| {
                assert!(bus.push(NODE, message.clone()));
                bus.pause()
            })
            .collect();
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses.is_sorted() && pauses[3] > pauses[1], "{pauses:?}");
    }
}
