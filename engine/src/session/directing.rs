//! Direct links: whom to try, by which way an offer goes, and what becomes of it.

use std::time::Duration;

use shared::ids::PEER_ID_PREFIX;
use shared::limits::MAX_INTRODUCED_SDP_BYTES;
use shared::order::SortedSet;
use shared::wire::extension::Introduction;
use shared::{OfferId, PeerId};

use super::Session;
use crate::api::{Action, Direct, DirectFailure, Signal, Time, Transport, WhyRelayed};
use crate::direct::Way;
use crate::introductions::Weight;
use crate::peer::Peer;

/// Attempts of ours that may be under way at a time. Each is a connection in the browser.
const MAX_ATTEMPTS: usize = 12;
/// Of these, those to peers of whom only neighbours speak, and who may not exist.
const MAX_HEARSAY_ATTEMPTS: usize = 6;
/// Offers that came by one neighbour and may be in hand at a time.
const MAX_INTRODUCED_OFFERS: usize = 4;
/// The side that did not open the relay link leaves the attempts to the other for this long.
const PRECEDENCE: Duration = Duration::from_secs(20);
/// An offer that finds no way is looked after again after this long, should nothing change before.
const WAY_REVIEW: Duration = Duration::from_secs(5);
/// A link on which nothing has come for this long may be dead: an offer of its peer's says that it is.
pub(super) const DOUBTFUL_SILENCE: Duration = Duration::from_secs(5);

/// A peer that an attempt may begin for.
struct Due {
    peer: PeerId,
    /// There is a relay link to it.
    linked: bool,
    /// There is no link, and only neighbours speak of it.
    is_hearsay: bool,
}

impl Session {
    /// Whether this side takes direct links.
    pub(super) fn takes_direct(&self) -> bool {
        self.ways.direct == Direct::Open
    }

    /// Something has changed that may allow an attempt, or show an offer a way.
    pub(super) fn look_for_ways(&mut self, now: Time) {
        self.direct_due = Some(now);
    }

    /// Begins attempts that are due, and sends offers that have been waiting for a way.
    pub(super) fn dial_direct(&mut self, now: Time) {
        if self.direct_due.is_none_or(|due| now < due) {
            return;
        }
        self.direct_due = None;
        if !self.takes_direct() {
            return;
        }
        self.expire_direct(now);
        let due = self.choose_prospects(now);
        self.begin_attempts(now, due);
        let waiting =
            self.directs.attempts().filter(|(_, attempt)| attempt.offer.is_some() && attempt.way.is_none());
        let waiting: Vec<_> = waiting.map(|(peer, _)| peer).collect();
        for peer in waiting {
            self.send_offer(now, peer);
        }
    }

    /// Peers that an attempt may begin for now; forgets those for whom nothing speaks any more, and notes when to look again.
    fn choose_prospects(&mut self, now: Time) -> Vec<Due> {
        let heard_of = self.heard_of();
        let complete = self.is_complete();
        let (mut due, mut useless, mut next) = (Vec::new(), Vec::new(), None::<Time>);
        let mut wake = |time: Time| next = Some(next.map_or(time, |next| next.min(time)));
        for (peer, prospect) in self.directs.iter() {
            if let Some(expires) = prospect.expires() {
                let waits = prospect
                    .attempt
                    .as_ref()
                    .is_some_and(|attempt| attempt.offer.is_some() && attempt.way.is_none());
                wake(if waits { expires.min(now + WAY_REVIEW) } else { expires });
                continue;
            }
            let (moment, linked) = match self.link_to_try_beside(peer) {
                Beside::Direct => continue,
                Beside::Relay { takes: false, .. } => continue,
                Beside::Relay { initiator: true, .. } => (prospect.not_before, true),
                Beside::Relay { opened_at, .. } => (prospect.not_before.max(opened_at) + PRECEDENCE, true),
                Beside::Nothing if prospect.named || heard_of.contains(&peer) => {
                    if (complete && prospect.complete) || (self.ways.relay && self.swarm.may_be_reached(peer))
                    {
                        continue;
                    }
                    (prospect.not_before, false)
                }
                Beside::Nothing => {
                    if prospect.not_before <= now {
                        useless.push(peer);
                    } else {
                        wake(prospect.not_before);
                    }
                    continue;
                }
            };
            if moment > now {
                wake(moment);
            } else {
                due.push(Due { peer, linked, is_hearsay: !linked && !prospect.named });
            }
        }
        self.direct_due = next;
        useless.into_iter().for_each(|peer| self.directs.remove(peer));
        due
    }

