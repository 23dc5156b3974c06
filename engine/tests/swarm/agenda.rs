//! What will happen, and when: the earliest first, and of what happens at the same moment, what was put down first.
//!
//! A heap of everything that is to come in a large swarm takes most of its time to move entries about in memory that no
//! cache holds. So time is cut into short slots: what falls into a later slot lies in no order with all else of that slot, and
//! only what is due in the present one is sorted. What is further away than there are slots waits in a heap of its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use engine::Time;

/// Length of a slot, in nanoseconds, as a power of two: a quarter of a millisecond, in which a thousand peers do some hundred
/// things.
pub(crate) const SLOT_BITS: u32 = 18;
/// Slots that are looked after: a quarter of a second, longer than messages take.
pub(crate) const SLOTS: u64 = 1024;

struct Due<E> {
    /// In nanoseconds.
    time: u64,
    number: u64,
    event: E,
}

pub(crate) struct Agenda<E> {
    /// What is due in the present slot, or before.
    present: BinaryHeap<Reverse<Due<E>>>,
    /// The number of the present slot, counted from the start of time.
    slot: u64,
    /// What is due in the slots behind it, each at its number modulo [`SLOTS`].
    near: Vec<Vec<Reverse<Due<E>>>>,
    /// In all of `near`.
    near_count: usize,
    far: BinaryHeap<Reverse<Due<E>>>,
    /// Of what was put down last.
    number: u64,
}

impl<E> Agenda<E> {
    /// Nothing will happen.
    pub(crate) fn new() -> Self {
        Self {
            present: BinaryHeap::new(),
            slot: 0,
            near: (0..SLOTS).map(|_| Vec::new()).collect(),
            near_count: 0,
            far: BinaryHeap::new(),
            number: 0,
        }
    }

    /// This will happen then.
    pub(crate) fn put(&mut self, time: Time, event: E) {
        let time = time.as_duration().as_nanos() as u64;
        self.number += 1;
        let due = Reverse(Due { time, number: self.number, event });
        let slot = time >> SLOT_BITS;
        if slot <= self.slot {
            self.present.push(due);
        } else if slot - self.slot < SLOTS {
            self.near[(slot % SLOTS) as usize].push(due);
            self.near_count += 1;
        } else {
            self.far.push(due);
        }
    }

    /// What happens next, and when, if that is not behind `end`.
    pub(crate) fn next(&mut self, end: Time) -> Option<(Time, E)> {
        let end = end.as_duration().as_nanos() as u64;
        loop {
            if let Some(Reverse(due)) = self.present.peek() {
                if due.time > end {
                    return None;
                }
                let Reverse(due) = self.present.pop()?;
                let time = Time::since_start(std::time::Duration::from_nanos(due.time));
                return Some((time, due.event));
            }
            if self.slot >= end >> SLOT_BITS || !self.turn() {
                return None;
            }
        }
    }

    /// Goes to the next slot in which there may be something; whether there is one.
    fn turn(&mut self) -> bool {
        let first_far = self.far.peek().map(|Reverse(due)| due.time >> SLOT_BITS);
        if self.near_count > 0 {
            self.slot += 1;
        } else if let Some(first_far) = first_far {
            self.slot = first_far;
        } else {
            return false;
        }
        let near = &mut self.near[(self.slot % SLOTS) as usize];
        self.near_count -= near.len();
        // The slot's memory is used again.
        let mut present = std::mem::take(&mut self.present).into_vec();
        std::mem::swap(&mut present, near);
        self.present = present.into();
        while self.far.peek().is_some_and(|Reverse(due)| due.time >> SLOT_BITS <= self.slot) {
            self.present.extend(self.far.pop());
        }
        true
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Due<E> {}
