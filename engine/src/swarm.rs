//! The peers of one torrent: those that are linked, those that could be, and those that never will be again.
//!
//! A link is named by its [`LinkId`] and leads to one peer, named by its [`PeerId`]; a peer may have several links, of
//! which the session keeps the best.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use shared::PeerId;
use shared::order::{SortedMap, SortedSet};

use crate::api::{LinkId, Time};
use crate::links::Links;
use crate::peer::Peer;

/// Peers that are known but not linked, at most; further ones are not remembered. Several times what a tracker names.
const MAX_CANDIDATES: usize = 500;
/// Bans that are remembered, at most.
const MAX_BANNED: usize = 4096;
/// Attempts to reach peers that may be under way at a time.
const MAX_DIALING: usize = 12;
/// An attempt that was not answered after this long counts as failed.
const DIAL_PATIENCE: Duration = Duration::from_secs(60);
/// Pause after the first failed attempt; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// A candidate that failed so often is forgotten until the tracker names it again.
const MAX_FAILURES: u32 = 5;

/// Whether, and when, to reach for a peer.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    failures: u32,
    /// Since when an attempt is under way.
    dialing: Option<Time>,
    not_before: Time,
    /// It has everything, so that it is of no use to one that has everything, too.
    complete: bool,
}

/// All peers.
#[derive(Debug, Default)]
pub(crate) struct Swarm {
    /// Linked peers.
    pub(crate) links: Links,
    candidates: SortedMap<PeerId, Candidate>,
    pub(crate) banned: SortedSet<PeerId>,
    /// The same, in the order in which they were banned.
    bans: VecDeque<PeerId>,
    /// When [`Self::dial`] has to look at the candidates; `None` when nothing would come of it until something changes.
    /// Looking at every event would be most of what a session in a large swarm does.
    look_at: Option<Time>,
}

impl Swarm {
    /// The peer at this link.
    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Peer> {
        self.links.get_mut(&link)
    }

    /// The links to this peer, but for `except`.
    pub(crate) fn links_to(&self, peer: PeerId, except: LinkId) -> Vec<LinkId> {
        self.links.to(peer, except)
    }

    /// Whether there is a link to this peer.
    pub(crate) fn is_linked(&self, peer: PeerId) -> bool {
        self.links.lead_to(peer)
    }

    /// Linked peers, those with several links counted once.
    pub(crate) fn peer_count(&self) -> usize {
        self.links.peer_count()
    }

    /// Whether it is being dialed, or will be, and there is no sign that this is in vain.
    pub(crate) fn may_be_reached(&self, peer: PeerId) -> bool {
        self.candidates.get(&peer).is_some_and(|candidate| candidate.failures == 0)
    }

    /// Whether it was ever named or linked as one that can be dialed.
    pub(crate) fn can_be_dialed(&self, peer: PeerId) -> bool {
        self.candidates.contains_key(&peer)
    }

    /// Something has changed by which more peers may be reached for than before: a link ended, for instance.
    pub(crate) fn stir(&mut self) {
        self.look_at = Some(Time::default());
    }

    /// Never links to this peer again; of very many, the one banned longest ago is forgotten.
    pub(crate) fn ban(&mut self, peer: PeerId) {
        self.stir();
        self.candidates.remove(&peer);
        if !self.banned.insert(peer) {
            return;
        }
        self.bans.push_back(peer);
        if self.bans.len() > MAX_BANNED
            && let Some(oldest) = self.bans.pop_front()
        {
            self.banned.remove(&oldest);
        }
    }

    /// Whether it was banned.
    pub(crate) fn is_banned(&self, peer: PeerId) -> bool {
        self.banned.contains(&peer)
    }

