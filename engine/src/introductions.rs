//! What it takes to carry offers and answers for others: what each neighbour says and may say, and which offers were
//! forwarded, so that their answers may be.

use std::time::Duration;

use shared::order::SortedSet;
use shared::{OfferId, PeerId};

use crate::api::Time;

/// What a peer may send: so many `enxame_signal` messages at once, …
const MAY_SEND: Allowance = Allowance { burst: 30, every: Duration::from_secs(2) };
/// What we send: less, since what was sent evenly can arrive in a heap.
const WE_SEND: Allowance = Allowance { burst: 20, every: Duration::from_secs(3) };
/// Members are told this often at most.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A neighbour by which so many offers in a row came or went without leading anywhere is not relied on any more.
const MAX_FRUITLESS: u32 = 12;
/// Offers that were forwarded and may yet be answered, at most, …
const MAX_FORWARDS: usize = 64;
/// … and of those that one peer made.
const MAX_FORWARDS_OF_ONE: usize = 16;
/// An answer is forwarded for this long after its offer was.
const FORWARD_PATIENCE: Duration = Duration::from_secs(120);

/// A bound on messages over time.
#[derive(Debug)]
struct Allowance {
    burst: u32,
    /// … and one more after each of these.
    every: Duration,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled_at: Time,
}

impl Bucket {
    /// Takes a token if more than `reserve` are there.
    fn take(&mut self, now: Time, allowance: &Allowance, reserve: u32) -> bool {
        let drops = now.since(self.filled_at).as_millis() / allowance.every.as_millis();
        // Above the burst, how many more does not matter.
        let drops = drops.min(u128::from(allowance.burst)) as u32;
        self.tokens = (self.tokens + drops).min(allowance.burst);
        self.filled_at =
            if self.tokens == allowance.burst { now } else { self.filled_at + allowance.every * drops };
        let enough = self.tokens > reserve;
        self.tokens -= u32::from(enough);
        enough
    }
}

/// How much a message of ours matters: the others leave room for those that matter more.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weight {
    /// Somebody waits for it.
    Answer = 0,
    /// It can go another way.
    Offer = 4,
    /// It can wait.
    Members = 8,
}

/// One peer in its part of a neighbour.
#[derive(Debug)]
pub(crate) struct Neighbour {
    /// Whom it is linked to, as it says. The wire bounds how many.
    pub(crate) members: SortedSet<PeerId>,
    told: Vec<PeerId>,
    told_at: Option<Time>,
    came: Bucket,
    went: Bucket,
    fruitless: u32,
}

impl Neighbour {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            members: SortedSet::new(),
            told: Vec::new(),
            told_at: None,
            came: Bucket { tokens: MAY_SEND.burst, filled_at: now },
            went: Bucket { tokens: WE_SEND.burst, filled_at: now },
            fruitless: 0,
        }
    }

    /// It sent a message; whether it may.
    pub(crate) fn may_send(&mut self, now: Time) -> bool {
        self.came.take(now, &MAY_SEND, 0)
    }

    /// Whether we may send it one; if so, that is done with this call.
    pub(crate) fn may_hear(&mut self, now: Time, weight: Weight) -> bool {
        self.went.take(now, &WE_SEND, weight as u32)
    }

    /// Whether it is to be told of these members now; or when to ask again.
    pub(crate) fn tell(&mut self, now: Time, members: Vec<PeerId>) -> Telling {
        if members == self.told {
            return Telling::Known;
        }
        if let Some(due) = self.told_at.map(|at| at + TELL_EVERY).filter(|due| *due > now) {
            return Telling::Later(due);
        }
        if !self.may_hear(now, Weight::Members) {
            return Telling::Later(now + TELL_EVERY);
        }
        self.told_at = Some(now);
        self.told.clone_from(&members);
        Telling::Now(members)
    }

    /// An offer came or went by it, and led to nothing; or to something.
    pub(crate) fn bore(&mut self, fruit: bool) {
        self.fruitless = if fruit { 0 } else { self.fruitless + 1 };
    }

    /// Whether its introductions are worth a connection.
    pub(crate) fn is_reliable(&self) -> bool {
        self.fruitless < MAX_FRUITLESS
    }
}

/// What [`Neighbour::tell`] decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It knows.
    Known,
    /// Send it these.
    Now(Vec<PeerId>),
    /// Ask again then.
    Later(Time),
}

/// An offer that was forwarded.
#[derive(Debug)]
struct Forward {
    from: PeerId,
    to: PeerId,
    offer_id: OfferId,
    at: Time,
}

/// Offers that were forwarded and may yet be answered.
///
/// Invariant: at most [`MAX_FORWARDS`], and of one peer [`MAX_FORWARDS_OF_ONE`].
#[derive(Debug, Default)]
pub(crate) struct Forwards(Vec<Forward>);

