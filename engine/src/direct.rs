//! Direct links that could be, are being made, or broke: whom to try, when again, and where each attempt stands.
//!
//! One [`Prospect`] a peer. Ours is an *attempt*: the transport makes an offer, which goes one way after the other until it
//! is answered. Theirs is an *answer*: the transport takes an offer, and its answer goes back the way the offer came.
//! The session decides which ways there are; nothing here says anything to anybody.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use shared::order::SortedMap;
use shared::{OfferId, PeerId};

use crate::api::{DirectFailure, LinkId, Signal, Time, WhyRelayed};

/// Peers that are remembered, at most: several times what trackers and neighbours name.
const MAX_PROSPECTS: usize = 500;
/// Of these, so many places are not for those of whom only neighbours speak.
const RESERVED: usize = 200;
/// After so many failures in a row a tracker's word that a peer is there counts no more, until it gives it again.
const MAX_FAILURES: usize = 3;
/// Pauses after the first, second, … failure in a row; the last one for all further ones. Each gets jitter.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60), Duration::from_secs(300)];
/// A direct link that was open for this long makes all failures before it forgotten.
const HELD: Duration = Duration::from_secs(30);
/// An attempt of which nothing was heard for this long has failed; the transport's own patience is shorter.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(90);
/// An offer that was taken and did not become a link for this long never will.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Offers of others that may be in hand at a time. Each is a connection in the browser.
const MAX_ANSWERS: usize = 20;
/// The least time between two offers of one peer that are taken, after none, one, two, … of them came to nothing: shorter
/// than [`PAUSES`], so that only those who do not keep to them are turned away.
const OFFER_GAPS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(4), Duration::from_secs(10), Duration::from_secs(50)];
/// Offers whose end is remembered, so that a late answer is not taken for one that nobody asked for.
const MAX_RECENT: usize = 64;

/// How an offer or an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over a link to that very peer.
    Link(LinkId),
    /// Through a tracker.
    Tracker,
    /// Through the neighbour at this link.
    Neighbour(LinkId),
}

impl Way {
    /// The link it needs.
    pub(crate) fn link(self) -> Option<LinkId> {
        match self {
            Self::Link(link) | Self::Neighbour(link) => Some(link),
            Self::Tracker => None,
        }
    }
}

/// A direct link that this side wants.
#[derive(Debug)]
pub(crate) struct Attempt {
    since: Time,
    /// What our transport made, once it has.
    pub(crate) offer: Option<Signal>,
    /// How it travels; `None` while there is no way.
    pub(crate) way: Option<Way>,
    /// Ways that it could not go.
    pub(crate) tried: Vec<Way>,
    /// The answer has come (as far as it comes this way: answers that trackers bring go to the transport alone).
    pub(crate) answered: bool,
}

/// A direct link that the other side wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    since: Time,
    /// The offer.
    pub(crate) offer_id: OfferId,
    /// How it came, and the answer goes.
    pub(crate) way: Way,
    /// The answer went out.
    pub(crate) sent: bool,
}

/// A peer that takes direct links, or made an offer.
#[derive(Debug)]
pub(crate) struct Prospect {
    /// A tracker said that it is there and takes direct links, and nothing has spoken against it since.
    pub(crate) named: bool,
    /// It has everything, so that it is of no use to one that has everything, too.
    pub(crate) complete: bool,
    /// Not tried before.
    pub(crate) not_before: Time,
    /// Ours.
    pub(crate) attempt: Option<Attempt>,
    /// Theirs.
    pub(crate) answer: Option<Answer>,
    /// What became of the last attempt, if it came to nothing.
    pub(crate) why: Option<WhyRelayed>,
    failures: usize,
    /// When its last offer was taken, and how many were in vain since one was not.
    last_offer: Option<Time>,
    vain_offers: usize,
}

impl Prospect {
    fn new(now: Time) -> Self {
        Self {
            named: false,
            complete: false,
            not_before: now,
            attempt: None,
            answer: None,
            why: None,
            failures: 0,
            last_offer: None,
            vain_offers: 0,
        }
    }

