//! Torrents that the user took out of the list while keeping their data. They take no part in any swarm; they are listed again by
//! hand, or by adding the same torrent, and then go on with what is there.

use engine::Time;
use shared::InfoHash;
use shared::magnet::{self, Magnet};
use shared::metainfo::Info;

use super::commands::Start;
use super::peer::Peer;
use crate::snapshot::{Notes, UnlistedView};
use crate::store::{Record, Remembered, Wishes};

/// What is kept of one.
pub(super) struct Unlisted {
    record: Record,
    /// Bytes that are there, verified; `None` while nobody has looked.
    bytes: Option<u64>,
}

impl Unlisted {
    pub(super) fn view(&self) -> UnlistedView {
        let Record { info_hash, name, .. } = &self.record;
        UnlistedView { info_hash: info_hash.to_string(), name: name.clone(), bytes: self.bytes }
    }
}

impl From<Remembered> for Unlisted {
    fn from(Remembered { record, have }: Remembered) -> Self {
        let geometry =
            record.info.clone().and_then(|info| Info::from_bytes(info).ok()).map(|info| info.geometry());
        let bytes = geometry.map(|geometry| {
            let pieces = geometry.pieces().zip(have).filter(|(_, here)| *here);
            pieces.map(|(piece, _)| u64::from(geometry.piece_len(piece))).sum()
        });
        Self { record, bytes }
    }
}

impl Peer {
    /// Takes a torrent out of the list and keeps what was downloaded of it. Only a download has that, and only once its metadata is
    /// known.
    pub(super) fn unlist(&mut self, now: Time, hash: InfoHash) {
        let Some(torrent) = self.by_hash(hash).filter(|torrent| !torrent.from_files) else { return };
        let Some(record) = Self::record(torrent).filter(|record| record.info.is_some()) else { return };
        let record = Record { unlisted: true, ..record };
        let here = torrent.session().and_then(|session| {
            let total = session.info()?.geometry().total();
            Some(total - session.left()?)
        });
        // A store that is not open says that nothing is there.
        let bytes = here.filter(|bytes| *bytes > 0);
        let key = torrent.key;
        self.leave_swarm(now, key);
        self.drop_row(key);
        self.keep_record(record.clone());
        self.unlisted.push(Unlisted { record, bytes });
    }

    /// Lists a torrent again that was taken out. It stands still if it did.
    pub(super) fn relist(&mut self, now: Time, hash: InfoHash) {
        let kept = self.unlisted.iter().find(|kept| kept.record.info_hash == hash);
        let Some(paused) = kept.map(|kept| kept.record.paused) else { return };
        let start = Start { paused, ..Start::now(Wishes::default(), Notes::default()) };
        self.add(now, Magnet::new(hash), None, start);
    }

    /// Deletes what is kept of a torrent that is not in the list.
    pub(super) fn delete_unlisted(&mut self, hash: InfoHash) {
        if self.take_unlisted(hash).is_some() {
            self.delete_stored(hash);
        }
    }

    /// What is kept of this torrent, which is then somebody else's to look after.
    pub(super) fn take_unlisted(&mut self, hash: InfoHash) -> Option<Record> {
        let place = self.unlisted.iter().position(|kept| kept.record.info_hash == hash)?;
        Some(self.unlisted.remove(place).record)
    }
}

/// How a torrent was added, as far as its record says.
pub(super) fn magnet_of(record: &Record) -> Magnet {
    let magnet = magnet::parse_pasted(&record.magnet);
    Magnet { info_hash: record.info_hash, ..magnet.unwrap_or_else(|_| Magnet::new(record.info_hash)) }
}
