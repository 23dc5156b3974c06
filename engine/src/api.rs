//! The engine's edge: what goes in, what comes out. Nothing else crosses it.
//!
//! In: the `handle_*` methods of [`Session`](crate::Session). Out: [`Action`]s, drained with
//! `poll_action` until `None`; `deadline` says when to call `handle_timeout` next.
//! Slow work (verify, store, load, dial) is an action that is answered later by an event, so that a
//! simulation can replay it.

use std::time::Duration;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use shared::signal::SessionDescription;
use shared::{BlockSpan, InfoHash, OfferId, PeerId, PieceIndex};

/// A moment: the time since the program started, in nanoseconds; the last is 584 years later. The engine has no clock; whoever
/// drives it says what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The moment this long after the start.
    pub const fn since_start(duration: Duration) -> Self {
        Self(nanos(duration))
    }

    /// How long after the start this is.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// One link to one peer: a relay channel or a data channel. Numbered by the driver; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// One read of the store. Numbered by the engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadId(pub u64);

/// How a link carries its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// From peer to peer (WebRTC).
    Direct,
    /// Through the tracker.
    Relay,
}

/// Which transports may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// Channels through the tracker.
    pub relay: bool,
    /// Links from peer to peer.
    pub direct: Direct,
}

impl Default for Ways {
    fn default() -> Self {
        Self { relay: true, direct: Direct::Absent }
    }
}

/// Whether links from peer to peer may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// They may.
    Open,
    /// This browser has no WebRTC.
    Absent,
    /// The user switched them off.
    Off,
}

/// A peer that was named, and how it can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// It takes relay channels.
    pub relay: bool,
    /// It takes direct links.
    pub direct: bool,
}

/// An offer or an answer on its way between two peers. The engine decides which way it goes and does not look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The offer, or the one that this answers.
    pub offer_id: OfferId,
    /// What the transports have to tell each other.
    pub description: SessionDescription,
}

/// Why a direct link was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectFailure {
    /// The offer was made, and no answer came in time.
    NoAnswer,
    /// Both know each other's addresses, and none of them can be reached (ICE failed).
    NoPath,
    /// There are as many connections in this tab as there may be.
    TooMany,
    /// The browser would not.
    Refused,
}

/// Why a peer's bytes go through the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyRelayed {
    /// A direct link is being tried, or is about to be.
    Trying,
    /// None of its addresses can be reached from here, or none of ours from there.
    NoPath,
    /// It did not answer the offer.
    NoAnswer,
    /// There was a direct link, and it broke; it will be tried again.
    Lost,
    /// This browser has no WebRTC.
    NotHere,
    /// Direct links are switched off here, by the user.
    SwitchedOff,
    /// The other side takes no direct links.
    NotThere,
    /// There are as many direct connections in this tab as there may be.
    TooMany,
    /// The browser would not make a connection.
    Refused,
}

/// Why the engine ends a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// It broke the protocol; the sentence is for the log.
    Protocol(String),
    /// It was silent, or left requests unanswered, for too long.
    TimedOut,
    /// It sent data that fails its hash.
    BadData,
    /// It is this very peer, or one that is linked already in a better way.
    Redundant,
    /// Both have everything.
    BothSeed,
    /// The torrent was paused or removed here.
    Stopped,
}

/// What became of a piece that was handed over in [`Action::VerifyAndStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Its hash is right and it is in the store.
    Stored,
    /// Its hash is wrong; it was thrown away.
    HashMismatch,
    /// It could not be written: the sentence is for the user.
    Failed(String),
}

/// What the engine wants done.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send these bytes. The engine keeps within the link's room (see `handle_room`) but for small messages.
    Send {
        /// Over this link.
        link: LinkId,
        /// One or more whole messages.
        bytes: Bytes,
    },
    /// End this link; no event is owed.
    CloseLink {
        /// This one.
        link: LinkId,
        /// For the log and the other side.
        reason: CloseReason,
    },
    /// Reach this peer through the relay; answered by `handle_link_opened` or `handle_dial_failed`.
    Dial {
        /// Whom.
        peer: PeerId,
    },
    /// Make a connection and an offer for this peer; answered by `handle_signal_made` and later, when the answer
    /// has come, by `handle_link_opened`, or at any time by `handle_direct_failed`.
    DialDirect {
        /// Whom.
        peer: PeerId,
    },
    /// Have a tracker carry this to a peer; `handle_signal_lost` says if none can.
    TellTracker {
        /// Whom.
        to: PeerId,
        /// What.
        signal: Signal,
    },
    /// An offer or an answer has come for the transport here. An offer is to be answered: `handle_signal_made`, or
    /// `handle_direct_failed`. An answer completes the offer of its id, if that was made for this peer.
    TakeSignal {
        /// Who made it.
        from: PeerId,
        /// What.
        signal: Signal,
    },
    /// Compare the SHA-1 of this piece with `expected` and, if it is right, store it; answered by
    /// `handle_stored`.
    VerifyAndStore {
        /// The piece.
        piece: PieceIndex,
        /// All of its bytes.
        data: Bytes,
        /// Its digest from the info dictionary.
        expected: [u8; 20],
    },
    /// Read these bytes of a verified piece from the store; answered by `handle_loaded`.
    Load {
        /// Names the answer.
        load: LoadId,
        /// What to read.
        span: BlockSpan,
    },
    /// Read all of this piece from the store and compare its SHA-1 with `expected`; answered by `handle_checked`. The store may
    /// have none of it.
    Check {
        /// The piece.
        piece: PieceIndex,
        /// Its digest from the info dictionary.
        expected: [u8; 20],
    },
    /// The info dictionary has arrived and its hash is right. Open a store and answer with `handle_store_opened`.
    OpenStore {
        /// The bencoded info dictionary.
        info: Bytes,
    },
    /// Something that users or the tracker should know.
    Notice(Notice),
}

