//! What the user wants of torrents: which files, in which order, how fast.

use engine::{Limit, Limits, Priority, Time};
use shared::InfoHash;

use super::peer::Peer;
use super::torrent::Torrent;
use crate::kept;
use crate::snapshot::RateLimits;

/// Where the browser keeps the limits of all torrents together: [`RateLimits`] as JSON.
pub(crate) const LIMITS_KEY: &str = "enxame.limits";

/// What may be sent while the connection is metered and the user has set no limit, in bytes a second: enough to be worth meeting,
/// and under 200 MB an hour.
const POLITE: u64 = 50_000;

/// Limits for all torrents together.
pub(super) fn shared(rates: RateLimits) -> Limits {
    let limits = Limits::default();
    limits.shared_up.set(rates.up);
    limits.shared_down.set(rates.down);
    limits
}

impl Torrent {
    /// Its limits or those of all have changed.
    fn enforce_limits(&mut self, now: Time, of_all: RateLimits) {
        let upload = uploads(of_all, self.wishes.limits);
        if let Some(session) = self.session_mut() {
            session.set_upload(now, upload);
            // Who waited for the old limit need not wait as long for the new one.
            session.handle_timeout(now);
        }
    }
}

/// Whether anything is sent of a torrent with these limits.
pub(super) fn uploads(of_all: RateLimits, own: RateLimits) -> bool {
    !of_all.upload_off && !own.upload_off
}

impl Peer {
    /// The limits of one torrent: its own, and those that it shares with all others.
    pub(super) fn limits_of(&self, rates: RateLimits) -> Limits {
        let limits = Limits { up: Limit::default(), down: Limit::default(), ..self.limits.clone() };
        limits.up.set(rates.up);
        limits.down.set(rates.down);
        limits
    }

    pub(super) fn set_limits(&mut self, now: Time, rates: RateLimits) {
        self.settings.limits = rates;
        self.enforce_limits(now);
        if let Ok(json) = serde_json::to_string(&rates) {
            kept::set(LIMITS_KEY, Some(&json));
        }
    }

    /// Whoever pays for each byte should not send without end unasked.
    pub(super) fn set_metered(&mut self, now: Time, metered: bool) {
        self.metered = metered;
        self.enforce_limits(now);
    }

    /// The limit for what is sent that is in force because the connection is metered, in bytes a second.
    pub(super) fn polite_upload(&self) -> Option<u64> {
        let limits = self.settings.limits;
        (self.metered && limits.up.is_none() && !limits.upload_off).then_some(POLITE)
    }

    fn enforce_limits(&mut self, now: Time) {
        let rates = self.settings.limits;
        self.limits.shared_up.set(rates.up.or(self.polite_upload()));
        self.limits.shared_down.set(rates.down);
        self.torrents.iter_mut().for_each(|torrent| torrent.enforce_limits(now, rates));
    }

    pub(super) fn set_torrent_limits(&mut self, now: Time, hash: InfoHash, rates: RateLimits) {
        let of_all = self.settings.limits;
        let Some(torrent) = self.by_hash(hash) else { return };
        torrent.wishes.limits = rates;
        torrent.limits.up.set(rates.up);
        torrent.limits.down.set(rates.down);
        torrent.enforce_limits(now, of_all);
        self.remember(hash);
    }

    pub(super) fn set_sequential(&mut self, now: Time, hash: InfoHash, sequential: bool) {
        let Some(torrent) = self.by_hash(hash) else { return };
        torrent.wishes.sequential = sequential;
        if let Some(session) = torrent.session_mut() {
            session.set_sequential(now, sequential.then_some(0));
        }
        self.remember(hash);
    }

    /// How much the file at this place in the list is wanted, or all of them.
    pub(super) fn set_priorities(
        &mut self,
        now: Time,
        hash: InfoHash,
        place: Option<usize>,
        priority: Priority,
    ) {
        let Some(torrent) = self.by_hash(hash) else { return };
        let Some(session) = torrent.session_mut() else { return };
        let Some(info) = session.info().cloned() else { return };
        // The list shows what is not hidden.
        let shown = info.files().iter().enumerate().filter(|(_, file)| !file.hidden);
        let chosen = shown.enumerate().filter(|(at, _)| place.is_none_or(|place| place == *at));
        let chosen: Vec<_> = chosen.map(|(_, (index, _))| (index, priority)).collect();
        session.set_file_priorities(now, &chosen);
        let priorities =
            (0..info.files().len()).filter_map(|index| Some((index, session.file_priority(index)?)));
        torrent.wishes.priorities =
            priorities.filter(|(_, priority)| *priority != Priority::default()).collect();
        self.remember(hash);
    }

    /// Tells the session what is wanted of its files, as soon as it knows them.
    pub(super) fn apply_wishes(&mut self, now: Time, key: u32) {
        let Some(torrent) = self.torrent(key) else { return };
        let mut wishes = std::mem::take(&mut torrent.wishes);
        if let Some(session) = torrent.session_mut()
            && let Some(info) = session.info().cloned()
        {
            let shown = info.files().iter().enumerate().filter(|(_, file)| !file.hidden);
            let shown: Vec<usize> = shown.map(|(index, _)| index).collect();
            if std::mem::take(&mut wishes.choose_first) && shown.len() > 1 {
                wishes.priorities = shown.into_iter().map(|index| (index, Priority::Skip)).collect();
            }
            // Files that are not there are nobody's wish.
            session.set_file_priorities(now, &wishes.priorities);
            if wishes.sequential {
                session.set_sequential(now, Some(0));
            }
        }
        if let Some(torrent) = self.torrent(key) {
            torrent.wishes = wishes;
        }
    }
}
