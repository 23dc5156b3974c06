//! Files that were seeded from disk come back after a reload, a crash or another day: a page cannot find them again by itself.
//!
//! With a handle (`handles`) they are looked up again, after a click where the browser wants to ask the user; without one,
//! or when nothing is at the handle any more, the user chooses or drops them once more. Either way the torrent is the same, with
//! its hash and its trackers. Its row says meanwhile what is needed.
//!
//! What came through the handle and has the lengths and times that it had when its hashes were last compared is not read through
//! again: it is seeded at once, and the store compares each piece with its hash before it first gives any of it away.
//! Everything else is hashed whole, and what differs is told and not seeded.

use bytes::Bytes;
use engine::{Content, Session, SessionConfig, State, Time};
use shared::magnet::Magnet;
use shared::metainfo::Info;
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{File, FileSystemHandle};

use super::Event;
use super::commands::Start;
use super::peer::Peer;
use super::torrent::{Phase, Torrent};
use crate::command::ChosenFile;
use crate::handles::{self, Permission, Place};
use crate::intake;
use crate::snapshot::{Trouble, Waiting};
use crate::store::{Seeded, Store};
use crate::verify::HashPool;

/// What a torrent whose files are to come back waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returning {
    /// It is being looked whether they can be read.
    Looking,
    /// The user's leave to read them through the handle.
    Permission,
    /// The user: they must be chosen.
    Files,
    /// Their hashes are compared; bytes.
    Checking { done: u64, total: u64 },
}

impl Returning {
    /// What the user is told to do.
    pub(super) fn waiting(self) -> Option<Waiting> {
        match self {
            Self::Permission => Some(Waiting::Permission),
            Self::Files => Some(Waiting::Files),
            Self::Looking | Self::Checking { .. } => None,
        }
    }
}

/// What became of an attempt.
pub(crate) enum Return {
    /// They are the torrent's, and in the store.
    Attached(Seeded),
    /// They are not, or not all of them could be read.
    Refused(Trouble),
    /// The user has to do something first.
    Needs(Returning),
}

impl Peer {
    /// Puts a torrent into the list whose bytes are the user's own files, and looks for them.
    pub(super) fn begin_returning(
        &mut self,
        now: Time,
        magnet: Magnet,
        info: Bytes,
        start: Start,
        seeded: Seeded,
    ) {
        let hash = magnet.info_hash;
        let Ok(parsed) = Info::from_bytes(info.clone()) else { return };
        // Nothing of it is here before its files are.
        let have = vec![false; parsed.geometry().piece_count() as usize];
        let wants_pause = start.paused;
        self.begin(now, magnet, Content::Known { info, have: Some(have) }, Start { paused: true, ..start });
        let Some(torrent) = self.by_hash(hash) else { return };
        torrent.from_files = true;
        torrent.seeded = Some(seeded);
        torrent.wants_pause = wants_pause;
        torrent.returning = Some(Returning::Looking);
        let key = torrent.key;
        let Some(place) = self.handle_place(key) else { return };
        let events = self.events.clone();
        spawn_local(async move {
            let source = handles::find(&place).await;
            let _ = events.unbounded_send(Event::HandleFound { key, source });
        });
    }

    /// Looks at the files through the handle, if there is one.
    pub(super) fn handle_found(&mut self, key: u32, source: Option<FileSystemHandle>) {
        let Some(torrent) = self.torrent(key).filter(|torrent| torrent.returning.is_some()) else { return };
        match source {
            Some(source) => {
                torrent.source = Some(handles::source(&source));
                self.look(key, source, false);
            }
            None => torrent.returning = Some(Returning::Files),
        }
    }

    /// The user wants the files to be read again: asks the browser, which asks them.
    pub(super) fn allow_files(&mut self, key: u32) {
        let Some(torrent) = self.torrent(key) else { return };
        if torrent.returning != Some(Returning::Permission) {
            return;
        }
        let (Some(source), events) = (torrent.source.clone(), self.events.clone()) else { return };
        spawn_local(async move {
            if let Ok(source) = JsFuture::from(source).await {
                let source = source.unchecked_into();
                let granted = handles::permission(&source, true).await == Permission::Granted;
                let _ = events.unbounded_send(Event::Allowed { key, source, granted });
            }
        });
    }