    /// Begins as many attempts for these, in random order, as there may be.
    fn begin_attempts(&mut self, now: Time, mut due: Vec<Due>) {
        let room = self.max_peers.saturating_sub(self.swarm.peer_count() + self.swarm.dialing());
        self.rng.shuffle(&mut due);
        let (mut attempts, mut hearsay, mut new) = (0, 0, 0);
        for (peer, _) in self.directs.attempts() {
            let linked = self.swarm.is_linked(peer);
            attempts += 1;
            new += usize::from(!linked);
            hearsay += usize::from(!linked && self.directs.get(peer).is_some_and(|prospect| !prospect.named));
        }
        for Due { peer, linked, is_hearsay } in due {
            if attempts >= MAX_ATTEMPTS
                || (!linked && new >= room)
                || (is_hearsay && hearsay >= MAX_HEARSAY_ATTEMPTS)
            {
                continue;
            }
            attempts += 1;
            new += usize::from(!linked);
            hearsay += usize::from(is_hearsay);
            self.directs.begin(now, peer);
            let expires = self.directs.get(peer).and_then(crate::direct::Prospect::expires);
            self.direct_due = self.direct_due.into_iter().chain(expires).min();
            self.actions.push_back(Action::DialDirect { peer });
        }
    }

    /// Peers of whom neighbours speak that are worth an attempt.
    fn heard_of(&self) -> SortedSet<PeerId> {
        let reliable = self.swarm.links.values().filter(|peer| peer.neighbour.is_reliable());
        reliable.flat_map(|peer| peer.neighbour.members.iter()).copied().collect()
    }

    /// What there is already between us and this peer.
    fn link_to_try_beside(&self, id: PeerId) -> Beside {
        let mut beside = Beside::Nothing;
        for peer in self.swarm.links.values().filter(|peer| peer.id == Some(id)) {
            if peer.transport == Transport::Direct {
                return Beside::Direct;
            }
            let takes = peer.takes_direct();
            beside = Beside::Relay { takes, initiator: peer.initiator, opened_at: peer.opened_at() };
        }
        beside
    }

    /// Ends what is under way for too long.
    fn expire_direct(&mut self, now: Time) {
        let (attempts, answers) = self.directs.expire(now);
        for peer in attempts {
            self.direct_failed(now, peer, DirectFailure::NoAnswer);
        }
        for way in answers {
            self.bore(way, false);
        }
    }

    /// The transport has made an offer, or an answer to one.
    pub(super) fn signal_made(&mut self, now: Time, to: PeerId, signal: Signal) {
        if self.is_stopped() {
            return;
        }
        let Some(prospect) = self.directs.get_mut(to) else { return };
        if signal.description.kind != "answer" {
            // An attempt that was dropped meanwhile leaves its offer to the transport, which will find it unanswered.
            if let Some(attempt) = prospect.attempt.as_mut().filter(|attempt| attempt.offer.is_none()) {
                attempt.offer = Some(signal);
                self.send_offer(now, to);
            }
            return;
        }
        let Some(answer) = &mut prospect.answer else { return };
        if answer.offer_id != signal.offer_id || answer.sent {
            return;
        }
        answer.sent = true;
        let way = answer.way;
        self.send_signal(now, way, to, &signal, Weight::Answer);
    }

