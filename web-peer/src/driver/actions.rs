//! Performing what the engine wants done.

use bytes::Bytes;
use engine::{Action, Notice, Session, Time};
use shared::InfoHash;
use shared::metainfo::Info;
use wasm_bindgen_futures::spawn_local;

use super::Event;
use super::peer::Peer;
use super::torrent::Torrent;
use crate::store::Store;

impl Peer {
    pub(super) fn drain_all(&mut self, now: Time) {
        let keys: Vec<u32> = self.torrents.iter().map(|torrent| torrent.key).collect();
        for key in keys {
            self.drain(now, key);
        }
    }

    /// Performs what the engine wants done for one torrent, until it wants no more.
    pub(super) fn drain(&mut self, now: Time, key: u32) {
        while let Some(action) =
            self.torrent(key).and_then(Torrent::session_mut).and_then(Session::poll_action)
        {
            self.perform(now, key, action);
        }
    }

    pub(super) fn perform(&mut self, now: Time, key: u32, action: Action) {
        match action {
            Action::Send { link, bytes } => self.send(link, bytes),
            Action::CloseLink { link, reason } => self.close_link(link, &reason),
            Action::Dial { peer } => self.dial(now, key, peer),
            Action::DialDirect { peer } => self.dial_direct(now, key, peer),
            Action::TellTracker { to, signal } => self.tell_tracker(now, key, to, signal),
            Action::TakeSignal { from, signal } => self.take_signal(now, key, from, &signal),
            Action::VerifyAndStore { piece, data, expected } => {
                let Some((store, hash, offset)) = self.place(key, |info| info.geometry().piece_offset(piece))
                else {
                    return;
                };
                let events = self.events.clone();
                spawn_local(async move {
                    let verdict = store.verify_and_store(hash, piece.as_u32(), offset, data, expected).await;
                    let _ = events.unbounded_send(Event::Stored { key, piece, verdict });
                });
            }
            Action::Load { load, span } => {
                let Some((store, hash, range)) = self.place(key, |info| info.geometry().absolute(span))
                else {
                    return;
                };
                let events = self.events.clone();
                spawn_local(async move {
                    let result = store.load(hash, range.start, span.len()).await;
                    let _ = events.unbounded_send(Event::Loaded { key, load, result });
                });
            }
            Action::Check { piece, expected } => self.check_piece(key, piece, expected),
            Action::OpenStore { info } => {
                // Before anything that was asked for meanwhile can have come.
                self.apply_wishes(now, key);
                self.open_store(key, info);
            }
            Action::Notice(notice) => {
                match notice {
                    // Of a torrent of which only some files are wanted, the tracker is told when all the others are here, too.
                    Notice::Completed if self.session(key).and_then(|session| session.left()) == Some(0) => {
                        self.tell_completed(now, key);
                    }
                    Notice::WantPeers => self.want_peers(key),
                    Notice::Checked { wrong } => self.all_checked(now, key, wrong),
                    _ => {}
                }
                let Some(torrent) = self.torrent(key) else { return };
                torrent.note(now, notice);
                if torrent.halted {
                    self.leave_swarm(now, key);
                }
            }
        }
    }

    pub(super) fn place<T>(&mut self, key: u32, at: impl FnOnce(&Info) -> T) -> Option<(Store, InfoHash, T)> {
        let store = self.store.clone()?;
        let session = self.torrent(key)?.session()?;
        Some((store, session.info_hash(), at(session.info()?)))
    }

    pub(super) fn open_store(&mut self, key: u32, info: Bytes) {
        let (Some(store), events) = (self.store.clone(), self.events.clone()) else { return };
        let Some(mut record) = self.torrent(key).and_then(|torrent| Self::record(torrent)) else { return };
        record.info = Some(info);
        spawn_local(async move {
            let result = store.create(record).await;
            let _ = events.unbounded_send(Event::StoreOpened { key, result });
        });
    }
}
