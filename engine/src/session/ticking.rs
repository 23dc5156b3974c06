//! What happens because time passes.

use std::time::Duration;

use super::Session;
use super::handover::DOUBT;
use crate::api::{CloseReason, LinkId, Time};
use shared::wire::Message;

/// How often time is looked at while there are links: fine enough for the endgame.
const TICK: Duration = Duration::from_millis(250);
/// A link on which no handshake comes for this long is closed (WebTorrent's patience).
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(25);
/// A peer that says nothing for this long, not even keep-alive, is gone (BEP 3 suggests two minutes).
const SILENCE_PATIENCE: Duration = Duration::from_secs(120);
/// A keep-alive is sent after so much silence (WebTorrent's interval).
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(55);
/// Interest that is not answered for this long is shown anew.
const INTEREST_PATIENCE: Duration = Duration::from_secs(10);
/// Two who have everything stay linked for this long, so that both know it.
const FAREWELL: Duration = Duration::from_secs(2);

impl Session {
    /// Looks after every link.
    pub(super) fn tick(&mut self, now: Time) {
        self.next_tick = now + TICK;
        let links: Vec<_> = self.swarm.links.keys().copied().collect();
        for link in links {
            if let Some(reason) = self.look_after(now, link) {
                self.close(now, link, reason);
            }
        }
        self.fetch.expire(now);
        if self.next_review <= now {
            self.choose_whom_to_serve(now);
            // What was rejected may be asked for again.
            self.epoch += 1;
        }
    }

    /// Whatever is due with this peer; why its link has to end, if so.
    fn look_after(&mut self, now: Time, link: LinkId) -> Option<CloseReason> {
        let complete = self.is_complete();
        let peer = self.swarm.get_mut(link)?;
        let mute = peer.handshake.is_none() && peer.age(now) >= HANDSHAKE_PATIENCE;
        let dead = peer.doubted.is_some_and(|since| now.since(since) >= DOUBT);
        if mute || dead || peer.silent_for(now) >= SILENCE_PATIENCE {
            return Some(CloseReason::TimedOut);
        }
        if complete && peer.is_done() {
            let since = *peer.both_seed_since.get_or_insert(now);
            if now.since(since) >= FAREWELL {
                return Some(CloseReason::BothSeed);
            }
        } else {
            peer.both_seed_since = None;
        }
        if peer.unspoken_for(now) >= KEEP_ALIVE_AFTER {
            peer.say(&Message::KeepAlive);
        }
        peer.insist(now, INTEREST_PATIENCE);
        if peer.is_silent(now) {
            peer.snubbed = true;
            let spans = peer.give_up(|_| true);
            self.release(&spans);
            self.drop_owned(link);
        }
        None
    }

    /// Pieces that only this peer was asked for are free for others.
    pub(super) fn drop_owned(&mut self, link: LinkId) {
        let Some(torrent) = &mut self.torrent else { return };
        for piece in torrent.pieces.owned_by(link) {
            torrent.pieces.drop_begun(piece);
            torrent.picker.offer(piece);
        }
    }
}
