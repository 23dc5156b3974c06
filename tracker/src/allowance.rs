//! How often one connection may do something that costs another one.

use std::time::{Duration, Instant};

/// Most offers to named peers at once: to all that two announces name, with some to spare. A tab has no more
/// `RTCPeerConnection`s than that alive.
const BURST: u32 = 128;

/// Time after which one more is allowed. Who retries each of its peers every minute or so stays far below.
const REFILL: Duration = Duration::from_millis(250);

/// A bucket of [`BURST`] tokens that gets one more every [`REFILL`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    tokens: u32,
    /// The moment up to which tokens were added.
    counted: Instant,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, counted: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let refills = now.saturating_duration_since(self.counted).as_millis() / REFILL.as_millis();
        match u32::try_from(refills) {
            Ok(refills) if refills < BURST => {
                self.tokens = (self.tokens + refills).min(BURST);
                self.counted += REFILL * refills;
            }
            _ => *self = Self::new(now),
        }
        let taken = self.tokens > 0;
        self.tokens -= u32::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_each_refill() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert_eq!((0..1000).filter(|_| allowance.take(now)).count(), BURST as usize);
        now += REFILL / 2;
        assert!(!allowance.take(now));
        now += REFILL / 2;
        assert!(allowance.take(now));
        assert!(!allowance.take(now));
        now += REFILL * 3;
        assert_eq!((0..1000).filter(|_| allowance.take(now)).count(), 3);
    }

    #[test]
    fn rest_is_not_saved_up_beyond_the_burst() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let later = now + Duration::from_secs(1_000_000);
        assert_eq!((0..1000).filter(|_| allowance.take(later)).count(), BURST as usize);
    }
}
