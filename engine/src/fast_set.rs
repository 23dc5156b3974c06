//! What a newcomer may ask for while it is choked (BEP 6, *allowed fast*), so that it has something to give in return before
//! it is its turn.
//!
//! BEP 6 draws these pieces from the peer's address: everybody allows it the same few, however many it links to, and it gets no
//! others by coming again. A browser shows no address, and a relay link has none. So they are drawn from the peer id, by the same
//! chain of hashes. That keeps the first half of the promise; the second is kept by [`Allowance`], since ids cost nothing: all
//! who are choked are together given a small share of what is sent.

use sha1::{Digest, Sha1};
use shared::{Geometry, InfoHash, PeerId, PieceIndex};

/// Most pieces in a set (BEP 6's example).
const MOST_PIECES: u32 = 10;
/// Most bytes in a set, unless a single piece is longer.
const MOST_BYTES: u32 = 1 << 20;
/// A set is at most this part of a torrent; one with fewer pieces has none.
const PART: u32 = 16;
/// Of so many bytes that are sent to those who are served, one may be given to those who are not, …
const SHARE: u64 = 16;
/// … of which so many are saved up, in bytes.
const MOST_CREDIT: u64 = 8 << 20;

/// Number of pieces in a set, and so the number from which on a peer is no newcomer (BEP 6). Zero in a small torrent.
pub(crate) fn set_len(geometry: &Geometry) -> u32 {
    let of_bytes = (MOST_BYTES / geometry.piece_length()).max(1);
    MOST_PIECES.min(of_bytes).min(geometry.piece_count() / PART)
}

/// The pieces that everybody allows this peer, in the order in which they are drawn: BEP 6's canonical set, with the peer id in
/// place of the address.
pub(crate) fn canonical(geometry: &Geometry, info_hash: InfoHash, peer: PeerId) -> Vec<PieceIndex> {
    let len = set_len(geometry) as usize;
    let mut pieces = Vec::with_capacity(len);
    let mut digest: [u8; 20] =
        Sha1::new().chain_update(peer.as_bytes()).chain_update(info_hash.as_bytes()).finalize().into();
    while pieces.len() < len {
        for word in digest.as_chunks().0 {
            let piece = geometry.piece(u32::from_be_bytes(*word) % geometry.piece_count());
            pieces.extend(piece.filter(|piece| pieces.len() < len && !pieces.contains(piece)));
        }
        digest = Sha1::digest(digest).into();
    }
    pieces
}

/// Bytes that may be given to peers that are not served, all together.
#[derive(Debug)]
pub(crate) struct Allowance {
    credit: u64,
    spared: u64,
}

impl Allowance {
    /// Some is there at the start.
    pub(crate) fn new() -> Self {
        Self { credit: MOST_CREDIT, spared: 0 }
    }

    /// So many bytes went to a peer that is served.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.spared += bytes;
        self.give_back(self.spared / SHARE);
        self.spared %= SHARE;
    }

    /// Sets so many bytes aside; whether there are so many.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let enough = bytes <= self.credit;
        if enough {
            self.credit -= bytes;
        }
        enough
    }

    /// What was set aside is not needed.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.credit = (self.credit + bytes).min(MOST_CREDIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash::new([0xaa; 20]);

    fn set(geometry: &Geometry, peer: u8) -> Vec<u32> {
        canonical(geometry, HASH, PeerId::new([peer; 20])).into_iter().map(PieceIndex::as_u32).collect()
    }

    #[test]
    fn a_set_is_the_peers_own_and_the_same_for_whoever_draws_it() {
        let geometry = Geometry::new(1000 * 16_384, 16_384).unwrap();
        let one = set(&geometry, 1);
        assert_eq!(one.len(), 10);
        assert_eq!(one, set(&geometry, 1));
        assert_ne!(one, set(&geometry, 2));
        let different: std::collections::BTreeSet<_> = one.iter().collect();
        assert_eq!(different.len(), 10);
        // The first words of SHA-1 over twenty ones and twenty times 0xaa, modulo 1,000: clients that agree on this agree.
        let digest = Sha1::digest([[1; 20], [0xaa; 20]].concat());
        assert_eq!(one[0], u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % 1000);
    }

    #[test]
    fn a_set_is_short_in_pieces_in_bytes_and_against_the_torrent() {
        let len = |pieces: u64, length: u32| {
            let geometry = Geometry::new(pieces * u64::from(length), length.into()).unwrap();
            assert_eq!(set(&geometry, 1).len(), set_len(&geometry) as usize);
            set_len(&geometry)
        };
        assert_eq!(len(1, 16_384), 0);
        assert_eq!(len(15, 16_384), 0);
        assert_eq!(len(64, 16_384), 4);
        assert_eq!(len(256, 128 << 10), 8);
        assert_eq!(len(1000, 1 << 20), 1);
        assert_eq!(len(1000, 16 << 20), 1);
    }

    #[test]
    fn those_who_are_choked_are_together_given_a_share_of_what_is_sent() {
        let mut allowance = Allowance::new();
        assert!(allowance.take(MOST_CREDIT));
        assert!(!allowance.take(1));
        allowance.sent(16 * 1000 - 1);
        assert!(!allowance.take(1000));
        allowance.sent(1);
        assert!(allowance.take(1000));
        allowance.sent(u64::from(u32::MAX) * 100);
        assert!(!allowance.take(MOST_CREDIT + 1));
        assert!(allowance.take(MOST_CREDIT));
        allowance.give_back(5);
        assert!(allowance.take(5) && !allowance.take(1));
    }
}
