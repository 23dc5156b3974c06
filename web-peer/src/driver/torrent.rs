//! One row of the list: a torrent from the moment its files are chosen or its hash is pasted.

use engine::{ByteCounts, Limits, Notice, PieceCounts, Rates, Session, State, Time, TorrentSnapshot};
use js_sys::Promise;
use shared::magnet::Magnet;
use shared::order::SortedMap;
use shared::{InfoHash, PeerId};

use super::attempt::Attempts;
use super::history::History;
use super::journaling::Journaling;
use super::returning::Returning;
use super::trackers::{TrackerId, Trackers};
use super::{Settings, files};
use crate::snapshot::{
    AllTime, BannedView, Notes, SavingView, TorrentTrackerView, TorrentView, TrackerState, Trouble, Waiting,
};
use crate::store::{Seeded, Wishes};

/// Peers of which it is remembered who named them, at most; the others are looked for at any tracker.
const MAX_NAMED: usize = 500;

/// Banned peers that are shown, the latest: whoever comes under ever new names shall not fill the memory.
const MAX_BANNED: usize = 50;

/// Most pieces that are mapped one by one.
const MAX_MAPPED: u32 = 20_000;

/// What there is of it.
pub(super) enum Phase {
    /// Its files are being hashed; the info-hash is not known yet.
    Hashing {
        name: String,
        done: u64,
        total: u64,
        /// The trackers that it shall have.
        trackers: Vec<String>,
    },
    /// Hashing failed; the row stays to say why.
    Stillborn { name: String },
    /// It has a session.
    Live(Box<Session>),
}

/// One row of the list.
pub(super) struct Torrent {
    /// Names the row.
    pub(super) key: u32,
    pub(super) phase: Phase,
    /// How it was added; the trackers it names are kept for the link.
    pub(super) magnet: Option<Magnet>,
    /// Milliseconds since 1970 when it was added.
    pub(super) added: u64,
    pub(super) trouble: Option<Trouble>,
    /// Stopped by that trouble, until the user says go on.
    pub(super) halted: bool,
    /// How far saving it into a folder is.
    pub(super) saving: Option<SavingView>,
    /// What the user wants of it.
    pub(super) wishes: Wishes,
    /// The session's limits.
    pub(super) limits: Limits,
    /// Its files'.
    paths: files::Paths,
    /// How fast it was.
    history: History,
    /// What happened to it.
    pub(super) journaling: Journaling,
    /// Peers that sent wrong data.
    banned: Vec<BannedView>,
    /// Its bytes come from files that the user chose, not from the store.
    pub(super) from_files: bool,
    /// What is remembered of these files, so that they are found again; `None` where a download of the same torrent is.
    pub(super) seeded: Option<Seeded>,
    /// What its `.torrent` file says about it.
    pub(super) notes: Notes,
    /// What was received and sent of it before its session began.
    pub(super) before: AllTime,
    /// What of that was written last, with what the session counted.
    pub(super) noted: AllTime,
    /// Pieces that were not right when it was checked last.
    pub(super) checked: Option<u32>,
    /// What becomes their handle; see [`ChosenFile`](crate::command::ChosenFile).
    pub(super) source: Option<Promise>,
    /// They are not here yet: what is waited for. Its session stands still meanwhile.
    pub(super) returning: Option<Returning>,
    /// What is done about that.
    pub(super) attempts: Attempts,
    /// Whether it stands still when they are.
    pub(super) wants_pause: bool,
    /// Its trackers, the page's own first.
    pub(super) trackers: Vec<TrackerId>,
    /// Peers that a relay channel was asked for, and of which tracker; whether that may answer that it is to be had elsewhere.
    pub(super) dialing: SortedMap<(PeerId, TrackerId), bool>,
    /// Which tracker named a peer last.
    named: SortedMap<PeerId, TrackerId>,
}

