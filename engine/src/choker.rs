//! Whom to serve: everybody while there are few; when there are more than slots, by merit, and by turns.
//!
//! Who downloads gives its slots to those who gave it most lately (tit for tat), and one by turns, so that newcomers get
//! their chance and better partners are found (BEP 3's optimistic unchoke). Who has everything has nothing to be given: half
//! of its slots go to those who take fastest, so that its line is used, and half go round, to whoever has waited longest
//! (Legout et al. 2006 found that going round spreads better and gives free riders less than speed alone). A swarm's first
//! seeder has merit to go by: who passes on what it got; so only a quarter goes round.

use std::cmp::Reverse;
use std::time::Duration;

use fastrand::Rng;
use shared::order::{SortedMap, SortedSet, sorted};

use crate::api::{LinkId, Time};

/// How often slots are given anew.
pub(crate) const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// How soon they are when one has become free.
pub(crate) const REVIEW_SOON: Duration = Duration::from_secs(1);
/// How long a turn is.
const TURN: Duration = Duration::from_secs(30);
/// A rate is measured over at least this time.
const MEASURE: Duration = Duration::from_secs(5);
/// A newcomer is this many times as likely to get a turn (as BEP 3's author had it).
const NEWCOMER: usize = 3;

/// What decides whom to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It wants something in return.
    Downloader,
    /// It has everything.
    Seeder,
    /// It has everything, and nobody else has: what it gives to one that keeps it, it has to give again.
    FirstSeeder,
}

impl Role {
    /// Of so many slots, those that go round.
    fn by_turns(self, slots: usize) -> usize {
        match self {
            Self::Downloader => 1,
            Self::Seeder => slots.div_ceil(2),
            Self::FirstSeeder => slots.div_ceil(4),
        }
    }
}

/// A peer that could be served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// Its link.
    pub(crate) link: LinkId,
    /// Bytes that count in its favour, since the link opened.
    pub(crate) bytes: u64,
    /// It was asked and does not answer: no merit (anti-snubbing).
    pub(crate) snubs: bool,
    /// It has nothing to give yet.
    pub(crate) newcomer: bool,
}

/// Gives the slots.
#[derive(Debug)]
pub(crate) struct Choker {
    slots: usize,
    /// Whose turn it is, and until when.
    turns: SortedMap<LinkId, Time>,
    /// Each contender's bytes at the start of the measure.
    before: SortedMap<LinkId, (Time, u64)>,
    /// When each contender was served last.
    served: SortedMap<LinkId, Time>,
}

