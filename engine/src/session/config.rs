//! How a session begins.

use bytes::Bytes;
use shared::{InfoHash, PeerId};

use crate::api::Ways;
use crate::limits::Limits;

/// Peers linked at a time, unless [`SessionConfig::max_peers`] says otherwise: enough for any swarm to be well connected,
/// and each costs the browser a channel.
const MAX_PEERS: usize = 50;
/// Peers served at a time, unless [`SessionConfig::upload_slots`] says otherwise.
const UPLOAD_SLOTS: usize = 12;

/// What is known of a torrent when its session begins.
#[derive(Debug, Clone)]
pub enum Content {
    /// Only the hash; the rest comes from peers, and then [`Action::OpenStore`](crate::Action::OpenStore) asks for a store.
    Unknown,
    /// The info dictionary, but there is no store yet: [`Action::OpenStore`](crate::Action::OpenStore) asks for one at once.
    Unopened {
        /// The bencoded info dictionary.
        info: Bytes,
    },
    /// The info dictionary, and a store that is open.
    Known {
        /// The bencoded info dictionary.
        info: Bytes,
        /// Which pieces the store has, in order; `None` when it has all of them (seeding).
        have: Option<Vec<bool>>,
    },
}

/// How a session begins.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who we are in its swarm.
    pub peer_id: PeerId,
    /// What to call the torrent before its metadata is known; may be empty.
    pub name_hint: String,
    /// Program and version, for other peers to show.
    pub client: String,
    /// What is known.
    pub content: Content,
    /// Most peers linked at a time.
    pub max_peers: usize,
    /// Most peers served at a time.
    pub upload_slots: usize,
    /// Whether peers are given blocks at all; [`Session::set_upload`](super::Session::set_upload) changes it.
    pub upload: bool,
    /// Whether newcomers are allowed some pieces before they are served, and pieces are suggested (BEP 6).
    pub favours: bool,
    /// Which transports may be used.
    pub ways: Ways,
    /// It is the first of its swarm that has everything (BEP 16): it ends by itself when another has, too. Ignored
    /// unless the content is complete.
    pub first_seeder: bool,
    /// How fast it may go, alone and with others.
    pub limits: Limits,
}

impl SessionConfig {
    /// Only the hash is known; everything else is as usual.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            info_hash,
            peer_id,
            name_hint: String::new(),
            client: format!("Enxame {}", env!("CARGO_PKG_VERSION")),
            content: Content::Unknown,
            max_peers: MAX_PEERS,
            upload_slots: UPLOAD_SLOTS,
            upload: true,
            favours: true,
            ways: Ways::default(),
            first_seeder: false,
            limits: Limits::default(),
        }
    }
}
