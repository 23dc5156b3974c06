//! Super-seeding: which pieces each peer is shown, and when.

use shared::PieceIndex;
use shared::wire::{Bitfield, Message};

use super::Session;
use crate::api::LinkId;
use crate::peer::Peer;
use crate::super_seeding::{AHEAD_BYTES, AHEAD_PIECES, UNSPREAD};

/// So many peers are told everything: with one or two there is nothing to spread, and to wait for what comes back would
/// only cost time.
const SHOWN_ALL: usize = 2;

impl Session {
    /// Whether a peer that links now is shown pieces one by one.
    pub(super) fn hides_pieces(&self) -> bool {
        self.super_seeding.is_some() && self.swarm.links.len() >= SHOWN_ALL
    }

    /// A peer has these pieces.
    pub(super) fn seen_at_peer(&mut self, pieces: &[PieceIndex]) {
        if let Some(super_seeding) = &mut self.super_seeding {
            pieces.iter().for_each(|piece| super_seeding.peer_got(*piece));
            self.wide = true;
        }
    }

    /// A peer with these pieces left.
    pub(super) fn gone_with_peer(&mut self, has: &Bitfield) {
        if let (Some(super_seeding), Some(torrent)) = (&mut self.super_seeding, &self.torrent) {
            let pieces = torrent.geometry.pieces().filter(|piece| has.has(*piece));
            pieces.for_each(|piece| super_seeding.peer_left(piece));
        }
    }

    /// Shows peers what they may ask for next; or everything, when that is no longer of use.
    pub(super) fn reveal(&mut self) {
        let (Some(super_seeding), Some(torrent)) = (&mut self.super_seeding, &self.torrent) else { return };
        let another_seeds = self.swarm.links.values().any(|peer| peer.is_complete());
        if super_seeding.is_done() || another_seeds || !torrent.pieces.have().is_all() {
            self.super_seeding = None;
            self.reveal_all();
            return;
        }
        let geometry = torrent.geometry;
        let ahead = AHEAD_PIECES.max((AHEAD_BYTES / u64::from(geometry.piece_length())) as usize);
        loop {
            // The one that has least to come, of those that spread what they get; of the others, if there are no such.
            let mut next: Option<((bool, usize), LinkId)> = None;
            let mut any_spreads = false;
            for (link, peer) in self.swarm.links.iter() {
                let (Some(shown), Some(has)) = (&peer.shown, peer.has()) else { continue };
                let to_come = shown.iter().filter(|piece| !has.has(**piece)).count();
                let unspread = shown
                    .iter()
                    .filter(|piece| has.has(**piece) && super_seeding.is_unspread(**piece))
                    .count();
                // Who is not served is shown one, so that it wants to be.
                let most = if peer.am_choking { 1 } else { ahead };
                let rank = (unspread > UNSPREAD, to_come);
                any_spreads |= unspread <= UNSPREAD && !peer.am_choking;
                if to_come < most && next.is_none_or(|(least, _)| rank < least) {
                    next = Some((rank, *link));
                }
            }
            let Some(((keeps, _), link)) = next else { return };
            if keeps && any_spreads {
                return;
            }
            let served = self.swarm.links.iter().filter(|(other, peer)| **other != link && !peer.am_choking);
            let mut under_way = Bitfield::none(geometry.piece_count());
            for (_, peer) in served {
                let (Some(shown), Some(has)) = (&peer.shown, peer.has()) else { continue };
                shown.iter().filter(|piece| !has.has(**piece)).for_each(|piece| {
                    under_way.insert(*piece);
                });
            }
            let Some(peer) = self.swarm.links.get_mut(&link) else { return };
            let fits = |piece| {
                peer.has().is_some_and(|has| !has.has(piece))
                    && peer.shown.as_ref().is_some_and(|shown| !shown.contains(&piece))
            };
            let Some(piece) = super_seeding.choose(&geometry, fits, &under_way, &mut self.rng) else {
                // It has been shown everything.
                peer.shown = None;
                continue;
            };
            if !peer.am_choking {
                super_seeding.give(piece);
            }
            if let Some(shown) = &mut peer.shown {
                shown.push(piece);
            }
            peer.say(&Message::Have(piece.as_u32()));
        }
    }

    /// Bytes that this peer was shown, got, and passed on: what a super-seeder thanks it for.
    pub(super) fn spread_by(&self, peer: &Peer) -> Option<u64> {
        let (super_seeding, torrent) = (self.super_seeding.as_ref()?, self.torrent.as_ref()?);
        let (shown, has) = (peer.shown.as_ref()?, peer.has()?);
        let spread = shown.iter().filter(|piece| has.has(**piece) && !super_seeding.is_unspread(**piece));
        Some(spread.count() as u64 * u64::from(torrent.geometry.piece_length()))
    }

    /// Tells everybody of everything that they were not shown.
    fn reveal_all(&mut self) {
        let Some(torrent) = &self.torrent else { return };
        for peer in self.swarm.links.values_mut() {
            let Some(shown) = peer.shown.take() else { continue };
            let hidden = torrent.geometry.pieces().filter(|piece| !shown.contains(piece));
            for piece in hidden.filter(|piece| torrent.pieces.have().has(*piece)) {
                peer.say(&Message::Have(piece.as_u32()));
            }
        }
    }
}
