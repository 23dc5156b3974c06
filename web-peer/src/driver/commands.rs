//! What the user wants: seeding, adding, pausing, removing, saving.

use bytes::Bytes;
use engine::{Content, Limits, Session, SessionConfig, State, Time};
use shared::InfoHash;
use shared::magnet::{self, Magnet};
use shared::metainfo::{Metainfo, MetainfoError};
use shared::signal::parse_ice_servers;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::File;

use super::peer::Peer;
use super::returning::Returning;
use super::torrent::{Phase, Torrent, added_to};
use super::unlisted::magnet_of;
use super::{Event, wishes};
use crate::browser_error;
use crate::clock;
use crate::command::{ChosenFile, Command, SeedOptions};
use crate::intake::{self, Group, Intake, IntakeError};
use crate::journal::plain;
use crate::kept;
use crate::snapshot::{AllTime, Invitation, Notes, RateLimits, Trouble};
use crate::store::{Record, Seeded, StoreError, Wishes};
use crate::transport::address;

/// Who we say we are in the extended handshake (BEP 10 `v`).
pub(super) const CLIENT: &str = concat!("Enxame ", env!("CARGO_PKG_VERSION"));
/// Where the browser keeps the user's ICE servers, written as [`parse_ice_servers`] reads them.
pub(crate) const ICE_KEY: &str = "enxame.ice";
/// Longest text repeated in an alert, in characters.
const MAX_QUOTED: usize = 60;
/// Most links that wait for an answer; the oldest go first.
const MAX_INVITATIONS: usize = 5;

/// How a torrent comes into the list, apart from what it is.
pub(super) struct Start {
    /// It stands still until the user says go on.
    pub(super) paused: bool,
    /// Milliseconds since 1970 when it was added, if that was another time.
    pub(super) added: Option<u64>,
    /// What the user wants of it.
    pub(super) wishes: Wishes,
    /// What its `.torrent` file says about it.
    pub(super) notes: Notes,
    /// What was received and sent of it before.
    pub(super) all_time: AllTime,
}

impl Start {
    /// It comes now.
    pub(super) fn now(wishes: Wishes, notes: Notes) -> Self {
        Self { paused: false, added: None, wishes, notes, all_time: AllTime::default() }
    }
}