    /// The browser asked, and this was said.
    pub(super) fn allowed(&mut self, key: u32, source: FileSystemHandle, granted: bool) {
        if !granted {
            return;
        }
        self.look(key, source, true);
        // One answer may stand for all files that the page once had.
        let others = self.torrents.iter().filter(|torrent| torrent.returning == Some(Returning::Permission));
        let others: Vec<_> = others.filter(|other| other.key != key).map(|other| other.key).collect();
        for key in others {
            let (Some(source), events) =
                (self.torrent(key).and_then(|torrent| torrent.source.clone()), self.events.clone())
            else {
                continue;
            };
            spawn_local(async move {
                if let Ok(source) = JsFuture::from(source).await {
                    let _ = events
                        .unbounded_send(Event::HandleFound { key, source: Some(source.unchecked_into()) });
                }
            });
        }
    }

    /// Brings the files back that are at this handle, if they may be read.
    fn look(&mut self, key: u32, handle: FileSystemHandle, granted: bool) {
        let Some(attempt) = self.attempt(key) else { return };
        let events = self.events.clone();
        spawn_local(async move {
            let result = if granted || handles::permission(&handle, false).await == Permission::Granted {
                let source = handles::source(&handle);
                let (files, _) = handles::files(handle, &source).await;
                attempt.bring_back(files, true).await
            } else {
                Return::Needs(Returning::Permission)
            };
            let _ = events.unbounded_send(Event::Returned { key, result });
        });
    }

    /// Files were chosen. If by their name they are those of a torrent that waits for them, it takes them, and what it does
    /// not need is not seeded either; else they are given back.
    pub(super) fn welcome(&mut self, name: &str, files: Vec<ChosenFile>) -> Option<Vec<ChosenFile>> {
        let in_folder = files.first().is_some_and(|file| file.path.len() > 1);
        let waits = |torrent: &&mut Torrent| {
            let is_folder = torrent.session().and_then(Session::info).is_some_and(|info| info.is_folder());
            torrent.returning.is_some()
                && is_folder == in_folder
                && torrent.seeded.as_ref().is_some_and(|seeded| seeded.name == name)
        };
        let Some(torrent) = self.torrents.iter_mut().find(waits) else { return Some(files) };
        if matches!(torrent.returning, Some(Returning::Checking { .. })) {
            // They are being looked at already.
            return None;
        }
        let key = torrent.key;
        torrent.source = intake::source(&files);
        if let Some(attempt) = self.attempt(key) {
            let events = self.events.clone();
            spawn_local(async move {
                let result = attempt.bring_back(files, false).await;
                let _ = events.unbounded_send(Event::Returned { key, result });
            });
        }
        None
    }

    fn attempt(&mut self, key: u32) -> Option<Attempt> {
        let (store, pool, events) = (self.store.clone()?, self.pool.clone(), self.events.clone());
        let torrent = self.torrent(key)?;
        let (seeded, info) = (torrent.seeded.clone()?, torrent.session()?.info()?.raw().clone());
        torrent.trouble = None;
        let progress = move |done, total| {
            let _ = events.unbounded_send(Event::HashingProgress { key, done, total });
        };
        Some(Attempt { store, pool, info, seeded, progress: Box::new(progress) })
    }

    /// What became of an attempt.
    pub(super) fn returned(&mut self, now: Time, key: u32, result: Return) {
        let Some(torrent) = self.torrent(key).filter(|torrent| torrent.returning.is_some()) else { return };
        match result {
            Return::Needs(what) => torrent.returning = Some(what),
            Return::Refused(trouble) => {
                torrent.returning = Some(Returning::Files);
                torrent.trouble = Some(trouble);
            }
            Return::Attached(seeded) => self.seed_again(now, key, seeded),
        }
    }

    /// All of it is here: what stood still begins anew, as a seeder.
    fn seed_again(&mut self, now: Time, key: u32, seeded: Seeded) {
        let seed = self.draw();
        let Some(torrent) = self.torrent(key) else { return };
        let (limits, wants_pause) = (torrent.limits.clone(), torrent.wants_pause);
        let Some(info) = torrent.session().and_then(Session::info).cloned() else { return };
        let content = Content::Known { info: info.raw().clone(), have: None };
        let config = SessionConfig {
            first_seeder: true,
            ..self.config(info.info_hash(), String::new(), content, &limits)
        };
        let session = Session::new(now, config, seed);
        let Some(torrent) = self.torrent(key) else { return };
        match session {
            Ok(session) => {
                torrent.phase = Phase::Live(Box::new(session));
                torrent.returning = None;
                torrent.seeded = Some(seeded);
                if wants_pause {
                    self.pause(now, info.info_hash());
                } else {
                    self.join_swarm(now, key);
                    self.remember(info.info_hash());
                }
                self.keep_handle(key);
            }
            Err(error) => {
                torrent.returning = Some(Returning::Files);
                torrent.trouble = Some(Trouble::StoreFailed { detail: error.to_string() });
            }
        }
    }

