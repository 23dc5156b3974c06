//! The metadata: fetched when only the hash is known, and served when it is known (BEP 9).

use bytes::Bytes;
use sha1::{Digest, Sha1};
use shared::PeerId;
use shared::metainfo::Info;
use shared::wire::extension::{ExtendedHandshake, HANDSHAKE_ID, METADATA_PIECE_LEN, MetadataMessage};
use shared::wire::{Bitfield, Message};

use super::incoming::{Offence, offence};
use super::{Session, Torrent};
use crate::api::{CloseReason, LinkId, Time};
use crate::metadata::Progress;

/// Metadata that is sent to a peer whatever the room on its link, in bytes: more than most torrents have.
const METADATA_AT_ONCE: u64 = 256 * 1024;
/// How often one peer may have the whole of it.
const METADATA_TIMES: u64 = 3;

impl Session {
    /// Asks every peer that has the info dictionary for parts of it.
    pub(super) fn ask_for_metadata(&mut self, now: Time) {
        if self.torrent.is_some() || !self.fetch.has_sources() {
            return;
        }
        for (link, peer) in self.swarm.links.iter_mut() {
            let Some(id) = peer.extended.as_ref().and_then(|extended| extended.ut_metadata) else { continue };
            for piece in self.fetch.next_requests(now, *link) {
                peer.say(&Message::Extended { id, payload: MetadataMessage::Request { piece }.encode() });
            }
        }
    }

    pub(super) fn metadata_message_came(
        &mut self,
        now: Time,
        link: LinkId,
        payload: &Bytes,
    ) -> Result<(), Offence> {
        match MetadataMessage::decode(payload).map_err(offence)? {
            Some(MetadataMessage::Request { piece }) => self.serve_metadata(link, piece),
            Some(MetadataMessage::Reject { piece }) => self.fetch.rejected(now, link, piece),
            Some(MetadataMessage::Data { piece, total_size, data }) if self.torrent.is_none() => {
                let Some(from) = self.swarm.get_mut(link).and_then(|peer| peer.id) else { return Ok(()) };
                if let Progress::Whole { info, from } =
                    self.fetch.received(link, from, piece, total_size, data)
                {
                    self.try_metadata(now, info, &from);
                }
            }
            Some(MetadataMessage::Data { .. }) | None => {}
        }
        Ok(())
    }

    /// Takes the dictionary if its hash is right; otherwise the peer that sent it goes, if it was one alone.
    fn try_metadata(&mut self, now: Time, info: Bytes, from: &[PeerId]) {
        if Sha1::digest(&info)[..] == self.info_hash.as_bytes()[..] {
            match Info::from_bytes(info) {
                Ok(info) => self.learn(now, info),
                // Nobody's fault: no peer has another.
                Err(error) => self.fail(error.to_string()),
            }
            return;
        }
        self.fetch.spoiled(info.len() as u32, from.len() > 1);
        if let [liar] = from {
            self.swarm.ban(*liar);
            self.directs.remove(*liar);
            self.close_all_links_to(now, *liar);
        }
    }

    /// The metadata is known: from here on pieces can be named.
    fn learn(&mut self, now: Time, info: Info) {
        let none = Bitfield::none(info.geometry().piece_count());
        self.torrent = Some(Torrent::new(info, none));
        self.fetch = crate::metadata::Fetch::default();
        self.ask_for_store();
        // Those who look for it, too, have been told that it was not here (BEP 10 allows to say it anew).
        let introduction = self.introduction();
        let links: Vec<_> = self.swarm.links.keys().copied().collect();
        for link in links {
            if let Some(mut peer) = self.swarm.links.remove(&link) {
                let fast = peer.is_fast();
                let has_none = |extended: &ExtendedHandshake| extended.metadata_size.is_none();
                if peer.greeted && peer.extended.as_ref().is_some_and(has_none) {
                    peer.say(&Message::Extended { id: HANDSHAKE_ID, payload: introduction.clone() });
                }
                self.tell_pieces(&mut peer, fast);
                self.swarm.links.insert(link, peer);
            }
            if let Err(reason) = self.check_pieces(now, link) {
                self.close(now, link, reason);
            }
        }
    }

    fn serve_metadata(&mut self, link: LinkId, piece: u32) {
        let Some(peer) = self.swarm.links.get_mut(&link) else { return };
        let Some(id) = peer.extended.as_ref().and_then(|extended| extended.ut_metadata) else { return };
        let info = self.torrent.as_ref().map(|torrent| torrent.info.raw());
        let allowed = |info: &&Bytes| {
            let in_time = peer.metadata_sent < METADATA_AT_ONCE || peer.has_room();
            in_time && peer.metadata_sent < METADATA_TIMES * info.len() as u64
        };
        let begin = piece as usize * METADATA_PIECE_LEN;
        let answer = match info.filter(allowed).filter(|info| begin < info.len()) {
            Some(info) => {
                let data = info.slice(begin..info.len().min(begin + METADATA_PIECE_LEN));
                peer.metadata_sent += data.len() as u64;
                MetadataMessage::Data { piece, total_size: info.len() as u32, data }
            }
            None => MetadataMessage::Reject { piece },
        };
        peer.say(&Message::Extended { id, payload: answer.encode() });
    }

    /// Ends every link to a peer that was banned.
    pub(super) fn close_all_links_to(&mut self, now: Time, peer: PeerId) {
        let links = self.swarm.links.iter().filter(|(_, other)| other.id == Some(peer));
        let links: Vec<_> = links.map(|(link, _)| *link).collect();
        for link in links {
            self.close(now, link, CloseReason::BadData);
        }
    }
}
