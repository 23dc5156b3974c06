//! What bytes look like: everything the tracker and the peers must agree on.
//!
//! This crate turns bytes into values and back. It never decides, sends, sleeps or rolls dice.
//!
//! In reading order:
//! - [`ids`]: the twenty-byte names of torrents, peers and offers;
//! - [`limits`]: every bound on what a stranger may send, with its unit and reason;
//! - [`geometry`]: how a torrent's bytes are cut into pieces and blocks;
//! - [`bencode`], [`metainfo`], [`magnet`]: the `.torrent` file and the link to it (BEP 3, BEP 9, BEP 53);
//! - [`wire`]: what two peers say to each other (BEP 3, 6, 9, 10);
//! - [`signal`]: what a peer and the tracker say to each other (JSON over WebSocket);
//! - [`relay`]: the binary frames in which the tracker carries bytes between two peers.
//!
//! Beside them: [`order`] sorts with little code.

pub mod bencode;
pub mod geometry;
pub mod ids;
pub mod limits;
pub mod magnet;
pub mod metainfo;
pub mod order;
pub mod relay;
pub mod signal;
pub mod wire;

pub use geometry::{BlockSpan, Geometry, PieceIndex};
pub use ids::{InfoHash, OfferId, PeerId};