    /// The tracker names this peer: it is there, so reach for it at once, whatever happened before.
    pub(crate) fn found(&mut self, now: Time, peer: PeerId) {
        if self.is_banned(peer) || self.is_linked(peer) {
            return;
        }
        self.stir();
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.not_before = candidate.not_before.min(now);
        } else if self.candidates.len() < MAX_CANDIDATES {
            let candidate = Candidate { failures: 0, dialing: None, not_before: now, complete: false };
            self.candidates.insert(peer, candidate);
        }
    }

    /// An attempt failed.
    pub(crate) fn dial_failed(&mut self, now: Time, peer: PeerId, rng: &mut Rng) {
        self.stir();
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        candidate.dialing = None;
        candidate.failures += 1;
        if candidate.failures >= MAX_FAILURES {
            self.candidates.remove(&peer);
        } else {
            candidate.not_before = now + jittered(FIRST_PAUSE * (1 << (candidate.failures - 1)), rng);
        }
    }

    /// A link to this peer is open.
    pub(crate) fn linked(&mut self, peer: PeerId) {
        self.stir();
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.dialing = None;
        }
    }

    /// The last link to this peer is closed; try again after this pause, twice as long for every failure if it is one.
    pub(crate) fn unlinked(&mut self, now: Time, peer: PeerId, pause: Duration, failed: bool, rng: &mut Rng) {
        if self.is_banned(peer)
            || (self.candidates.len() >= MAX_CANDIDATES && !self.candidates.contains_key(&peer))
        {
            return;
        }
        self.stir();
        let new = Candidate { failures: 0, dialing: None, not_before: now, complete: false };
        let candidate = self.candidates.get_or_insert_with(peer, || new);
        candidate.dialing = None;
        if failed {
            self.dial_failed(now, peer, rng);
        } else {
            candidate.failures = 0;
            candidate.not_before = now + jittered(pause, rng);
        }
    }

    /// This peer has everything.
    pub(crate) fn mark_complete(&mut self, peer: PeerId) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.complete = true;
        }
    }

    /// Peers to reach for now, so that no more than `max_peers` are linked; attempts begin with this call.
    pub(crate) fn dial(&mut self, now: Time, max_peers: usize, complete: bool, rng: &mut Rng) -> Vec<PeerId> {
        if self.look_at.is_none_or(|time| now < time) {
            return Vec::new();
        }
        let peers = self.reach_for(now, max_peers, complete, rng);
        self.look_at = self.next_look(max_peers, complete);
        peers
    }

    fn reach_for(&mut self, now: Time, max_peers: usize, complete: bool, rng: &mut Rng) -> Vec<PeerId> {
        let lost: Vec<_> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| candidate.dialing.is_some_and(|since| now.since(since) >= DIAL_PATIENCE))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in lost {
            self.dial_failed(now, peer, rng);
        }
        let dialing = self.dialing();
        let room =
            MAX_DIALING.saturating_sub(dialing).min(max_peers.saturating_sub(self.peer_count() + dialing));
        if room == 0 {
            return Vec::new();
        }
        let mut due: Vec<_> = self
            .candidates
            .iter_mut()
            .filter(|(peer, candidate)| {
                candidate.is_wanted(complete) && candidate.not_before <= now && !self.links.lead_to(**peer)
            })
            .collect();
        rng.shuffle(&mut due);
        due.into_iter()
            .take(room)
            .map(|(peer, candidate)| {
                candidate.dialing = Some(now);
                *peer
            })
            .collect()
    }

    /// Attempts under way.
    pub(crate) fn dialing(&self) -> usize {
        self.candidates.values().filter(|candidate| candidate.dialing.is_some()).count()
    }

    /// Whether somebody could be reached for, now or soon.
    pub(crate) fn has_candidates(&self, complete: bool) -> bool {
        self.candidates.values().any(|candidate| candidate.dialing.is_some() || candidate.is_wanted(complete))
    }

    /// When [`Self::dial`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.look_at
    }

    fn next_look(&self, max_peers: usize, complete: bool) -> Option<Time> {
        let dialing = self.dialing();
        let has_room = dialing < MAX_DIALING && self.peer_count() + dialing < max_peers;
        let looks = self.candidates.iter().filter_map(|(peer, candidate)| match candidate.dialing {
            Some(since) => Some((peer, since + DIAL_PATIENCE)),
            None => (has_room && candidate.is_wanted(complete)).then_some((peer, candidate.not_before)),
        });
        looks.filter(|(peer, _)| !self.links.lead_to(**peer)).map(|(_, time)| time).min()
    }

    /// Attempts under way are no longer of interest.
    pub(crate) fn stop_dialing(&mut self) {
        self.stir();
        for candidate in self.candidates.values_mut() {
            candidate.dialing = None;
        }
    }
}

