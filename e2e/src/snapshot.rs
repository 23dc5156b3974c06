//! What `window.enxame.snapshot()` says, by the automation contract; written down here once more, and not taken from
//! the page's own types, so that the page cannot change the contract unseen. Fields that the contract may gain are
//! ignored.

use serde::Deserialize;
use serde_json::Value;

/// Everything at one moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Who the tab is in every swarm: its peer id, in hexadecimal.
    #[serde(default)]
    pub peer_id: String,
    /// The page's tracker.
    pub tracker: TrackerStatus,
    /// Direct links of this tab.
    #[serde(default)]
    pub rtc: Rtc,
    /// How fast all torrents together may go.
    #[serde(default)]
    pub limits: Limits,
    /// In the order in which they were added.
    pub torrents: Vec<Torrent>,
    /// What went wrong and belongs to no torrent.
    #[serde(default)]
    pub alerts: Vec<Value>,
}

impl Snapshot {
    /// The torrent with this hash.
    pub fn torrent(&self, info_hash: &str) -> Option<&Torrent> {
        self.torrents.iter().find(|torrent| torrent.info_hash == info_hash)
    }
}

/// The page's tracker.
#[derive(Debug, Clone, Deserialize)]
pub struct TrackerStatus {
    /// `ws://…`.
    pub url: String,
    /// `connecting`, `connected` or `unreachable`.
    pub state: String,
}

/// Direct links of a tab.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Rtc {
    /// Whether the browser has WebRTC.
    pub available: bool,
    /// What the user allows: `auto`, `relay` or `direct`.
    pub mode: String,
    /// Connections that are alive now, those being tried included.
    pub open: usize,
    /// Connections made since the page was opened.
    pub made: u64,
}

/// What a torrent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its files are being hashed.
    Hashing,
    /// Looking for the info dictionary.
    Metadata,
    /// Fetching pieces.
    Downloading,
    /// Has every piece.
    Seeding,
    /// Stopped by the user.
    Paused,
    /// Stopped by a failure.
    Error,
}

/// One torrent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Torrent {
    /// Forty hexadecimal digits.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its bytes.
    pub bytes: Bytes,
    /// Bytes a second.
    pub rates: Rates,
    /// Its pieces.
    pub pieces: Pieces,
    /// Linked peers.
    pub peers: Vec<Peer>,
    /// Its files, once the metadata is known.
    #[serde(default)]
    pub files: Vec<TorrentFile>,
    /// Whether pieces are fetched in order.
    #[serde(default)]
    pub sequential: bool,
    /// How fast it may go.
    #[serde(default)]
    pub limits: Limits,
    /// What came and went since it was added.
    #[serde(default)]
    pub all_time: AllTime,
    /// Pieces that were not right when it was last checked.
    #[serde(default)]
    pub checked: Option<u32>,
    /// Peers that sent wrong data and are not asked again.
    #[serde(default)]
    pub banned: Vec<Banned>,
    /// Its trackers.
    #[serde(default)]
    pub trackers: Vec<TorrentTracker>,
    /// What it waits for, when it does not move.
    #[serde(default)]
    pub waiting: Option<String>,
    /// What is wrong with it.
    #[serde(default)]
    pub trouble: Option<Value>,
}

impl Torrent {
    /// Whether every piece is verified and stored.
    pub fn is_complete(&self) -> bool {
        self.state == State::Seeding && self.pieces.have == self.pieces.total
    }

    /// Whether it is linked with so many peers, each of them directly and no other way.
    pub fn is_direct_with(&self, peers: usize) -> bool {
        self.peers.len() == peers && self.peers.iter().all(Peer::is_direct)
    }

    /// Share of the bytes that are verified, 0 to 1; 0 while the total is not known.
    pub fn progress(&self) -> f64 {
        if self.bytes.total == 0 {
            return if self.is_complete() { 1.0 } else { 0.0 };
        }
        self.bytes.verified as f64 / self.bytes.total as f64
    }
}

/// Bytes a second at most; nothing for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Of what is sent.
    pub up: Option<u64>,
    /// Of what is fetched.
    pub down: Option<u64>,
    /// Nothing is sent at all.
    #[serde(default)]
    pub upload_off: bool,
}

/// Bytes that came and went since a torrent was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct AllTime {
    /// Received.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TorrentFile {
    /// Path inside the torrent.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// Bytes of it that are verified and stored.
    pub verified: u64,
    /// `skip`, `normal` or `high`.
    pub priority: String,
}

/// A peer that sent wrong data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Banned {
    /// Its peer id, in hexadecimal.
    pub id: String,
    /// The piece by which it was found out, from zero.
    pub piece: u32,
}

/// One tracker of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TorrentTracker {
    /// `ws://…`.
    pub url: String,
    /// `connecting`, `connected` or `unreachable`.
    pub state: String,
    /// Whether it is the page's own.
    pub own: bool,
    /// `enxame` or `webtorrent`, once it has replied.
    #[serde(default)]
    pub kind: Option<String>,
}

/// Bytes of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Bytes {
    /// In all its files.
    pub total: u64,
    /// Verified and stored.
    pub verified: u64,
    /// Received since this page was opened.
    pub downloaded: u64,
    /// Sent since this page was opened.
    pub uploaded: u64,
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Rates {
    /// Received.
    pub down: f64,
    /// Sent.
    pub up: f64,
}

/// Pieces of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Pieces {
    /// In all.
    pub total: u32,
    /// Verified and stored.
    pub have: u32,
}

/// One linked peer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its peer id, in hexadecimal.
    pub id: String,
    /// Its program.
    pub client: String,
    /// `direct` or `relay`.
    pub transport: String,
    /// Why it is not `direct`: one of the contract's words.
    #[serde(default)]
    pub why_relayed: Option<String>,
    /// Whether it was reached through a neighbour, not through a tracker.
    #[serde(default)]
    pub introduced: bool,
    /// We do not serve it.
    pub am_choking: bool,
    /// It has something we want.
    pub am_interested: bool,
    /// It does not serve us.
    pub peer_choking: bool,
    /// It wants something we have.
    pub peer_interested: bool,
    /// Bytes a second.
    pub rates: Rates,
    /// Bytes received from it as blocks.
    #[serde(default)]
    pub downloaded: u64,
    /// Bytes sent to it as blocks.
    #[serde(default)]
    pub uploaded: u64,
}

impl Peer {
    /// Whether it is reached directly.
    pub fn is_direct(&self) -> bool {
        self.transport == "direct"
    }
}