impl Peer {
    pub(super) fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Seed(files, options) => self.seed(files, options),
            Command::Add(text) => self.add_pasted(now, &text, false),
            Command::AddToChoose(text) => self.add_pasted(now, &text, true),
            Command::Invite(text) => self.invite(&text),
            Command::Decline(id) => self.invitations.retain(|invitation| invitation.id != id),
            Command::Pause(hash) => self.pause(now, hash),
            Command::AllowFiles(hash) => {
                if let Some(key) = self.by_hash(hash).map(|torrent| torrent.key) {
                    self.allow_files(key);
                }
            }
            Command::ChooseAgain(hash, files) => self.choose_again(hash, files),
            Command::Resume(hash) => self.resume(now, hash),
            Command::Remove(hash) => self.remove(now, hash),
            Command::Unlist(hash) => self.unlist(now, hash),
            Command::Relist(hash) => self.relist(now, hash),
            Command::DeleteUnlisted(hash) => self.delete_unlisted(hash),
            Command::RemoveRow(key) => self.drop_row(key),
            Command::Check(hash) => self.check(now, hash),
            Command::Save(hash) => self.save(hash, None),
            Command::SaveInto(hash) => self.save_into(hash),
            Command::SaveFile(hash, file) => self.save(hash, Some(file)),
            Command::SaveTorrentFile(hash) => self.save_torrent_file(hash),
            Command::SetPriority(hash, place, priority) => {
                self.set_priorities(now, hash, Some(place), priority);
            }
            Command::SetPriorities(hash, priority) => self.set_priorities(now, hash, None, priority),
            Command::SetSequential(hash, sequential) => self.set_sequential(now, hash, sequential),
            Command::SetTorrentLimits(hash, limits) => self.set_torrent_limits(now, hash, limits),
            Command::SetLimits(limits) => self.set_limits(now, limits),
            Command::SetIce(text) => self.set_ice(text.as_deref()),
            Command::Dismiss(id) => self.alerts.retain(|alert| alert.id != id),
        }
    }

    /// Adds what was pasted; `choose_first` as in [`Wishes`].
    fn add_pasted(&mut self, now: Time, text: &str, choose_first: bool) {
        match magnet::parse_pasted(text) {
            Ok(magnet) => {
                let wishes = Wishes { choose_first, ..Wishes::default() };
                self.add(now, magnet, None, Start::now(wishes, Notes::default()));
            }
            Err(_) => self.not_a_torrent(text),
        }
    }

    fn not_a_torrent(&mut self, text: &str) {
        let text = text.trim().chars().take(MAX_QUOTED).collect();
        self.alert(Trouble::NotATorrent { text });
    }

    /// A link was opened. Whoever opens one, a person or a program that looks what is behind it, takes part in nothing by that
    /// alone: no tracker is told, and nobody is asked for anything.
    fn invite(&mut self, text: &str) {
        let Ok(magnet) = magnet::parse_pasted(text) else { return self.not_a_torrent(text) };
        if self.is_in_list(magnet.info_hash) {
            return;
        }
        let info_hash = magnet.info_hash.to_string();
        self.invitations.retain(|invitation| invitation.info_hash != info_hash);
        if self.invitations.len() == MAX_INVITATIONS {
            self.invitations.remove(0);
        }
        self.invitations.push(Invitation {
            id: self.next_alert,
            info_hash,
            name: plain(magnet.display_name.as_deref().unwrap_or_default()),
            size: magnet.exact_length,
            magnet: magnet.to_string(),
        });
        self.next_alert += 1;
    }

    /// Whether the torrent is in the list; if so, that is said.
    fn is_in_list(&mut self, hash: InfoHash) -> bool {
        let Some(torrent) = self.by_hash(hash) else { return false };
        let name = torrent.session().and_then(Session::info).map(|info| info.name().to_owned());
        let name = name.or_else(|| torrent.magnet.as_ref().and_then(|magnet| magnet.display_name.clone()));
        self.alert(Trouble::AlreadyAdded { name: name.unwrap_or_else(|| hash.to_string()) });
        true
    }

    fn set_ice(&mut self, text: Option<&str>) {
        let ice = match text.map(parse_ice_servers).transpose() {
            Ok(ice) => ice,
            Err(error) => return self.alert(Trouble::BadIceServers { detail: error.to_string() }),
        };
        self.settings.ice = ice;
        kept::set(ICE_KEY, text);
    }

    /// Puts a row into the list, as one that is added now.
    pub(super) fn push(&mut self, phase: Phase) -> &mut Torrent {
        let added = added_to(&self.torrents, clock::since_1970());
        let key = self.next_key;
        self.next_key += 1;
        self.torrents.push(Torrent::new(key, added, phase));
        self.torrents.last_mut().expect("one was pushed")
    }

    pub(super) fn seed(&mut self, files: Vec<ChosenFile>, mut options: SeedOptions) {
        let groups = intake::group(files);
        if groups.len() > 1 {
            options.name = None;
        }
        if groups.is_empty() {
            self.alert(Trouble::NothingToSeed);
        }
        for group in groups {
            match group {
                Group::Torrent(file) => self.read_torrent_file(file),
                Group::Files { name, files } => {
                    if let Some(files) = self.welcome(&name, files) {
                        self.hash(name, files, options.clone());
                    }
                }
            }
        }
    }

    fn hash(&mut self, name: String, files: Vec<ChosenFile>, options: SeedOptions) {
        let total = files.iter().map(|chosen| chosen.file.size() as u64).sum();
        let source = intake::source(&files);
        let trackers = options.trackers.clone();
        let torrent = self.push(Phase::Hashing { name, done: 0, total, trackers });
        torrent.source = source;
        torrent.notes.comment.clone_from(&options.comment);
        let key = torrent.key;
        let (pool, events) = (self.pool.clone(), self.events.clone());
        spawn_local(async move {
            let progress = {
                let events = events.clone();
                move |done, total| {
                    let _ = events.unbounded_send(Event::HashingProgress { key, done, total });
                }
            };
            let result = intake::intake(files, &options, &pool, progress).await;
            let _ = events.unbounded_send(Event::Hashed { key, result });
        });
    }

    pub(super) fn hashed(&mut self, key: u32, result: Result<Intake, IntakeError>) {
        let (Some(store), events) = (self.store.clone(), self.events.clone()) else { return };
        let Some(torrent) = self.torrent(key) else { return };
        match result {
            Ok(intake) => spawn_local(async move {
                let files = intake.files.clone();
                let result = store.attach(intake.info_hash, intake.info.clone(), files, true).await;
                let _ = events.unbounded_send(Event::Attached { key, intake, result });
            }),
            Err(error) => torrent.stillborn(error.into()),
        }
    }

    pub(super) fn attached(&mut self, now: Time, key: u32, intake: &Intake, result: Result<(), StoreError>) {
        let hash = intake.info_hash;
        let Some(torrent) = self.torrent(key) else {
            // Its row was removed meanwhile: a download of the same stays in the list, and goes on with its own bytes.
            let older = self.by_hash(hash).filter(|older| result.is_ok() && !older.from_files);
            if let Some(older) = older.map(|older| older.key) {
                self.open_store(older, intake.info.clone());
            }
            return;
        };
        if let Err(error) = result {
            return torrent.stillborn(error.into());
        }
        // The files are those of a torrent that is in the list: that row becomes the seeder's.
        let (mut magnet, mut limits, mut before) = (None, RateLimits::default(), AllTime::default());
        let mut is_download = false;
        if let Some(torrent) = self.by_hash(hash) {
            let older = torrent.key;
            // What was downloaded stays in the store, and is what comes back another day.
            is_download = !torrent.from_files || torrent.seeded.is_none();
            (magnet, limits, before) = (torrent.magnet.take(), torrent.wishes.limits, torrent.all_time());
            self.leave_swarm(now, older);
            self.drop_row(older);
        } else if let Some(kept) = self.take_unlisted(hash) {
            is_download = true;
            (magnet, limits, before) = (Some(magnet_of(&kept)), kept.wishes.limits, kept.all_time);
            self.keep_record(Record { unlisted: false, ..kept });
        }
        let Some(torrent) = self.torrent(key) else { return };
        let Phase::Hashing { name, trackers: chosen, .. } = &mut torrent.phase else { return };
        let (name, chosen) = (std::mem::take(name), std::mem::take(chosen));
        if !chosen.is_empty() {
            magnet.get_or_insert_with(|| Magnet::new(hash)).add_trackers(chosen);
        }
        let named = magnet.as_ref().map_or(&[][..], |magnet| &magnet.trackers);
        let trackers = self.trackers.take(now, &address::usable(named, &self.settings.tracker));
        let Some(torrent) = self.torrent(key) else { return };
        torrent.seeded = (!is_download).then(|| Seeded { name, stamp: intake::stamp(&intake.files) });
        torrent.wishes.limits = limits;
        torrent.before = before;
        torrent.magnet = magnet;
        torrent.trackers = trackers;
        self.begin_seeding(now, key, hash, intake.info.clone(), false);
    }

    pub(super) fn read_torrent_file(&mut self, file: File) {
        let events = self.events.clone();
        spawn_local(async move {
            let name = file.name();
            let content = if file.size() > shared::limits::MAX_TORRENT_FILE_BYTES as f64 {
                Err("the file is too large".to_owned())
            } else {
                match JsFuture::from(file.array_buffer()).await {
                    Ok(buffer) => Ok(Bytes::from(js_sys::Uint8Array::new(&buffer).to_vec())),
                    Err(error) => Err(browser_error::sentence(&error)),
                }
            };
            let _ = events.unbounded_send(Event::TorrentFile { name, content });
        });
    }

    pub(super) fn torrent_file(&mut self, now: Time, name: String, content: Result<Bytes, String>) {
        let metainfo =
            content.and_then(|bytes| Metainfo::from_bytes(&bytes).map_err(|error| error.to_string()));
        match metainfo {
            Ok(metainfo) => {
                let mut magnet = Magnet::new(metainfo.info.info_hash());
                magnet.trackers = metainfo.trackers().into_iter().map(Into::into).collect();
                let Metainfo { info, comment, created_by, creation_date, .. } = metainfo;
                let notes = Notes { comment, created_by, creation_date };
                self.add(now, magnet, Some(info.raw().clone()), Start::now(Wishes::default(), notes));
            }
            Err(detail) => self.alert(Trouble::BadMetainfo { name, detail }),
        }
    }

    /// Adds a download. With `info`, its store is opened first; without, peers are asked for the metadata. What was kept of it
    /// when it was taken out of the list is there again.
    pub(super) fn add(&mut self, now: Time, mut magnet: Magnet, mut info: Option<Bytes>, mut start: Start) {
        let hash = magnet.info_hash;
        let is_for_it = |invitation: &Invitation| invitation.info_hash == hash.to_string();
        self.invitations.retain(|invitation| !is_for_it(invitation));
        if self.is_in_list(hash) {
            return;
        }
        if let Some(kept) = self.take_unlisted(hash) {
            let before = magnet_of(&kept);
            magnet.display_name = magnet.display_name.or(before.display_name);
            magnet.add_trackers(before.trackers);
            if start.notes == Notes::default() {
                start.notes = kept.notes();
            }
            start.all_time = kept.all_time;
            start.wishes = Wishes { choose_first: start.wishes.choose_first, ..kept.wishes };
            info = info.or(kept.info);
        }
        let content = match info {
            Some(info) => Content::Unopened { info },
            None => Content::Unknown,
        };
        self.begin(now, magnet, content, start);
        self.remember(hash);
    }

    /// Puts a torrent with a session into the list.
    pub(super) fn begin(&mut self, now: Time, magnet: Magnet, content: Content, start: Start) {
        let Start { paused, added, wishes, notes, all_time } = start;
        let hash = magnet.info_hash;
        let name = magnet.display_name.clone().unwrap_or_default();
        match self.new_session(now, hash, name, content, wishes.limits) {
            Ok((mut session, limits)) => {
                if paused {
                    session.pause(now);
                }
                let urls = address::usable(&magnet.trackers, &self.settings.tracker);
                let trackers = self.trackers.take(now, &urls);
                let torrent = self.push(Phase::Live(Box::new(session)));
                torrent.magnet = Some(magnet);
                torrent.added = added.unwrap_or(torrent.added);
                torrent.wishes = wishes;
                torrent.notes = notes;
                (torrent.before, torrent.noted) = (all_time, all_time);
                torrent.limits = limits;
                torrent.trackers = trackers;
                let key = torrent.key;
                self.apply_wishes(now, key);
                if !paused {
                    self.join_swarm(now, key);
                }
            }
            Err(error) => {
                let name = magnet.display_name.unwrap_or_else(|| hash.to_string());
                self.alert(Trouble::BadMetainfo { name, detail: error.to_string() });
            }
        }
    }

    /// A session as the user wants those of torrents to be, and its limits.
    fn new_session(
        &mut self,
        now: Time,
        info_hash: InfoHash,
        name_hint: String,
        content: Content,
        rates: RateLimits,
    ) -> Result<(Session, Limits), MetainfoError> {
        let limits = self.limits_of(rates);
        let config = SessionConfig {
            ways: self.direct.ways(),
            name_hint,
            client: CLIENT.into(),
            // Of what is the user's own. Whoever has it already ends that by linking.
            first_seeder: matches!(content, Content::Known { have: None, .. }),
            content,
            upload: wishes::uploads(self.settings.limits, rates),
            limits: limits.clone(),
            ..SessionConfig::new(info_hash, self.settings.peer_id)
        };
        let seed = self.draw();
        Ok((Session::new(now, config, seed)?, limits))
    }

    /// All of it is here, in the user's own files, and the store reads them: seeds it, or stands still where that is wanted.
    /// `is_kept` says that their handle is.
    pub(super) fn begin_seeding(&mut self, now: Time, key: u32, hash: InfoHash, info: Bytes, is_kept: bool) {
        let Some(rates) = self.torrent(key).map(|torrent| torrent.wishes.limits) else { return };
        let content = Content::Known { info, have: None };
        let session = self.new_session(now, hash, String::new(), content, rates);
        let Some(torrent) = self.torrent(key) else { return };
        match session {
            Ok((session, limits)) => {
                torrent.live(session);
                torrent.limits = limits;
                torrent.from_files = true;
                torrent.returning = None;
                torrent.trouble = None;
                if torrent.wants_pause {
                    self.pause(now, hash);
                } else {
                    self.join_swarm(now, key);
                    self.remember(hash);
                }
                if !is_kept {
                    self.keep_handle(key);
                }
            }
            Err(error) => {
                torrent.returning = torrent.returning.map(|_| Returning::Files);
                torrent.stillborn(Trouble::StoreFailed { detail: error.to_string() });
            }
        }
    }

    pub(super) fn pause(&mut self, now: Time, hash: InfoHash) {
        let Some(torrent) = self.by_hash(hash) else { return };
        let key = torrent.key;
        torrent.halted = false;
        torrent.wants_pause = true;
        self.leave_swarm(now, key);
        if let Some(session) = self.torrent(key).and_then(Torrent::session_mut) {
            session.pause(now);
        }
        self.remember(hash);
    }

    pub(super) fn resume(&mut self, now: Time, hash: InfoHash) {
        let Some(torrent) = self.by_hash(hash) else { return };
        let key = torrent.key;
        if torrent.returning.is_some() {
            torrent.wants_pause = false;
            self.remember(hash);
            return self.allow_files(key);
        }
        torrent.trouble = None;
        torrent.halted = false;
        let mut is_checked = false;
        if let Some(session) = torrent.session_mut() {
            session.resume(now);
            is_checked = session.state() == State::Hashing;
        }
        // Else when that is over.
        if !is_checked {
            self.join_swarm(now, key);
        }
        self.remember(hash);
    }

    pub(super) fn remove(&mut self, now: Time, hash: InfoHash) {
        let Some(key) = self.by_hash(hash).map(|torrent| torrent.key) else { return };
        self.leave_swarm(now, key);
        self.forget_handle(key);
        self.drop_row(key);
        self.delete_stored(hash);
    }

    /// Takes a row out of the list, and lets go of trackers that nothing else needs.
    pub(super) fn drop_row(&mut self, key: u32) {
        self.torrents.retain(|torrent| torrent.key != key);
        let torrents = &self.torrents;
        self.trackers.keep(|id| torrents.iter().any(|torrent| torrent.trackers.contains(&id)));
        self.compare_kept_back();
    }
}

#[cfg(all(test, target_arch = "wasm32"))]
mod tests;
