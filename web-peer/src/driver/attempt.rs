//! One attempt to bring files back: what of it takes time, what it says, and whether anybody still listens (`returning`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use js_sys::Promise;
use shared::metainfo::Info;
use web_sys::{File, FileSystemHandle};

use super::Event;
use super::returning::Returning;
use crate::command::ChosenFile;
use crate::handles::Permission;
use crate::intake;
use crate::snapshot::Trouble;
use crate::store::Seeded;
use crate::verify::{HashError, HashPool};

/// The attempts of one torrent, one at a time.
#[derive(Default)]
pub(super) struct Attempts {
    latest: u32,
    /// Ends it when dropped.
    running: Option<oneshot::Sender<Infallible>>,
}

impl Attempts {
    /// Begins one, which ends the one before: its number, and what resolves when it is over.
    pub(super) fn begin(&mut self) -> (u32, oneshot::Receiver<Infallible>) {
        let (running, over) = oneshot::channel();
        self.latest += 1;
        self.running = Some(running);
        (self.latest, over)
    }

    /// Whether none was begun after this one.
    pub(super) fn is_latest(&self, attempt: u32) -> bool {
        self.latest == attempt
    }
}

/// Where an attempt says what it has to say.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) key: u32,
    pub(super) attempt: u32,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Report {
    pub(super) fn tell(&self, news: Return) {
        // The loop ends only with the page.
        let _ = self.events.unbounded_send(Event::Return { key: self.key, attempt: self.attempt, news });
    }
}

/// What an attempt says.
pub(crate) enum Return {
    /// The handle that was kept, if there is one.
    Found(Option<FileSystemHandle>),
    /// Whether files may be read again, as the browser says, be it that the user was asked or not.
    Allowed(FileSystemHandle, Permission),
    /// Hashes are being compared; bytes.
    Checking { done: u64, total: u64 },
    /// They are the torrent's.
    Fits(Fitting),
    /// They are in the store; whether their handle is kept already.
    Attached { seeded: Seeded, is_kept: bool },
    /// They are not the torrent's, or not all of them could be read.
    Refused { trouble: Trouble, next: Option<Next> },
}

/// Files that are a torrent's.
pub(crate) struct Fitting {
    /// In the torrent's order.
    pub(super) files: Vec<File>,
    /// What becomes their handle.
    pub(super) source: Option<Promise>,
    /// It is the handle that was kept for them.
    pub(super) is_kept: bool,
    /// Their hashes were compared just now.
    pub(super) verified: bool,
    /// What is remembered of them.
    pub(super) seeded: Seeded,
}

/// What else chosen files may be.
pub(crate) struct Next {
    /// The torrents, by their rows.
    pub(super) candidates: VecDeque<u32>,
    pub(super) files: Vec<ChosenFile>,
    /// What the torrent waited for that they were compared with first.
    pub(super) before: Returning,
}

/// A torrent that waits for files of the name of those that were chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) key: u32,
    /// Files are being compared with it already.
    pub(super) is_busy: bool,
    /// All its files are among the chosen ones, with their lengths.
    pub(super) fits: bool,
}

/// With which torrents chosen files are compared, in this order: those that they fit, of which those come last that are compared with
/// others now; if there is none, with the first that is not, so that it is said what is wrong.
pub(super) fn candidates(waiting: &[Candidate]) -> VecDeque<u32> {
    let fitting = |is_busy: bool| {
        let fits = move |candidate: &&Candidate| candidate.fits && candidate.is_busy == is_busy;
        waiting.iter().filter(fits).map(|candidate| candidate.key)
    };
    let all: VecDeque<u32> = fitting(false).chain(fitting(true)).collect();
    if !all.is_empty() {
        return all;
    }
    waiting.iter().find(|candidate| !candidate.is_busy).map(|candidate| candidate.key).into_iter().collect()
}