    /// Sends an offer by the next way that is open: to that very peer if there is a link; else through a tracker, and then
    /// through a neighbour, but the other way round for peers of whom no tracker has spoken. Where there is none it waits.
    fn send_offer(&mut self, now: Time, to: PeerId) {
        let Some(prospect) = self.directs.get(to) else { return };
        let named = prospect.named;
        let Some(attempt) = &prospect.attempt else { return };
        let (Some(signal), tried) = (attempt.offer.clone(), attempt.tried.clone()) else { return };
        let speaks = |peer: &Peer| peer.signal_number().is_some();
        let ours = self.swarm.links.iter().filter(|(_, peer)| peer.id == Some(to) && speaks(peer));
        let mut ways: Vec<_> = ours.map(|(link, _)| Way::Link(*link)).collect();
        let shared = self.swarm.links.iter().filter(|(_, peer)| {
            peer.neighbour.members.contains(&to) && peer.neighbour.is_reliable() && speaks(peer)
        });
        let mut neighbours: Vec<_> = shared.map(|(link, _)| Way::Neighbour(*link)).collect();
        self.rng.shuffle(&mut neighbours);
        if named {
            ways.push(Way::Tracker);
            ways.extend(neighbours);
        } else {
            ways.extend(neighbours);
            ways.push(Way::Tracker);
        }
        for way in ways.into_iter().filter(|way| !tried.contains(way)) {
            let sent = self.send_signal(now, way, to, &signal, Weight::Offer);
            if let Some(attempt) =
                self.directs.get_mut(to).and_then(|prospect| prospect.attempt.as_mut()).filter(|_| sent)
            {
                attempt.way = Some(way);
                return;
            }
        }
        let review = now + WAY_REVIEW;
        self.direct_due = Some(self.direct_due.map_or(review, |due| due.min(review)));
    }

    /// Sends an offer or an answer this way; whether that could be done.
    fn send_signal(&mut self, now: Time, way: Way, to: PeerId, signal: &Signal, weight: Weight) -> bool {
        let (Way::Link(link) | Way::Neighbour(link)) = way else {
            self.actions.push_back(Action::TellTracker { to, signal: signal.clone() });
            return true;
        };
        let (offer_id, description) = (signal.offer_id, signal.description.clone());
        // The other side would end the link for a longer one.
        let fits = (1..=MAX_INTRODUCED_SDP_BYTES).contains(&description.sdp.len());
        fits && self.introduce(
            now,
            link,
            &Introduction::Signal { from: None, to, offer_id, description },
            weight,
        )
    }

    /// A tracker could not carry an offer or an answer.
    pub(super) fn signal_lost(&mut self, now: Time, to: PeerId, offer_id: OfferId) {
        self.offer_lost(now, to, offer_id, Way::Tracker);
    }

    /// An offer did not reach its peer this way: it takes the next.
    pub(super) fn offer_lost(&mut self, now: Time, to: PeerId, offer_id: OfferId, way: Way) {
        let Some(prospect) = self.directs.get_mut(to) else { return };
        if prospect.answer.is_some_and(|answer| answer.offer_id == offer_id && answer.way == way) {
            prospect.answer = None;
            self.look_for_ways(now);
            return;
        }
        let Some(attempt) = &mut prospect.attempt else { return };
        let is_it = attempt.offer.as_ref().is_some_and(|offer| offer.offer_id == offer_id);
        if !is_it || attempt.way != Some(way) || attempt.answered {
            return;
        }
        if matches!(way, Way::Link(_)) {
            // It is the peer itself that will not have it.
            self.direct_failed(now, to, DirectFailure::NoAnswer);
            return;
        }
        attempt.tried.push(way);
        attempt.way = None;
        // Should it be there after all, the tracker will say so again.
        prospect.named &= way != Way::Tracker;
        self.bore(way, false);
        self.send_offer(now, to);
    }

    /// A direct link could not be made.
    pub(super) fn direct_failed(&mut self, now: Time, peer: PeerId, why: DirectFailure) {
        let answered =
            self.directs.get(peer).and_then(|prospect| prospect.attempt.as_ref()).is_some_and(|a| a.answered);
        let ways = self.directs.failed(now, peer, why, &mut self.rng);
        // Who answered exists: that no path leads there is not the neighbour's fault.
        let [ours, theirs] = [ways[0].filter(|_| !answered && why == DirectFailure::NoAnswer), ways[1]];
        for way in [ours, theirs].into_iter().flatten() {
            self.bore(way, false);
        }
        self.look_for_ways(now);
    }