    /// When what is under way counts as failed.
    pub(crate) fn expires(&self) -> Option<Time> {
        let attempt = self.attempt.as_ref().map(|attempt| attempt.since + ATTEMPT_PATIENCE);
        let answer = self.answer.map(|answer| answer.since + ANSWER_PATIENCE);
        attempt.into_iter().chain(answer).min()
    }

    fn failed(&mut self, now: Time, why: WhyRelayed, rng: &mut Rng) {
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.failures += 1;
        self.named &= self.failures < MAX_FAILURES;
        self.why = Some(why);
        // One to one and a half times as long, so that two who lost each other do not reach out at the same moment.
        self.not_before = now + pause.mul_f64(1.0 + rng.f64() / 2.0);
    }
}

/// All of them.
///
/// Invariant: at most [`MAX_PROSPECTS`].
#[derive(Debug, Default)]
pub(crate) struct Directs {
    prospects: SortedMap<PeerId, Prospect>,
    recent: VecDeque<OfferId>,
}

impl Directs {
    /// This peer's, if it is known.
    pub(crate) fn get(&self, peer: PeerId) -> Option<&Prospect> {
        self.prospects.get(&peer)
    }

    /// This peer's, if it is known.
    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Prospect> {
        self.prospects.get_mut(&peer)
    }

    /// This peer's, from now on known; where there are too many, instead of the one that would be tried last. `None` when
    /// something is under way with all of them.
    pub(crate) fn know(&mut self, now: Time, peer: PeerId) -> Option<&mut Prospect> {
        if self.prospects.len() >= MAX_PROSPECTS && !self.prospects.contains_key(&peer) {
            let idle = self.prospects.iter().filter(|(_, prospect)| prospect.expires().is_none());
            let last = idle.max_by_key(|(_, prospect)| prospect.not_before).map(|(peer, _)| *peer)?;
            self.prospects.remove(&last);
        }
        Some(self.prospects.get_or_insert_with(peer, || Prospect::new(now)))
    }

    /// A neighbour speaks of this peer.
    pub(crate) fn hear_of(&mut self, now: Time, peer: PeerId) {
        if self.prospects.len() < MAX_PROSPECTS - RESERVED {
            self.know(now, peer);
        }
    }

    /// A tracker says that this peer is there and takes direct links.
    pub(crate) fn named(&mut self, now: Time, peer: PeerId) {
        let Some(prospect) = self.know(now, peer) else { return };
        prospect.named = true;
        if prospect.why == Some(WhyRelayed::NoAnswer) {
            prospect.not_before = prospect.not_before.min(now);
        }
    }