impl Torrent {
    pub(super) fn new(key: u32, added: u64, phase: Phase) -> Self {
        Self {
            key,
            phase,
            magnet: None,
            added,
            trouble: None,
            halted: false,
            saving: None,
            wishes: Wishes::default(),
            limits: Limits::default(),
            paths: files::Paths::default(),
            history: History::default(),
            journaling: Journaling::default(),
            banned: Vec::new(),
            from_files: false,
            seeded: None,
            notes: Notes::default(),
            before: AllTime::default(),
            noted: AllTime::default(),
            checked: None,
            source: None,
            returning: None,
            attempts: Attempts::default(),
            wants_pause: false,
            trackers: Vec::new(),
            dialing: SortedMap::new(),
            named: SortedMap::new(),
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn info_hash(&self) -> Option<InfoHash> {
        self.session().map(Session::info_hash)
    }

    /// Remembers how fast it is. Whether it was anything but still in the time that is remembered, so that this has to go on.
    pub(super) fn record_rates(&mut self, now: Time) -> bool {
        let Phase::Live(session) = &self.phase else { return false };
        self.history.record(now, [session.downloaded(), session.uploaded()]);
        !self.history.is_still()
    }

    /// Whether it takes part in its swarm now.
    pub(super) fn is_active(&self) -> bool {
        !self.halted
            && self.session().is_some_and(|session| {
                matches!(session.state(), State::Metadata | State::Downloading | State::Seeding)
            })
    }

    /// Whether what is here can be read.
    pub(super) fn is_readable(&self) -> bool {
        self.returning.is_none() && self.session().is_some_and(Session::is_open)
    }

    /// Takes the attempts for which `which` holds off the list; whom they were for.
    pub(super) fn take_dials(&mut self, which: impl Fn(PeerId, TrackerId) -> bool) -> Vec<PeerId> {
        let mut taken = Vec::new();
        self.dialing.retain(|(peer, tracker), _| {
            let is_taken = which(*peer, *tracker);
            taken.extend(is_taken.then_some(*peer));
            !is_taken
        });
        taken
    }

    /// A tracker names these peers.
    pub(super) fn named(&mut self, by: TrackerId, peers: impl Iterator<Item = PeerId>) {
        for peer in peers {
            if self.named.len() < MAX_NAMED || self.named.contains_key(&peer) {
                self.named.insert(peer, by);
            }
        }
    }

    /// The tracker that named this peer last.
    pub(super) fn named_by(&self, peer: PeerId) -> Option<TrackerId> {
        self.named.get(&peer).copied()
    }

    /// Hashing, or what comes right after it, failed.
    pub(super) fn stillborn(&mut self, trouble: Trouble) {
        if let Phase::Hashing { name, .. } = &mut self.phase {
            self.phase = Phase::Stillborn { name: std::mem::take(name) };
        }
        self.trouble = Some(trouble);
    }

    /// Something fatal happened: stand still and say why.
    pub(super) fn halt(&mut self, now: Time, trouble: Trouble) {
        self.trouble = Some(trouble);
        self.halted = true;
        if let Some(session) = self.session_mut() {
            session.pause(now);
        }
    }

    /// Turns the engine's notices into what users see.
    pub(super) fn note(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::Completed => {
                // Everything is verified: what somebody sent meanwhile matters no more.
                self.trouble.take_if(|trouble| matches!(trouble, Trouble::HashMismatch { .. }));
            }
            Notice::WantPeers | Notice::Checked { .. } => {}
            Notice::Banned { peer, piece } => {
                self.trouble = Some(Trouble::HashMismatch { peer: peer.to_string(), piece: piece.as_u32() });
                if self.banned.len() == MAX_BANNED {
                    self.banned.remove(0);
                }
                self.banned.push(BannedView {
                    id: peer.to_string(),
                    client: peer.client().unwrap_or_default().to_owned(),
                    piece: piece.as_u32(),
                });
            }
            Notice::HashMismatch { piece } => {
                self.trouble = Some(Trouble::HashMismatch { peer: String::new(), piece: piece.as_u32() });
            }
            Notice::StoreFailed(detail) => {
                // The store's own answer may have said it better already.
                let said = matches!(
                    self.trouble,
                    Some(Trouble::DiskFull | Trouble::TooLargeForMemory { .. } | Trouble::StoreFailed { .. })
                );
                let trouble = if said { self.trouble.take() } else { None };
                self.halt(now, trouble.unwrap_or(Trouble::StoreFailed { detail }));
            }
        }
    }

    /// The row as the user sees it.
    pub(super) fn view(&self, now: Time, settings: &Settings, trackers: &Trackers) -> TorrentView {
        let mut torrent = match &self.phase {
            Phase::Live(session) => session.snapshot(now),
            Phase::Hashing { name, done, total, .. } => without_session(name, State::Hashing, *done, *total),
            Phase::Stillborn { name } => without_session(name, State::Error, 0, 0),
        };
        if self.halted {
            torrent.state = State::Error;
        }
        if let Some(Returning::Checking { done, .. }) = self.returning {
            torrent.state = State::Hashing;
            torrent.bytes.verified = done;
        }
        let files = self.session().map(|session| files::views(session, &self.paths)).unwrap_or_default();
        let (link, magnet) = match self.info_hash() {
            Some(hash) => (
                format!("{}#{hash}", settings.page_address),
                self.magnet_link(hash, &torrent, &settings.tracker),
            ),
            None => (String::new(), String::new()),
        };
        let moving = torrent.state == State::Downloading && torrent.rates.down >= 1.0;
        let trackers = self.tracker_views(trackers);
        let reached = trackers.iter().any(|tracker| tracker.state == TrackerState::Connected);
        let mut view = TorrentView {
            key: self.key,
            waiting: match self.returning {
                Some(returning) => returning.waiting(),
                None => waiting(&torrent, reached),
            },
            trouble: self.trouble.clone(),
            stored: self.session().is_some() && !self.from_files,
            readable: self.is_readable(),
            saving: self.saving,
            in_folder: self.session().and_then(Session::info).is_some_and(|info| info.is_folder()),
            seconds_left: None,
            files,
            piece_states: self.session().filter(is_mapped).map(Session::piece_states).unwrap_or_default(),
            sequential: self.wishes.sequential,
            limits: self.wishes.limits,
            upload_off: self.wishes.limits.upload_off || settings.limits.upload_off,
            all_time: self.all_time(),
            notes: self.notes.clone(),
            checked: self.checked,
            history: self.history.view(),
            super_seeding: self.session().is_some_and(Session::is_super_seeding),
            banned: self.banned.clone(),
            trackers,
            link,
            magnet,
            torrent,
            journal: self.journaling.journal(),
        };
        let wanted = view.wanted();
        let missing = wanted.total.saturating_sub(wanted.verified);
        view.seconds_left = moving.then(|| missing as f64 / view.torrent.rates.down);
        view
    }

    fn tracker_views(&self, trackers: &Trackers) -> Vec<TorrentTrackerView> {
        let own = trackers.own().id;
        let used = self.trackers.iter().filter_map(|id| trackers.get(*id));
        used.map(|tracker| {
            let membership = tracker.memberships.get(&self.key);
            TorrentTrackerView {
                url: tracker.url.clone(),
                state: tracker.state,
                own: tracker.id == own,
                kind: tracker.kind,
                complete: membership.map_or(0, |membership| membership.complete),
                incomplete: membership.map_or(0, |membership| membership.incomplete),
                failure: membership.and_then(|membership| membership.failure.clone()),
            }
        })
        .collect()
    }

    /// With the page's own tracker, so that it opens in other clients.
    fn magnet_link(&self, hash: InfoHash, torrent: &TorrentSnapshot, own: &str) -> String {
        let mut magnet = self.magnet_with(hash, own);
        if !torrent.name.is_empty() {
            magnet.display_name = Some(torrent.name.clone());
        }
        if torrent.bytes.total > 0 {
            magnet.exact_length = Some(torrent.bytes.total);
        }
        magnet.to_string()
    }

    /// How it was added, with this page's own tracker among those it names.
    pub(super) fn magnet_with(&self, hash: InfoHash, own: &str) -> Magnet {
        let mut magnet = self.magnet.clone().unwrap_or_else(|| Magnet::new(hash));
        if !magnet.trackers.iter().any(|tracker| tracker == own) {
            magnet.trackers.insert(0, own.to_owned());
        }
        magnet
    }
}

/// The row with this key.
pub(super) fn by_key(torrents: &[Torrent], key: u32) -> Option<&Torrent> {
    torrents.iter().find(|torrent| torrent.key == key)
}

/// When a torrent that comes into this list now, in milliseconds since 1970, is said to be added: of what comes at once no two
/// have the same, so that a list keeps its order.
pub(super) fn added_to(list: &[Torrent], now: u64) -> u64 {
    let latest = list.iter().map(|torrent| torrent.added).max();
    latest.map_or(now, |latest| now.max(latest.saturating_add(1)))
}

/// Whether the snapshot has a map of its pieces, which costs time for each of them.
fn is_mapped(session: &&Session) -> bool {
    session.info().is_some_and(|info| info.geometry().piece_count() <= MAX_MAPPED)
}

fn without_session(name: &str, state: State, done: u64, total: u64) -> TorrentSnapshot {
    TorrentSnapshot {
        info_hash: InfoHash::new([0; 20]),
        name: name.into(),
        state,
        bytes: ByteCounts { total, verified: done, ..ByteCounts::default() },
        rates: Rates::default(),
        pieces: PieceCounts::default(),
        peers: Vec::new(),
    }
}

/// What a torrent that does not move is waiting for, if a tracker is `reached` or not.
fn waiting(torrent: &TorrentSnapshot, reached: bool) -> Option<Waiting> {
    match torrent.state {
        State::Metadata | State::Downloading => {}
        _ => return None,
    }
    if torrent.peers.is_empty() {
        Some(if reached { Waiting::Peers } else { Waiting::Tracker })
    } else if torrent.state == State::Metadata {
        Some(Waiting::Metadata)
    } else if torrent.rates.down < 1.0 {
        Some(Waiting::Pieces)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When torrents that come at these times are said to be added, beside one that came back.
    fn added(back: u64, times: &[u64]) -> Vec<u64> {
        let torrent = |added| Torrent::new(0, added, Phase::Stillborn { name: String::new() });
        let mut list = vec![torrent(back)];
        for now in times {
            let added = added_to(&list, *now);
            list.push(torrent(added));
        }
        list.iter().map(|torrent| torrent.added).collect()
    }

    #[test]
    fn of_torrents_added_within_one_millisecond_each_is_later_than_the_one_before() {
        assert_eq!(added_to(&[], 70), 70);
        assert_eq!(added(5, &[70, 70, 70, 90]), [5, 70, 71, 72, 90]);
        assert_eq!(added(80, &[70, 81, 90]), [80, 81, 82, 90], "the clock was set back");
        assert_eq!(added(u64::MAX, &[70]), [u64::MAX, u64::MAX], "no record stops anybody from adding more");
    }
}
