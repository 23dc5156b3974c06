//! What a peer said, message by message. Whatever it says can end its link, and nothing else.

use bytes::Bytes;
use shared::wire::Message;
use shared::wire::extension::{
    self, ExtendedHandshake, HANDSHAKE_ID, OUR_ENXAME_SIGNAL, OUR_LT_DONTHAVE, OUR_UT_METADATA,
};

use super::{Session, Torrent};
use crate::api::{CloseReason, LinkId, Time};
use crate::peer::{Claim, Pieces};

/// Why a message ends its link.
pub(super) type Offence = CloseReason;

/// It broke the protocol.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
pub(super) fn offence(what: impl ToString) -> Offence {
    CloseReason::Protocol(what.to_string())
}

/// Whether nothing that follows from this message concerns other links, but for what says so itself
/// (a block that others were asked for too; the first of too few who wants to be served).
fn is_of_one_link(message: &Message) -> bool {
    matches!(
        message,
        Message::KeepAlive
            | Message::Have(_)
            | Message::Interested
            | Message::NotInterested
            | Message::Request(_)
            | Message::Cancel(_)
            | Message::Piece { .. }
            | Message::SuggestPiece(_)
            | Message::AllowedFast(_)
            | Message::Port(_)
    )
}

impl Session {
    /// Bytes came: understands as many messages as they complete.
    pub(super) fn bytes_came(&mut self, now: Time, link: LinkId, bytes: Bytes) {
        let Some(peer) = self.swarm.get_mut(link) else { return };
        peer.heard(now);
        peer.decoder.push(bytes);
        self.trust(now, link);
        // The link may end at any message.
        while let Some(peer) = self.swarm.get_mut(link) {
            let heard = if peer.handshake.is_none() {
                match peer.decoder.handshake() {
                    Ok(Some(handshake)) => {
                        self.wide = true;
                        self.handshake_came(now, link, handshake);
                        continue;
                    }
                    Ok(None) => return,
                    Err(error) => Err(offence(error)),
                }
            } else {
                match peer.decoder.next() {
                    Ok(Some(message)) => {
                        self.wide |= !is_of_one_link(&message);
                        self.message_came(now, link, message)
                    }
                    Ok(None) => return,
                    Err(error) => Err(offence(error)),
                }
            };
            if let Err(reason) = heard {
                self.wide = true;
                self.close(now, link, reason);
            }
        }
    }

    fn message_came(&mut self, now: Time, link: LinkId, message: Message) -> Result<(), Offence> {
        let Some(peer) = self.swarm.get_mut(link) else { return Ok(()) };
        let is_of_bep6 = matches!(
            message,
            Message::SuggestPiece(_)
                | Message::HaveAll
                | Message::HaveNone
                | Message::RejectRequest(_)
                | Message::AllowedFast(_)
        );
        if is_of_bep6 && !peer.is_fast() {
            return Err(offence("it uses the fast extension without having announced it"));
        }
        match message {
            // Port is DHT's.
            Message::KeepAlive | Message::Port(_) => {}
            Message::SuggestPiece(piece) => peer.suggest(piece),
            Message::AllowedFast(piece) => {
                let missing = |torrent: &Torrent| {
                    torrent.geometry.piece(piece).is_some_and(|piece| !torrent.pieces.have().has(piece))
                };
                if self.torrent.as_ref().is_none_or(missing) {
                    peer.allow(piece);
                }
            }
            Message::Choke => {
                peer.peer_choking = true;
                self.stirred = true;
                // Without the fast extension that drops all requests; with it each one is rejected by name.
                if !peer.is_fast() {
                    let spans = peer.forget_all();
                    self.release(&spans);
                }
            }
            Message::Unchoke => {
                peer.unchoked_us();
                self.stirred = true;
            }
            Message::Interested => {
                peer.peer_interested = true;
                self.interest_came(now);
            }
            Message::NotInterested => {
                peer.peer_interested = false;
                self.slot_freed(now);
            }
            Message::Have(piece) => self.have_came(now, link, piece)?,
            Message::Bitfield(bits) => self.claim_came(now, link, Claim::Bits(bits))?,
            Message::HaveAll => self.claim_came(now, link, Claim::All)?,
            Message::HaveNone => self.claim_came(now, link, Claim::None)?,
            Message::Request(block) => self.request_came(now, link, block)?,
            Message::Cancel(block) => self.cancel_came(link, block),
            Message::Piece { piece, begin, data } => self.block_came(now, link, piece, begin, data)?,
            Message::RejectRequest(block) => self.rejection_came(now, link, block),
            Message::Extended { id: HANDSHAKE_ID, payload } => {
                self.extended_handshake_came(now, link, &payload)?;
            }
            Message::Extended { id: OUR_UT_METADATA, payload } => {
                self.metadata_message_came(now, link, &payload)?;
            }
            Message::Extended { id: OUR_LT_DONTHAVE, payload } => {
                let piece = extension::decode_dont_have(&payload).map_err(offence)?;
                self.dont_have_came(now, link, piece)?;
            }
            Message::Extended { id: OUR_ENXAME_SIGNAL, payload } => {
                self.introduction_came(now, link, &payload)?;
            }
            // An extension that we never offered.
            Message::Extended { .. } => {}
        }
        Ok(())
    }

