//! How fast a torrent was over the last minutes, from its counts of bytes. No clock and no browser: it is told the time.

use std::time::Duration;

use engine::Time;

use crate::snapshot::RateHistory;

/// Seconds that each sample is the mean of.
const STEP: u64 = 2;
/// Samples that are kept, the latest: five minutes.
const MOST: usize = 150;

/// Turns counts, whenever somebody looks at them, into one sample for each step.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Up to where there are samples, and the bytes received and sent until then.
    until: Option<(Time, [u64; 2])>,
    samples: RateHistory,
}

impl History {
    /// Bytes received and sent until now. What came since the last call counts as spread evenly over the time since: a torrent that
    /// is not looked at does not move.
    pub(super) fn record(&mut self, now: Time, counts: [u64; 2]) {
        let Some((since, before)) = self.until else {
            self.until = Some((now, counts));
            return;
        };
        let elapsed = now.since(since);
        let steps = elapsed.as_secs() / STEP;
        if steps == 0 {
            return;
        }
        let whole = Duration::from_secs(steps * STEP);
        let mut until = before;
        for (samples, (count, until)) in
            [&mut self.samples.down, &mut self.samples.up].into_iter().zip(counts.into_iter().zip(&mut until))
        {
            // A torrent that was begun anew counts from zero.
            let came = u128::from(count.saturating_sub(*until));
            let rate = (came * 1000 / elapsed.as_millis()) as u64;
            *until = count.min(*until) + (came * whole.as_millis() / elapsed.as_millis()) as u64;
            samples.extend(std::iter::repeat_n(rate, usize::try_from(steps).unwrap_or(MOST).min(MOST)));
            let old = samples.len().saturating_sub(MOST);
            samples.drain(..old);
        }
        self.until = Some((since + whole, until));
    }

    /// Whether nothing moved in all the time that is kept.
    pub(super) fn is_still(&self) -> bool {
        self.samples.is_still()
    }

    /// What is kept.
    pub(super) fn view(&self) -> RateHistory {
        RateHistory { step: STEP, ..self.samples.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_start(Duration::from_millis(millis))
    }

    #[test]
    fn each_step_has_its_mean_rate() {
        let mut history = History::default();
        history.record(at(500), [700, 0]);
        for (millis, counts) in [(1_500, [1_700, 0]), (2_500, [4_700, 100]), (4_500, [4_700, 300])] {
            history.record(at(millis), counts);
        }
        let view = history.view();
        assert_eq!(
            (view.down, view.up),
            (vec![2_000, 0], vec![50, 100]),
            "nothing counts that was there before"
        );
    }

    #[test]
    fn it_is_still_once_what_moved_is_older_than_what_is_kept() {
        let mut history = History::default();
        history.record(at(0), [0, 0]);
        history.record(at(2_000), [0, 0]);
        assert!(history.is_still());
        history.record(at(4_000), [0, 10]);
        history.record(at(300_000), [0, 10]);
        assert!(!history.is_still());
        history.record(at(304_000), [0, 10]);
        assert!(history.is_still());
    }

    #[test]
    fn what_comes_between_two_steps_is_not_lost() {
        let mut history = History::default();
        history.record(at(0), [0, 0]);
        // A thousand bytes a second, seen now and then.
        for millis in [2_700, 4_100, 4_200, 9_900, 12_000] {
            history.record(at(millis), [millis, 0]);
        }
        assert_eq!(history.view().down, [1_000; 6]);
    }

    #[test]
    fn it_is_bounded_however_long_nobody_looked() {
        let mut history = History::default();
        history.record(at(0), [0, 0]);
        history.record(at(2_000), [9_000_000, 0]);
        history.record(at(86_400_000), [9_000_000, 0]);
        history.record(at(86_402_000), [9_000_000, 2_000_000]);
        let view = history.view();
        assert_eq!((view.down.len(), view.up.len()), (MOST, MOST));
        assert_eq!((view.down.iter().sum::<u64>(), view.up.last()), (0, Some(&1_000_000)));
    }

    #[test]
    fn counts_that_begin_anew_are_no_rate() {
        let mut history = History::default();
        history.record(at(0), [5_000, 5_000]);
        history.record(at(2_000), [0, 6_000]);
        history.record(at(4_000), [4_000, 6_000]);
        let view = history.view();
        assert_eq!((view.down, view.up), (vec![0, 2_000], vec![500, 0]));
    }
}
