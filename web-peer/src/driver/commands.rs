//! What the user wants: seeding, adding, pausing, removing, saving.

use bytes::Bytes;
use engine::{Content, Limits, Session, SessionConfig, Time};
use shared::InfoHash;
use shared::magnet::{self, Magnet};
use shared::metainfo::Metainfo;
use shared::signal::parse_ice_servers;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::File;

use super::Event;
use super::peer::Peer;
use super::torrent::{Phase, Torrent};
use super::unlisted::magnet_of;
use crate::browser_error;
use crate::command::{ChosenFile, Command, SeedOptions};
use crate::intake::{self, Group, Intake, IntakeError};
use crate::kept;
use crate::snapshot::{RateLimits, Trouble};
use crate::store::{Seeded, StoreError, Wishes};
use crate::transport::address;

/// Who we say we are in the extended handshake (BEP 10 `v`).
pub(super) const CLIENT: &str = concat!("Enxame ", env!("CARGO_PKG_VERSION"));
/// Where the browser keeps the user's ICE servers, written as [`parse_ice_servers`] reads them.
pub(crate) const ICE_KEY: &str = "enxame.ice";
/// Longest text repeated in an alert, in characters.
const MAX_QUOTED: usize = 60;

/// How a torrent comes into the list, apart from what it is.
pub(super) struct Start {
    /// It stands still until the user says go on.
    pub(super) paused: bool,
    /// Milliseconds since 1970 when it was added.
    pub(super) added: u64,
    /// What the user wants of it.
    pub(super) wishes: Wishes,
}

