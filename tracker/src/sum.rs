//! A sum that every thread changes all the time, and that is seldom asked for.
//!
//! One number would have to go from processor to processor with each change; so each thread has a part of its own, and the parts
//! are added when somebody asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Parts of a sum. Should there be more threads, some share one.
const PARTS: usize = 32;

/// So far apart that no two are in what a processor fetches at once: two lines of 64 bytes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicIsize);

/// A sum. It is exact as soon as nobody changes it.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    parts: Box<[Part; PARTS]>,
}

thread_local! {
    /// Which part is this thread's.
    static MINE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
    /// By how much this thread has changed sums, up and down, since it was last asked.
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

impl Sum {
    /// Adds the second number, and takes away the first: what something was, and what it is now.
    pub(crate) fn change(&self, before: usize, now: usize) {
        // What one thread adds another may take away: parts may be below nothing, and all together never is for long.
        let difference = now.wrapping_sub(before).cast_signed();
        if difference != 0 {
            MINE.with(|mine| self.parts[*mine].0.fetch_add(difference, Ordering::Relaxed));
            MOVED.set(MOVED.get().saturating_add(difference.unsigned_abs()));
        }
    }

    /// Whether this thread has changed sums by so much since this was last true.
    pub(crate) fn has_moved(&self, least: usize) -> bool {
        let has_moved = MOVED.get() >= least;
        if has_moved {
            MOVED.set(0);
        }
        has_moved
    }

    /// All of it. Of what is changed meanwhile a part may be missing, or counted though it is gone.
    pub(crate) fn value(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.0.load(Ordering::Relaxed));
        usize::try_from(parts.fold(0, isize::wrapping_add)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_when_it_has_moved_enough() {
        let sum = Sum::default();
        assert!(!sum.has_moved(10));
        sum.change(0, 6);
        assert!(!sum.has_moved(10));
        sum.change(6, 2);
        assert!(sum.has_moved(10), "six up and four down");
        assert!(!sum.has_moved(10));
        assert!(sum.has_moved(0));
    }

    #[test]
    fn what_threads_add_and_others_take_away_is_exact_in_the_end() {
        let sum = Sum::default();
        std::thread::scope(|scope| {
            for thread in 0..2 * PARTS {
                let sum = &sum;
                scope.spawn(move || {
                    for n in 0..100 {
                        if thread % 2 == 0 { sum.change(n, n + 3) } else { sum.change(n + 2, n) }
                    }
                });
            }
        });
        assert_eq!(sum.value(), PARTS * 100);
        sum.change(PARTS * 100, 0);
        assert_eq!(sum.value(), 0);
        sum.change(1, 0);
        assert_eq!(sum.value(), 0, "below nothing is nothing");
    }
}
