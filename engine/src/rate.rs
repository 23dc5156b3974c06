//! How many bytes a second: a count over the last three seconds, from which the length of a pipeline and the choice of
//! whom to serve follow.

use std::time::Duration;

use crate::api::Time;

/// Grain of the count.
const SLOT: Duration = Duration::from_millis(250);
/// Slots that are counted; with [`SLOT`], three seconds: long enough to be steady, short enough to follow a link.
const SLOTS: usize = 12;

/// Counts bytes and says how many a second there were lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    slots: [u64; SLOTS],
    /// In all of them.
    sum: u64,
    /// Number of the newest slot, counted from the program's start.
    newest: u64,
    /// First bytes after a window without any.
    since: Time,
}

impl Rate {
    /// Counts bytes.
    pub(crate) fn add(&mut self, now: Time, bytes: u64) {
        let slot = slot(now);
        let gone = slot.saturating_sub(self.newest);
        for step in 1..=gone.min(SLOTS as u64) {
            let oldest = &mut self.slots[((self.newest + step) % SLOTS as u64) as usize];
            self.sum -= std::mem::take(oldest);
        }
        self.newest = self.newest.max(slot);
        if self.sum == 0 {
            self.since = now;
        }
        self.slots[(self.newest % SLOTS as u64) as usize] += bytes;
        self.sum += bytes;
    }

    /// Bytes a second over the window, or since the first bytes if that is shorter.
    pub(crate) fn per_second(&self, now: Time) -> f64 {
        self.per_second_without(now, 0)
    }

    /// The same, but for so many of the bytes that were counted.
    pub(crate) fn per_second_without(&self, now: Time, spared: u64) -> f64 {
        let oldest = slot(now).saturating_sub(SLOTS as u64 - 1);
        let first = (self.newest + 1).saturating_sub(SLOTS as u64);
        if self.sum == 0 || oldest > self.newest {
            return 0.0;
        }
        // What has left the window since something was counted last.
        let gone = (first..oldest).map(|slot| self.slots[(slot % SLOTS as u64) as usize]);
        let bytes = (self.sum - gone.sum::<u64>()).saturating_sub(spared);
        if bytes == 0 {
            return 0.0;
        }
        let window = now.as_duration().saturating_sub(SLOT * oldest as u32);
        let elapsed = now.since(self.since).min(window).max(SLOT);
        bytes as f64 / elapsed.as_secs_f64()
    }
}

fn slot(now: Time) -> u64 {
    // A program that runs for 500 million years would wrap.
    now.as_duration().as_millis() as u64 / SLOT.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_steady_flow_is_measured_and_its_end_noticed() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0)), 0.0);
        for step in 0..100 {
            rate.add(at(10_000 + step * 100), 1_000);
        }
        let measured = rate.per_second(at(19_900));
        assert!((9_000.0..12_000.0).contains(&measured), "{measured}");
        assert!(rate.per_second(at(21_500)) < 7_000.0);
        assert_eq!(rate.per_second(at(30_000)), 0.0);
    }

    #[test]
    fn a_flow_that_just_began_is_not_divided_by_the_whole_window() {
        let mut rate = Rate::default();
        for step in 0..10 {
            rate.add(at(60_000 + step * 100), 1_000);
        }
        let measured = rate.per_second(at(61_000));
        assert!((9_000.0..11_000.0).contains(&measured), "{measured}");
    }
}
