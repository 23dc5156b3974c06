//! The whole state of the page as plain data: what the user interface shows, and what
//! `window.enxame.snapshot()` returns (the automation contract; fields may be added, none changed).

use std::sync::Arc;

use engine::{PeerSnapshot, PieceState, Priority, State, TorrentSnapshot};
use serde::{Deserialize, Serialize};

use crate::journal::Journal;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Who this tab is in every swarm: its peer id, in hexadecimal.
    pub peer_id: String,
    /// The page's tracker.
    pub tracker: TrackerView,
    /// Where downloads are kept.
    pub storage: StorageView,
    /// Direct links of this tab.
    pub rtc: RtcView,
    /// Whether files can be played and shown before they are complete.
    pub streaming: StreamingView,
    /// How fast all torrents together may go.
    pub limits: RateLimits,
    /// While the connection is metered and the user has set no limit for what is sent: the one in force, in bytes a second.
    pub polite_upload: Option<u64>,
    /// Torrents in the order in which they were added.
    pub torrents: Vec<TorrentView>,
    /// What is kept of torrents that were taken out of the list.
    #[serde(default)]
    pub unlisted: Vec<UnlistedView>,
    /// What went wrong and belongs to no torrent, oldest first; shown until dismissed.
    pub alerts: Vec<Alert>,
    /// Links that were opened and not answered yet, the oldest first: nothing is done about them before the user says so.
    #[serde(default)]
    pub invitations: Vec<Invitation>,
}

/// How fast something may go, in bytes a second; `None` for as fast as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimits {
    /// What is sent.
    pub up: Option<u64>,
    /// What is fetched.
    pub down: Option<u64>,
    /// Nothing is sent at all.
    #[serde(default)]
    pub upload_off: bool,
}

/// Bytes of a torrent that came and went as blocks since it was added, also before the page was opened; those thrown away included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AllTime {
    /// Received.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
}

/// What a torrent's `.torrent` file says beside what the torrent is: texts of at most
/// [`MAX_COMMENT_BYTES`](shared::limits::MAX_COMMENT_BYTES), by anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    /// What its maker had to say.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970, by its maker's clock; some programs write milliseconds.
    pub creation_date: Option<i64>,
}

/// The page's tracker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackerView {
    /// `ws://…` or `wss://…`.
    pub url: String,
    /// Whether it can be reached.
    pub state: TrackerState,
}

/// Whether the tracker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// Our extension: it names peers, and relays.
    Enxame,
    /// WebTorrent's protocol alone.
    WebTorrent,
}

/// One tracker of one torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceView {
    /// Their addresses.
    pub urls: Vec<String>,
    /// Whose choice they are.
    pub chosen_by: IceChoice,
}

/// Whose choice the ICE servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// What is kept of a torrent that was taken out of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnlistedView {
    /// Which torrent: forty hexadecimal digits.
    pub info_hash: String,
    /// What it is called.
    pub name: String,
    /// Bytes that are there, verified; `None` where nobody has looked yet.
    pub bytes: Option<u64>,
}

/// Where downloads are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageView {
    /// The kind of store.
    pub kind: StorageKind,
    /// Most bytes it takes, where that is known (memory).
    pub limit: Option<u64>,
}

/// Whether files have addresses from which the page plays and shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingView {
    /// Whether they have.
    pub state: StreamingState,
    /// What the addresses begin with, once they have: info-hash, place in the list of files and name follow, with `/` between.
    pub base: Option<String>,
}

