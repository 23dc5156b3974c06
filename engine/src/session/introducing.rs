//! Peers introduce peers (`enxame_signal`): they tell each other whom they are linked to, and carry offers and answers
//! between two of them. So a swarm grows while its tracker is away.
//!
//! Only within this session's swarm, only between two links that are open, one step and no further, and never more than
//! [`introductions`](crate::introductions) allows. Who does not keep to that loses its link.

use bytes::Bytes;
use shared::PeerId;
use shared::limits::MAX_MEMBERS;
use shared::order::sorted;
use shared::wire::Message;
use shared::wire::extension::Introduction;

use super::Session;
use super::incoming::{Offence, offence};
use crate::api::{Action, LinkId, Signal, Time, Transport};
use crate::direct::Way;
use crate::introductions::{Telling, Weight};

impl Session {
    /// Who is linked has changed, so that neighbours are to be told.
    pub(super) fn members_changed(&mut self, now: Time) {
        self.gossip_due = Some(now);
    }

    /// Tells neighbours whom they could reach through us.
    pub(super) fn gossip(&mut self, now: Time) {
        if self.gossip_due.is_none_or(|due| now < due) {
            return;
        }
        self.gossip_due = None;
        let reachable =
            self.swarm.links.values().filter(|peer| peer.signal_number().is_some() && peer.takes_direct());
        let mut members = sorted(reachable.filter_map(|peer| Some((peer.id?, peer.is_done()))).collect());
        members.dedup_by_key(|(member, _)| *member);
        for peer in self.swarm.links.values_mut() {
            let Some(number) = peer.signal_number().filter(|_| peer.takes_direct()) else { continue };
            // Two who have everything are of no use to each other.
            let complete = peer.is_done();
            let others = members
                .iter()
                .filter(|(id, is_complete)| peer.id != Some(*id) && !(complete && *is_complete));
            let others = others.map(|(id, _)| *id).take(MAX_MEMBERS);
            match peer.neighbour.tell(now, others.collect()) {
                Telling::Known => {}
                Telling::Now(others) => {
                    let payload = Introduction::Members(others).encode();
                    peer.say(&Message::Extended { id: number, payload });
                }
                Telling::Later(due) => {
                    self.gossip_due = Some(self.gossip_due.map_or(due, |other| other.min(due)));
                }
            }
        }
    }

    /// Says this to the peer at this link, if it speaks the extension and has not heard too much already. Whether it was
    /// said.
    pub(super) fn introduce(&mut self, now: Time, link: LinkId, what: &Introduction, weight: Weight) -> bool {
        let Some(peer) = self.swarm.get_mut(link) else { return false };
        let Some(number) = peer.signal_number().filter(|_| peer.neighbour.may_hear(now, weight)) else {
            return false;
        };
        peer.say(&Message::Extended { id: number, payload: what.encode() });
        true
    }

    pub(super) fn introduction_came(
        &mut self,
        now: Time,
        link: LinkId,
        payload: &Bytes,
    ) -> Result<(), Offence> {
        let Some(peer) = self.swarm.get_mut(link) else { return Ok(()) };
        if !peer.neighbour.may_send(now) {
            return Err(offence("it floods us with introductions"));
        }
        let Some(sender) = peer.id else { return Ok(()) };
        match Introduction::decode(payload).map_err(offence)? {
            Some(Introduction::Members(members)) => self.members_came(now, link, &members),
            Some(Introduction::Lost { to, offer_id }) => {
                let way = if to == sender { Way::Link(link) } else { Way::Neighbour(link) };
                self.offer_lost(now, to, offer_id, way);
            }
            Some(Introduction::Signal { from, to, offer_id, description }) => {
                let signal = Signal { offer_id, description };
                let is_offer = signal.description.kind == "offer";
                if to != self.peer_id {
                    // Only neighbours of both forward, so what is forwarded was made by who sends it.
                    if from.is_some_and(|from| from != sender) {
                        return Err(offence("it asks to forward what it did not make"));
                    }
                    if is_offer {
                        self.forward_offer(now, link, sender, to, signal);
                    } else {
                        self.forward_answer(now, sender, to, signal)?;
                    }
                    return Ok(());
                }
                let from = from.unwrap_or(sender);
                if from == self.peer_id {
                    return Err(offence("it introduces us to ourselves"));
                }
                let way = if from == sender { Way::Link(link) } else { Way::Neighbour(link) };
                if !is_offer {
                    return self.answer_came(now, from, signal, way);
                }
                if !self.offer_came(now, from, signal, way) && from == sender {
                    // It need not wait in vain.
                    self.introduce(now, link, &Introduction::Lost { to, offer_id }, Weight::Answer);
                }
            }
            // A type of a later version.
            None => {}
        }
        Ok(())
    }

