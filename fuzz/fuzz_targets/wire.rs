//! The peer wire from strangers: the decoder gives the same however the stream is cut, and what was read survives being
//! written.
//!
//! Input: eight bytes that say where to cut, in turn (a zero pushes nothing and then one byte), one byte whose lowest bit
//! says whether a handshake comes first, and the stream.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use shared::limits::{MAX_INTRODUCED_SDP_BYTES, MAX_MEMBERS};
use shared::wire::extension::{
    ExtendedHandshake, Introduction, MetadataMessage, decode_dont_have, encode_dont_have,
};
use shared::wire::{Bitfield, Decoder, Handshake, Message, WireError};

fuzz_target!(|data: &[u8]| {
    let Some((&[ref cuts @ .., options], stream)) = data.split_first_chunk::<9>() else { return };
    let with_handshake = options & 1 == 1;
    let mut whole = Reader::new(with_handshake);
    whole.push(Bytes::copy_from_slice(stream));
    let mut cut = Reader::new(with_handshake);
    let mut rest = stream;
    for &len in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        if len == 0 {
            cut.push(Bytes::new());
        }
        let (now, later) = rest.split_at(usize::from(len).clamp(1, rest.len()));
        cut.push(Bytes::copy_from_slice(now));
        rest = later;
    }
    assert_eq!(whole.handshake, cut.handshake);
    assert_eq!(whole.messages, cut.messages);
    // Which error it is can depend on how much was there to see when it was found.
    assert_eq!(whole.error.is_some(), cut.error.is_some());
    if whole.error.is_none() {
        assert_eq!(whole.decoder.buffered(), cut.decoder.buffered());
    }
    if let Some(handshake) = &whole.handshake {
        assert_eq!(Handshake::decode(&handshake.encode()).as_ref(), Ok(handshake));
    }
    let mut written = BytesMut::new();
    for message in &whole.messages {
        message.encode(&mut written);
        payload(message);
    }
    let mut again = Reader::new(false);
    again.push(written.freeze());
    assert_eq!(again.messages, whole.messages);
    assert_eq!((again.error, again.decoder.buffered()), (None, 0));
});

/// One side of a link, as the engine reads it: everything that is there after each push, until an error.
struct Reader {
    decoder: Decoder,
    wants_handshake: bool,
    handshake: Option<Handshake>,
    messages: Vec<Message>,
    error: Option<WireError>,
}

impl Reader {
    fn new(wants_handshake: bool) -> Self {
        Self { decoder: Decoder::new(), wants_handshake, handshake: None, messages: Vec::new(), error: None }
    }

    fn push(&mut self, bytes: Bytes) {
        if self.error.is_none() {
            self.decoder.push(bytes);
            self.error = self.drain().err();
        }
    }

    fn drain(&mut self) -> Result<(), WireError> {
        if self.wants_handshake {
            self.handshake = self.decoder.handshake()?;
            self.wants_handshake = self.handshake.is_none();
        }
        if !self.wants_handshake {
            while let Some(message) = self.decoder.next()? {
                self.messages.push(message);
            }
        }
        Ok(())
    }
}

/// What is inside a message.
fn payload(message: &Message) {
    match message {
        Message::Bitfield(bits) => {
            for pieces in [0, 1, 8, bits.len() as u32 * 8, (bits.len() as u32 * 8).saturating_sub(3)] {
                if let Ok(bitfield) = Bitfield::from_wire(bits, pieces) {
                    assert_eq!(bitfield.to_wire(), bits);
                    assert!(bitfield.count() <= pieces);
                }
            }
        }
        Message::Extended { payload, .. } => {
            if let Ok(handshake) = ExtendedHandshake::decode(payload) {
                assert_eq!(ExtendedHandshake::decode(&handshake.encode()), Ok(handshake));
            }
            if let Ok(Some(metadata)) = MetadataMessage::decode(payload) {
                assert_eq!(MetadataMessage::decode(&metadata.encode()), Ok(Some(metadata)));
            }
            if let Ok(Some(introduction)) = Introduction::decode(payload) {
                match &introduction {
                    Introduction::Members(peers) => assert!(peers.len() <= MAX_MEMBERS),
                    Introduction::Signal { description, .. } => {
                        assert!(description.sdp.len() <= MAX_INTRODUCED_SDP_BYTES);
                    }
                    Introduction::Lost { .. } => {}
                }
                assert_eq!(Introduction::decode(&introduction.encode()), Ok(Some(introduction)));
            }
            if let Ok(piece) = decode_dont_have(payload) {
                assert_eq!(encode_dont_have(piece), payload);
            }
        }
        _ => {}
    }
}