/// Whether files have addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TorrentView {
    /// Names the row for as long as it is in the list; the info-hash cannot, since it is not known while hashing.
    pub key: u32,
    /// The engine's part: info-hash, name, state, bytes, rates, pieces, peers.
    #[serde(flatten)]
    pub torrent: TorrentSnapshot,
    /// Its files, in order; empty before the metadata is known.
    pub files: Vec<FileView>,
    /// How it stands with each piece, in order; empty before the metadata is known. Not for automation, which has the counts.
    #[serde(skip)]
    pub piece_states: Vec<PieceState>,
    /// Whether pieces are fetched in order.
    pub sequential: bool,
    /// How fast it may go.
    pub limits: RateLimits,
    /// Whether nothing is sent of it, be it by its own limits or by those of all.
    #[serde(default)]
    pub upload_off: bool,
    /// What was received and sent of it in all.
    #[serde(default)]
    pub all_time: AllTime,
    /// What its `.torrent` file says about it.
    #[serde(default)]
    pub notes: Notes,
    /// Pieces that were not right when it was last checked since the page was opened.
    pub checked: Option<u32>,
    /// How fast it was over the last minutes.
    pub history: RateHistory,
    /// Whether this tab is the first that has all of it, and gives each piece to somebody else (BEP 16).
    pub super_seeding: bool,
    /// Peers that sent wrong data and are not asked again, in the order in which they were found out.
    pub banned: Vec<BannedView>,
    /// Its trackers, the page's own first.
    pub trackers: Vec<TorrentTrackerView>,
    /// The page's address that opens this torrent: `http://…/#<hash>`.
    pub link: String,
    /// `magnet:?xt=…`.
    pub magnet: String,
    /// Whether its files lie in a folder of its name, be it only one.
    #[serde(default)]
    pub in_folder: bool,
    /// What it waits for, when it does not move.
    pub waiting: Option<Waiting>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// Whether its bytes are in this browser's storage, and not in files of the user's own.
    #[serde(default)]
    pub stored: bool,
    /// Whether what is here can be read: not before the metadata is, nor before the user's own files are, nor while the storage
    /// could not be opened.
    #[serde(default)]
    pub readable: bool,
    /// How far saving it into a folder is, or was.
    pub saving: Option<SavingView>,
    /// Seconds until what is wanted is complete at the present rate; `None` when that cannot be said.
    pub seconds_left: Option<f64>,
    /// What happened to it since this page was opened.
    #[serde(default, skip_serializing_if = "Journal::is_empty")]
    pub journal: Journal,
}

impl TorrentView {
    /// Whether its files can be saved now: all, or all that are wanted if some are.
    pub fn can_save(&self) -> bool {
        let wanted = self.wanted();
        self.torrent.state != State::Hashing
            && !self.needs_files()
            && !self.files.is_empty()
            && (self.torrent.pieces.have == self.torrent.pieces.total
                || (wanted.files > 0 && wanted.verified == wanted.total))
    }

    /// Whether it stands still until the user's own files are here again.
    pub fn needs_files(&self) -> bool {
        self.waiting.is_some_and(Waiting::is_for_files)
    }

    /// Whether the torrent can be taken out of the list and leave something here.
    pub fn can_be_unlisted(&self) -> bool {
        let may_have = self.torrent.bytes.verified > 0 || self.torrent.state == State::Error;
        self.stored && !self.files.is_empty() && may_have && !self.needs_files()
    }

    /// Whether something is here that was wanted, and nothing is missing of it, but not the whole torrent.
    pub fn is_complete_in_part(&self) -> bool {
        self.torrent.state == State::Seeding && self.torrent.pieces.have < self.torrent.pieces.total
    }

    /// What of it the user wants.
    pub fn wanted(&self) -> Wanted {
        let wanted = self.files.iter().filter(|file| file.priority != Priority::Skip);
        let files = wanted.clone().count();
        // While it is hashed, that is what there is to know.
        if files == self.files.len() || self.torrent.state == State::Hashing {
            let bytes = self.torrent.bytes;
            return Wanted { files, total: bytes.total, verified: bytes.verified };
        }
        let (total, verified) =
            wanted.fold((0, 0), |(total, verified), file| (total + file.length, verified + file.verified));
        Wanted { files, total, verified }
    }

