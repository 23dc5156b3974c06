//! What two peers say to each other: the peer wire protocol, whatever transport carries it.
//!
//! In reading order:
//! - [`Handshake`]: the first 68 bytes in each direction (BEP 3);
//! - [`Message`]: everything behind it (BEP 3, and the fast extension of BEP 6);
//! - [`Decoder`]: messages out of a stream of bytes that may be cut anywhere;
//! - [`Bitfield`]: which pieces somebody has;
//! - [`extension`]: the extended handshake (BEP 10), metadata exchange (BEP 9), `lt_donthave`, and our own: peers introduce
//!   peers.
//!
//! Piece numbers in messages are plain `u32`: only a torrent's [`Geometry`](crate::Geometry) can say whether they exist.

mod bitfield;
mod decoder;
pub mod extension;
mod handshake;
mod message;

pub use bitfield::{Bitfield, BitfieldError};
pub use decoder::{Decoder, WireError};
pub use handshake::{HANDSHAKE_LEN, Handshake, HandshakeError};
pub use message::{BlockRequest, Message, PIECE_HEADER_LEN, piece_header};