    fn extended_handshake_came(&mut self, now: Time, link: LinkId, payload: &Bytes) -> Result<(), Offence> {
        let said = ExtendedHandshake::decode(payload).map_err(offence)?;
        let wants_metadata = self.torrent.is_none();
        let Some(mut peer) = self.swarm.links.remove(&link) else { return Ok(()) };
        if wants_metadata
            && said.ut_metadata.is_some()
            && let Some(size) = said.metadata_size
        {
            self.fetch.peer_offers(link, size);
        }
        let wants_nothing = said.upload_only == Some(true);
        // It may come again, to tell what has changed; what it does not repeat stays (BEP 10).
        let merged = match peer.extended.take() {
            None => said,
            Some(before) => ExtendedHandshake {
                ut_metadata: said.ut_metadata.or(before.ut_metadata),
                lt_donthave: said.lt_donthave.or(before.lt_donthave),
                enxame_signal: said.enxame_signal.or(before.enxame_signal),
                rtc: said.rtc.or(before.rtc),
                metadata_size: said.metadata_size.or(before.metadata_size),
                reqq: said.reqq.or(before.reqq),
                upload_only: said.upload_only.or(before.upload_only),
                client: said.client.or(before.client),
                block: said.block.or(before.block),
            },
        };
        peer.extended = Some(merged);
        if wants_nothing {
            peer.peer_interested = false;
            self.slot_freed(now);
        } else if peer.is_own() {
            self.unchoke_early(&mut peer);
        }
        if let Some(id) = peer.id.filter(|_| peer.takes_direct() && self.takes_direct()) {
            self.directs.know(now, id);
        }
        self.swarm.links.insert(link, peer);
        self.look_for_ways(now);
        self.members_changed(now);
        self.stirred = true;
        Ok(())
    }

    /// Its first word about its pieces.
    fn claim_came(&mut self, now: Time, link: LinkId, claim: Claim) -> Result<(), Offence> {
        let Some(peer) = self.swarm.get_mut(link) else { return Ok(()) };
        match &mut peer.pieces {
            Pieces::Unchecked { claim: first @ None, .. } => *first = Some(claim),
            _ => return Err(offence("it says twice which pieces it has")),
        }
        self.check_pieces(now, link)
    }

    /// Counts a peer's pieces in, once they and the torrent are known.
    pub(super) fn check_pieces(&mut self, now: Time, link: LinkId) -> Result<(), Offence> {
        let (Some(peer), Some(torrent)) = (self.swarm.get_mut(link), &mut self.torrent) else {
            return Ok(());
        };
        if peer.has().is_some() {
            return Ok(());
        }
        peer.check_pieces(&torrent.geometry).map_err(offence)?;
        let Pieces::Known(has) = &peer.pieces else { return Ok(()) };
        torrent.picker.peer_joined(has);
        let useful = torrent.useful_of(has);
        let seen: Vec<_> = match self.super_seeding {
            Some(_) => torrent.geometry.pieces().filter(|piece| has.has(*piece)).collect(),
            None => Vec::new(),
        };
        peer.useful = useful;
        peer.nothing_at = None;
        peer.show_interest(now, useful > 0);
        self.stirred = true;
        self.members_changed(now);
        self.seen_at_peer(&seen);
        self.allow_newcomer(link);
        Ok(())
    }

    fn have_came(&mut self, now: Time, link: LinkId, piece: u32) -> Result<(), Offence> {
        let Some(peer) = self.swarm.get_mut(link) else { return Ok(()) };
        let Some(torrent) = &mut self.torrent else {
            peer.early_have(piece);
            return Ok(());
        };
        let known = torrent
            .geometry
            .piece(piece)
            .ok_or_else(|| offence(format!("it has piece {piece}, which is not")))?;
        if matches!(peer.pieces, Pieces::Unchecked { .. }) {
            // A peer that has nothing may leave its bitfield out (BEP 3).
            peer.early_have(piece);
            return self.check_pieces(now, link);
        }
        let Pieces::Known(has) = &mut peer.pieces else { return Ok(()) };
        if has.insert(known) {
            torrent.picker.peer_got(known);
            if torrent.wants(known) && !torrent.pieces.have().has(known) {
                peer.useful += 1;
                peer.nothing_at = None;
                peer.show_interest(now, true);
            }
            self.seen_at_peer(&[known]);
        }
        Ok(())
    }

    fn dont_have_came(&mut self, now: Time, link: LinkId, piece: u32) -> Result<(), Offence> {
        let (Some(peer), Some(torrent)) = (self.swarm.get_mut(link), &mut self.torrent) else {
            return Ok(());
        };
        let known = torrent
            .geometry
            .piece(piece)
            .ok_or_else(|| offence(format!("it lost piece {piece}, which is not")))?;
        let Pieces::Known(has) = &mut peer.pieces else { return Ok(()) };
        if has.remove(known) {
            torrent.picker.peer_lost(known);
            if let Some(super_seeding) = &mut self.super_seeding {
                super_seeding.peer_left(known);
            }
            if torrent.wants(known) && !torrent.pieces.have().has(known) {
                peer.useful = peer.useful.saturating_sub(1);
                peer.show_interest(now, peer.useful > 0);
            }
        }
        Ok(())
    }
}