    /// Whether it has files, and all are skipped.
    pub fn wants_nothing(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.priority == Priority::Skip)
    }

    /// Bytes sent for each byte received, since it was added (libtorrent's all-time counts). Where next to nothing was received, for
    /// each byte that is here: those who had the files from the start gave them that often (qBittorrent counts in this way).
    /// `None` before anything was sent.
    pub fn share_ratio(&self) -> Option<f64> {
        let AllTime { downloaded, uploaded } = self.all_time;
        let here = self.torrent.bytes.verified;
        let taken = if downloaded < here / 100 { here } else { downloaded };
        let is_told = uploaded > 0 && taken > 0 && self.torrent.state != State::Hashing;
        is_told.then(|| uploaded as f64 / taken as f64)
    }

    /// The linked peers.
    pub fn peers(&self) -> &[PeerSnapshot] {
        &self.torrent.peers
    }
}

impl From<TorrentSnapshot> for TorrentView {
    /// A torrent in this browser's storage, of which nothing else is known.
    fn from(torrent: TorrentSnapshot) -> Self {
        Self {
            key: 0,
            torrent,
            files: Vec::new(),
            piece_states: Vec::new(),
            sequential: false,
            limits: RateLimits::default(),
            upload_off: false,
            all_time: AllTime::default(),
            notes: Notes::default(),
            checked: None,
            history: RateHistory::default(),
            super_seeding: false,
            banned: Vec::new(),
            trackers: Vec::new(),
            link: String::new(),
            magnet: String::new(),
            in_folder: false,
            waiting: None,
            trouble: None,
            stored: true,
            readable: true,
            saving: None,
            seconds_left: None,
            journal: Journal::default(),
        }
    }
}

/// How fast a torrent was over the last minutes: means of equal steps of time, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateHistory {
    /// Seconds of each step.
    pub step: u64,
    /// Bytes a second received, for each step.
    pub down: Vec<u64>,
    /// Bytes a second sent; as many.
    pub up: Vec<u64>,
}

impl RateHistory {
    /// Whether nothing moved in all that time.
    pub fn is_still(&self) -> bool {
        self.down.iter().chain(&self.up).all(|rate| *rate == 0)
    }
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// Path inside the torrent, parts joined by `/`; for a single file its name. The same in all snapshots.
    pub path: Arc<str>,
    /// Bytes.
    pub length: u64,
    /// Bytes of it that are verified and stored.
    pub verified: u64,
    /// How much it is wanted.
    pub priority: Priority,
}

impl FileView {
    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        self.verified == self.length
    }
}

/// What the user wants of a torrent: its files that are not skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub total: u64,
    /// Their bytes that are verified and stored.
    pub verified: u64,
}

/// A peer that sent bytes that are not the torrent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BannedView {
    /// Its peer id, in hexadecimal.
    pub id: String,
    /// Its program, as its peer id says; empty when that says nothing.
    pub client: String,
    /// The piece by which it was found out, from zero.
    pub piece: u32,
}

/// How far saving into a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavingView {
    /// Files that are there.
    pub done: usize,
    /// Files that will be.
    pub total: usize,
}

/// What a torrent that does not move is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The user's own files that it was seeded from: they must be chosen or dropped again.
    Files,
    /// The user's leave to read those files again.
    Permission,
}

impl Waiting {
    /// Whether the user's own files are what is missing, be it only the leave to read them.
    pub fn is_for_files(self) -> bool {
        matches!(self, Self::Files | Self::Permission)
    }
}

/// What is wrong, as a kind with its details; the user interface has the words for it in every language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A file that was seeded came back with other bytes than the torrent has.
    FileChanged {
        /// Its path in the torrent.
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

/// A link to a torrent that was opened: what it says of the torrent, which need not be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Names it for `Command::Decline`.
    pub id: u32,
    /// Forty hexadecimal digits.
    pub info_hash: String,
    /// Empty when the link does not say.
    pub name: String,
    /// Bytes, where the link says.
    pub size: Option<u64>,
    /// What `Command::Add` takes.
    pub magnet: String,
}

