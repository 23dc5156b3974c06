//! Memory that many clients took goes back to the system when they have left, or have read what waited for them.
//!
//! glibc's allocator keeps what is freed between pieces that are still used, for each thread by itself, until the program ends: after a
//! busy hour most of a tracker's memory would be free and still its own. And a table that has grown stays as large as it was.

use std::time::Duration;

/// Time between two looks at how many are there.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// So few clients, or units of what waits, are not worth the work.
const FEW: usize = 500;

/// What waits for all clients is looked at in units of so many bytes: 32 MiB are few.
pub(crate) const UNIT: usize = 64 * 1024;

/// Notices when most of something has gone.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// The most that were seen since it was last noticed.
    high: usize,
}

impl Ebb {
    /// So many are there now. Says whether at least half of the most that were have left, once each time.
    pub(crate) fn look(&mut self, now: usize) -> bool {
        self.high = self.high.max(now);
        let has_left = self.high - now >= FEW && now <= self.high / 2;
        if has_left {
            self.high = now;
        }
        has_left
    }
}

/// Gives back what is freed. It takes some milliseconds, in which threads that want memory may have to wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe function gives memory back")]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, by any thread (malloc_trim(3): "MT-Safe"), and touches only what is free.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give it back by themselves, sooner or later.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_half_have_left_it_is_noticed_once() {
        let mut ebb = Ebb::default();
        let seen: Vec<bool> =
            [0, 2000, 1500, 1001, 1000, 1000, 900, 501, 500, 0, 0].map(|now| ebb.look(now)).into();
        let expected = [false, false, false, false, true, false, false, false, true, true, false];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_few_that_come_and_go_are_not() {
        let mut ebb = Ebb::default();
        assert!([0, FEW - 1, 0, FEW - 1, 0].iter().all(|now| !ebb.look(*now)));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_freed_between_what_is_kept_goes_back() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
        };
        // 200 MiB in pieces of 64 KiB, of which every hundredth stays.
        let mut pieces: Vec<Option<Vec<u8>>> = (0..3200).map(|_| Some(vec![1; 64 * 1024])).collect();
        for (n, piece) in pieces.iter_mut().enumerate() {
            if n % 100 != 0 {
                *piece = None;
            }
        }
        let before = resident();
        give_back();
        let after = resident();
        assert!(before > after + 100, "{before} MiB, then {after}");
        assert_eq!(pieces.into_iter().flatten().count(), 32);
    }
}
