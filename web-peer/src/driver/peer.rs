//! This tab's peer: its torrents, its trackers and links, and what happens when.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use engine::{Limits, LinkId, Session, Time};
use futures::channel::mpsc;
use shared::InfoHash;
use shared::order::SortedMap;

use super::direct::Direct;
use super::links::Link;
use super::streaming::Streaming;
use super::torrent::{Phase, Torrent};
use super::trackers::{Tracker, Trackers};
use super::unlisted::Unlisted;
use super::{Event, Settings, wishes};
use crate::clock;
use crate::command::{ChosenFile, Command};
use crate::snapshot::{Alert, Invitation, Snapshot, StorageKind, StorageView, TrackerView, Trouble};
use crate::store::Store;
use crate::verify::HashPool;

/// Most alerts that are kept; the oldest go first.
const MAX_ALERTS: usize = 5;

/// This tab's peer.
pub(super) struct Peer {
    pub(super) settings: Settings,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) store: Option<Store>,
    /// Commands that came before the store was ready.
    pub(super) early: Vec<Command>,
    pub(super) pool: HashPool,
    pub(super) trackers: Trackers,
    pub(super) direct: Direct,
    pub(super) streaming: Streaming,
    /// Every open link.
    pub(super) links: SortedMap<LinkId, Link>,
    /// What all torrents together may send and fetch; the halves that each has alone are not used.
    pub(super) limits: Limits,
    /// Whether the connection is metered.
    pub(super) metered: bool,
    pub(super) torrents: Vec<Torrent>,
    /// What is kept of torrents that are not in the list.
    pub(super) unlisted: Vec<Unlisted>,
    pub(super) alerts: Vec<Alert>,
    /// Chosen files that wait for torrents that are compared with others now, by their keys.
    pub(super) kept_back: Vec<(VecDeque<u32>, Vec<ChosenFile>)>,
    /// Links that were opened and not answered yet.
    pub(super) invitations: Vec<Invitation>,
    pub(super) next_key: u32,
    pub(super) next_link: u64,
    pub(super) next_alert: u32,
    pub(super) draws: u64,
    pub(super) changed: bool,
    /// When what was received and sent is to be written.
    pub(super) totals_due: Option<Time>,
}

