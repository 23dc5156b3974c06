//! What the store answers, and what it should remember.

use bytes::Bytes;
use engine::{Content, LoadId, Time};
use shared::magnet::Magnet;
use shared::{InfoHash, PieceIndex};
use wasm_bindgen_futures::spawn_local;

use super::commands::Start;
use super::peer::Peer;
use super::torrent::Torrent;
use super::unlisted::{Unlisted, magnet_of};
use crate::intake::IntakeError;
use crate::snapshot::Trouble;
use crate::store::{LoadError, Record, Remembered, Store, StoreError, Verdict};

impl Peer {
    pub(super) fn store_ready(&mut self, now: Time, store: Store, remembered: Vec<Remembered>) {
        self.store = Some(store);
        let (unlisted, listed): (Vec<_>, _) =
            remembered.into_iter().partition(|remembered| remembered.record.unlisted);
        self.unlisted = unlisted.into_iter().map(Unlisted::from).collect();
        for Remembered { record, have } in listed {
            let magnet = magnet_of(&record);
            let start = Start {
                paused: record.paused,
                added: Some(record.added),
                notes: record.notes(),
                wishes: record.wishes,
                all_time: record.all_time,
            };
            match (record.info, record.seeded) {
                (Some(info), Some(seeded)) => self.begin_returning(now, magnet, info, start, seeded),
                (Some(info), None) => {
                    self.begin(now, magnet, Content::Known { info, have: Some(have) }, start);
                }
                (None, _) => self.begin(now, magnet, Content::Unknown, start),
            }
        }
        self.sweep_handles();
        for command in std::mem::take(&mut self.early) {
            self.command(now, command);
        }
    }

    /// What the store should know of a torrent, so that the next tab can go on with it. Of one that is seeded from the user's own
    /// files while the store has a download of the same, that is the download's.
    pub(super) fn record(torrent: &Torrent) -> Option<Record> {
        let session = torrent.session().filter(|_| !torrent.from_files || torrent.seeded.is_some())?;
        let magnet = torrent.magnet.clone().unwrap_or_else(|| Magnet::new(session.info_hash()));
        let (info, notes) = (session.info(), torrent.notes.clone());
        Some(Record {
            info_hash: session.info_hash(),
            info: info.map(|info| info.raw().clone()),
            name: info
                .map(|info| info.name().to_owned())
                .or_else(|| magnet.display_name.clone())
                .unwrap_or_default(),
            magnet: magnet.to_string(),
            added: torrent.added,
            paused: torrent.is_paused(),
            wishes: torrent.wishes.clone(),
            comment: notes.comment,
            created_by: notes.created_by,
            creation_date: notes.creation_date,
            all_time: torrent.all_time(),
            seeded: torrent.seeded.clone(),
            unlisted: false,
        })
    }

    pub(super) fn remember(&mut self, hash: InfoHash) {
        let Some(torrent) = self.by_hash(hash) else { return };
        torrent.noted = torrent.all_time();
        if let Some(record) = Self::record(torrent) {
            self.keep_record(record);
        }
    }

    pub(super) fn keep_record(&self, record: Record) {
        let Some(store) = self.store.clone() else { return };
        spawn_local(async move {
            // A record that cannot be written costs a reload its memory, not the transfer.
            let _ = store.remember(record).await;
        });
    }

    /// Deletes what the store has of a torrent, and what it remembers of it.
    pub(super) fn delete_stored(&self, hash: InfoHash) {
        let Some(store) = self.store.clone() else { return };
        spawn_local(async move { store.remove(hash).await });
    }

    pub(super) fn store_opened(&mut self, now: Time, key: u32, result: Result<Vec<bool>, StoreError>) {
        let Some(torrent) = self.torrent(key) else { return };
        match result {
            Ok(have) => {
                if let Some(session) = torrent.session_mut() {
                    session.handle_store_opened(now, have);
                }
            }
            Err(error) => {
                let detail = error.to_string();
                torrent.trouble = Some(error.into());
                if let Some(session) = torrent.session_mut() {
                    session.handle_store_failed(now, detail);
                }
            }
        }
    }

    pub(super) fn stored(&mut self, now: Time, key: u32, piece: PieceIndex, verdict: Verdict) {
        let Some(torrent) = self.torrent(key) else { return };
        if let Verdict::Failed(error) = &verdict {
            torrent.trouble = Some(error.clone().into());
        }
        if let Some(session) = torrent.session_mut() {
            session.handle_stored(now, piece, verdict.into());
        }
    }

    pub(super) fn loaded(&mut self, now: Time, key: u32, load: LoadId, result: Result<Bytes, LoadError>) {
        let Some(torrent) = self.torrent(key) else { return };
        let Some(session) = torrent.session_mut() else { return };
        match result {
            Ok(bytes) => session.handle_loaded(now, load, Some(bytes)),
            Err(error) => {
                session.handle_loaded(now, load, None);
                self.unreadable(now, key, error);
            }
        }
    }

    /// Bytes that should be here cannot be read, or are not right.
    pub(super) fn unreadable(&mut self, now: Time, key: u32, error: LoadError) {
        let Some(torrent) = self.torrent(key) else { return };
        match error {
            LoadError::Altered { file } => self.altered(now, key, file),
            // Another answer said already what is wrong.
            _ if torrent.returning.is_some() => {}
            error => {
                torrent.halt(now, error.into());
                self.leave_swarm(now, key);
            }
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::DiskFull,
            StoreError::TooLargeForMemory { total, limit } => Self::TooLargeForMemory { total, limit },
            StoreError::Changed(name) => Self::FileUnreadable { name },
            error @ (StoreError::NotOpen | StoreError::BadInfo(_) | StoreError::Browser(_)) => {
                Self::StoreFailed { detail: error.to_string() }
            }
        }
    }
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Changed { file } => Self::FileUnreadable { name: file },
            LoadError::Altered { file } => Self::FileChanged { name: file },
            error @ (LoadError::Missing | LoadError::Browser(_)) => {
                Self::StoreFailed { detail: error.to_string() }
            }
        }
    }
}

impl From<IntakeError> for Trouble {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Unreadable { name } => Self::FileUnreadable { name },
            error => Self::StoreFailed { detail: error.to_string() },
        }
    }
}
