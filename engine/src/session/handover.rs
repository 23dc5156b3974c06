//! Direct beside relay: of two links to one peer, when the relayed one is done with, and when it is needed again.
//!
//! A relay link *retires* once a direct one is ready: nothing more is asked on it. When everything that was asked has come,
//! NOT_INTERESTED says so, and the link is closed when both have said it and neither owes anything: then nothing is on the
//! way that a close could cut off. Both sides do the same, each in its time. If the direct link breaks before, the relay
//! link is taken back into service.
//!
//! A relay link that opens *beside* a direct one is a sign that the other side has lost the direct one, which this side may
//! notice much later. So the direct link is doubted: nothing more is asked on it until it shows life, and if it does
//! not, it is closed. A keep-alive from both sides settles it where both are well.
//!
//! All of this follows from what peers say, and none of it waits for a timer, so that it goes on in a hidden tab; timers
//! only end what hangs.

use std::time::Duration;

use shared::order::SortedSet;
use shared::wire::Message;

use super::Session;
use crate::api::{CloseReason, LinkId, Time, Transport};
use crate::peer::Peer;

/// A link that retires is closed after this long, whatever it owes.
pub(super) const RETIREMENT: Duration = Duration::from_secs(10);
/// A direct link that is doubted and shows no life for this long is dead.
pub(super) const DOUBT: Duration = Duration::from_secs(5);

impl Session {
    /// A link that was doubted has shown life.
    pub(super) fn trust(&mut self, now: Time, link: LinkId) {
        if let Some(peer) = self.swarm.get_mut(link)
            && peer.doubted.is_some_and(|since| since < now)
        {
            peer.doubted = None;
            peer.nothing_at = None;
            self.stirred = true;
        }
    }

    /// A relay link to the same peer has opened: doubts the direct ones.
    pub(super) fn doubt_direct(&mut self, now: Time, relay: LinkId) {
        let Some(id) = self.swarm.links.get(&relay).and_then(|peer| peer.id) else { return };
        for other in self.swarm.links_to(id, relay) {
            let Some(peer) = self.swarm.get_mut(other) else { continue };
            if peer.transport == Transport::Direct && peer.handshake.is_some() && peer.doubted.is_none() {
                peer.doubted = Some(now);
                peer.say(&Message::KeepAlive);
            }
        }
        self.stirred = true;
    }

    /// Retires relay links whose peers are reached better, and takes others back into service.
    pub(super) fn hand_over(&mut self, now: Time) {
        if !std::mem::take(&mut self.stirred) {
            return;
        }
        let direct = self.swarm.links.values().filter(|peer| peer.transport == Transport::Direct);
        let direct: SortedSet<_> = direct.filter_map(|peer| peer.id).collect();
        let concerned = |peer: &Peer| {
            peer.transport == Transport::Relay
                && (peer.retiring.is_some() || peer.id.is_some_and(|id| direct.contains(&id)))
        };
        let relays = self.swarm.links.iter().filter(|(_, peer)| concerned(peer));
        let relays: Vec<_> = relays.map(|(link, peer)| (*link, self.is_replaced(peer))).collect();
        for (link, replaced) in relays {
            let Some(peer) = self.swarm.get_mut(link) else { continue };
            if replaced && peer.retiring.is_none() {
                peer.retiring = Some(now);
            } else if !replaced && peer.retiring.take().is_some() {
                let useful = peer.useful > 0;
                peer.nothing_at = None;
                peer.show_interest(now, useful);
            }
        }
    }

    /// Whether there is a direct link to the same peer, and it is doubted.
    pub(super) fn is_direct_doubted(&self, relay: &Peer) -> bool {
        self.swarm.links.values().any(|peer| peer.doubted.is_some() && peer.id == relay.id)
    }

    /// Whether a direct link to the same peer can do all that this one does.
    fn is_replaced(&self, relay: &Peer) -> bool {
        let directs = self.swarm.links.values().filter(|peer| peer.transport == Transport::Direct);
        let mut same = directs.filter(|peer| relay.id.is_some() && peer.id == relay.id);
        same.any(|direct| {
            let serves = !direct.peer_choking || relay.peer_choking || direct.useful == 0;
            // Where neither side has the metadata, there are no pieces to know.
            let knows_nothing =
                |peer: &Peer| peer.extended.as_ref().is_some_and(|said| said.metadata_size.is_none());
            let knows = direct.has().is_some()
                || (self.torrent.is_none() && knows_nothing(direct) && knows_nothing(relay));
            direct.handshake.is_some() && knows && direct.doubted.is_none() && serves
        })
    }

    /// Says on links that retire that everything has come, when it has.
    pub(super) fn take_leave(&mut self, now: Time) {
        if self.swarm.links.outlines().iter().any(|outline| outline.retires) {
            for peer in self.swarm.links.values_mut().filter(|peer| peer.retiring.is_some()) {
                peer.show_interest(now, false);
            }
        }
    }

    /// Closes links that have nothing left to do. Whether there were any.
    pub(super) fn end_retirements(&mut self, now: Time) -> bool {
        if !self.swarm.links.outlines().iter().any(|outline| outline.retires) {
            return false;
        }
        let done = |peer: &Peer| {
            let quiet = !peer.am_interested && !peer.peer_interested && peer.requests.is_empty();
            peer.retiring.is_some_and(|since| quiet || now.since(since) >= RETIREMENT)
        };
        let done = self.swarm.links.iter().filter(|(_, peer)| done(peer));
        let done: Vec<_> = done.map(|(link, _)| *link).collect();
        for link in &done {
            self.close(now, *link, CloseReason::Redundant);
        }
        !done.is_empty()
    }
}