    /// All peers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Prospect)> {
        self.prospects.iter().map(|(peer, prospect)| (*peer, prospect))
    }

    /// Forgets this peer.
    pub(crate) fn remove(&mut self, peer: PeerId) {
        self.prospects.remove(&peer);
    }

    /// An attempt begins: the transport is asked for an offer.
    pub(crate) fn begin(&mut self, now: Time, peer: PeerId) {
        if let Some(prospect) = self.prospects.get_mut(&peer) {
            let attempt = Attempt { since: now, offer: None, way: None, tried: Vec::new(), answered: false };
            prospect.attempt = Some(attempt);
        }
    }

    /// Attempts of ours that are under way.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (PeerId, &Attempt)> {
        self.iter().filter_map(|(peer, prospect)| Some((peer, prospect.attempt.as_ref()?)))
    }

    /// Offers of others that are in hand.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.prospects.values().filter_map(|prospect| prospect.answer.as_ref())
    }

    /// Ends our attempt, whatever became of it; as it was.
    pub(crate) fn drop_attempt(&mut self, peer: PeerId) -> Option<Attempt> {
        let attempt = self.prospects.get_mut(&peer)?.attempt.take()?;
        if let Some(offer) = &attempt.offer {
            if self.recent.len() >= MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(offer.offer_id);
        }
        Some(attempt)
    }

    /// Whether this offer was ours not long ago.
    pub(crate) fn was_ours(&self, offer_id: OfferId) -> bool {
        self.recent.contains(&offer_id)
    }

    /// Takes an offer of this peer's in hand, if there may be one more, now.
    pub(crate) fn take_offer(&mut self, now: Time, peer: PeerId, offer_id: OfferId, way: Way) -> bool {
        if self.answers().count() >= MAX_ANSWERS {
            return false;
        }
        let Some(prospect) = self.know(now, peer) else { return false };
        let gap = OFFER_GAPS[prospect.vain_offers.min(OFFER_GAPS.len() - 1)];
        let in_hand = prospect.answer.is_some_and(|answer| answer.offer_id == offer_id);
        if in_hand || prospect.last_offer.is_some_and(|last| now.since(last) < gap) {
            return false;
        }
        prospect.last_offer = Some(now);
        prospect.vain_offers += 1;
        prospect.answer = Some(Answer { since: now, offer_id, way, sent: false });
        true
    }

    /// A direct link to this peer is open: nothing is under way any more. The way by which the offer of it went.
    pub(crate) fn opened(&mut self, peer: PeerId, initiator: bool) -> Option<Way> {
        let attempt = self.drop_attempt(peer);
        let prospect = self.prospects.get_mut(&peer)?;
        prospect.vain_offers = 0;
        let answer = prospect.answer.take();
        if initiator { attempt?.way } else { Some(answer?.way) }
    }

    /// A direct link to this peer, open for so long, is no more, and should not have ended.
    pub(crate) fn broke(&mut self, now: Time, peer: PeerId, age: Duration, rng: &mut Rng) {
        let Some(prospect) = self.prospects.get_mut(&peer) else { return };
        if age >= HELD {
            prospect.failures = 0;
        }
        prospect.failed(now, WhyRelayed::Lost, rng);
    }

    /// What was under way to this peer came to nothing; the ways that it went, ours and theirs.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        peer: PeerId,
        why: DirectFailure,
        rng: &mut Rng,
    ) -> [Option<Way>; 2] {
        let attempt = self.drop_attempt(peer);
        let Some(prospect) = self.prospects.get_mut(&peer) else { return [None, None] };
        // That nobody answered is said of an offer of ours; theirs, which we answer, may yet come to something.
        let answer = match why {
            DirectFailure::NoAnswer => None,
            _ => prospect.answer.take(),
        };
        if attempt.is_some() || answer.is_some() {
            prospect.failed(now, why.into(), rng);
        }
        [attempt.and_then(|attempt| attempt.way), answer.map(|answer| answer.way)]
    }

    /// What was under way for too long; the peers whose attempts of ours those were, and the ways of the others' offers.
    pub(crate) fn expire(&mut self, now: Time) -> (Vec<PeerId>, Vec<Way>) {
        let late = |since: Time, patience| now.since(since) >= patience;
        let attempts = self.attempts().filter(|(_, attempt)| late(attempt.since, ATTEMPT_PATIENCE));
        let attempts = attempts.map(|(peer, _)| peer).collect();
        let mut answers = Vec::new();
        for prospect in self.prospects.values_mut() {
            if let Some(answer) = prospect.answer.take_if(|answer| late(answer.since, ANSWER_PATIENCE)) {
                answers.push(answer.way);
            }
        }
        (attempts, answers)
    }

    /// A link is gone: offers that went by it and are not answered need another way.
    pub(crate) fn link_gone(&mut self, link: LinkId) {
        for prospect in self.prospects.values_mut() {
            if let Some(attempt) = &mut prospect.attempt
                && !attempt.answered
                && attempt.way.and_then(Way::link) == Some(link)
            {
                attempt.way = None;
            }
        }
    }

    /// Nothing is under way any more.
    pub(crate) fn stop(&mut self) {
        let peers: Vec<_> = self.prospects.keys().copied().collect();
        for peer in peers {
            self.drop_attempt(peer);
            if let Some(prospect) = self.prospects.get_mut(&peer) {
                prospect.answer = None;
            }
        }
    }
}