impl Peer {
    pub(super) fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Seed(files, options) => self.seed(files, options),
            Command::Add(text) => self.add_pasted(now, &text, false),
            Command::AddToChoose(text) => self.add_pasted(now, &text, true),
            Command::Pause(hash) => self.pause(now, hash),
            Command::AllowFiles(hash) => {
                if let Some(key) = self.by_hash(hash).map(|torrent| torrent.key) {
                    self.allow_files(key);
                }
            }
            Command::Resume(hash) => self.resume(now, hash),
            Command::Remove(hash) => self.remove(now, hash),
            Command::Unlist(hash) => self.unlist(now, hash),
            Command::Relist(hash) => self.relist(now, hash),
            Command::DeleteUnlisted(hash) => self.delete_unlisted(hash),
            Command::RemoveRow(key) => self.drop_row(key),
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
            Ok(magnet) => self.add(now, magnet, None, Wishes { choose_first, ..Wishes::default() }),
            Err(_) => {
                let text = text.trim().chars().take(MAX_QUOTED).collect();
                self.alert(Trouble::NotATorrent { text });
            }
        }
    }

    fn set_ice(&mut self, text: Option<&str>) {
        let ice = match text.map(parse_ice_servers).transpose() {
            Ok(ice) => ice,
            Err(error) => return self.alert(Trouble::BadIceServers { detail: error.to_string() }),
        };
        self.settings.ice = ice;
        kept::set(ICE_KEY, text);
    }

    pub(super) fn push(&mut self, phase: Phase) -> &mut Torrent {
        let key = self.next_key;
        self.next_key += 1;
        self.torrents.push(Torrent::new(key, phase));
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
        let torrent = self.push(Phase::Hashing { name, done: 0, total });
        torrent.source = source;
        torrent.comment.clone_from(&options.comment);
        torrent.named_trackers.clone_from(&options.trackers);
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
        // What was kept of a download of the same is needed no longer: the files have all of it.
        let kept = result.as_ref().is_ok_and(|intake| self.take_unlisted(intake.info_hash).is_some());
        let Some(torrent) = self.torrent(key) else { return };
        match result {
            Ok(intake) => spawn_local(async move {
                if kept {
                    store.remove(intake.info_hash).await;
                }
                let files = intake.files.clone();
                let result = store.attach(intake.info_hash, intake.info.clone(), files, true).await;
                let _ = events.unbounded_send(Event::Attached { key, intake, result });
            }),
            Err(error) => torrent.stillborn(error.into()),
        }
    }

    pub(super) fn attached(&mut self, now: Time, key: u32, intake: &Intake, result: Result<(), StoreError>) {
        let hash = intake.info_hash;
        if let Err(error) = result {
            if let Some(torrent) = self.torrent(key) {
                torrent.stillborn(error.into());
            }
            return;
        }
        // The files are those of a torrent that is in the list: that row becomes the seeder's.
        let (mut magnet, mut limits) = (None, RateLimits::default());
        let mut is_download = false;
        if let Some(torrent) = self.by_hash(hash) {
            let older = torrent.key;
            // What was downloaded stays in the store, and is what comes back another day.
            is_download = !torrent.from_files || torrent.seeded.is_none();
            (magnet, limits) = (torrent.magnet.take(), torrent.wishes.limits);
            self.leave_swarm(now, older);
            self.drop_row(older);
        }
        let content = Content::Known { info: intake.info.clone(), have: None };
        let limits_in_force = self.limits_of(limits);
        if let Some(chosen) = self.torrent(key).map(|torrent| std::mem::take(&mut torrent.named_trackers))
            && !chosen.is_empty()
        {
            let magnet = magnet.get_or_insert_with(|| Magnet::new(hash));
            magnet
                .trackers
                .extend(chosen.into_iter().filter(|url| !magnet.trackers.contains(url)).collect::<Vec<_>>());
        }
        // Whoever has it already ends that by linking.
        let config = SessionConfig {
            first_seeder: true,
            ..self.config(hash, String::new(), content, &limits_in_force)
        };
        let seed = self.draw();
        let named = magnet.as_ref().map_or(&[][..], |magnet| &magnet.trackers);
        let trackers = self.trackers.take(now, &address::usable(named, &self.settings.tracker));
        let Some(torrent) = self.torrent(key) else { return };
        match Session::new(now, config, seed) {
            Ok(session) => {
                let name = match &torrent.phase {
                    Phase::Hashing { name, .. } => name.clone(),
                    _ => String::new(),
                };
                torrent.phase = Phase::Live(Box::new(session));
                torrent.from_files = true;
                torrent.seeded = (!is_download).then(|| Seeded { name, stamp: intake::stamp(&intake.files) });
                // The browser's clock, in whole milliseconds.
                torrent.added = js_sys::Date::now() as u64;
                torrent.wishes.limits = limits;
                torrent.limits = limits_in_force;
                torrent.magnet = magnet;
                torrent.trackers = trackers;
                self.join_swarm(now, key);
                self.remember(hash);
                self.keep_handle(key);
            }
            Err(error) => torrent.stillborn(Trouble::StoreFailed { detail: error.to_string() }),
        }
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
                self.add(now, magnet, Some(metainfo.info.raw().clone()), Wishes::default());
            }
            Err(detail) => self.alert(Trouble::BadMetainfo { name, detail }),
        }
    }

    /// Adds a download. With `info`, its store is opened first; without, peers are asked for the metadata. What was kept of it
    /// when it was taken out of the list is there again.
    pub(super) fn add(&mut self, now: Time, mut magnet: Magnet, mut info: Option<Bytes>, mut wishes: Wishes) {
        let hash = magnet.info_hash;
        if let Some(torrent) = self.by_hash(hash) {
            let name = torrent.session().map(|session| session.snapshot(now).name).unwrap_or_default();
            let name = if name.is_empty() { hash.to_string() } else { name };
            self.alert(Trouble::AlreadyAdded { name });
            return;
        }
        let mut comment = None;
        if let Some(kept) = self.take_unlisted(hash) {
            let before = magnet_of(&kept);
            magnet.display_name = magnet.display_name.or(before.display_name);
            let named: Vec<_> =
                before.trackers.into_iter().filter(|url| !magnet.trackers.contains(url)).collect();
            magnet.trackers.extend(named);
            info = info.or(kept.info);
            wishes = Wishes { choose_first: wishes.choose_first, ..kept.wishes };
            comment = kept.comment;
        }
        let content = match info {
            Some(info) => Content::Unopened { info },
            None => Content::Unknown,
        };
        // The browser's clock, in whole milliseconds.
        let added = js_sys::Date::now() as u64;
        self.begin(now, magnet, content, Start { paused: false, added, wishes });
        if let Some(torrent) = self.by_hash(hash) {
            torrent.comment = comment;
        }
        self.remember(hash);
    }

    /// Puts a torrent with a session into the list.
    pub(super) fn begin(&mut self, now: Time, magnet: Magnet, content: Content, start: Start) {
        let Start { paused, added, wishes } = start;
        let hash = magnet.info_hash;
        let limits = self.limits_of(wishes.limits);
        let name = magnet.display_name.clone().unwrap_or_default();
        let config = self.config(hash, name, content, &limits);
        let seed = self.draw();
        match Session::new(now, config, seed) {
            Ok(mut session) => {
                if paused {
                    session.pause(now);
                }
                let urls = address::usable(&magnet.trackers, &self.settings.tracker);
                let trackers = self.trackers.take(now, &urls);
                let torrent = self.push(Phase::Live(Box::new(session)));
                torrent.magnet = Some(magnet);
                torrent.added = added;
                torrent.wishes = wishes;
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

    pub(super) fn config(
        &self,
        info_hash: InfoHash,
        name_hint: String,
        content: Content,
        limits: &Limits,
    ) -> SessionConfig {
        SessionConfig {
            ways: self.direct.ways(),
            name_hint,
            client: CLIENT.into(),
            content,
            limits: limits.clone(),
            ..SessionConfig::new(info_hash, self.settings.peer_id)
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
        if let Some(session) = torrent.session_mut() {
            session.resume(now);
        }
        self.join_swarm(now, key);
        self.remember(hash);
    }

    pub(super) fn remove(&mut self, now: Time, hash: InfoHash) {
        let Some(key) = self.by_hash(hash).map(|torrent| torrent.key) else { return };
        self.leave_swarm(now, key);
        self.forget_handle(key);
        self.drop_row(key);
        if let Some(store) = self.store.clone() {
            spawn_local(async move { store.remove(hash).await });
        }
    }

    /// Takes a row out of the list, and lets go of trackers that nothing else needs.
    pub(super) fn drop_row(&mut self, key: u32) {
        self.torrents.retain(|torrent| torrent.key != key);
        let torrents = &self.torrents;
        self.trackers.keep(|id| torrents.iter().any(|torrent| torrent.trackers.contains(&id)));
    }
}
