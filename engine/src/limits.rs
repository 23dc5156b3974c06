//! How fast one may go: token buckets, one for a session and one that any number of sessions share.
//!
//! A bucket fills at its rate, up to a burst. Whoever finds something in it may take more than is there, and then everybody
//! waits until the debt is paid: so a block of any length passes, and the rate is kept all the same.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::api::Time;

/// What a bucket holds at most, in time at its rate: enough for timers that come late.
const BURST: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes a second, at least one.
    rate: f64,
    /// Bytes that may be sent at once; a debt if negative.
    tokens: f64,
    filled_at: Time,
}

/// A rate that is not exceeded, or none. Copies share it: give the same to several sessions, and it holds for them together.
#[derive(Debug, Clone, Default)]
pub struct Limit(Rc<Cell<Option<Bucket>>>);

impl Limit {
    /// So many bytes a second.
    pub fn bytes_a_second(rate: u64) -> Self {
        let limit = Self::default();
        limit.set(Some(rate));
        limit
    }

    /// From now on so many bytes a second; no limit if `None`.
    pub fn set(&self, rate: Option<u64>) {
        let old = self.0.get();
        let new = |rate: u64| Bucket {
            rate: rate.max(1) as f64,
            tokens: old.map_or(0.0, |old| old.tokens.min(0.0)),
            filled_at: old.map_or(Time::default(), |old| old.filled_at),
        };
        self.0.set(rate.map(new));
    }

    /// When something may be taken: `now` or later.
    pub(crate) fn ready_at(&self, now: Time) -> Time {
        let Some(bucket) = self.filled(now) else { return now };
        if bucket.tokens > 0.0 {
            return now;
        }
        // One byte more than the debt.
        now + Duration::from_secs_f64((1.0 - bucket.tokens) / bucket.rate)
    }

    /// So many bytes go.
    pub(crate) fn take(&self, now: Time, bytes: u64) {
        if let Some(mut bucket) = self.filled(now) {
            bucket.tokens -= bytes as f64;
            self.0.set(Some(bucket));
        }
    }

    fn filled(&self, now: Time) -> Option<Bucket> {
        let mut bucket = self.0.get()?;
        let burst = bucket.rate * BURST.as_secs_f64();
        let gained = now.since(bucket.filled_at).as_secs_f64() * bucket.rate;
        bucket.tokens = (bucket.tokens + gained).min(burst.max(1.0));
        bucket.filled_at = bucket.filled_at.max(now);
        Some(bucket)
    }
}

/// Both ways: a session's own limits, and those that it shares with others.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Of what this session sends.
    pub up: Limit,
    /// Of what it is sent.
    pub down: Limit,
    /// Of what all sessions with this limit send together.
    pub shared_up: Limit,
    /// Of what they are sent.
    pub shared_down: Limit,
}

impl Limits {
    /// When a block may be sent.
    pub(crate) fn may_send_at(&self, now: Time) -> Time {
        self.up.ready_at(now).max(self.shared_up.ready_at(now))
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&self, now: Time, bytes: u64) {
        self.up.take(now, bytes);
        self.shared_up.take(now, bytes);
    }

    /// When blocks may be asked for.
    pub(crate) fn may_ask_at(&self, now: Time) -> Time {
        self.down.ready_at(now).max(self.shared_down.ready_at(now))
    }

    /// So many bytes came.
    pub(crate) fn came(&self, now: Time, bytes: u64) {
        self.down.take(now, bytes);
        self.shared_down.take(now, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_start(Duration::from_millis(millis))
    }

    #[test]
    fn long_blocks_pass_and_the_rate_is_kept() {
        let limit = Limit::bytes_a_second(1000);
        let (mut now, mut sent) = (at(0), 0);
        while now < at(100_000) {
            now = limit.ready_at(now);
            limit.take(now, 16_384);
            sent += 16_384;
        }
        assert!((100_000..100_000 + 2 * 16_384 + 250).contains(&sent), "{sent}");
    }

    #[test]
    fn copies_share_and_what_was_not_used_is_not_saved_up() {
        let limit = Limit::bytes_a_second(1000);
        let copy = limit.clone();
        limit.take(at(10_000), 1250);
        assert_eq!(copy.ready_at(at(10_000)), at(11_001));
        copy.set(None);
        assert_eq!(limit.ready_at(at(10_000)), at(10_000));
    }
}
