//! Requests are taken back from who lets them wait, and given to who has nothing to do.
//!
//! A peer asks the first neighbour that has a piece, which has soon been asked by many, while those that have it a moment later
//! are asked by nobody. To ask these too would have many blocks come twice. So a request is taken back first: its peer
//! answers with a rejection, if the block is not on its way, or else with the block (BEP 6), and only upon a rejection is
//! the other one asked. It costs a round trip of somebody who was idle anyway, and no byte comes twice. Only our own are
//! known to answer: WebTorrent may let a cancelled request fall in silence.

use std::time::Duration;

use shared::BlockSpan;

use super::Session;
use super::downloading::ask_in_parts;
use crate::api::{LinkId, Time};

/// A request that was not answered for so long may be taken back: about what goes and comes at once takes.
const RECALL_AFTER: Duration = Duration::from_millis(250);
/// One that had been taken back from another stays where it is for this long, lest it go back and forth.
const STAYS_FOR: Duration = Duration::from_secs(1);
/// Where there was nothing to take back for a peer it is looked for again after this time.
const RECALL_PAUSE: Duration = Duration::from_millis(50);

impl Session {
    /// Takes back one request for this idle peer: out of what is asked of whoever owes most, what was asked last.
    pub(super) fn recall_for(&mut self, now: Time, link: LinkId) {
        let Some(torrent) = &self.torrent else { return };
        let Some(idle) = self.swarm.links.get(&link) else { return };
        // Whoever is on probation has no part in what others began.
        if !idle.may_be_asked() || !idle.is_idle() || idle.snubbed || idle.on_probation {
            return;
        }
        if now < idle.recalls_from {
            return;
        }
        let mut best: Option<(u32, Time, LinkId, BlockSpan)> = None;
        for (other, peer) in self.swarm.links.iter() {
            let answers = peer.is_fast() && peer.is_own();
            if *other == link || peer.is_idle() || !answers || peer.id == idle.id {
                continue;
            }
            for owed in peer.awaited() {
                if owed.recalled_for == Some(link) {
                    // One at a time.
                    return;
                }
                let piece = owed.span.piece();
                let fits = owed.recalled_for.is_none()
                    && now.since(owed.asked_at) >= if owed.handed { STAYS_FOR } else { RECALL_AFTER }
                    && idle.serves(piece)
                    && torrent.pieces.may_ask(piece, link)
                    && torrent.pieces.is_single(owed.span);
                let rank = (peer.owes(), owed.asked_at);
                if fits && best.is_none_or(|(most, latest, ..)| rank >= (most, latest)) {
                    best = Some((rank.0, rank.1, *other, owed.span));
                }
            }
        }
        match best {
            Some((_, _, other, span)) => {
                if let Some(peer) = self.swarm.links.get_mut(&other) {
                    peer.recall(span, link);
                    self.wide = true;
                }
            }
            None => {
                if let Some(idle) = self.swarm.links.get_mut(&link) {
                    idle.recalls_from = now + RECALL_PAUSE;
                }
            }
        }
    }

    /// The same for every idle peer.
    pub(super) fn recall_for_all(&mut self, now: Time) {
        let links = &mut self.swarm.links;
        let idle = links.outlines().iter().enumerate();
        let idle = idle.filter(|(_, outline)| outline.is_idle && outline.may_be_asked && !outline.snubbed);
        let places: Vec<_> = idle.map(|(place, _)| place).collect();
        for place in places {
            let link = self.swarm.links.id(place);
            self.recall_for(now, link);
        }
    }

    /// A request was taken back, and the block is free: it is asked of the one for which that was done. Whether it could be.
    pub(super) fn give_recalled(&mut self, now: Time, span: BlockSpan, to: LinkId) -> bool {
        self.wide = true;
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.swarm.links.get_mut(&to)) else {
            return false;
        };
        let fits = peer.may_be_asked() && peer.serves(span.piece()) && !peer.on_probation && !peer.snubbed;
        if !fits || !torrent.pieces.may_ask(span.piece(), to) || !torrent.pieces.is_missing(span) {
            return false;
        }
        ask_in_parts(now, torrent, peer, span);
        peer.mark_handed(span);
        true
    }
}
