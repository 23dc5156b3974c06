//! The messages behind the handshake (BEP 3, BEP 6, BEP 10): a length, an id, a payload.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a PIECE message before the block: length, id, piece, offset.
pub const PIECE_HEADER_LEN: usize = 13;

pub(super) mod id {
    pub(in crate::wire) const CHOKE: u8 = 0;
    pub(in crate::wire) const UNCHOKE: u8 = 1;
    pub(in crate::wire) const INTERESTED: u8 = 2;
    pub(in crate::wire) const NOT_INTERESTED: u8 = 3;
    pub(in crate::wire) const HAVE: u8 = 4;
    pub(in crate::wire) const BITFIELD: u8 = 5;
    pub(in crate::wire) const REQUEST: u8 = 6;
    pub(in crate::wire) const PIECE: u8 = 7;
    pub(in crate::wire) const CANCEL: u8 = 8;
    pub(in crate::wire) const PORT: u8 = 9;
    pub(in crate::wire) const SUGGEST: u8 = 0x0d;
    pub(in crate::wire) const HAVE_ALL: u8 = 0x0e;
    pub(in crate::wire) const HAVE_NONE: u8 = 0x0f;
    pub(in crate::wire) const REJECT: u8 = 0x10;
    pub(in crate::wire) const ALLOWED_FAST: u8 = 0x11;
    pub(in crate::wire) const EXTENDED: u8 = 20;
}

/// A block as it is named on the wire; whether it exists is for the torrent's geometry to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRequest {
    /// Number of the piece.
    pub piece: u32,
    /// Offset in the piece, in bytes.
    pub begin: u32,
    /// Length, in bytes.
    pub len: u32,
}

impl From<crate::BlockSpan> for BlockRequest {
    fn from(span: crate::BlockSpan) -> Self {
        Self { piece: span.piece().as_u32(), begin: span.begin(), len: span.len() }
    }
}

/// One message on the peer wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Nothing, to show that the sender is there.
    KeepAlive,
    /// Your requests will not be served.
    Choke,
    /// Your requests will be served.
    Unchoke,
    /// You have something I want.
    Interested,
    /// You have nothing I want.
    NotInterested,
    /// I have this piece now.
    Have(u32),
    /// The pieces I have, as bits (see [`Bitfield`](super::Bitfield)).
    Bitfield(Bytes),
    /// Send me this block.
    Request(BlockRequest),
    /// A block.
    Piece {
        /// Number of the piece.
        piece: u32,
        /// Offset in the piece, in bytes.
        begin: u32,
        /// The block; shares the memory in which it came, where it came in one.
        data: Bytes,
    },
    /// Do not send me this block any more.
    Cancel(BlockRequest),
    /// The port of the sender's DHT node (BEP 5); means nothing here.
    Port(u16),
    /// Ask me for this piece, it is cheap for me (BEP 6).
    SuggestPiece(u32),
    /// I have every piece (BEP 6).
    HaveAll,
    /// I have no piece (BEP 6).
    HaveNone,
    /// You will not get this block (BEP 6).
    RejectRequest(BlockRequest),
    /// You may ask for this piece even while choked (BEP 6).
    AllowedFast(u32),
    /// A message of the extension protocol (BEP 10).
    Extended {
        /// 0 for the extended handshake, else a number that the receiver chose in its own.
        id: u8,
        /// See [`extension`](super::extension).
        payload: Bytes,
    },
}

impl Message {
    /// Appends the message's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => bare(out, id::CHOKE),
            Self::Unchoke => bare(out, id::UNCHOKE),
            Self::Interested => bare(out, id::INTERESTED),
            Self::NotInterested => bare(out, id::NOT_INTERESTED),
            Self::Have(piece) => number(out, id::HAVE, *piece),
            Self::Bitfield(bits) => {
                head(out, id::BITFIELD, bits.len());
                out.put_slice(bits);
            }
            Self::Request(block) => request(out, id::REQUEST, *block),
            Self::Piece { piece, begin, data } => {
                head(out, id::PIECE, 8 + data.len());
                out.put_u32(*piece);
                out.put_u32(*begin);
                out.put_slice(data);
            }
            Self::Cancel(block) => request(out, id::CANCEL, *block),
            Self::Port(port) => {
                head(out, id::PORT, 2);
                out.put_u16(*port);
            }
            Self::SuggestPiece(piece) => number(out, id::SUGGEST, *piece),
            Self::HaveAll => bare(out, id::HAVE_ALL),
            Self::HaveNone => bare(out, id::HAVE_NONE),
            Self::RejectRequest(block) => request(out, id::REJECT, *block),
            Self::AllowedFast(piece) => number(out, id::ALLOWED_FAST, *piece),
            Self::Extended { id, payload } => {
                head(out, id::EXTENDED, 1 + payload.len());
                out.put_u8(*id);
                out.put_slice(payload);
            }
        }
    }
}

/// What comes before the block in a PIECE message, for writers that put the block behind it themselves.
pub fn piece_header(span: crate::BlockSpan) -> [u8; PIECE_HEADER_LEN] {
    let mut header = [0; PIECE_HEADER_LEN];
    // 1 for the id, 8 for piece and offset; a block is far shorter than what would overflow.
    header[..4].copy_from_slice(&(9 + span.len()).to_be_bytes());
    header[4] = id::PIECE;
    header[5..9].copy_from_slice(&span.piece().as_u32().to_be_bytes());
    header[9..].copy_from_slice(&span.begin().to_be_bytes());
    header
}

/// `len` is that of the payload, without the id. Payloads are at most a block with its header, so the sum fits.
fn head(out: &mut BytesMut, id: u8, len: usize) {
    out.reserve(5 + len);
    out.put_u32(1 + len as u32);
    out.put_u8(id);
}

fn bare(out: &mut BytesMut, id: u8) {
    head(out, id, 0);
}

fn number(out: &mut BytesMut, id: u8, number: u32) {
    head(out, id, 4);
    out.put_u32(number);
}

fn request(out: &mut BytesMut, id: u8, block: BlockRequest) {
    head(out, id, 12);
    out.put_u32(block.piece);
    out.put_u32(block.begin);
    out.put_u32(block.len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_alone_is_that_of_the_whole_message() {
        let span = crate::Geometry::new(1 << 20, 1 << 18).unwrap().span(2, 16_384, 1000).unwrap();
        let mut whole = BytesMut::new();
        Message::Piece { piece: 2, begin: 16_384, data: vec![0; 1000].into() }.encode(&mut whole);
        assert_eq!(piece_header(span)[..], whole[..PIECE_HEADER_LEN]);
    }
}
