//! A sum that every thread changes all the time, and that is seldom asked for.
//!
//! One number would have to go from processor to processor with each change; so each thread has a part of its own, and the parts
//! are added when somebody asks.

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
}

impl Sum {
    /// Adds the second number, and takes away the first: what something was, and what it is now.
    pub(crate) fn change(&self, before: usize, now: usize) {
        // What one thread adds another may take away: parts may be below nothing, and all together never is for long.
        let difference = now.wrapping_sub(before).cast_signed();
        if difference != 0 {
            MINE.with(|mine| self.parts[*mine].0.fetch_add(difference, Ordering::Relaxed));
        }
    }

    pub(crate) fn value(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.0.load(Ordering::Relaxed));
        usize::try_from(parts.fold(0, isize::wrapping_add)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