impl Peer {
    pub(super) fn new(settings: Settings, events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            trackers: Trackers::new(&settings.tracker),
            direct: Direct::new(settings.transport, events.clone()),
            streaming: Streaming::new(),
            limits: wishes::shared(settings.limits),
            settings,
            events,
            store: None,
            metered: false,
            early: Vec::new(),
            pool: HashPool::new(),
            links: SortedMap::new(),
            torrents: Vec::new(),
            unlisted: Vec::new(),
            alerts: Vec::new(),
            kept_back: Vec::new(),
            invitations: Vec::new(),
            next_key: 0,
            next_link: 0,
            next_alert: 0,
            draws: 0,
            changed: true,
            totals_due: None,
        }
    }

    /// Whether a new snapshot would differ.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn take_snapshot(&mut self, now: Time) -> Snapshot {
        // Rates fall while nothing happens, so what is linked stays "changed", and so does what was fast in the last minutes.
        self.changed = !self.links.is_empty();
        for torrent in &mut self.torrents {
            self.changed |= torrent.record_rates(now);
        }
        self.watch_totals(now);
        let mut snapshot = self.snapshot(now);
        let at = clock::since_1970();
        for (torrent, view) in self.torrents.iter_mut().zip(&mut snapshot.torrents) {
            torrent.journaling.look(now, at, view);
            view.journal = torrent.journaling.journal();
        }
        snapshot
    }

    pub(super) fn snapshot(&self, now: Time) -> Snapshot {
        let opening = StorageView { kind: StorageKind::Opening, limit: None };
        let own = self.trackers.own();
        let view = |torrent: &Torrent| torrent.view(now, &self.settings, &self.trackers);
        Snapshot {
            peer_id: self.settings.peer_id.to_string(),
            limits: self.settings.limits,
            polite_upload: self.polite_upload(),
            tracker: TrackerView { url: own.url.clone(), state: own.state },
            storage: self.store.as_ref().map_or(opening, Store::kind),
            rtc: self.direct.view(self.ice_view()),
            streaming: self.streaming.view.clone(),
            torrents: self.torrents.iter().map(view).collect(),
            unlisted: self.unlisted.iter().map(Unlisted::view).collect(),
            alerts: self.alerts.clone(),
            invitations: self.invitations.clone(),
        }
    }

    /// When [`Peer::handle_deadlines`] should be called next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let sessions =
            self.torrents.iter().filter_map(|torrent| torrent.session().and_then(Session::deadline));
        let trackers = self.trackers.iter().filter_map(Tracker::deadline);
        sessions.chain(trackers).chain(self.direct.deadline()).chain(self.totals_due).min()
    }

    pub(super) fn handle_deadlines(&mut self, now: Time) {
        self.tracker_deadlines(now);
        self.direct_deadlines(now);
        for torrent in &mut self.torrents {
            if let Some(session) = torrent.session_mut()
                && session.deadline().is_some_and(|deadline| deadline <= now)
            {
                session.handle_timeout(now);
            }
        }
        self.note_totals(now);
        self.advance_streams(now);
        self.drain_all(now);
        self.announce_due(now);
    }

    /// Takes one event in. The actions it causes are performed by the next [`Peer::handle_deadlines`].
    pub(super) fn handle(&mut self, now: Time, event: Event) {
        self.changed = true;
        match event {
            Event::Command(command) if self.store.is_none() => self.early.push(command),
            Event::Command(command) => self.command(now, command),
            Event::Socket(tracker, number, event) => self.socket_event(now, tracker, number, event),
            Event::Rtc(id, event) => self.rtc_event(now, id, event),
            Event::NetworkIsBack => self.connect_all(now),
            Event::Metered(metered) => self.set_metered(now, metered),
            Event::StoreReady(store, remembered) => self.store_ready(now, store, remembered),
            Event::HashingProgress { key, done: hashed, total: of } => {
                if let Some(Torrent { phase: Phase::Hashing { done, total, .. }, .. }) = self.torrent(key) {
                    (*done, *total) = (hashed, of);
                }
            }
            Event::Hashed { key, result } => self.hashed(key, result),
            Event::Attached { key, intake, result } => self.attached(now, key, &intake, result),
            Event::Return { key, attempt, news } => self.returned(now, key, attempt, news),
            Event::TorrentFile { name, content } => self.torrent_file(now, name, content),
            Event::StoreOpened { key, result } => self.store_opened(now, key, result),
            Event::Stored { key, piece, verdict } => self.stored(now, key, piece, verdict),
            Event::Loaded { key, load, result } => self.loaded(now, key, load, result),
            Event::Checked { key, piece, result } => self.piece_checked(now, key, piece, result),
            Event::SaveFailed { key, error } => {
                if let Some(torrent) = self.torrent(key) {
                    torrent.saving = None;
                    torrent.trouble = Some(Trouble::SaveFailed { detail: error.to_string() });
                }
            }
            Event::Saved { key, saving } => {
                if let Some(torrent) = self.torrent(key) {
                    torrent.saving = Some(saving);
                }
            }
            Event::Stream(event) => self.stream_event(now, event),
            Event::ZipBegun { key, number, zip, outlet, name } => {
                self.zip_begun(now, key, number, zip, outlet, &name);
            }
            Event::Chunk { number, chunk } => self.stream_chunk(now, number, chunk),
        }
    }

    pub(super) fn torrent(&mut self, key: u32) -> Option<&mut Torrent> {
        self.torrents.iter_mut().find(|torrent| torrent.key == key)
    }

    pub(super) fn session(&mut self, key: u32) -> Option<&mut Session> {
        self.torrent(key)?.session_mut()
    }

    pub(super) fn by_hash(&mut self, hash: InfoHash) -> Option<&mut Torrent> {
        self.torrents.iter_mut().find(|torrent| torrent.info_hash() == Some(hash))
    }

    /// A number nobody can foresee from outside; the same sequence for the same seed.
    pub(super) fn draw(&mut self) -> u64 {
        self.draws += 1;
        let mut hasher = DefaultHasher::new();
        (self.settings.seed, self.draws).hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn alert(&mut self, trouble: Trouble) {
        self.alerts.push(Alert { id: self.next_alert, trouble });
        self.next_alert += 1;
        if self.alerts.len() > MAX_ALERTS {
            self.alerts.remove(0);
        }
    }
}