    /// An offer or an answer by way of a neighbour led somewhere, or did not.
    pub(super) fn bore(&mut self, way: Way, fruit: bool) {
        if let Way::Neighbour(link) = way
            && let Some(peer) = self.swarm.get_mut(link)
        {
            peer.neighbour.bore(fruit);
        }
    }

    /// A peer's offer has come, this way. Whether it was taken.
    pub(super) fn offer_came(&mut self, now: Time, from: PeerId, signal: Signal, way: Way) -> bool {
        let is_offer = signal.description.kind == "offer";
        if !is_offer
            || !self.is_running()
            || !self.takes_direct()
            || from == self.peer_id
            || self.swarm.is_banned(from)
        {
            return false;
        }
        let links = || self.swarm.links.values().filter(|peer| peer.id == Some(from));
        let silent = |peer: &Peer| peer.silent_for(now) >= DOUBTFUL_SILENCE;
        if links().next().is_none() && self.swarm.peer_count() >= self.max_peers {
            return false;
        }
        // Our own would not offer while it has a direct link, nor go through a neighbour while it has any: if ours seems
        // open, it must have heard that it is not. Strangers offer blindly.
        let is_own = from.as_bytes().starts_with(&PEER_ID_PREFIX[..3]);
        let spare = match way {
            Way::Neighbour(_) => links().any(|peer| !silent(peer)),
            Way::Link(_) | Way::Tracker => {
                links().any(|peer| peer.transport == Transport::Direct && !(is_own && silent(peer)))
            }
        };
        let by_way = self.directs.answers().filter(|answer| answer.way == way).count();
        let crowded = match way {
            Way::Neighbour(link) => {
                let reliable = self.swarm.links.get(&link).is_some_and(|peer| peer.neighbour.is_reliable());
                !reliable || by_way >= MAX_INTRODUCED_OFFERS
            }
            Way::Link(_) | Way::Tracker => false,
        };
        if spare || crowded {
            return false;
        }
        // Glare: both made an offer, and both compare the same two.
        let attempt = self.directs.get(from).and_then(|prospect| prospect.attempt.as_ref());
        if let Some(ours) = attempt.and_then(|attempt| attempt.offer.as_ref())
            && ours.offer_id <= signal.offer_id
        {
            return true;
        }
        if let Some(before) = self.directs.get(from).and_then(|prospect| prospect.answer)
            && before.offer_id != signal.offer_id
        {
            self.bore(before.way, false);
        }
        if !self.directs.take_offer(now, from, signal.offer_id, way) {
            return false;
        }
        self.directs.drop_attempt(from);
        self.look_for_ways(now);
        self.actions.push_back(Action::TakeSignal { from, signal });
        true
    }

    /// A direct link has opened. Whether a neighbour brought it about.
    pub(super) fn direct_opened(&mut self, now: Time, peer: PeerId, initiator: bool) -> bool {
        let way = self.directs.opened(peer, initiator);
        if let Some(way) = way {
            self.bore(way, true);
        }
        self.look_for_ways(now);
        matches!(way, Some(Way::Neighbour(_)))
    }

    /// Why this peer's bytes go through the tracker, if they do.
    pub(super) fn why_relayed(&self, peer: &Peer) -> Option<WhyRelayed> {
        if peer.transport == Transport::Direct {
            return None;
        }
        Some(match self.ways.direct {
            Direct::Absent => WhyRelayed::NotHere,
            Direct::Off => WhyRelayed::SwitchedOff,
            Direct::Open if peer.may_yet_introduce_itself() => WhyRelayed::Trying,
            Direct::Open if !peer.takes_direct() => WhyRelayed::NotThere,
            Direct::Open if self.is_direct_doubted(peer) => WhyRelayed::Lost,
            Direct::Open => {
                let prospect = peer.id.and_then(|id| self.directs.get(id));
                prospect.and_then(|prospect| prospect.why).unwrap_or(WhyRelayed::Trying)
            }
        })
    }
}

/// What there is already between us and a peer.
#[derive(Debug)]
enum Beside {
    Nothing,
    Relay { takes: bool, initiator: bool, opened_at: Time },
    Direct,
}
