//! How much a client may send in a second, and in a day.

use std::time::{Duration, Instant};

/// A day, in which bytes are added up.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A bucket of so much, that is filled at a steady rate: the generic cell rate algorithm. Instead of a level it keeps the
/// moment at which the bucket will be full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Takes `amount` out of a bucket that holds `burst` and gets `rate` a second, and tells how long to wait until it
    /// is not in debt. A rate of [`u64::MAX`] is none.
    pub(crate) fn take(&mut self, now: Instant, amount: u64, rate: u64, burst: u64) -> Duration {
        if rate == u64::MAX {
            return Duration::ZERO;
        }
        let rate = rate.max(1) as f64;
        self.full = self.full.max(now) + Duration::from_secs_f64(amount as f64 / rate);
        (self.full - now).saturating_sub(Duration::from_secs_f64(burst as f64 / rate))
    }

    /// The same, if there is enough: otherwise nothing is taken.
    pub(crate) fn try_take(&mut self, now: Instant, amount: u64, rate: u64, burst: u64) -> bool {
        let mut after = *self;
        let enough = after.take(now, amount, rate, burst).is_zero();
        if enough {
            *self = after;
        }
        enough
    }
}

/// What may be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Bytes a day.
    pub(crate) day: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    bucket: Bucket,
    day_began: Instant,
    today: u64,
}

/// The day's bytes are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedUp;

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { bucket: Bucket::new(now), day_began: now, today: 0 }
    }

    /// Counts bytes, and tells how long the sender is to wait before it sends more.
    ///
    /// # Errors
    /// [`UsedUp`] when they are more than is left of the day; the day is over then, whatever was left.
    pub(crate) fn charge(&mut self, now: Instant, bytes: u64, quota: Quota) -> Result<Duration, UsedUp> {
        if bytes > self.left_of_day(now, quota) {
            self.today = quota.day;
            return Err(UsedUp);
        }
        self.today += bytes;
        Ok(self.bucket.take(now, bytes, quota.rate, quota.rate))
    }

    /// Bytes that may still be sent today.
    pub(crate) fn left_of_day(&mut self, now: Instant, quota: Quota) -> u64 {
        if now.saturating_duration_since(self.day_began) >= DAY {
            (self.day_began, self.today) = (now, 0);
        }
        quota.day.saturating_sub(self.today)
    }

    /// Whether it remembers nothing that matters.
    pub(crate) fn is_clear(&self, now: Instant) -> bool {
        self.today == 0 || now.saturating_duration_since(self.day_began) >= DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { rate: 1000, day: 5000 };

    #[test]
    fn a_second_is_free_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert_eq!(bucket.take(now, 1000, 1000, 1000), Duration::ZERO);
        assert_eq!(bucket.take(now, 500, 1000, 1000), Duration::from_millis(500));
        assert_eq!(
            bucket.take(now + Duration::from_secs(5), 1000, 1000, 1000),
            Duration::ZERO,
            "rest is not saved"
        );
        assert_eq!(bucket.take(now + Duration::from_secs(5), 1, 1000, 1000), Duration::from_millis(1));
        assert_eq!(bucket.take(now, u64::MAX, u64::MAX, 1), Duration::ZERO, "no bound");
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_each_refill() {
        let (mut now, refill) = (Instant::now(), Duration::from_millis(250));
        let mut bucket = Bucket::new(now);
        let taken = |bucket: &mut Bucket, now| (0..1000).filter(|_| bucket.try_take(now, 1, 4, 128)).count();
        assert_eq!(taken(&mut bucket, now), 128);
        now += refill / 2;
        assert_eq!(taken(&mut bucket, now), 0, "and what is refused costs nothing");
        now += refill / 2;
        assert_eq!(taken(&mut bucket, now), 1);
        now += refill * 3;
        assert_eq!(taken(&mut bucket, now), 3);
        now += Duration::from_secs(1_000_000);
        assert_eq!(taken(&mut bucket, now), 128, "rest is not saved up beyond the burst");
    }

    #[test]
    fn a_day_has_its_sum_and_then_comes_another_day() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        assert!(meter.is_clear(now));
        assert!(meter.charge(now, 4000, QUOTA).is_ok());
        assert_eq!(meter.left_of_day(now, QUOTA), 1000);
        assert_eq!(meter.charge(now, 1001, QUOTA), Err(UsedUp));
        assert_eq!(meter.left_of_day(now, QUOTA), 0);
        assert_eq!(meter.charge(now, 1, QUOTA), Err(UsedUp));
        assert!(!meter.is_clear(now) && meter.is_clear(now + DAY));
        assert!(meter.charge(now + DAY, 5000, QUOTA).is_ok());
    }
}
