//! What we do for peers beyond what they ask (BEP 6): a newcomer is allowed some pieces while it is choked, and peers are told
//! what it would be cheap to ask us for.

use shared::wire::{BlockRequest, Message};
use shared::{BlockSpan, PieceIndex};

use super::Session;
use crate::api::LinkId;
use crate::fast_set::{canonical, set_len};
use crate::peer::Peer;

/// A piece is suggested if so many neighbours have it already: what fewer have is better fetched by each from another peer.
const COMMON: u32 = 2;

impl Session {
    /// Allows a newcomer the pieces of its set that are here, as far as there is something to spare, once it is known what it has.
    ///
    /// In a crowd in which nobody has anything this says nothing. Nor does the first seeder: it sends each piece once.
    pub(super) fn allow_newcomer(&mut self, link: LinkId) {
        let (Some(torrent), Some(allowance)) = (&self.torrent, &mut self.allowance) else { return };
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        let (Some(id), Some(has)) = (peer.id, peer.has()) else { return };
        let is_newcomer = has.count() < set_len(&torrent.geometry) && !peer.is_done();
        if !peer.is_fast()
            || !peer.told_pieces
            || !peer.am_choking
            || !is_newcomer
            || self.super_seeding.is_some()
            || self.withholds
        {
            return;
        }
        for piece in canonical(&torrent.geometry, self.info_hash, id) {
            let len = torrent.geometry.piece_len(piece).into();
            if torrent.pieces.have().has(piece)
                && !peer.has().is_some_and(|has| has.has(piece))
                && allowance.take(len)
            {
                peer.fast_set.push(piece);
                peer.fast_left += len;
                peer.say(&Message::AllowedFast(piece.as_u32()));
            }
        }
    }

    /// Whether a choked peer may be sent this block all the same. If so, that is counted: each byte of its set is its to have
    /// once, and none when it is no newcomer any more.
    pub(super) fn may_have(&mut self, link: LinkId, span: BlockSpan) -> bool {
        let (Some(torrent), Some(peer)) = (&self.torrent, self.swarm.links.get_mut(&link)) else {
            return false;
        };
        if !peer.fast_set.contains(&span.piece()) {
            return false;
        }
        if peer.has().is_none_or(|has| has.count() >= set_len(&torrent.geometry)) {
            self.end_favour(link);
            return false;
        }
        let enough = u64::from(span.len()) <= peer.fast_left;
        if enough {
            peer.fast_left -= u64::from(span.len());
        }
        enough
    }

    /// A choked peer takes back what it had been granted.
    pub(super) fn not_had(&mut self, link: LinkId, block: BlockRequest) {
        let Some(peer) = self.swarm.links.get_mut(&link).filter(|peer| peer.am_choking) else { return };
        peer.fast_left += u64::from(block.len);
    }

    /// This peer is allowed nothing any more; what it did not take is there for others.
    fn end_favour(&mut self, link: LinkId) {
        if let Some(peer) = self.swarm.links.get_mut(&link) {
            let left = end_favour_of(peer);
            self.not_taken(left);
        }
    }

    /// So much of what was set aside was not taken.
    pub(super) fn not_taken(&mut self, bytes: u64) {
        if let Some(allowance) = &mut self.allowance {
            allowance.give_back(bytes);
        }
    }

    /// Suggests a piece that is being read from the store for somebody, to others that are served and lack it: then it is read
    /// once. Only who has everything does so, and only where there are other copies: what is rare spreads faster if each
    /// peer fetches another part of it.
    pub(super) fn suggest(&mut self, piece: PieceIndex) {
        let Some(torrent) = &self.torrent else { return };
        let is_seeder = torrent.pieces.have().is_all() && self.super_seeding.is_none();
        if !is_seeder || self.allowance.is_none() || torrent.picker.availability(piece) < COMMON {
            return;
        }
        let lacks = |peer: &Peer| {
            !peer.am_choking
                && peer.is_fast()
                && peer.peer_interested
                && peer.has().is_some_and(|has| !has.has(piece))
                && peer.requests.iter().all(|span| span.piece() != piece)
        };
        let links = self.swarm.links.iter().filter(|(_, peer)| lacks(peer));
        let links: Vec<_> = links.map(|(link, _)| *link).collect();
        for link in links {
            if let Some(peer) = self.swarm.links.get_mut(&link) {
                peer.say(&Message::SuggestPiece(piece.as_u32()));
            }
        }
    }
}

/// Bytes that were set aside for this peer and are not needed.
pub(super) fn end_favour_of(peer: &mut Peer) -> u64 {
    peer.fast_set.clear();
    std::mem::take(&mut peer.fast_left)
}
