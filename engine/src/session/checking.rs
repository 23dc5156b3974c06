//! The user wants everything that is here to be read and compared with its hash again.
//!
//! Meanwhile the session stands still, as libtorrent's does, and is linked with nobody. To go on with what is not yet in doubt
//! would need every piece to be told as had, as lost and perhaps as had again within a minute, to peers of which not all hear
//! that a piece is lost (`lt_donthave`), while the disk has no time for them. Whoever links afterwards is told what is here then.

use shared::PieceIndex;
use shared::order::SortedSet;

use super::{Session, Store};
use crate::api::{Action, Notice, Time};

/// So many bytes of pieces are being read at a time, …
const AHEAD_BYTES: u64 = 4 << 20;
/// … or so many pieces: one is read while the other is hashed.
const AHEAD_PIECES: usize = 2;

/// How far it is.
#[derive(Debug)]
pub(super) struct Check {
    /// The next piece to be read.
    next: u32,
    /// Being read; and their bytes.
    asked: SortedSet<PieceIndex>,
    asked_bytes: u64,
    /// Bytes that were compared.
    pub(super) done_bytes: u64,
    /// Pieces that were taken to be here, and are not.
    wrong: u32,
    /// Everything that is wanted was here at the start.
    was_complete: bool,
}

impl Session {
    /// Reads every piece again and compares it with its hash ([`Action::Check`]), until [`Notice::Checked`] says what came of it or
    /// `pause` ends it. Pieces that are not right are missing from then on, and fetched again; pieces that are, though they were
    /// not known to be here, are had. A torrent that stands still may be checked, too, and stands still afterwards.
    ///
    /// Whether it begins: not without a store that is open, after a failure, or during another.
    pub fn check(&mut self, now: Time) -> bool {
        if !self.is_open() || self.error.is_some() || self.checking.is_some() {
            return false;
        }
        self.stand_still(now);
        self.checking = Some(Check {
            next: 0,
            asked: SortedSet::new(),
            asked_bytes: 0,
            done_bytes: 0,
            wrong: 0,
            was_complete: self.is_complete(),
        });
        self.settle(now);
        true
    }

    /// Whether its store is open, so that what is here can be read.
    pub fn is_open(&self) -> bool {
        self.torrent.is_some() && matches!(self.store, Store::Open)
    }

    /// Whether a piece ([`Action::Check`]) has its hash. One that cannot be read has no answer: `pause` ends the check
    /// then. Answers of a check that is over are ignored.
    pub fn handle_checked(&mut self, now: Time, piece: PieceIndex, is_right: bool) {
        let (Some(check), Some(torrent)) = (&mut self.checking, &mut self.torrent) else { return };
        if !check.asked.remove(&piece) {
            return;
        }
        let bytes = u64::from(torrent.geometry.piece_len(piece));
        check.asked_bytes -= bytes;
        check.done_bytes += bytes;
        if is_right && torrent.pieces.found(piece) {
            torrent.picker.withdraw(piece);
            torrent.note_change_of(piece);
        } else if !is_right && torrent.pieces.lost(piece) {
            check.wrong += 1;
            torrent.picker.offer(piece);
            torrent.note_change_of(piece);
        }
        self.settle(now);
    }

    /// Has the next pieces read; after the last one it goes on where it stood.
    pub(super) fn go_on_checking(&mut self, now: Time) {
        let (Some(check), Some(torrent)) = (&mut self.checking, &self.torrent) else { return };
        while check.asked_bytes < AHEAD_BYTES || check.asked.len() < AHEAD_PIECES {
            let Some(piece) = torrent.geometry.piece(check.next) else { break };
            check.next += 1;
            let bytes = u64::from(torrent.geometry.piece_len(piece));
            if torrent.pieces.is_verified_now(piece) {
                // It has just come, and is being compared.
                check.done_bytes += bytes;
                continue;
            }
            check.asked.insert(piece);
            check.asked_bytes += bytes;
            self.actions.push_back(Action::Check { piece, expected: torrent.info.piece_hash(piece) });
        }
        if !check.asked.is_empty() {
            return;
        }
        let Check { wrong, was_complete, .. } = *check;
        self.checking = None;
        self.notice(Notice::Checked { wrong });
        if self.is_complete() && !was_complete {
            self.notice(Notice::Completed);
        }
        self.next_beg = now;
        self.epoch += 1;
        self.swarm.stir();
        self.look_for_ways(now);
    }
}