    /// A neighbour says whom it is linked to.
    fn members_came(&mut self, now: Time, link: LinkId, members: &[PeerId]) {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        let ours = self.peer_id;
        let members = members.iter().copied().filter(|member| *member != ours && peer.id != Some(*member));
        peer.neighbour.members = members.filter(|member| !self.swarm.banned.contains(member)).collect();
        if self.ways.direct == crate::api::Direct::Open {
            for member in peer.neighbour.members.iter() {
                self.directs.hear_of(now, *member);
            }
            self.look_for_ways(now);
        }
    }

    /// The link over which this peer is spoken to best.
    fn link_to(&self, id: PeerId) -> Option<LinkId> {
        let links = self.swarm.links.iter();
        let links = links.filter(|(_, peer)| peer.id == Some(id) && peer.signal_number().is_some());
        links
            .max_by_key(|(_, peer)| {
                (peer.doubted.is_none(), peer.retiring.is_none(), peer.transport == Transport::Direct)
            })
            .map(|(link, _)| *link)
    }

    fn forward_offer(&mut self, now: Time, link: LinkId, from: PeerId, to: PeerId, signal: Signal) {
        let Signal { offer_id, description } = signal;
        let forwarded = self.link_to(to).is_some_and(|target| {
            self.forwards.open(now, from, to, offer_id)
                && self.introduce(
                    now,
                    target,
                    &Introduction::Signal { from: Some(from), to, offer_id, description },
                    Weight::Offer,
                )
        });
        if !forwarded {
            self.introduce(now, link, &Introduction::Lost { to, offer_id }, Weight::Answer);
        }
    }

    fn forward_answer(&mut self, now: Time, from: PeerId, to: PeerId, signal: Signal) -> Result<(), Offence> {
        let Signal { offer_id, description } = signal;
        if !self.forwards.answer(now, to, from, offer_id) {
            return Err(offence("it answers an offer that was not forwarded to it"));
        }
        if let Some(target) = self.link_to(to) {
            let answer = Introduction::Signal { from: Some(from), to, offer_id, description };
            self.introduce(now, target, &answer, Weight::Answer);
        }
        Ok(())
    }

    /// An answer for us.
    fn answer_came(&mut self, now: Time, from: PeerId, signal: Signal, way: Way) -> Result<(), Offence> {
        let was_ours = self.directs.was_ours(signal.offer_id);
        let attempt = self.directs.get_mut(from).and_then(|prospect| prospect.attempt.as_mut());
        let asked = attempt.filter(|attempt| {
            let is_it = attempt.offer.as_ref().is_some_and(|offer| offer.offer_id == signal.offer_id);
            is_it && !attempt.answered && attempt.way == Some(way)
        });
        match asked {
            Some(attempt) => {
                attempt.answered = true;
                self.look_for_ways(now);
                self.actions.push_back(Action::TakeSignal { from, signal });
                Ok(())
            }
            // It may have been on the way when we gave up.
            None if was_ours => Ok(()),
            None => Err(offence("it answers an offer that was not made to it")),
        }
    }
}