impl Forwards {
    /// Notes an offer that is about to be forwarded, if it may be.
    pub(crate) fn open(&mut self, now: Time, from: PeerId, to: PeerId, offer_id: OfferId) -> bool {
        self.0.retain(|forward| now.since(forward.at) < FORWARD_PATIENCE);
        let of_one = self.0.iter().filter(|forward| forward.from == from).count();
        let again = self.0.iter().any(|forward| forward.is(from, to, offer_id));
        if again || of_one >= MAX_FORWARDS_OF_ONE || self.0.len() >= MAX_FORWARDS {
            return false;
        }
        self.0.push(Forward { from, to, offer_id, at: now });
        true
    }

    /// `answerer` answers an offer of `offerer`'s; whether that was forwarded and not answered before.
    pub(crate) fn answer(&mut self, now: Time, offerer: PeerId, answerer: PeerId, offer_id: OfferId) -> bool {
        let place = self.0.iter().position(|forward| forward.is(offerer, answerer, offer_id));
        place.is_some_and(|place| now.since(self.0.swap_remove(place).at) < FORWARD_PATIENCE)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Forward {
    fn is(&self, from: PeerId, to: PeerId, offer_id: OfferId) -> bool {
        self.from == from && self.to == to && self.offer_id == offer_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_start(Duration::from_secs(seconds))
    }

    fn id(n: u8) -> PeerId {
        PeerId::new([n; 20])
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_at_a_time() {
        let mut neighbour = Neighbour::new(at(0));
        let at_once = (0..100).filter(|_| neighbour.may_send(at(0))).count();
        assert_eq!(at_once, 30);
        let later = (1..=100).filter(|second| neighbour.may_send(at(*second))).count();
        assert_eq!(later, 50);
        assert_eq!((0..100).filter(|_| neighbour.may_send(at(100_000))).count(), 30);
    }

    #[test]
    fn what_we_send_is_never_more_than_what_is_borne() {
        let (mut ours, mut theirs) = (Neighbour::new(at(0)), Neighbour::new(at(0)));
        // All that we send in half a minute arrives at its end.
        let sent =
            (0..30).flat_map(|second| [at(second); 10]).filter(|now| ours.may_hear(*now, Weight::Answer));
        for _ in 0..sent.count() {
            assert!(theirs.may_send(at(30)));
        }
    }

    #[test]
    fn what_can_wait_leaves_room_for_what_cannot() {
        let mut neighbour = Neighbour::new(at(0));
        let count = |neighbour: &mut Neighbour, weight| {
            (0..100).filter(|_| neighbour.may_hear(at(0), weight)).count()
        };
        assert_eq!(count(&mut neighbour, Weight::Members), 12);
        assert_eq!(count(&mut neighbour, Weight::Offer), 4);
        assert_eq!(count(&mut neighbour, Weight::Answer), 4);
    }

    #[test]
    fn members_are_told_when_they_change_but_not_too_often() {
        let mut neighbour = Neighbour::new(at(0));
        assert_eq!(neighbour.tell(at(0), vec![]), Telling::Known);
        assert_eq!(neighbour.tell(at(0), vec![id(1)]), Telling::Now(vec![id(1)]));
        assert_eq!(neighbour.tell(at(9), vec![id(1)]), Telling::Known);
        assert_eq!(neighbour.tell(at(9), vec![]), Telling::Now(vec![]));
        assert_eq!(neighbour.tell(at(10), vec![id(2)]), Telling::Later(at(14)));
        assert_eq!(neighbour.tell(at(14), vec![id(2)]), Telling::Now(vec![id(2)]));
    }

    #[test]
    fn an_answer_is_forwarded_once_to_who_made_the_offer_and_in_time() {
        let mut forwards = Forwards::default();
        let offer = OfferId::new([9; 20]);
        assert!(forwards.open(at(0), id(1), id(2), offer));
        assert!(!forwards.open(at(0), id(1), id(2), offer));
        assert!(!forwards.answer(at(1), id(1), id(3), offer));
        assert!(!forwards.answer(at(1), id(3), id(2), offer));
        assert!(forwards.answer(at(1), id(1), id(2), offer));
        assert!(!forwards.answer(at(1), id(1), id(2), offer));
        assert!(forwards.open(at(2), id(1), id(2), offer));
        assert!(!forwards.answer(at(122), id(1), id(2), offer));
    }

    #[test]
    fn forwards_are_bounded_and_one_peer_cannot_have_them_all() {
        let mut forwards = Forwards::default();
        let offer = |n| OfferId::new([n; 20]);
        assert_eq!((0..100).filter(|n| forwards.open(at(0), id(1), id(2), offer(*n))).count(), 16);
        let others = (0..200).filter(|n| forwards.open(at(0), id(3 + n / 10), id(2), offer(*n)));
        assert_eq!(others.count(), 48);
        assert!(forwards.open(at(120), id(1), id(2), offer(0)), "time makes room");
    }
}
