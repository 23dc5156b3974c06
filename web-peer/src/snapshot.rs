//! The whole state of the page as plain data: what the user interface shows, and what
//! `window.enxame.snapshot()` returns (the automation contract; fields may be added, none changed).

use engine::{PeerSnapshot, State, TorrentSnapshot};
use serde::Serialize;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The page's tracker.
    pub tracker: TrackerView,
    /// Where downloads are kept.
    pub storage: StorageView,
    /// Direct links of this tab.
    pub rtc: RtcView,
    /// Whether files can be played and shown before they are complete.
    pub streaming: StreamingView,
    /// Torrents in the order in which they were added.
    pub torrents: Vec<TorrentView>,
    /// What went wrong and belongs to no torrent, oldest first; shown until dismissed.
    pub alerts: Vec<Alert>,
}

/// The page's tracker.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackerView {
    /// `ws://…` or `wss://…`.
    pub url: String,
    /// Whether it can be reached.
    pub state: TrackerState,
}

/// Whether the tracker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerState {
    /// First attempt under way.
    Connecting,
    /// The socket is open.
    Connected,
    /// Not reachable; trying again.
    Unreachable,
}

/// What a tracker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// Our extension: it names peers, and relays.
    Enxame,
    /// WebTorrent's protocol alone.
    WebTorrent,
}

/// One tracker of one torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TorrentTrackerView {
    /// `ws://…` or `wss://…`.
    pub url: String,
    /// Whether it can be reached.
    pub state: TrackerState,
    /// Whether it is the page's own.
    pub own: bool,
    /// What it speaks, once it has replied.
    pub kind: Option<TrackerKind>,
    /// Seeders in the swarm, as it counts.
    pub complete: u32,
    /// Leechers in the swarm, as it counts.
    pub incomplete: u32,
    /// What it last said against us, in its own words.
    pub failure: Option<String>,
}

/// Direct links of this tab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcView {
    /// Whether this browser has WebRTC.
    pub available: bool,
    /// What the user allows.
    pub mode: TransportMode,
    /// The ICE servers in force, addresses only, and whose choice they are.
    pub ice: IceView,
    /// Connections that are alive now, those being tried included.
    pub open: usize,
    /// Connections made since the page was opened.
    pub made: u64,
}

/// The ICE servers in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceView {
    /// Their addresses.
    pub urls: Vec<String>,
    /// Whose choice they are.
    pub chosen_by: IceChoice,
}

/// Whose choice the ICE servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IceChoice {
    /// The user's.
    User,
    /// The tracker's.
    Tracker,
    /// Nobody's: the usual ones.
    #[default]
    Usual,
}

/// The ways that peers may be reached; the words of the page's `transport` switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportMode {
    /// Directly where that is possible, else through the tracker.
    #[default]
    Auto,
    /// Through the tracker only.
    Relay,
    /// Directly only.
    Direct,
}

/// Where downloads are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageView {
    /// The kind of store.
    pub kind: StorageKind,
    /// Most bytes it takes, where that is known (memory).
    pub limit: Option<u64>,
}

/// Whether files have addresses from which the page plays and shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingView {
    /// Whether they have.
    pub state: StreamingState,
    /// What the addresses begin with, once they have: info-hash, place in the list of files and name follow, with `/` between.
    pub base: Option<String>,
}

/// Whether files have addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamingState {
    /// The service worker is being started.
    #[default]
    Starting,
    /// They have.
    Ready,
    /// The browser has no service worker for this page.
    Unavailable,
}

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// Being opened.
    Opening,
    /// The origin private file system: survives a reload.
    Private,
    /// Memory: gone when the tab closes.
    Memory,
}

/// One torrent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TorrentView {
    /// Names the row for as long as it is in the list; the info-hash cannot, since it is not known while hashing.
    pub key: u32,
    /// The engine's part: info-hash, name, state, bytes, rates, pieces, peers.
    #[serde(flatten)]
    pub torrent: TorrentSnapshot,
    /// Its files, in order; empty before the metadata is known.
    pub files: Vec<FileView>,
    /// Its trackers, the page's own first.
    pub trackers: Vec<TorrentTrackerView>,
    /// The page's address that opens this torrent: `http://…/#<hash>`.
    pub link: String,
    /// `magnet:?xt=…`.
    pub magnet: String,
    /// What it waits for, when it does not move.
    pub waiting: Option<Waiting>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// How far saving it into a folder is, or was.
    pub saving: Option<SavingView>,
    /// Seconds until it is complete at the present rate; `None` when that cannot be said.
    pub seconds_left: Option<f64>,
}

impl TorrentView {
    /// Whether its files can be saved now.
    pub fn can_save(&self) -> bool {
        self.torrent.state != State::Hashing
            && !self.files.is_empty()
            && self.torrent.pieces.have == self.torrent.pieces.total
    }

    /// The linked peers.
    pub fn peers(&self) -> &[PeerSnapshot] {
        &self.torrent.peers
    }
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// Path inside the torrent, parts joined by `/`; for a single file its name.
    pub path: String,
    /// Bytes.
    pub length: u64,
}

/// How far saving into a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SavingView {
    /// Files that are there.
    pub done: usize,
    /// Files that will be.
    pub total: usize,
}

/// What a torrent that does not move is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Waiting {
    /// The tracker: the socket is not open.
    Tracker,
    /// Peers: the tracker knows of nobody else in this swarm. It is asked again, and tells as soon as one comes.
    Peers,
    /// The info dictionary, from peers that are linked.
    Metadata,
    /// Peers that are linked, but have nothing that is missing here, or do not serve it now.
    Pieces,
}

/// What is wrong, as a kind with its details; the user interface has the words for it in every language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Trouble {
    /// What was pasted is not a hash, a magnet or a link to a torrent.
    NotATorrent {
        /// What was pasted, shortened.
        text: String,
    },
    /// A `.torrent` file that cannot be read.
    BadMetainfo {
        /// The file's name.
        name: String,
        /// Why, in English, for those who want to know.
        detail: String,
    },
    /// A torrent that is in the list already.
    AlreadyAdded {
        /// Its name.
        name: String,
    },
    /// A file to seed that could not be read: gone, or changed since it was chosen.
    FileUnreadable {
        /// The file's name.
        name: String,
    },
    /// A folder or selection without any file.
    NothingToSeed,
    /// A peer sent a piece that fails its hash.
    HashMismatch {
        /// Its peer id, in hexadecimal; empty when it is not known which of several it was.
        peer: String,
        /// The piece's number.
        piece: u32,
    },
    /// The store is full.
    DiskFull,
    /// The torrent is larger than what memory is used for.
    TooLargeForMemory {
        /// Bytes of the torrent.
        total: u64,
        /// Bytes that memory is used for.
        limit: u64,
    },
    /// The store failed otherwise.
    StoreFailed {
        /// The browser's words.
        detail: String,
    },
    /// What the user wrote as ICE servers cannot be used.
    BadIceServers {
        /// Why, in English, for those who want to know.
        detail: String,
    },
    /// Saving failed.
    SaveFailed {
        /// The browser's words.
        detail: String,
    },
}

/// Something that went wrong and belongs to no torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Names it for `Command::Dismiss`.
    pub id: u32,
    /// What went wrong.
    pub trouble: Trouble,
}
