//! What is here is read and hashed again, since the user wants it so. The session says which pieces, and goes on when it has all
//! answers (`engine::session::checking`); the storage worker reads and compares them wherever they lie.
//!
//! Meanwhile the torrent is in no swarm: who was told of it would knock in vain. The user's own files are not right or wrong
//! by pieces: the first that has other bytes than the torrent is told by its name, and all wait to be chosen again (`returning`).

use engine::{State, Time};
use shared::{InfoHash, PieceIndex};
use wasm_bindgen_futures::spawn_local;

use super::Event;
use super::peer::Peer;
use crate::store::LoadError;

impl Peer {
    /// Begins a check, where there is anything to read. What an error stopped goes on first, and afterwards.
    pub(super) fn check(&mut self, now: Time, hash: InfoHash) {
        let Some(torrent) = self.by_hash(hash).filter(|torrent| torrent.is_readable()) else { return };
        let key = torrent.key;
        let failed = torrent.session().is_some_and(|session| session.state() == State::Error);
        if torrent.halted || failed {
            torrent.trouble = None;
            torrent.halted = false;
            if let Some(session) = torrent.session_mut() {
                session.resume(now);
            }
        }
        if torrent.session_mut().is_some_and(|session| session.check(now)) {
            torrent.checked = None;
            self.leave_swarm(now, key);
        }
    }

    /// Performs an [`Action::Check`](engine::Action::Check).
    pub(super) fn check_piece(&mut self, key: u32, piece: PieceIndex, expected: [u8; 20]) {
        let place = self.place(key, |info| {
            let geometry = info.geometry();
            (geometry.piece_offset(piece), geometry.piece_len(piece))
        });
        let Some((store, hash, place)) = place else { return };
        let events = self.events.clone();
        spawn_local(async move {
            let result = store.check(hash, piece.as_u32(), place, expected).await;
            let _ = events.unbounded_send(Event::Checked { key, piece, result });
        });
    }

    /// A piece was compared.
    pub(super) fn piece_checked(
        &mut self,
        now: Time,
        key: u32,
        piece: PieceIndex,
        result: Result<bool, LoadError>,
    ) {
        let Some(session) = self.session(key).filter(|session| session.state() == State::Hashing) else {
            return;
        };
        match result {
            Ok(is_right) => session.handle_checked(now, piece, is_right),
            // Nobody knows whether it is right: the torrent stands still, which ends the check.
            Err(error) => self.unreadable(now, key, error),
        }
    }

    /// All were.
    pub(super) fn all_checked(&mut self, now: Time, key: u32, wrong: u32) {
        let Some(torrent) = self.torrent(key) else { return };
        torrent.checked = Some(wrong);
        if torrent.session().is_some_and(|session| !session.is_paused()) {
            self.join_swarm(now, key);
        }
    }
}
