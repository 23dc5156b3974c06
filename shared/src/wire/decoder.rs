//! Messages out of a stream of bytes that may be cut anywhere.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::handshake::{HANDSHAKE_LEN, Handshake, HandshakeError, check_prefix};
use super::message::{BlockRequest, Message, id};
use crate::limits::{MAX_BITFIELD_BYTES, MAX_EXTENDED_BYTES, MAX_WIRE_MESSAGE};

/// Chunks shorter than this are joined with their predecessor when that is short too, so that a peer that sends single
/// bytes does not cost a list entry for each.
const JOIN_BELOW: usize = 1024;

/// Why a stream cannot be read on. There is no way to find the next message's start, so the link must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No handshake where one belongs.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A message announces more bytes than its kind may have.
    #[error("message {id} of {len} bytes is too long")]
    TooLong {
        /// The message's id.
        id: u8,
        /// Bytes behind its length.
        len: usize,
    },
    /// A message of a fixed length has another.
    #[error("message {id} cannot have {len} bytes")]
    Length {
        /// The message's id.
        id: u8,
        /// Bytes behind its length.
        len: usize,
    },
}

/// Collects what arrives and gives whole messages back.
///
/// Never holds more than what was pushed, and the caller is expected to drain it after each push: then at most one
/// incomplete message remains, which is no longer than [`MAX_WIRE_MESSAGE`].
#[derive(Debug, Default)]
pub struct Decoder {
    chunks: VecDeque<Bytes>,
    buffered: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes as they came.
    pub fn push(&mut self, bytes: Bytes) {
        self.buffered += bytes.len();
        if bytes.is_empty() {
            return;
        }
        match self.chunks.back_mut() {
            Some(last) if bytes.len() < JOIN_BELOW && last.len() < JOIN_BELOW => {
                let mut joined = BytesMut::with_capacity(last.len() + bytes.len());
                joined.extend_from_slice(last);
                joined.extend_from_slice(&bytes);
                *last = joined.freeze();
            }
            _ => self.chunks.push_back(bytes),
        }
    }

    /// Bytes that were pushed and not yet given back.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// The handshake, once all of it is there; to be called until it has come, and then never again.
    ///
    /// # Errors
    /// [`WireError::Handshake`], as soon as the first bytes show that there will be none.
    pub fn handshake(&mut self) -> Result<Option<Handshake>, WireError> {
        let mut bytes = [0; HANDSHAKE_LEN];
        let there = self.peek(&mut bytes);
        if there < HANDSHAKE_LEN {
            check_prefix(&bytes[..there])?;
            return Ok(None);
        }
        let handshake = Handshake::decode(&bytes)?;
        self.skip(HANDSHAKE_LEN);
        Ok(Some(handshake))
    }