    /// Keeps the handle of a seeded torrent for the next time, if there is one.
    pub(super) fn keep_handle(&mut self, key: u32) {
        let Some(place) = self.handle_place(key) else { return };
        let Some(source) = self.torrent(key).and_then(|torrent| torrent.source.clone()) else { return };
        spawn_local(async move {
            // A browser without a handle for what was dropped gives nothing, or an error.
            let handle = JsFuture::from(source).await;
            if let Ok(Ok(handle)) = handle.map(wasm_bindgen::JsCast::dyn_into::<FileSystemHandle>) {
                handles::keep(&place, &handle).await;
            }
        });
    }

    /// Forgets the handle of a torrent that is about to go.
    pub(super) fn forget_handle(&mut self, key: u32) {
        if let Some(place) = self.handle_place(key) {
            spawn_local(async move { handles::forget(&place).await });
        }
    }

    /// Forgets all handles of this tab's but those of the list: what a crash left behind.
    pub(super) fn sweep_handles(&self) {
        let Some(folder) = self.store.as_ref().and_then(Store::folder).map(str::to_owned) else { return };
        let hashes = self.torrents.iter().filter_map(Torrent::info_hash);
        let places: Vec<Place> = hashes.map(|hash| Place::new(&folder, hash)).collect();
        spawn_local(async move { handles::keep_only(&folder, &places).await });
    }

    /// Where the handle of a torrent is kept, if that outlives this tab.
    fn handle_place(&mut self, key: u32) -> Option<Place> {
        let hash = self.torrent(key).filter(|torrent| torrent.seeded.is_some())?.info_hash()?;
        Some(Place::new(self.store.as_ref()?.folder()?, hash))
    }
}

impl Torrent {
    /// Whether the user stopped it, as far as the next tab should know.
    pub(super) fn is_paused(&self) -> bool {
        match self.returning {
            Some(_) => self.wants_pause,
            None => !self.halted && self.session().is_some_and(|session| session.state() == State::Paused),
        }
    }
}

/// All that is needed to bring files back.
struct Attempt {
    store: Store,
    pool: HashPool,
    /// The torrent's info dictionary.
    info: Bytes,
    seeded: Seeded,
    progress: Box<dyn Fn(u64, u64)>,
}

impl Attempt {
    /// Has these files seeded if they are the torrent's. Those that came through the handle are taken at their word
    /// when lengths and times are what they were.
    async fn bring_back(self, chosen: Vec<ChosenFile>, by_handle: bool) -> Return {
        let Self { store, pool, info, seeded, progress } = self;
        let name = seeded.name.clone();
        let unusable = |error: &dyn std::fmt::Display| {
            Return::Refused(Trouble::StoreFailed { detail: error.to_string() })
        };
        let parsed = match Info::from_bytes(info.clone()) {
            Ok(parsed) => parsed,
            Err(error) => return unusable(&error),
        };
        let files = match intake::places(&parsed, chosen) {
            Ok(files) => files,
            Err(name) => return Return::Refused(Trouble::FileUnreadable { name }),
        };
        let files: Vec<File> = files.into_iter().map(|chosen| chosen.file).collect();
        let sizes = files.iter().zip(parsed.files());
        if let Some((_, file)) = sizes.into_iter().find(|(file, place)| file.size() != place.length as f64) {
            return Return::Refused(Trouble::FileChanged { name: file.display_path() });
        }
        let stamp = intake::stamp(&files);
        let verified = !(by_handle && stamp == seeded.stamp);
        if verified {
            let total = parsed.geometry().total();
            progress(0, total);
            match pool.hash(&files, parsed.geometry(), |done| progress(done, total)).await {
                Ok(hashes) => {
                    if let Some(name) = first_difference(&parsed, &hashes) {
                        return Return::Refused(Trouble::FileChanged { name });
                    }
                }
                Err(crate::verify::HashError::Unreadable { file }) => {
                    let name = parsed.files().get(file).map_or(name, shared::metainfo::File::display_path);
                    return Return::Refused(Trouble::FileUnreadable { name });
                }
                Err(error) => return unusable(&error),
            }
        }
        match store.attach(parsed.info_hash(), info, files, verified).await {
            Ok(()) => Return::Attached(Seeded { name, stamp }),
            Err(error) => Return::Refused(error.into()),
        }
    }
}

/// The first file in a piece that has another hash than it should.
fn first_difference(info: &Info, hashes: &[[u8; 20]]) -> Option<String> {
    let piece = info.piece_hashes().iter().zip(hashes).position(|(expected, found)| expected != found)?;
    let start = piece as u64 * u64::from(info.geometry().piece_length());
    let file = info.files().iter().find(|file| start < file.offset + file.length)?;
    Some(file.display_path())
}
