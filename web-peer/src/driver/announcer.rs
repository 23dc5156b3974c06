//! When to announce one torrent to the tracker, and as what. Pure: the driver asks when something is due.

use std::time::Duration;

use engine::Time;
use shared::signal::Event;

/// Shortest time between two announces that are due to the tracker's interval; a tracker that asks for less gets this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time between two announces, whatever the tracker says.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// The same for trackers that do not ping: some close a socket on which nothing is said for a minute and a half.
const LONGEST_FOREIGN_INTERVAL: Duration = Duration::from_secs(55);
/// The least time between two announces out of turn that carry offers.
const LEAST_REPEAT: Duration = Duration::from_secs(10);
/// After an announce, the first moment at which too few peers are a reason for another; doubles each time.
const FIRST_HUNGRY_WAIT: Duration = Duration::from_secs(3);
/// An announce that is not answered for this long means that the connection is dead, whatever the browser thinks.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One torrent's announces to one tracker.
///
/// Invariant: nothing is due while the tracker is not connected.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    connected: bool,
    due: Option<Time>,
    event: Event,
    last: Option<Time>,
    unanswered_since: Option<Time>,
    hungry_waits: u32,
    /// When it was last announced out of turn, with offers.
    repeated: Option<Time>,
}

impl Announcer {
    /// The socket is open: the tracker knows nothing of us.
    pub(super) fn connected(&mut self, now: Time) {
        *self = Self { connected: true, due: Some(now), event: Event::Started, ..Self::default() };
    }

    /// The socket is gone.
    pub(super) fn disconnected(&mut self) {
        *self = Self::default();
    }

    /// The last piece is stored.
    pub(super) fn completed(&mut self, now: Time) {
        // A `started` that is still owed carries `left: 0`, which says the same.
        if self.connected && self.event != Event::Started {
            self.event = Event::Completed;
            self.due = Some(now);
        }
    }

    /// The engine has too few peers. Announces early, but ever less so while that brings nothing: the peers that come
    /// later reach out to us by themselves.
    pub(super) fn want_peers(&mut self) {
        let Some(last) = self.last.filter(|_| self.connected && self.unanswered_since.is_none()) else {
            return;
        };
        let wait = FIRST_HUNGRY_WAIT.saturating_mul(1 << self.hungry_waits.min(6));
        let early = last + wait;
        if self.due.is_none_or(|due| early < due) {
            self.due = Some(early);
            self.hungry_waits += 1;
        }
    }

    /// When [`Announcer::take`] should be called next; none while waiting for an answer longer than that matters.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// When the missing answer means that the connection is dead.
    pub(super) fn dead_at(&self) -> Option<Time> {
        self.unanswered_since.map(|since| since + ANSWER_WITHIN)
    }

    /// The event to announce now, if it is time.
    pub(super) fn take(&mut self, now: Time) -> Option<Event> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        self.last = Some(now);
        self.unanswered_since.get_or_insert(now);
        Some(std::mem::take(&mut self.event))
    }

    /// The tracker answered, and wants the next announce in `interval` seconds; `foreign` when it speaks WebTorrent's protocol
    /// alone. Errors count as answers.
    pub(super) fn answered(&mut self, now: Time, interval: Option<u32>, foreign: bool) {
        self.unanswered_since = None;
        if !self.connected || self.event != Event::Update {
            return;
        }
        let interval = interval.map_or(LONGEST_INTERVAL / 60, |seconds| Duration::from_secs(seconds.into()));
        let longest = if foreign { LONGEST_FOREIGN_INTERVAL } else { LONGEST_INTERVAL };
        self.due = Some(now + interval.clamp(SHORTEST_INTERVAL, longest));
    }

    /// There is more to say than at the last announce: offers that were not ready then. Whatever the reply to that, it is
    /// not answered so again at once.
    pub(super) fn again(&mut self, now: Time) {
        let is_early = self.repeated.is_some_and(|last| now < last + LEAST_REPEAT);
        if self.connected && !is_early {
            self.repeated = Some(now);
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
        }
    }

    /// Somebody was found: hunger starts from the beginning.
    pub(super) fn fed(&mut self) {
        self.hungry_waits = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_connection_is_greeted_with_started_and_then_left_alone_for_the_interval() {
        let mut announcer = Announcer::default();
        assert_eq!(announcer.due(), None);
        announcer.connected(at(1));
        assert_eq!(announcer.take(at(1)), Some(Event::Started));
        assert_eq!(announcer.take(at(1)), None);
        announcer.answered(at(2), Some(120), false);
        assert_eq!(announcer.due(), Some(at(122)));
        assert_eq!(announcer.take(at(121)), None);
        assert_eq!(announcer.take(at(122)), Some(Event::Update));
    }

    #[test]
    fn completion_is_announced_at_once_and_only_to_who_knows_us() {
        let mut announcer = Announcer::default();
        announcer.completed(at(0));
        assert_eq!(announcer.due(), None);
        announcer.connected(at(1));
        announcer.completed(at(1));
        assert_eq!(announcer.take(at(1)), Some(Event::Started));
        announcer.answered(at(1), Some(120), false);
        announcer.completed(at(5));
        announcer.answered(at(5), Some(120), false);
        assert_eq!(announcer.take(at(5)), Some(Event::Completed));
    }

    #[test]
    fn hunger_announces_early_but_ever_less_so() {
        let mut announcer = Announcer::default();
        announcer.connected(at(0));
        let mut times = Vec::new();
        for _ in 0..5 {
            let due = announcer.due().unwrap();
            announcer.take(due);
            announcer.answered(due, Some(120), false);
            announcer.want_peers();
            announcer.want_peers();
            times.push(due.as_duration().as_secs());
        }
        assert_eq!(times, [0, 3, 9, 21, 45]);
    }

    #[test]
    fn absurd_intervals_are_brought_to_reason() {
        let mut announcer = Announcer::default();
        announcer.connected(at(0));
        announcer.take(at(0));
        announcer.answered(at(0), Some(0), false);
        assert_eq!(announcer.due(), Some(at(15)));
        announcer.take(at(15));
        announcer.answered(at(15), Some(u32::MAX), false);
        assert_eq!(announcer.due(), Some(at(15 + 3600)));
    }

    #[test]
    fn a_foreign_tracker_hears_of_us_before_it_takes_the_socket_for_dead() {
        let mut announcer = Announcer::default();
        announcer.connected(at(0));
        announcer.take(at(0));
        announcer.answered(at(0), Some(120), true);
        assert_eq!(announcer.due(), Some(at(55)));
    }

    #[test]
    fn offers_that_become_ready_after_the_answer_are_announced_at_once() {
        let mut announcer = Announcer::default();
        announcer.again(at(0));
        assert_eq!(announcer.due(), None);
        announcer.connected(at(0));
        announcer.take(at(0));
        announcer.answered(at(0), Some(120), false);
        announcer.again(at(1));
        assert_eq!(announcer.take(at(1)), Some(Event::Update));
        announcer.answered(at(1), Some(120), false);
        announcer.again(at(2));
        assert_eq!(announcer.due(), Some(at(121)), "no reply makes us talk without end");
        announcer.again(at(11));
        assert_eq!(announcer.due(), Some(at(11)));
    }

    #[test]
    fn silence_after_an_announce_is_noticed() {
        let mut announcer = Announcer::default();
        announcer.connected(at(0));
        announcer.take(at(0));
        assert_eq!(announcer.dead_at(), Some(at(20)));
        announcer.answered(at(3), None, false);
        assert_eq!(announcer.dead_at(), None);
    }
}
