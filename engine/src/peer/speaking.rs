//! What is to be said to a peer, and what its link takes.

use std::time::Duration;

use bytes::Bytes;
use shared::PieceIndex;
use shared::wire::Message;

use super::Peer;
use crate::api::Time;

/// HAVEs wait this long for company.
const HAVE_DELAY: Duration = Duration::from_millis(50);
/// This many HAVEs do not wait.
pub(super) const MANY_HAVES: usize = 64;
/// Bytes that go into one `Send`, unless a single message is longer.
const SEND_LEN: usize = 64 * 1024;
/// What is sent at once and is no longer than this is copied out of the outbox.
const SMALL: usize = 1024;
/// Bytes that are sent to a peer although its link has no room, since they are not blocks: far more than a large torrent's
/// bitfield, metadata and HAVEs. A peer that asks and asks and never reads would otherwise fill the memory.
const MAX_UNREAD: usize = 4 << 20;
/// A link's buffer is taken to be empty so long after the last block, if the link does not say so before: longer than the blocks
/// that share a line take, of which no more are given to links than go out in a quarter of this.
pub(super) const BACKLOG_BELIEVED: Duration = Duration::from_secs(1);

impl Peer {
    /// Puts a message into the outbox.
    pub(crate) fn say(&mut self, message: &Message) {
        let before = self.out.len();
        message.encode(&mut self.out);
        if self.out.len() > SEND_LEN && before > 0 {
            let last = self.out.split_off(before);
            self.full.push(std::mem::replace(&mut self.out, last).freeze());
        }
    }

    /// Puts bytes into the outbox.
    pub(crate) fn say_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A piece is here that it should hear of; it may take a moment. If it `needs` the piece, a short one; else the message
    /// goes with the next that has to: half of all HAVEs are for peers that have the piece.
    pub(crate) fn say_have(&mut self, now: Time, piece: PieceIndex, needs: bool) {
        if needs && self.haves_due.is_none() {
            self.haves_due = Some(now + HAVE_DELAY);
        }
        self.haves.push(piece);
    }

    /// When HAVEs must go out, if any wait.
    pub(crate) fn haves_due(&self) -> Option<Time> {
        self.haves_due
    }

    /// Everything to be sent now, in order. HAVEs go along, or when they have waited or are many; alone and at once if they
    /// are `the_last`, for which no company will come.
    pub(crate) fn take_outbox(&mut self, now: Time, the_last: bool, mut send: impl FnMut(Bytes)) {
        let something = the_last || !self.out.is_empty() || !self.full.is_empty();
        if !self.haves.is_empty()
            && (something || self.haves_due.is_some_and(|due| due <= now) || self.haves.len() >= MANY_HAVES)
        {
            self.haves_due = None;
            let mut haves = std::mem::take(&mut self.haves);
            for piece in haves.drain(..) {
                self.say(&Message::Have(piece.as_u32()));
            }
            self.haves = haves;
        }
        for bytes in std::mem::take(&mut self.full) {
            self.sent(now, bytes.len());
            send(bytes);
        }
        if self.out.is_empty() {
            return;
        }
        self.sent(now, self.out.len());
        if self.out.len() <= SMALL {
            // One allocation of just that length, and the buffer is kept.
            send(Bytes::copy_from_slice(&self.out));
            self.out.clear();
        } else {
            send(self.out.split().freeze());
        }
    }

    /// A block goes out, which with its head has so many bytes.
    pub(crate) fn sent_block(&mut self, now: Time, bytes: usize) {
        self.sent(now, bytes);
        self.block_sent = now;
    }

    /// So many bytes go out.
    pub(crate) fn sent(&mut self, now: Time, bytes: usize) {
        self.last_sent = now;
        self.unread += bytes.saturating_sub(self.room);
        self.room = self.room.saturating_sub(bytes);
    }

    /// The link takes so many bytes now.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.most_room = self.most_room.max(room);
        if room > 0 {
            self.unread = 0;
        }
    }
    /// Whether the link takes a block now.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Whether it has left too much unread.
    pub(crate) fn is_deaf(&self) -> bool {
        self.unread > MAX_UNREAD
    }
}