impl Choker {
    /// `slots` peers are served at a time; none if that is zero, else at least two.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: if slots == 0 { 0 } else { slots.max(2) },
            turns: SortedMap::new(),
            before: SortedMap::new(),
            served: SortedMap::new(),
        }
    }

    /// Number of peers that are served at a time.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Whether this link is served by turns now, and not by merit.
    pub(crate) fn has_turn(&self, now: Time, link: LinkId) -> bool {
        self.turns.get(&link).is_some_and(|ends| now < *ends)
    }

    /// Which of these to serve from now on.
    pub(crate) fn choose(
        &mut self,
        now: Time,
        role: Role,
        contenders: &[Contender],
        rng: &mut Rng,
    ) -> SortedSet<LinkId> {
        let rates = self.measure(now, contenders);
        let mut chosen: SortedSet<LinkId> = SortedSet::new();
        if self.slots == 0 {
            return chosen;
        }
        if contenders.len() <= self.slots {
            chosen.extend(contenders.iter().map(|contender| contender.link));
        } else {
            let by_turns = role.by_turns(self.slots);
            // Rates are never negative, and so in the order of their bits.
            let ranking = rates.iter().enumerate();
            let ranking =
                ranking.map(|(place, rate)| (Reverse(rate.to_bits()), rng.u32(..), place)).collect();
            let merit = sorted(ranking).into_iter().take(self.slots - by_turns);
            chosen.extend(merit.map(|(_, _, place)| contenders[place].link));
            let others: Vec<Contender> =
                contenders.iter().filter(|other| !chosen.contains(&other.link)).copied().collect();
            self.take_turns(now, role != Role::Downloader, by_turns, others, rng);
            chosen.extend(self.turns.keys().copied());
        }
        for link in chosen.iter() {
            self.served.insert(*link, now);
        }
        chosen
    }

    /// Bytes a second of each, zero for those who snub. Forgets those who are no longer there.
    fn measure(&mut self, now: Time, contenders: &[Contender]) -> Vec<f64> {
        let there: SortedSet<_> = contenders.iter().map(|contender| contender.link).collect();
        self.before.retain(|link, _| there.contains(link));
        self.served.retain(|link, _| there.contains(link));
        let rate = |contender: &Contender| {
            let (since, before) = self.before.get_or_insert_with(contender.link, || (now, contender.bytes));
            let elapsed = now.since(*since);
            let rate = contender.bytes.saturating_sub(*before) as f64 / elapsed.max(MEASURE).as_secs_f64();
            if elapsed >= MEASURE {
                (*since, *before) = (now, contender.bytes);
            }
            if contender.snubs { 0.0 } else { rate }
        };
        contenders.iter().map(rate).collect()
    }

    /// Ends turns, and gives those that are free.
    fn take_turns(
        &mut self,
        now: Time,
        complete: bool,
        by_turns: usize,
        mut others: Vec<Contender>,
        rng: &mut Rng,
    ) {
        self.turns.retain(|link, ends| now < *ends && others.iter().any(|other| other.link == *link));
        while self.turns.len() > by_turns {
            self.turns.pop_last();
        }
        others.retain(|other| !self.turns.contains_key(&other.link));
        rng.shuffle(&mut others);
        // Who has waited longest comes first; the others are in random order.
        let waited = |other: &Contender| self.served.get(&other.link).copied().filter(|_| complete);
        let order = sorted(others.iter().enumerate().map(|(place, other)| (waited(other), place)).collect());
        others = order.into_iter().map(|(_, place)| others[place]).collect();
        if !complete {
            let newcomers = others.iter().filter(|other| other.newcomer).copied();
            let again: Vec<_> = newcomers.flat_map(|newcomer| [newcomer; NEWCOMER - 1]).collect();
            others.extend(again);
            rng.shuffle(&mut others);
        }
        for other in others {
            if self.turns.len() >= by_turns {
                break;
            }
            self.turns.insert(other.link, now + TURN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_start(Duration::from_secs(seconds))
    }

    /// Contender n has given n times 1,000 bytes for each second.
    fn contenders(count: u64, seconds: u64) -> Vec<Contender> {
        let contender =
            |n| Contender { link: LinkId(n), bytes: n * 1000 * seconds, snubs: false, newcomer: false };
        (0..count).map(contender).collect()
    }

    #[test]
    fn a_small_swarm_is_served_whole_and_without_slots_nobody_is() {
        let rng = &mut Rng::with_seed(1);
        assert_eq!(Choker::new(4).choose(at(0), Role::Downloader, &contenders(4, 0), rng).len(), 4);
        assert!(Choker::new(0).choose(at(0), Role::Downloader, &contenders(4, 0), rng).is_empty());
    }

    #[test]
    fn those_who_give_most_keep_their_slots_and_one_turn_goes_round() {
        let mut choker = Choker::new(4);
        let mut rng = Rng::with_seed(1);
        let mut served = SortedSet::new();
        choker.choose(at(0), Role::Downloader, &contenders(10, 0), &mut rng);
        for second in (10..3600).step_by(10) {
            let chosen = choker.choose(at(second), Role::Downloader, &contenders(10, second), &mut rng);
            assert_eq!(chosen.len(), 4);
            assert!([7, 8, 9].iter().all(|n| chosen.contains(&LinkId(*n))), "{second}: {chosen:?}");
            served.extend(chosen);
        }
        assert_eq!(served.len(), 10);
    }

    #[test]
    fn who_snubs_has_no_merit() {
        let mut choker = Choker::new(3);
        let mut rng = Rng::with_seed(1);
        choker.choose(at(0), Role::Downloader, &contenders(6, 0), &mut rng);
        let mut contenders = contenders(6, 10);
        contenders[5].snubs = true;
        let chosen = choker.choose(at(10), Role::Downloader, &contenders, &mut rng);
        assert!(chosen.contains(&LinkId(4)) && chosen.contains(&LinkId(3)), "{chosen:?}");
    }

    #[test]
    fn who_gave_much_once_and_stopped_loses_its_slot() {
        let mut choker = Choker::new(3);
        let mut rng = Rng::with_seed(1);
        choker.choose(at(0), Role::Downloader, &contenders(9, 0), &mut rng);
        choker.choose(at(10), Role::Downloader, &contenders(9, 10), &mut rng);
        let mut later = contenders(9, 20);
        later[8].bytes = 8 * 1000 * 10;
        let chosen = choker.choose(at(20), Role::Downloader, &later, &mut rng);
        assert!(chosen.contains(&LinkId(7)) && chosen.contains(&LinkId(6)), "{chosen:?}");
    }

    #[test]
    fn half_of_a_seeders_slots_go_round_so_that_nobody_waits_long() {
        let mut choker = Choker::new(4);
        let mut rng = Rng::with_seed(1);
        let mut served = SortedSet::new();
        choker.choose(at(0), Role::Seeder, &contenders(12, 0), &mut rng);
        // Ten others in pairs, half a minute each, and one half minute under way.
        for second in (10..=180).step_by(10) {
            let chosen = choker.choose(at(second), Role::Seeder, &contenders(12, second), &mut rng);
            assert!(chosen.contains(&LinkId(11)) && chosen.contains(&LinkId(10)), "{chosen:?}");
            served.extend(chosen);
        }
        assert_eq!(served.len(), 12);
    }

    #[test]
    fn a_quarter_of_the_first_seeders_slots_go_round() {
        let mut choker = Choker::new(8);
        let mut rng = Rng::with_seed(1);
        let mut served = SortedSet::new();
        choker.choose(at(0), Role::FirstSeeder, &contenders(20, 0), &mut rng);
        for second in (10..=300).step_by(10) {
            let chosen = choker.choose(at(second), Role::FirstSeeder, &contenders(20, second), &mut rng);
            assert!((14..20).all(|n| chosen.contains(&LinkId(n))), "{second}: {chosen:?}");
            served.extend(chosen);
        }
        assert_eq!(served.len(), 20);
    }

    #[test]
    fn newcomers_get_the_turn_more_often() {
        let mut rng = Rng::with_seed(1);
        let mut count = 0;
        for _ in 0..1000 {
            let mut choker = Choker::new(2);
            let mut contenders = contenders(5, 1);
            choker.choose(at(0), Role::Downloader, &contenders, &mut rng);
            contenders.iter_mut().for_each(|contender| contender.bytes += contender.link.0);
            contenders[0].newcomer = true;
            let chosen = choker.choose(at(40), Role::Downloader, &contenders, &mut rng);
            count += usize::from(chosen.contains(&LinkId(0)));
        }
        // Three in six.
        assert!((400..600).contains(&count), "{count}");
    }
}