    /// The next whole message. Messages of unknown kinds are skipped (BEP 3 leaves room for them).
    ///
    /// # Errors
    /// [`WireError::TooLong`] before the message's bytes are waited for, [`WireError::Length`].
    #[expect(clippy::should_implement_trait, reason = "an iterator's None is the end; here more may come")]
    pub fn next(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            let mut head = [0; 5];
            let there = self.peek(&mut head);
            if there < 4 {
                return Ok(None);
            }
            let [a, b, c, d, id] = head;
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            if len == 0 {
                self.skip(4);
                return Ok(Some(Message::KeepAlive));
            }
            if len > MAX_WIRE_MESSAGE {
                return Err(WireError::TooLong { id: if there == 5 { id } else { 0 }, len });
            }
            if there < 5 {
                return Ok(None);
            }
            check_len(id, len)?;
            if self.buffered < 4 + len {
                return Ok(None);
            }
            self.skip(5);
            if let Some(message) = self.read(id, len - 1) {
                return Ok(Some(message));
            }
        }
    }

    /// Takes the payload of a message whose length has been checked; `None` if its kind is not known.
    fn read(&mut self, id: u8, len: usize) -> Option<Message> {
        Some(match id {
            id::CHOKE => Message::Choke,
            id::UNCHOKE => Message::Unchoke,
            id::INTERESTED => Message::Interested,
            id::NOT_INTERESTED => Message::NotInterested,
            id::HAVE => Message::Have(self.take_u32()),
            id::BITFIELD => Message::Bitfield(self.take(len)),
            id::REQUEST => Message::Request(self.take_request()),
            id::PIECE => {
                Message::Piece { piece: self.take_u32(), begin: self.take_u32(), data: self.take(len - 8) }
            }
            id::CANCEL => Message::Cancel(self.take_request()),
            id::PORT => Message::Port(u16::from_be_bytes(self.read_bytes())),
            id::SUGGEST => Message::SuggestPiece(self.take_u32()),
            id::HAVE_ALL => Message::HaveAll,
            id::HAVE_NONE => Message::HaveNone,
            id::REJECT => Message::RejectRequest(self.take_request()),
            id::ALLOWED_FAST => Message::AllowedFast(self.take_u32()),
            id::EXTENDED => {
                let [id] = self.read_bytes();
                Message::Extended { id, payload: self.take(len - 1) }
            }
            _ => {
                self.skip(len);
                return None;
            }
        })
    }

    fn take_u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read_bytes())
    }

    fn take_request(&mut self) -> BlockRequest {
        BlockRequest { piece: self.take_u32(), begin: self.take_u32(), len: self.take_u32() }
    }

    /// Takes the first bytes, which the caller knows to be there, as numbers are made of them.
    fn read_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.peek(&mut bytes);
        self.skip(N);
        bytes
    }

    /// Copies the first bytes without taking them; how many there were.
    fn peek(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for chunk in &self.chunks {
            if filled == out.len() {
                break;
            }
            let part = chunk.len().min(out.len() - filled);
            out[filled..filled + part].copy_from_slice(&chunk[..part]);
            filled += part;
        }
        filled
    }

    /// Takes `len` bytes, which the caller knows to be there: without a copy when they lie in one chunk.
    fn take(&mut self, len: usize) -> Bytes {
        debug_assert!(len <= self.buffered);
        if let Some(first) = self.chunks.front_mut()
            && first.len() >= len
        {
            let taken = first.split_to(len);
            if first.is_empty() {
                self.chunks.pop_front();
            }
            self.buffered -= len;
            return taken;
        }
        let mut joined = BytesMut::with_capacity(len);
        while joined.len() < len {
            let Some(first) = self.chunks.front_mut() else { break };
            let part = first.len().min(len - joined.len());
            joined.extend_from_slice(&first.split_to(part));
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
        self.buffered -= joined.len();
        joined.freeze()
    }

    /// Like [`Self::take`], for bytes nobody wants.
    fn skip(&mut self, mut len: usize) {
        while len > 0 {
            let Some(first) = self.chunks.front_mut() else { break };
            let part = first.len().min(len);
            first.advance(part);
            if first.is_empty() {
                self.chunks.pop_front();
            }
            self.buffered -= part;
            len -= part;
        }
    }
}

