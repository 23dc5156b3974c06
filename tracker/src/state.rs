//! What outlives a restart: how often each torrent was completed, and lifetime totals.
//!
//! It is kept in redb, an embedded database in Rust alone: there is no C to build, and no second file. A commit writes new
//! pages beside the old ones, flushes them, and then moves one pointer, so that the file is whole at any moment; what a crash
//! costs is what came after the last commit, made every [`SAVE_INTERVAL`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableTable, TableDefinition};
use shared::InfoHash;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::App;

/// Time between two saves, if there is something new: what a crash costs at most, with the time of one save.
pub const SAVE_INTERVAL: Duration = Duration::from_millis(500);

/// How often each torrent was completed.
const COMPLETED: TableDefinition<'_, [u8; 20], u32> = TableDefinition::new("completed");

/// Lifetime totals by name.
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("totals");

/// Why there is no durable state. The sentences are for the person who started the tracker.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has the file.
    #[error("the state file {0} is in use by another tracker")]
    InUse(PathBuf),
    /// The file cannot be opened, or is none of ours.
    #[error("the state file {0} cannot be used: {1}")]
    Unusable(PathBuf, redb::Error),
}

/// Totals over the life of the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    /// Connections accepted.
    pub connections: u64,
    /// Text messages of clients.
    pub messages: u64,
    /// Bytes relayed.
    pub relayed_bytes: u64,
    /// Downloads completed.
    pub completed: u64,
}

/// Completed counts that changed: the new count, or that it is forgotten.
pub(crate) type Changes = Vec<(InfoHash, Option<u32>)>;

/// The open state file, and what was in it.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    database: Database,
    completed: Vec<(InfoHash, u32)>,
    lifetime: Lifetime,
}

impl Lifetime {
    fn named(&mut self) -> [(&'static str, &mut u64); 4] {
        [
            ("connections", &mut self.connections),
            ("messages", &mut self.messages),
            ("relayed-bytes", &mut self.relayed_bytes),
            ("completed", &mut self.completed),
        ]
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            messages: self.messages + other.messages,
            relayed_bytes: self.relayed_bytes + other.relayed_bytes,
            completed: self.completed + other.completed,
        }
    }
}

impl State {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StateError`] when that fails.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let unusable = |error| StateError::Unusable(path.to_owned(), error);
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StateError::InUse(path.to_owned()),
            error => unusable(error.into()),
        })?;
        read(path, database).map_err(unusable)
    }

    /// The completed counts, for a tracker that begins with them.
    pub(crate) fn completed(&self) -> impl Iterator<Item = (InfoHash, u32)> + '_ {
        self.completed.iter().copied()
    }

    /// What was there when the file was opened.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }
}

fn read(path: &Path, database: Database) -> Result<State, redb::Error> {
    let writing = database.begin_write()?;
    let (mut completed, mut lifetime) = (Vec::new(), Lifetime::default());
    {
        // Opening them makes them.
        for entry in writing.open_table(COMPLETED)?.iter()? {
            let (hash, count) = entry?;
            completed.push((InfoHash::new(hash.value()), count.value()));
        }
        let totals = writing.open_table(TOTALS)?;
        for (name, total) in lifetime.named() {
            *total = totals.get(name)?.map_or(0, |value| value.value());
        }
    }
    writing.commit()?;
    Ok(State { path: path.to_owned(), database, completed, lifetime })
}

/// Saves by the open database, or by one that is opened for it. One that failed is closed: redb takes nothing more from it,
/// whatever comes later.
fn save(
    path: &Path,
    open: &mut Option<Database>,
    changes: &Changes,
    lifetime: Lifetime,
) -> Result<(), redb::Error> {
    let database = match open.take() {
        Some(database) => database,
        None => Database::create(path)?,
    };
    write(&database, changes, lifetime)?;
    *open = Some(database);
    Ok(())
}

fn write(database: &Database, changes: &Changes, mut lifetime: Lifetime) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut completed = writing.open_table(COMPLETED)?;
        for (hash, count) in changes {
            match count {
                Some(count) => completed.insert(*hash.as_bytes(), *count)?.map(drop),
                None => completed.remove(*hash.as_bytes())?.map(drop),
            };
        }
        let mut totals = writing.open_table(TOTALS)?;
        for (name, total) in lifetime.named() {
            totals.insert(name, *total)?;
        }
    }
    // Flushed to the disk before it returns: redb's usual durability.
    writing.commit()?;
    Ok(())
}

/// Saves what changes, beside the tracker.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn start(state: State, app: Arc<App>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(state, app, stop.clone()));
        Self { stop, task }
    }

    /// Saves for the last time.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the state's keeper failed");
        }
    }
}

async fn keep(state: State, app: Arc<App>, stop: CancellationToken) {
    let State { path, database, lifetime: mut saved, .. } = state;
    let path = Arc::new(path);
    let mut open = Some(database);
    // The newest of each, however long the disk is full.
    let mut unsaved: HashMap<InfoHash, Option<u32>> = HashMap::new();
    let mut has_failed = false;
    loop {
        let is_last = tokio::time::timeout(SAVE_INTERVAL, stop.cancelled()).await.is_ok();
        unsaved.extend(app.hub.take_completed());
        let metrics = &app.metrics;
        let lifetime = app.lifetime().unwrap_or_default();
        if lifetime != saved || !unsaved.is_empty() {
            let changes: Changes = unsaved.iter().map(|(hash, count)| (*hash, *count)).collect();
            let (path, mut database) = (Arc::clone(&path), open.take());
            let saving = tokio::task::spawn_blocking(move || {
                let result = save(&path, &mut database, &changes, lifetime);
                (result, database)
            });
            let result = match saving.await {
                Ok((result, database)) => {
                    open = database;
                    result.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match result {
                Ok(()) => {
                    metrics.saves.add(1);
                    saved = lifetime;
                    unsaved.clear();
                    if std::mem::take(&mut has_failed) {
                        tracing::info!("the state is saved again");
                    }
                }
                // The disk may be full, and have room later. Until then the changes wait.
                Err(error) => {
                    metrics.failed_saves.add(1);
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::error!(error, "the state could not be saved; it is tried again and again");
                    }
                }
            }
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_totals_are_there_again_and_forgotten_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let (a, b) = (InfoHash::new([1; 20]), InfoHash::new([2; 20]));
        let state = State::open(&path).unwrap();
        assert_eq!((state.completed().count(), state.lifetime()), (0, Lifetime::default()));
        let error = State::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another tracker"), "{error}");
        let lifetime = Lifetime { completed: 7, ..Lifetime::default() };
        write(&state.database, &vec![(a, Some(3)), (b, Some(4))], lifetime).unwrap();
        write(&state.database, &vec![(b, None)], lifetime).unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!(state.completed().collect::<Vec<_>>(), [(a, 3)]);
        assert_eq!(state.lifetime(), lifetime);
    }

    #[test]
    fn after_a_failure_the_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("state.redb");
        let changes = vec![(InfoHash::new([1; 20]), Some(3))];
        let mut open = None;
        save(&path, &mut open, &changes, Lifetime::default()).unwrap_err();
        assert!(open.is_none());
        std::fs::create_dir(folder.path().join("missing")).unwrap();
        save(&path, &mut open, &changes, Lifetime::default()).unwrap();
        save(&path, &mut open, &changes, Lifetime::default()).unwrap();
        drop(open);
        assert_eq!(State::open(&path).unwrap().completed().count(), 1);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holiday.jpg");
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        let error = State::open(&path).unwrap_err().to_string();
        assert!(error.contains("holiday.jpg cannot be used"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 10_000]);
    }
}