impl Candidate {
    fn is_wanted(&self, complete: bool) -> bool {
        self.dialing.is_none() && !(complete && self.complete)
    }
}

/// One to one and a half times as long, so that two who lost each other do not reach out at the same moment.
fn jittered(pause: Duration, rng: &mut Rng) -> Duration {
    pause.mul_f64(1.0 + rng.f64() / 2.0)
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
    fn failed_attempts_are_repeated_ever_more_rarely_until_the_tracker_names_the_peer_again() {
        let mut swarm = Swarm::default();
        let mut rng = Rng::with_seed(1);
        swarm.found(at(0), id(1));
        let mut attempts = Vec::new();
        for second in 0..1000 {
            for peer in swarm.dial(at(second), 50, false, &mut rng) {
                attempts.push(second);
                swarm.dial_failed(at(second), peer, &mut rng);
            }
        }
        assert_eq!(attempts.len(), MAX_FAILURES as usize);
        assert!(attempts.windows(3).all(|w| w[2] - w[1] > w[1] - w[0]), "{attempts:?}");
        assert_eq!(swarm.deadline(), None);
        swarm.found(at(1000), id(1));
        assert_eq!(swarm.dial(at(1000), 50, false, &mut rng), [id(1)]);
        assert!(swarm.dial(at(1000), 50, false, &mut rng).is_empty());
    }

    #[test]
    fn no_more_are_dialed_than_there_is_room_for() {
        let mut swarm = Swarm::default();
        let mut rng = Rng::with_seed(1);
        for n in 0..40 {
            swarm.found(at(0), id(n));
        }
        assert_eq!(swarm.dial(at(0), 5, false, &mut rng).len(), 5);
        swarm.stir();
        assert_eq!(swarm.dial(at(0), 50, false, &mut rng).len(), MAX_DIALING - 5);
        assert_eq!(swarm.dial(at(0), 50, false, &mut rng).len(), 0);
        assert_eq!(swarm.dial(at(61), 50, false, &mut rng).len(), MAX_DIALING);
    }

    #[test]
    fn of_too_many_bans_the_oldest_is_forgotten() {
        let mut swarm = Swarm::default();
        let id = |n: usize| {
            let mut bytes = [0; 20];
            // The later, the smaller.
            bytes[..8].copy_from_slice(&(u64::MAX - n as u64).to_be_bytes());
            PeerId::new(bytes)
        };
        for n in 0..MAX_BANNED {
            swarm.ban(id(n));
            swarm.ban(id(0));
        }
        assert!((0..MAX_BANNED).all(|n| swarm.is_banned(id(n))));
        swarm.ban(id(MAX_BANNED));
        assert!(!swarm.is_banned(id(0)));
        assert!((1..=MAX_BANNED).all(|n| swarm.is_banned(id(n))));
    }

    #[test]
    fn the_banned_and_the_useless_are_not_dialed() {
        let mut swarm = Swarm::default();
        let mut rng = Rng::with_seed(1);
        swarm.ban(id(1));
        swarm.found(at(0), id(1));
        swarm.unlinked(at(0), id(1), Duration::ZERO, false, &mut rng);
        swarm.found(at(0), id(2));
        swarm.mark_complete(id(2));
        assert!(swarm.dial(at(9), 50, true, &mut rng).is_empty());
        swarm.stir();
        assert_eq!(swarm.dial(at(9), 50, false, &mut rng), [id(2)]);
    }
}
