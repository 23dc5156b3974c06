//! How long to wait before the next attempt: doubling from well under a second to half a minute, with jitter, so
//! that a tracker that comes back is found at once and is not met by everybody at the same moment.

use std::time::Duration;

/// Wait before the first retry, before jitter.
const FIRST: Duration = Duration::from_millis(400);
/// Longest wait, before jitter: a person who watches the page notices no more.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failed attempts.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt succeeded: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed: how long to wait before the next one. `jitter` is random, 0 to 1; the wait is half to
    /// all of the present step, doubled at each failure.
    pub fn next_delay(&mut self, jitter: f64) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_comes_within_a_second_and_the_wait_doubles_to_a_ceiling() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next_delay(1.0)).collect();
        assert!(waits[0] < Duration::from_secs(1));
        assert_eq!(waits[1], waits[0] * 2);
        assert_eq!(waits[9], LONGEST);
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), waits[0]);
    }

    #[test]
    fn jitter_spreads_the_wait_over_half_of_it() {
        assert_eq!(Backoff::default().next_delay(0.0), FIRST / 2);
        assert_eq!(Backoff::default().next_delay(1.0), FIRST);
        assert_eq!(Backoff::default().next_delay(f64::INFINITY), FIRST);
    }

    #[test]
    fn a_tracker_that_never_returns_costs_no_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next_delay(1.0), LONGEST);
    }
}