/// What happened, for the log, the user and the announcer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The last wanted piece is stored.
    Completed,
    /// This peer sent bytes that are not the torrent's, and is banned for this session.
    Banned {
        /// Who.
        peer: PeerId,
        /// For which piece.
        piece: PieceIndex,
    },
    /// A piece failed its hash, and more than one peer had sent parts of it: it is fetched again, to find out who lied.
    HashMismatch {
        /// Which piece.
        piece: PieceIndex,
    },
    /// Every piece was compared with its hash once more, and it goes on unless it is paused.
    Checked {
        /// Pieces that were taken to be here and are not; they are missing now.
        wrong: u32,
    },
    /// No more peers are known, or too few; ask the tracker when it allows.
    WantPeers,
    /// The store failed: the download stands still until `resume`. The sentence is for the user.
    StoreFailed(String),
}

/// How much a file or a piece is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Not at all: nobody is asked for it.
    Skip,
    /// As usual.
    #[default]
    Normal,
    /// Before everything of normal priority, however rare that is.
    High,
}

/// What a torrent is doing; the words of the automation contract (`data-state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its bytes are being hashed: before there is a session, or to check them again.
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

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Rates {
    /// Received.
    pub down: f64,
    /// Sent.
    pub up: f64,
}

/// Bytes of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ByteCounts {
    /// In all its files; zero before the metadata is known.
    pub total: u64,
    /// Verified and stored; while it is hashed ([`State::Hashing`]), hashed.
    pub verified: u64,
    /// Received as blocks, also those thrown away.
    pub downloaded: u64,
    /// Sent as blocks.
    pub uploaded: u64,
}

/// Pieces of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PieceCounts {
    /// In all.
    pub total: u32,
    /// Verified and stored.
    pub have: u32,
}

/// How it stands with one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceState {
    /// Not here, and not asked for.
    Missing {
        /// How many linked peers have it: its rarity.
        peers: u32,
    },
    /// Asked for, or with the verifier or the store.
    InFlight,
    /// Verified and stored.
    Have,
}

/// One peer as the user sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerSnapshot {
    /// Its peer id, in hexadecimal.
    pub id: String,
    /// Its program and version, as it says.
    pub client: String,
    /// How it is reached.
    pub transport: Transport,
    /// Why not directly; `None` when it is.
    pub why_relayed: Option<WhyRelayed>,
    /// A neighbour carried the offer and the answer, not a tracker.
    pub introduced: bool,
    /// We do not serve it.
    pub am_choking: bool,
    /// It has something we want.
    pub am_interested: bool,
    /// It does not serve us.
    pub peer_choking: bool,
    /// It wants something we have.
    pub peer_interested: bool,
    /// It was asked for blocks and does not answer (anti-snubbing).
    pub snubbed: bool,
    /// We serve it because it is its turn, whatever it gave (BEP 3's optimistic unchoke).
    pub optimistic: bool,
    /// Share of the pieces it has, 0 to 1.
    pub progress: f64,
    /// Payload of blocks.
    pub rates: Rates,
    /// Bytes received from it as blocks.
    pub downloaded: u64,
    /// Bytes sent to it as blocks.
    pub uploaded: u64,
}

/// One torrent as the user sees it. The first fields are the automation contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TorrentSnapshot {
    /// Forty hexadecimal digits.
    #[serde(serialize_with = "as_hex", deserialize_with = "from_hex")]
    pub info_hash: InfoHash,
    /// From the metadata, else from the magnet; empty when neither says.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its bytes.
    pub bytes: ByteCounts,
    /// Payload of blocks, over all peers.
    pub rates: Rates,
    /// Its pieces.
    pub pieces: PieceCounts,
    /// Linked peers whose handshake is done, in the order in which they came.
    pub peers: Vec<PeerSnapshot>,
}

fn as_hex<S: serde::Serializer>(hash: &InfoHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InfoHash, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