impl From<DirectFailure> for WhyRelayed {
    fn from(why: DirectFailure) -> Self {
        match why {
            DirectFailure::NoAnswer => Self::NoAnswer,
            DirectFailure::NoPath => Self::NoPath,
            DirectFailure::TooMany => Self::TooMany,
            DirectFailure::Refused => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_start(Duration::from_secs(seconds))
    }

    fn id(n: u16) -> PeerId {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        PeerId::new(id)
    }

    #[test]
    fn failures_make_pauses_longer_until_a_link_has_held() {
        let (mut directs, mut rng) = (Directs::default(), Rng::with_seed(1));
        directs.named(at(0), id(1));
        let mut pauses = Vec::new();
        for _ in 0..5 {
            directs.begin(at(0), id(1));
            directs.failed(at(0), id(1), DirectFailure::NoPath, &mut rng);
            pauses.push(directs.get(id(1)).unwrap().not_before.as_duration());
        }
        for (pause, least) in pauses.iter().zip(PAUSES.into_iter().chain([PAUSES[3]])) {
            assert!((least..least.mul_f64(1.5)).contains(pause), "{pauses:?}");
        }
        directs.broke(at(0), id(1), HELD, &mut rng);
        assert!(directs.get(id(1)).unwrap().not_before < at(8));
        assert_eq!(directs.get(id(1)).unwrap().why, Some(WhyRelayed::Lost));
    }

    #[test]
    fn that_nobody_answered_our_offer_says_nothing_about_theirs() {
        let (mut directs, mut rng) = (Directs::default(), Rng::with_seed(1));
        assert!(directs.take_offer(at(0), id(1), OfferId::new([1; 20]), Way::Tracker));
        directs.failed(at(1), id(1), DirectFailure::NoAnswer, &mut rng);
        assert!(directs.get(id(1)).unwrap().answer.is_some());
        assert_eq!(directs.get(id(1)).unwrap().why, None);
        directs.failed(at(1), id(1), DirectFailure::NoPath, &mut rng);
        assert!(directs.get(id(1)).unwrap().answer.is_none());
    }

    #[test]
    fn offers_that_lead_to_nothing_are_taken_ever_more_rarely() {
        let mut directs = Directs::default();
        let offer = |n: u64| {
            let mut id = [0; 20];
            id[..8].copy_from_slice(&n.to_be_bytes());
            OfferId::new(id)
        };
        let taken =
            (0..600).filter(|second| directs.take_offer(at(*second), id(1), offer(*second), Way::Tracker));
        assert_eq!(taken.count(), 14);
        // Many peers' are bounded together.
        let peers = (2..200).filter(|n| directs.take_offer(at(600), id(*n), offer(0), Way::Tracker));
        assert_eq!(peers.count(), MAX_ANSWERS - 1);
        let (_, ways) = directs.expire(at(600) + ANSWER_PATIENCE);
        assert_eq!(ways.len(), MAX_ANSWERS);
    }

    #[test]
    fn prospects_and_memories_of_offers_are_bounded() {
        let mut directs = Directs::default();
        for n in 0..2000 {
            directs.hear_of(at(0), id(n));
        }
        assert_eq!(directs.iter().count(), MAX_PROSPECTS - RESERVED);
        directs.named(at(0), id(1));
        directs.begin(at(0), id(1));
        for n in 2000..4000 {
            directs.named(at(1), id(n));
        }
        assert_eq!(directs.iter().count(), MAX_PROSPECTS);
        assert!(directs.get(id(1)).is_some(), "one that is being tried was forgotten");
        for n in 0..200_u8 {
            directs.begin(at(0), id(1));
            let description = shared::signal::SessionDescription { kind: "offer".into(), sdp: "x".into() };
            let offer = Signal { offer_id: OfferId::new([n; 20]), description };
            directs.get_mut(id(1)).unwrap().attempt.as_mut().unwrap().offer = Some(offer);
            directs.drop_attempt(id(1));
        }
        assert_eq!(directs.recent.len(), MAX_RECENT);
        assert!(directs.was_ours(OfferId::new([199; 20])) && !directs.was_ours(OfferId::new([0; 20])));
    }
}
