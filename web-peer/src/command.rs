//! What the user wants done: the only thing that goes from the user interface to the driver.

use engine::Priority;
use js_sys::Promise;
use shared::InfoHash;
use web_sys::File;

use crate::snapshot::RateLimits;

/// One file that the user chose, with its place in the chosen folder.
#[derive(Debug, Clone)]
pub struct ChosenFile {
    /// Path parts from the chosen folder down, the file's own name last; one part for a file chosen by itself.
    pub path: Vec<String>,
    /// The file; nothing has been read yet.
    pub file: File,
    /// What becomes the handle (`FileSystemHandle`) of what the user chose, the file itself or the folder above all, where the
    /// browser has handles: by it the file is found again after a reload.
    pub source: Option<Promise>,
}

/// What the user says of files before they are seeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeedOptions {
    /// The torrent's name, if not that of the file or folder; where several torrents come of one choice, it is for none.
    pub name: Option<String>,
    /// Stands in the `.torrent` file.
    pub comment: Option<String>,
    /// Bytes in a piece, if not as many as fit the size.
    pub piece_length: Option<u32>,
    /// Trackers beside the page's own: `ws://…` or `wss://…`.
    pub trackers: Vec<String>,
}

/// What the user wants done.
#[derive(Debug, Clone)]
pub enum Command {
    /// Seed these: one file alone is a single-file torrent; files of one folder are one torrent named like the folder;
    /// several files chosen by themselves are a torrent each; a `.torrent` file is added as a download.
    Seed(Vec<ChosenFile>, SeedOptions),
    /// Download this: a hash, a magnet, or a link to the page with either behind `#`.
    Add(String),
    /// The same, but of several files none is fetched before the user has chosen it.
    AddToChoose(String),
    /// A link to this was opened: the user is asked before anything is done about it.
    Invite(String),
    /// The user does not want what a link was about (by `Invitation::id`).
    Decline(u32),
    /// Stand still.
    Pause(InfoHash),
    /// Read the user's own files again, which the browser asks them about.
    AllowFiles(InfoHash),
    /// These are the user's own files of a torrent that waits for them.
    ChooseAgain(InfoHash, Vec<ChosenFile>),
    /// Go on; also out of an error.
    Resume(InfoHash),
    /// Forget the torrent and what was downloaded of it.
    Remove(InfoHash),
    /// Take the torrent out of the list, and keep what was downloaded of it.
    Unlist(InfoHash),
    /// Put it into the list again.
    Relist(InfoHash),
    /// Delete what is kept of a torrent that is not in the list.
    DeleteUnlisted(InfoHash),
    /// Take a row without info-hash out of the list (by `TorrentView::key`): it is being hashed, or that failed.
    RemoveRow(u32),
    /// Read everything that is here again and compare it with its hashes.
    Check(InfoHash),
    /// Save the torrent's file, or all its files as one zip.
    Save(InfoHash),
    /// Save all its files into a folder that the user is asked for.
    SaveInto(InfoHash),
    /// Save one file of the torrent, by its place in the list.
    SaveFile(InfoHash, usize),
    /// Save the torrent's `.torrent` file.
    SaveTorrentFile(InfoHash),
    /// How much a file is wanted, by its place in the list.
    SetPriority(InfoHash, usize, Priority),
    /// How much all of its files are wanted.
    SetPriorities(InfoHash, Priority),
    /// Fetch pieces in order, or in whatever order is best for the swarm.
    SetSequential(InfoHash, bool),
    /// How fast a torrent may go.
    SetTorrentLimits(InfoHash, RateLimits),
    /// How fast all torrents together may go; the choice is kept.
    SetLimits(RateLimits),
    /// Use these ICE servers for direct links from now on, and keep the choice: addresses between commas or a JSON list
    /// (`shared::signal::parse_ice_servers`), `none` for none. `None` leaves it to the tracker again.
    SetIce(Option<String>),
    /// The user has read this alert.
    Dismiss(u32),
}