/// Whether a message of this kind may have this many bytes behind its length, the id included.
fn check_len(id: u8, len: usize) -> Result<(), WireError> {
    let payload = len - 1;
    let fits = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => {
            payload == 0
        }
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => payload == 4,
        id::REQUEST | id::CANCEL | id::REJECT => payload == 12,
        id::PORT => payload == 2,
        // The block's own limit is that of the whole message, which has been checked.
        id::PIECE => payload >= 8,
        id::BITFIELD if payload > MAX_BITFIELD_BYTES => return Err(WireError::TooLong { id, len }),
        id::EXTENDED if payload > 1 + MAX_EXTENDED_BYTES => return Err(WireError::TooLong { id, len }),
        id::EXTENDED => payload >= 1,
        _ => true,
    };
    if fits { Ok(()) } else { Err(WireError::Length { id, len }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{InfoHash, PeerId};
    use proptest::prelude::*;

    fn encode(messages: &[Message]) -> Bytes {
        let mut out = BytesMut::new();
        for message in messages {
            message.encode(&mut out);
        }
        out.freeze()
    }

    fn drain(decoder: &mut Decoder) -> Result<Vec<Message>, WireError> {
        let mut messages = Vec::new();
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn decode(bytes: Bytes) -> Result<Vec<Message>, WireError> {
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        drain(&mut decoder)
    }

    #[test]
    fn golden_bytes_of_every_message() {
        let block = BlockRequest { piece: 1, begin: 0x4000, len: 0x4000 };
        let vectors: [(Message, &[u8]); 17] = [
            (Message::KeepAlive, &[0, 0, 0, 0]),
            (Message::Choke, &[0, 0, 0, 1, 0]),
            (Message::Unchoke, &[0, 0, 0, 1, 1]),
            (Message::Interested, &[0, 0, 0, 1, 2]),
            (Message::NotInterested, &[0, 0, 0, 1, 3]),
            (Message::Have(0x0102), &[0, 0, 0, 5, 4, 0, 0, 1, 2]),
            (Message::Bitfield(Bytes::from_static(&[0xf0])), &[0, 0, 0, 2, 5, 0xf0]),
            // length, id, piece, offset, bytes wanted
            (Message::Request(block), &[0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0]),
            // length, id, piece, offset, the block
            (
                Message::Piece { piece: 1, begin: 0x4000, data: Bytes::from_static(b"hi") },
                &[0, 0, 0, 11, 7, 0, 0, 0, 1, 0, 0, 0x40, 0, b'h', b'i'],
            ),
            (Message::Cancel(block), &[0, 0, 0, 13, 8, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0]),
            (Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]),
            (Message::SuggestPiece(7), &[0, 0, 0, 5, 0x0d, 0, 0, 0, 7]),
            (Message::HaveAll, &[0, 0, 0, 1, 0x0e]),
            (Message::HaveNone, &[0, 0, 0, 1, 0x0f]),
            (Message::RejectRequest(block), &[0, 0, 0, 13, 0x10, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0]),
            (Message::AllowedFast(7), &[0, 0, 0, 5, 0x11, 0, 0, 0, 7]),
            // length, id, extended id, payload
            (
                Message::Extended { id: 3, payload: Bytes::from_static(b"de") },
                &[0, 0, 0, 4, 20, 3, b'd', b'e'],
            ),
        ];
        for (message, bytes) in vectors {
            assert_eq!(encode(std::slice::from_ref(&message))[..], *bytes, "{message:?}");
            assert_eq!(decode(Bytes::from_static(bytes)), Ok(vec![message]));
        }
    }

    #[test]
    fn a_block_in_one_chunk_is_not_copied() {
        let data = Bytes::from(vec![7; 128 * 1024]);
        let stream = encode(&[Message::Piece { piece: 0, begin: 0, data }]);
        let place = stream[13..].as_ptr();
        let messages = decode(stream.clone()).unwrap();
        let [Message::Piece { data, .. }] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(data.as_ptr(), place);

        // WebTorrent sends header and block as two messages.
        let mut decoder = Decoder::new();
        decoder.push(stream.slice(..13));
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(stream.slice(13..));
        let Ok(Some(Message::Piece { data, .. })) = decoder.next() else { panic!() };
        assert_eq!(data.as_ptr(), place);
    }

    #[test]
    fn unknown_messages_are_skipped() {
        let mut bytes = vec![0, 0, 0, 3, 99, 1, 2];
        bytes.extend_from_slice(&[0, 0, 0, 1, 1]);
        assert_eq!(decode(Bytes::from(bytes)), Ok(vec![Message::Unchoke]));
    }

    #[test]
    fn lengths_above_the_limit_are_refused_before_the_bytes_come() {
        let start = |len: u32, id: u8| {
            let mut bytes = len.to_be_bytes().to_vec();
            bytes.push(id);
            decode(Bytes::from(bytes))
        };
        assert!(matches!(start(u32::MAX, 7), Err(WireError::TooLong { id: 7, .. })));
        assert!(matches!(start(MAX_WIRE_MESSAGE as u32 + 1, 99), Err(WireError::TooLong { .. })));
        assert!(matches!(start(MAX_BITFIELD_BYTES as u32 + 2, 5), Err(WireError::TooLong { .. })));
        assert!(matches!(start(MAX_EXTENDED_BYTES as u32 + 3, 20), Err(WireError::TooLong { .. })));
        assert_eq!(start(MAX_WIRE_MESSAGE as u32, 7), Ok(vec![]));
        assert_eq!(
            decode(Bytes::from_static(&[0xff, 0, 0, 0])),
            Err(WireError::TooLong { id: 0, len: 0xff00_0000 })
        );
    }

    #[test]
    fn fixed_lengths_are_kept() {
        for bytes in [
            &[0, 0, 0, 2, 0, 0][..],
            &[0, 0, 0, 4, 4, 0, 0, 0],
            &[0, 0, 0, 1, 6],
            &[0, 0, 0, 8, 7],
            &[0, 0, 0, 1, 20],
        ] {
            assert!(
                matches!(decode(Bytes::copy_from_slice(bytes)), Err(WireError::Length { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_handshake_is_read_from_single_bytes_and_refused_at_the_first_wrong_one() {
        let handshake = Handshake {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([2; 20]),
            extended: true,
            fast: false,
        };
        let mut decoder = Decoder::new();
        let bytes = handshake.encode();
        for byte in &bytes[..67] {
            decoder.push(Bytes::copy_from_slice(&[*byte]));
            assert_eq!(decoder.handshake(), Ok(None));
        }
        decoder.push(Bytes::copy_from_slice(&[bytes[67], 0, 0, 0, 1, 1]));
        assert_eq!(decoder.handshake(), Ok(Some(handshake)));
        assert_eq!(decoder.next(), Ok(Some(Message::Unchoke)));
        assert_eq!(decoder.buffered(), 0);

        let mut decoder = Decoder::new();
        decoder.push(Bytes::from_static(b"\x13GET"));
        assert_eq!(decoder.handshake(), Err(WireError::Handshake(HandshakeError::Protocol)));
    }

    fn any_request() -> impl Strategy<Value = BlockRequest> {
        any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| BlockRequest { piece, begin, len })
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Bytes::from)
    }

    fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            Just(Message::KeepAlive),
            Just(Message::Choke),
            Just(Message::Unchoke),
            Just(Message::Interested),
            Just(Message::NotInterested),
            any::<u32>().prop_map(Message::Have),
            any_bytes().prop_map(Message::Bitfield),
            any_request().prop_map(Message::Request),
            (any::<u32>(), any::<u32>(), any_bytes()).prop_map(|(piece, begin, data)| Message::Piece {
                piece,
                begin,
                data
            }),
            any_request().prop_map(Message::Cancel),
            any::<u16>().prop_map(Message::Port),
            any::<u32>().prop_map(Message::SuggestPiece),
            Just(Message::HaveAll),
            Just(Message::HaveNone),
            any_request().prop_map(Message::RejectRequest),
            any::<u32>().prop_map(Message::AllowedFast),
            (any::<u8>(), any_bytes()).prop_map(|(id, payload)| Message::Extended { id, payload }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_back_wherever_the_stream_is_cut(
            messages in proptest::collection::vec(any_message(), 0..12),
            cuts in proptest::collection::vec(1usize..2000, 1..40),
        ) {
            let stream = encode(&messages);
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            let mut rest = stream;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                decoder.push(rest.split_to((*cut).min(rest.len())));
                got.extend(drain(&mut decoder).unwrap());
            }
            prop_assert_eq!(decoder.buffered(), 0);
            prop_assert_eq!(got, messages);
        }

        #[test]
        fn perturbed_bytes_never_panic_and_are_never_hoarded(
            messages in proptest::collection::vec(any_message(), 1..8),
            changes: Vec<(usize, u8)>,
            cut in 1usize..500,
        ) {
            let mut stream = encode(&messages).to_vec();
            for (at, value) in changes {
                let len = stream.len();
                stream[at % len] = value;
            }
            let mut decoder = Decoder::new();
            for chunk in stream.chunks(cut) {
                decoder.push(Bytes::copy_from_slice(chunk));
                if drain(&mut decoder).is_err() {
                    break;
                }
                prop_assert!(decoder.buffered() <= 4 + MAX_WIRE_MESSAGE);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut decoder = Decoder::new();
            decoder.push(Bytes::from(bytes.clone()));
            let _ = decoder.handshake();
            let _ = drain(&mut decoder);
            let _ = decode(Bytes::from(bytes));
        }
    }
}
