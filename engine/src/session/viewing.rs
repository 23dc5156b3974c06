//! What users are shown.

use super::Session;
use crate::api::{
    ByteCounts, LinkId, PeerSnapshot, PieceCounts, PieceState, Rates, Time, TorrentSnapshot, Transport,
};
use crate::peer::Peer;

impl Session {
    /// Everything that users are shown.
    pub fn snapshot(&self, now: Time) -> TorrentSnapshot {
        let torrent = self.torrent.as_ref();
        TorrentSnapshot {
            info_hash: self.info_hash,
            name: torrent.map_or_else(|| self.name_hint.clone(), |torrent| torrent.info.name().to_owned()),
            state: self.state(),
            bytes: ByteCounts {
                total: torrent.map_or(0, |torrent| torrent.geometry.total()),
                verified: match &self.checking {
                    Some(check) => check.done_bytes,
                    None => torrent.map_or(0, |torrent| torrent.pieces.had_bytes()),
                },
                downloaded: self.downloaded,
                uploaded: self.uploaded,
            },
            rates: Rates { down: self.down.per_second(now), up: self.up.per_second(now) },
            pieces: PieceCounts {
                total: torrent.map_or(0, |torrent| torrent.geometry.piece_count()),
                have: torrent.map_or(0, |torrent| torrent.pieces.have().count()),
            },
            peers: self.peer_snapshots(now),
        }
    }

    /// How it stands with each piece, in order; nothing before the metadata is known. Takes time for each piece.
    pub fn piece_states(&self) -> Vec<PieceState> {
        let Some(torrent) = &self.torrent else { return Vec::new() };
        let state = |piece| match () {
            () if torrent.pieces.have().has(piece) => PieceState::Have,
            () if torrent.pieces.is_in_flight(piece) => PieceState::InFlight,
            () => PieceState::Missing { peers: torrent.picker.availability(piece) },
        };
        torrent.geometry.pieces().map(state).collect()
    }

    /// Whether it is still the first of its swarm that has everything ([`SessionConfig::first_seeder`](crate::SessionConfig)).
    pub fn is_super_seeding(&self) -> bool {
        self.super_seeding.is_some()
    }

    /// One row a peer, also where a relay link has not quite handed over to a direct one.
    fn peer_snapshots(&self, now: Time) -> Vec<PeerSnapshot> {
        let mut rows: Vec<((bool, bool), PeerSnapshot)> = Vec::new();
        for (link, peer) in self.swarm.links.iter() {
            let Some(mut row) = self.peer_snapshot(now, *link, peer) else { continue };
            let in_use = peer.retiring.is_none() && peer.doubted.is_none() && peer.has().is_some();
            let mut weight = (in_use, peer.transport == Transport::Direct);
            let Some((least, other)) = rows.iter_mut().find(|(_, other)| other.id == row.id) else {
                rows.push((weight, row));
                continue;
            };
            let rates = Rates { down: other.rates.down + row.rates.down, up: other.rates.up + row.rates.up };
            let (downloaded, uploaded) = (other.downloaded + row.downloaded, other.uploaded + row.uploaded);
            if weight > *least {
                std::mem::swap(least, &mut weight);
                std::mem::swap(other, &mut row);
            }
            (other.rates, other.downloaded, other.uploaded) = (rates, downloaded, uploaded);
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn peer_snapshot(&self, now: Time, link: LinkId, peer: &Peer) -> Option<PeerSnapshot> {
        let id = peer.handshake?.peer_id;
        let has = peer.has();
        Some(PeerSnapshot {
            id: id.to_string(),
            client: peer
                .extended
                .as_ref()
                .and_then(|extended| extended.client.clone())
                .or_else(|| id.client().map(Into::into))
                .unwrap_or_default(),
            transport: peer.transport,
            why_relayed: self.why_relayed(peer),
            introduced: peer.introduced,
            am_choking: peer.am_choking,
            am_interested: peer.am_interested,
            peer_choking: peer.peer_choking,
            peer_interested: peer.peer_interested,
            snubbed: peer.snubbed,
            optimistic: !peer.am_choking && self.choker.has_turn(now, link),
            progress: has.map_or(0.0, |has| match has.pieces() {
                0 => 1.0,
                pieces => f64::from(has.count()) / f64::from(pieces),
            }),
            rates: Rates { down: peer.down.per_second(now), up: peer.up.per_second(now) },
            downloaded: peer.downloaded,
            uploaded: peer.uploaded,
        })
    }
}
