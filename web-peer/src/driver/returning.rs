//! Files that were seeded from disk come back after a reload, a crash or another day: a page cannot find them again by itself.
//!
//! With a handle (`handles`) they are looked up again, after a click where the browser wants to ask the user; without one,
//! or when nothing is at the handle any more, the user chooses or drops them once more. Either way the torrent is the same, with
//! its hash and its trackers. Its row says meanwhile what is needed.
//!
//! What came through the handle and has the lengths and times that it had when its hashes were last compared is not read through
//! again: it is seeded at once, and the store compares each piece with its hash before it first gives any of it away.
//! Everything else is hashed whole, and what differs is told and not seeded.

use std::collections::VecDeque;
use std::pin::pin;

use bytes::Bytes;
use engine::{Content, Session, Time};
use futures::future::{Either, select};
use shared::InfoHash;
use shared::magnet::Magnet;
use shared::metainfo::Info;
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::FileSystemHandle;

use super::attempt::{Attempt, Candidate, Fitting, Next, Report, Return, candidates, fitting};
use super::commands::Start;
use super::peer::Peer;
use super::torrent::{Torrent, by_key};
use crate::command::ChosenFile;
use crate::handles::{self, Permission, Place};
use crate::intake;
use crate::snapshot::{Trouble, Waiting};
use crate::store::{Seeded, Store};

