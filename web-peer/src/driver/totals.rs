//! What was received and sent of each torrent since it was added, over reloads: counted by its session, added to what was before
//! that, and written into its record from time to time.

use std::time::Duration;

use engine::{Session, Time};

use super::peer::Peer;
use super::torrent::{Phase, Torrent};
use crate::snapshot::AllTime;

/// While bytes come and go, the counts are written this often: so much of them a crash or a reload may cost.
const NOTE_EVERY: Duration = Duration::from_secs(30);

impl Torrent {
    /// What was received and sent of it since it was added.
    pub(super) fn all_time(&self) -> AllTime {
        let AllTime { downloaded, uploaded } = self.before;
        let session = self.session();
        AllTime {
            downloaded: downloaded.saturating_add(session.map_or(0, Session::downloaded)),
            uploaded: uploaded.saturating_add(session.map_or(0, Session::uploaded)),
        }
    }

    /// From now on it is this session's; what an earlier one counted stays counted.
    pub(super) fn live(&mut self, session: Session) {
        self.before = self.all_time();
        self.phase = Phase::Live(Box::new(session));
    }
}

impl Peer {
    /// Has the counts written before long, if they have changed.
    pub(super) fn watch_totals(&mut self, now: Time) {
        if self.totals_due.is_none()
            && self.torrents.iter().any(|torrent| torrent.all_time() != torrent.noted)
        {
            self.totals_due = Some(now + NOTE_EVERY);
        }
    }

    /// Writes what has changed, if it is time.
    pub(super) fn note_totals(&mut self, now: Time) {
        if self.totals_due.is_none_or(|due| now < due) {
            return;
        }
        self.totals_due = None;
        let changed = self.torrents.iter().filter(|torrent| torrent.all_time() != torrent.noted);
        for hash in changed.filter_map(Torrent::info_hash).collect::<Vec<_>>() {
            self.remember(hash);
        }
    }
}
