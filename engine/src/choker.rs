//! Whom to serve: everybody while there are few; when there are more than slots, those who give most (or, when there is
//! nothing left to want, those who take fastest), and one more by turns, so that newcomers get their chance (BEP 3's
//! optimistic unchoke).

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

use crate::api::{LinkId, Time};

/// How often slots are given anew.
pub(crate) const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// How often the turn goes to another.
const TURN_EVERY: Duration = Duration::from_secs(30);

/// A peer that could be served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// Its link.
    pub(crate) link: LinkId,
    /// Bytes a second that count in its favour.
    pub(crate) rate: f64,
}

/// Gives the slots.
#[derive(Debug)]
pub(crate) struct Choker {
    slots: usize,
    turn: Option<LinkId>,
    turn_ends: Time,
}

impl Choker {
    /// `slots` peers are served at a time; at least two.
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: slots.max(2), turn: None, turn_ends: Time::default() }
    }

    /// Number of peers that are served at a time.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Which of these to serve from now on.
    pub(crate) fn choose(&mut self, now: Time, contenders: &[Contender], rng: &mut Rng) -> BTreeSet<LinkId> {
        if contenders.len() <= self.slots {
            return contenders.iter().map(|contender| contender.link).collect();
        }
        let mut ranking: Vec<_> = contenders.iter().map(|contender| (rng.u32(..), *contender)).collect();
        ranking.sort_by(|(dice_a, a), (dice_b, b)| b.rate.total_cmp(&a.rate).then(dice_a.cmp(dice_b)));
        let mut chosen: BTreeSet<_> =
            ranking.iter().take(self.slots - 1).map(|(_, contender)| contender.link).collect();
        let others: Vec<_> = ranking
            .iter()
            .map(|(_, contender)| contender.link)
            .filter(|link| !chosen.contains(link))
            .collect();
        let in_turn = self.turn.filter(|link| now < self.turn_ends && others.contains(link));
        let turn = in_turn.or_else(|| rng.choice(&others).copied());
        if in_turn.is_none() {
            self.turn_ends = now + TURN_EVERY;
        }
        self.turn = turn;
        chosen.extend(turn);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contenders(count: u64) -> Vec<Contender> {
        (0..count).map(|n| Contender { link: LinkId(n), rate: n as f64 }).collect()
    }

    #[test]
    fn a_small_swarm_is_served_whole() {
        let chosen = Choker::new(4).choose(Time::default(), &contenders(4), &mut Rng::with_seed(1));
        assert_eq!(chosen.len(), 4);
    }

    #[test]
    fn the_best_keep_their_slots_and_the_turn_goes_round() {
        let mut choker = Choker::new(4);
        let mut rng = Rng::with_seed(1);
        let mut turns = BTreeSet::new();
        for minute in 0..60 {
            let now = Time::since_start(Duration::from_secs(60 * minute));
            let chosen = choker.choose(now, &contenders(10), &mut rng);
            assert_eq!(chosen.len(), 4);
            assert!([7, 8, 9].iter().all(|n| chosen.contains(&LinkId(*n))));
            turns.extend(chosen);
            let again = choker.choose(now + Duration::from_secs(10), &contenders(10), &mut rng);
            assert!(again.is_subset(&turns));
        }
        assert_eq!(turns.len(), 10);
    }
}