/// Most choices of files that wait for a torrent to be free; more are not kept.
const MOST_KEPT_BACK: usize = 100;

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
    /// Whether files are being compared already.
    fn is_busy(self) -> bool {
        matches!(self, Self::Checking { .. })
    }

    /// What the user is told to do.
    pub(super) fn waiting(self) -> Option<Waiting> {
        match self {
            Self::Permission => Some(Waiting::Permission),
            Self::Files => Some(Waiting::Files),
            Self::Looking | Self::Checking { .. } => None,
        }
    }
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
        let parsed = match Info::from_bytes(info.clone()) {
            Ok(parsed) => parsed,
            Err(error) => {
                let name = magnet.display_name.unwrap_or(seeded.name);
                return self.alert(Trouble::BadMetainfo { name, detail: error.to_string() });
            }
        };
        // Nothing of it is here before its files are.
        let have = vec![false; parsed.geometry().piece_count() as usize];
        let wants_pause = start.paused;
        self.begin(now, magnet, Content::Known { info, have: Some(have) }, Start { paused: true, ..start });
        let Some(torrent) = self.by_hash(hash) else { return };
        torrent.from_files = true;
        torrent.seeded = Some(seeded);
        torrent.wants_pause = wants_pause;
        torrent.returning = Some(Returning::Files);
        let key = torrent.key;
        if let Some(place) = self.handle_place(key) {
            self.attempt(key, |_| async move { Return::Found(handles::find(&place).await) });
        }
    }

    /// Begins an attempt in place of the one before. It is given up as soon as it is over: when another begins, or when the
    /// torrent is removed.
    fn attempt<F>(&mut self, key: u32, work: impl FnOnce(Report) -> F)
    where
        F: Future<Output = Return> + 'static,
    {
        if let Some(torrent) = self.torrent(key) {
            torrent.returning = Some(Returning::Looking);
            torrent.trouble = None;
            self.go_on(key, work);
        }
    }

    /// The next step of an attempt.
    fn go_on<F>(&mut self, key: u32, work: impl FnOnce(Report) -> F)
    where
        F: Future<Output = Return> + 'static,
    {
        let events = self.events.clone();
        let Some(torrent) = self.torrent(key) else { return };
        let (attempt, over) = torrent.attempts.begin();
        let report = Report { key, attempt, events };
        let work = work(report.clone());
        spawn_local(async move {
            if let Either::Left((news, _)) = select(pin!(work), over).await {
                report.tell(news);
            }
        });
    }

    /// What an attempt has to say.
    pub(super) fn returned(&mut self, now: Time, key: u32, attempt: u32, news: Return) {
        let is_foreign = self.settings.tracker_is_foreign;
        let waits =
            |torrent: &&mut Torrent| torrent.returning.is_some() && torrent.attempts.is_latest(attempt);
        let Some(torrent) = self.torrent(key).filter(waits) else { return };
        match news {
            Return::Found(None) | Return::Allowed(_, Permission::Denied) => {
                torrent.returning = Some(Returning::Files);
            }
            Return::Found(Some(handle)) => {
                torrent.source = Some(handles::source(&handle));
                // Whoever wrote the link would learn what this user shares, and get it.
                if is_foreign {
                    torrent.returning = Some(Returning::Permission);
                } else {
                    self.look(key, handle, false);
                }
            }
            Return::Allowed(handle, Permission::Granted) => {
                self.look(key, handle, true);
                // One answer may stand for all files that the page once had.
                let others = self.torrents.iter();
                let others = others.filter(|torrent| torrent.returning == Some(Returning::Permission));
                for key in others.map(|torrent| torrent.key).collect::<Vec<_>>() {
                    self.find_again(key);
                }
            }
            Return::Allowed(_, Permission::Prompt) => torrent.returning = Some(Returning::Permission),
            Return::Checking { done, total } => {
                torrent.returning = Some(Returning::Checking { done, total });
            }
            Return::Fits(fitting) => self.attach_again(key, fitting),
            Return::Refused { trouble, next } => self.refused(key, trouble, next),
            Return::Attached { seeded, is_kept } => {
                torrent.seeded = Some(seeded);
                let Some(info) = torrent.session().and_then(Session::info).cloned() else { return };
                self.begin_seeding(now, key, info.info_hash(), info.raw().clone(), is_kept);
            }
        }
        if !self.returning_of(key).is_some_and(Returning::is_busy) {
            self.compare_kept_back();
        }
    }

    /// The user wants the files to be read again: asks the browser, which asks them.
    pub(super) fn allow_files(&mut self, key: u32) {
        let Some(torrent) = self.torrent(key) else { return };
        if torrent.returning != Some(Returning::Permission) {
            return;
        }
        let Some(source) = torrent.source.clone() else { return };
        self.attempt(key, |_| async move {
            let Ok(source) = JsFuture::from(source).await else { return Return::Found(None) };
            let source = source.unchecked_into();
            let permission = handles::permission(&source, true).await;
            Return::Allowed(source, permission)
        });
    }

    /// Looks at the files through the handle that was found before.
    fn find_again(&mut self, key: u32) {
        let Some(source) = self.torrent(key).and_then(|torrent| torrent.source.clone()) else { return };
        self.attempt(key, |_| async move {
            Return::Found(JsFuture::from(source).await.ok().map(wasm_bindgen::JsCast::unchecked_into))
        });
    }

    /// Brings the files back that are at this handle, if they may be read.
    fn look(&mut self, key: u32, handle: FileSystemHandle, granted: bool) {
        let Some(work) = self.work(key) else { return };
        let Some(info) = self.session(key).and_then(|session| session.info().cloned()) else { return };
        self.attempt(key, |report| async move {
            if !granted {
                match handles::permission(&handle, false).await {
                    Permission::Granted => {}
                    other => return Return::Allowed(handle, other),
                }
            }
            let source = handles::source(&handle);
            let files = match handles::files_of(&info, &handle, &source).await {
                Some(files) => files,
                // One file, or a name that could not stay as it was: what is there decides.
                None => handles::files(handle, &source).await.0,
            };
            match work.bring_back(files, Some(source), true, &report).await {
                Ok(fitting) => Return::Fits(fitting),
                Err(trouble) => Return::Refused { trouble, next: None },
            }
        });
    }

    /// Files were chosen. If by their name they are those of a torrent that waits for them, it takes them, and what it does
    /// not need is not seeded either; else they are given back.
    pub(super) fn welcome(&mut self, name: &str, files: Vec<ChosenFile>) -> Option<Vec<ChosenFile>> {
        let in_folder = files.first().is_some_and(|file| file.path.len() > 1);
        let candidate = |torrent: &Torrent| {
            let info = torrent.session().and_then(Session::info)?;
            let is_of_that_name = info.is_folder() == in_folder
                && torrent.seeded.as_ref().is_some_and(|seeded| seeded.name == name);
            let returning = torrent.returning.filter(|_| is_of_that_name)?;
            let is_busy = returning.is_busy();
            Some(Candidate { key: torrent.key, is_busy, fits: fitting(info, files.clone()).is_ok() })
        };
        let waiting: Vec<Candidate> = self.torrents.iter().filter_map(candidate).collect();
        if waiting.is_empty() {
            return Some(files);
        }
        self.compare(candidates(&waiting), files);
        None
    }

    /// Files were chosen for this torrent, whatever their names are by now.
    pub(super) fn choose_again(&mut self, hash: InfoHash, files: Vec<ChosenFile>) {
        let Some(torrent) = self.by_hash(hash) else { return };
        if torrent.returning.is_some_and(|returning| !returning.is_busy()) {
            let key = torrent.key;
            self.compare(VecDeque::from([key]), files);
        }
    }

    /// Compares chosen files with the first of these torrents, and with the others if they are not its.
    /// While all of them are busy, the files are kept until one is not.
    fn compare(&mut self, mut candidates: VecDeque<u32>, files: Vec<ChosenFile>) {
        candidates.retain(|key| self.returning_of(*key).is_some());
        let is_free = |key: &u32| self.returning_of(*key).is_some_and(|returning| !returning.is_busy());
        let Some(key) = candidates.iter().position(is_free).and_then(|place| candidates.remove(place)) else {
            if !candidates.is_empty() && self.kept_back.len() < MOST_KEPT_BACK {
                self.kept_back.push((candidates, files));
            }
            return;
        };
        let Some(work) = self.work(key) else { return };
        let before = self.torrent(key).and_then(|torrent| torrent.returning);
        // An attempt that this one ends is not taken up again.
        let before = before.filter(|before| *before == Returning::Permission).unwrap_or(Returning::Files);
        self.attempt(key, |report| async move {
            let source = intake::source(&files);
            match work.bring_back(files.clone(), source, false, &report).await {
                Ok(fitting) => Return::Fits(fitting),
                Err(trouble) => Return::Refused { trouble, next: Some(Next { candidates, files, before }) },
            }
        });
        // At once, so that what is chosen right after them goes to another.
        if let Some(torrent) = self.torrent(key) {
            torrent.returning = Some(Returning::Checking { done: 0, total: 0 });
        }
    }

    /// They are not this torrent's: perhaps they are another's that is free to find out, else that is said.
    fn refused(&mut self, key: u32, trouble: Trouble, next: Option<Next>) {
        let is_free = |key: &u32| self.returning_of(*key).is_some_and(|returning| !returning.is_busy());
        let goes_on = next.as_ref().is_some_and(|next| next.candidates.iter().any(is_free));
        let Some(torrent) = self.torrent(key) else { return };
        match &next {
            Some(next) if goes_on => torrent.returning = Some(next.before),
            _ => {
                torrent.returning = Some(Returning::Files);
                torrent.trouble = Some(trouble);
            }
        }
        if let Some(next) = next {
            self.compare(next.candidates, next.files);
        }
    }

    /// What the torrent with this key waits for, if its files are to come back.
    fn returning_of(&self, key: u32) -> Option<Returning> {
        by_key(&self.torrents, key)?.returning
    }

    /// A torrent may be free for files that had to wait for it.
    pub(super) fn compare_kept_back(&mut self) {
        for (candidates, files) in std::mem::take(&mut self.kept_back) {
            self.compare(candidates, files);
        }
    }

    fn work(&mut self, key: u32) -> Option<Attempt> {
        let pool = self.pool.clone();
        let torrent = self.torrent(key)?;
        let (seeded, info) = (torrent.seeded.clone()?, torrent.session()?.info()?.clone());
        Some(Attempt { pool, info, seeded })
    }

    /// They are the torrent's, which still waits for them: from now on the store reads them.
    fn attach_again(&mut self, key: u32, fitting: Fitting) {
        let Some(store) = self.store.clone() else { return };
        let Some(torrent) = self.torrent(key) else { return };
        let Some(info) = torrent.session().and_then(Session::info) else { return };
        let (hash, info) = (info.info_hash(), info.raw().clone());
        let Fitting { files, source, is_kept, verified, seeded } = fitting;
        torrent.source = source;
        self.go_on(key, |_| async move {
            match store.attach(hash, info, files, verified).await {
                Ok(()) => Return::Attached { seeded, is_kept },
                Err(error) => Return::Refused { trouble: error.into(), next: None },
            }
        });
    }

    /// Bytes that were taken at the file system's word are not the torrent's: no more of it is given away, and it waits for its
    /// files. From now on only their hashes bring them back.
    pub(super) fn altered(&mut self, now: Time, key: u32, name: String) {
        let Some(torrent) = self.torrent(key).filter(|torrent| torrent.returning.is_none()) else { return };
        torrent.wants_pause = torrent.is_paused();
        torrent.halted = false;
        torrent.returning = Some(Returning::Files);
        torrent.trouble = Some(Trouble::FileChanged { name });
        if let Some(seeded) = &mut torrent.seeded {
            seeded.stamp.clear();
        }
        if let Some(session) = torrent.session_mut() {
            session.pause(now);
        }
        self.leave_swarm(now, key);
        if let Some(hash) = self.torrent(key).and_then(|torrent| torrent.info_hash()) {
            self.remember(hash);
        }
    }

    /// Keeps the handle of a seeded torrent for the next time, or none if there is none.
    pub(super) fn keep_handle(&mut self, key: u32) {
        let Some(place) = self.handle_place(key) else { return };
        let source = self.torrent(key).and_then(|torrent| torrent.source.clone());
        spawn_local(async move {
            // A browser without a handle for what was dropped gives nothing, or an error.
            let handle = match source {
                Some(source) => JsFuture::from(source).await.ok(),
                None => None,
            };
            match handle.and_then(|handle| handle.dyn_into::<FileSystemHandle>().ok()) {
                Some(handle) => handles::keep(&place, &handle).await,
                // What was kept is not where these files are.
                None => handles::forget(&place).await,
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
            None => !self.halted && self.session().is_some_and(Session::is_paused),
        }
    }
}