/// Something that went wrong and belongs to no torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Names it for `Command::Dismiss`.
    pub id: u32,
    /// What went wrong.
    pub trouble: Trouble,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(length: u64, verified: u64, priority: Priority) -> FileView {
        FileView { path: "".into(), length, verified, priority }
    }

    fn torrent(files: Vec<FileView>, state: State, have: u32) -> TorrentView {
        let torrent = TorrentSnapshot {
            info_hash: shared::InfoHash::new([0; 20]),
            name: String::new(),
            state,
            bytes: engine::ByteCounts { total: 60, verified: 39, downloaded: 0, uploaded: 0 },
            rates: engine::Rates::default(),
            pieces: engine::PieceCounts { total: 6, have },
            peers: Vec::new(),
        };
        TorrentView { files, ..torrent.into() }
    }

    #[test]
    fn what_is_skipped_is_not_wanted() {
        let (skipped, kept) = (view(10, 4, Priority::Skip), view(20, 5, Priority::Normal));
        let first = view(30, 30, Priority::High);
        let some = torrent(vec![skipped.clone(), kept.clone(), first.clone()], State::Downloading, 3);
        assert_eq!(some.wanted(), Wanted { files: 2, total: 50, verified: 35 });
        let all = torrent(vec![kept, first], State::Downloading, 3);
        assert_eq!(all.wanted(), Wanted { files: 2, total: 60, verified: 39 }, "all of the torrent");
        let none = torrent(vec![skipped], State::Seeding, 0);
        assert_eq!(none.wanted(), Wanted { files: 0, total: 0, verified: 0 });
        assert!(none.wants_nothing() && none.is_complete_in_part() && !some.wants_nothing());
        assert!(!torrent(Vec::new(), State::Metadata, 0).wants_nothing());
        assert!(!torrent(Vec::new(), State::Seeding, 6).is_complete_in_part());
    }

    #[test]
    fn the_ratio_is_by_what_was_received_or_else_by_what_is_here() {
        let ratio = |downloaded, uploaded, verified| {
            let mut view = torrent(Vec::new(), State::Seeding, 6);
            view.all_time = AllTime { downloaded, uploaded };
            view.torrent.bytes.verified = verified;
            view.share_ratio()
        };
        assert_eq!(ratio(1000, 500, 1000), Some(0.5));
        assert_eq!(ratio(2000, 500, 1000), Some(0.25), "what was thrown away was received, too");
        assert_eq!(ratio(0, 3000, 1000), Some(3.0), "seeded from disk");
        assert_eq!(ratio(9, 3000, 1000), Some(3.0), "and a piece of it was fetched");
        assert_eq!(ratio(10, 3000, 1000), Some(300.0));
        assert_eq!(ratio(0, 0, 1000), None);
        assert_eq!(ratio(0, 7, 0), None, "of nothing");
        assert_eq!(ratio(u64::MAX, u64::MAX, 1), Some(1.0));
        let mut hashing = torrent(Vec::new(), State::Hashing, 6);
        hashing.all_time.uploaded = 1;
        assert_eq!(hashing.share_ratio(), None);
    }

    #[test]
    fn what_is_wanted_can_be_saved_once_it_is_here() {
        let (skipped, here) = (view(30, 4, Priority::Skip), view(30, 30, Priority::Normal));
        let missing = view(20, 5, Priority::High);
        let can_save = |files: &[FileView], state, have| torrent(files.to_vec(), state, have).can_save();
        assert!(can_save(&[skipped.clone(), here.clone()], State::Seeding, 3));
        assert!(can_save(&[skipped.clone(), here.clone()], State::Paused, 3));
        assert!(!can_save(&[skipped.clone(), here.clone(), missing.clone()], State::Downloading, 3));
        assert!(!can_save(&[here.clone(), missing], State::Downloading, 3));
        assert!(!can_save(&[skipped.clone(), skipped.clone()], State::Seeding, 3), "nothing is wanted");
        assert!(can_save(&[skipped], State::Seeding, 6), "all is here all the same");
        assert!(!can_save(&[here], State::Hashing, 6) && !can_save(&[], State::Seeding, 6));
    }
}