/// The torrent's files among the chosen ones, in its order, if all are there and as long as they were.
pub(super) fn fitting(info: &Info, chosen: Vec<ChosenFile>) -> Result<Vec<File>, Trouble> {
    let files = intake::places(info, chosen).map_err(|name| Trouble::FileUnreadable { name })?;
    let files: Vec<File> = files.into_iter().map(|chosen| chosen.file).collect();
    let mut pairs = files.iter().zip(info.files());
    match pairs.find(|(file, place)| file.size() != place.length as f64) {
        Some((_, place)) => Err(Trouble::FileChanged { name: place.display_path() }),
        None => Ok(files),
    }
}

/// All that is needed to compare files with a torrent.
pub(super) struct Attempt {
    pub(super) pool: HashPool,
    pub(super) info: Arc<Info>,
    pub(super) seeded: Seeded,
}

impl Attempt {
    /// Finds out whether these files are the torrent's. Those that came through the handle are taken at their word when
    /// lengths and times are what they were. `source` becomes their handle.
    pub(super) async fn bring_back(
        self,
        chosen: Vec<ChosenFile>,
        source: Option<Promise>,
        by_handle: bool,
        report: &Report,
    ) -> Result<Fitting, Trouble> {
        let Self { pool, info, seeded } = self;
        let files = fitting(&info, chosen)?;
        let stamp = intake::stamp(&files);
        let verified = !(by_handle && stamp == seeded.stamp);
        if verified {
            let total = info.geometry().total();
            let progress = |done| report.tell(Return::Checking { done, total });
            progress(0);
            let hashes = pool.hash(&files, info.geometry(), progress).await.map_err(|error| match error {
                HashError::Unreadable { file } => {
                    let file = info.files().get(file).map(shared::metainfo::File::display_path);
                    Trouble::FileUnreadable { name: file.unwrap_or_else(|| seeded.name.clone()) }
                }
                error => unusable(&error),
            })?;
            if let Some(name) = first_difference(&info, &hashes) {
                return Err(Trouble::FileChanged { name });
            }
        }
        Ok(Fitting {
            files,
            source,
            is_kept: by_handle,
            verified,
            seeded: Seeded { name: seeded.name, stamp },
        })
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::StoreFailed { detail: error.to_string() }
}

/// The first file in a piece that has another hash than it should.
fn first_difference(info: &Info, hashes: &[[u8; 20]]) -> Option<String> {
    let piece = info.piece_hashes().iter().zip(hashes).position(|(expected, found)| expected != found)?;
    let start = piece as u64 * u64::from(info.geometry().piece_length());
    let file = info.files().iter().find(|file| start < file.offset + file.length)?;
    Some(file.display_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(waiting: &[(u32, bool, bool)]) -> Vec<u32> {
        let waiting: Vec<_> =
            waiting.iter().map(|&(key, is_busy, fits)| Candidate { key, is_busy, fits }).collect();
        candidates(&waiting).into()
    }

    #[test]
    fn chosen_files_are_compared_with_every_torrent_that_they_fit() {
        assert_eq!(keys(&[(1, false, false), (2, false, true), (3, false, true)]), [2, 3]);
        assert_eq!(keys(&[(1, true, true), (2, false, true)]), [2, 1], "the busy one may be free by then");
    }

    #[test]
    fn files_that_fit_no_torrent_are_compared_with_one_that_says_why() {
        assert_eq!(keys(&[(1, true, false), (2, false, false), (3, false, false)]), [2]);
    }

    #[test]
    fn files_that_fit_a_busy_torrent_wait_for_it_and_are_not_compared_with_another() {
        assert_eq!(keys(&[(1, true, true), (2, false, false)]), [1]);
        assert!(keys(&[(1, true, false)]).is_empty());
    }

    #[test]
    fn an_attempt_is_over_when_another_begins_or_its_torrent_goes() {
        let mut attempts = Attempts::default();
        let (first, mut first_over) = attempts.begin();
        assert!(attempts.is_latest(first));
        assert_eq!(first_over.try_recv(), Ok(None), "it is under way");
        let (second, mut second_over) = attempts.begin();
        assert!(!attempts.is_latest(first) && attempts.is_latest(second));
        assert!(first_over.try_recv().is_err());
        assert_eq!(second_over.try_recv(), Ok(None));
        drop(attempts);
        assert!(second_over.try_recv().is_err());
    }
}
