//! The extension protocol (BEP 10): the extended handshake, and the extensions that we speak:
//! - `ut_metadata` (BEP 9): [`MetadataMessage`];
//! - `lt_donthave` (BEP 54): a piece's number, and so two functions;
//! - `enxame_signal`, our own: [`Introduction`].
//!
//! In an extended handshake each side numbers the extensions it knows; whoever sends one uses the receiver's number.
//! Our own numbers are [`OUR_UT_METADATA`], [`OUR_LT_DONTHAVE`] and [`OUR_ENXAME_SIGNAL`].

mod introduction;
mod metadata;

use bytes::Bytes;

pub use introduction::Introduction;
pub use metadata::{METADATA_PIECE_LEN, MetadataMessage};

use crate::bencode::{BencodeError, Value};
use crate::geometry::BLOCK_LEN;
use crate::limits::{MAX_BLOCK_BYTES, MAX_CLIENT_NAME_BYTES, MAX_METADATA_BYTES};

/// The id of the extended handshake itself.
pub const HANDSHAKE_ID: u8 = 0;
/// The number under which we take `ut_metadata` messages.
pub const OUR_UT_METADATA: u8 = 1;
/// The number under which we take `lt_donthave` messages.
pub const OUR_LT_DONTHAVE: u8 = 2;
/// The number under which we take `enxame_signal` messages.
pub const OUR_ENXAME_SIGNAL: u8 = 3;

/// Why a payload is not what its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Bencode, but not a dictionary of the right shape.
    #[error("an extension message lacks {0}")]
    Missing(&'static str),
    /// A number outside its range.
    #[error("an extension message has an impossible {0}")]
    Range(&'static str),
    /// Bytes where none belong.
    #[error("an extension message has the wrong length")]
    Length,
}

/// What a peer says about itself (BEP 10). A field that is not there, or makes no sense, is `None`: other clients
/// write many things here, and none of them is worth a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedHandshake {
    /// The number under which it takes `ut_metadata` messages.
    pub ut_metadata: Option<u8>,
    /// The number under which it takes `lt_donthave` messages.
    pub lt_donthave: Option<u8>,
    /// Our own extension: the number under which it takes `enxame_signal` messages ([`Introduction`]).
    pub enxame_signal: Option<u8>,
    /// Our own (`enxame_rtc`): whether it takes direct links (WebRTC).
    pub rtc: Option<bool>,
    /// Length of the info dictionary, in bytes, if it has it and it is no longer than [`MAX_METADATA_BYTES`].
    pub metadata_size: Option<u32>,
    /// Most requests it will queue.
    pub reqq: Option<u32>,
    /// Whether it has all that it wants and downloads nothing more, complete or not (BEP 21).
    pub upload_only: Option<bool>,
    /// Its program and version.
    pub client: Option<String>,
    /// Our own extension (`enxame_block`): the longest block that it asks for and answers with, in bytes, a multiple of
    /// [`BLOCK_LEN`] up to [`MAX_BLOCK_BYTES`].
    pub block: Option<u32>,
}

impl ExtendedHandshake {
    /// The payload to send.
    pub fn encode(&self) -> Bytes {
        let mut names = Vec::new();
        for (name, number) in [
            ("enxame_signal", self.enxame_signal),
            ("lt_donthave", self.lt_donthave),
            ("ut_metadata", self.ut_metadata),
        ] {
            if let Some(number) = number {
                names.push((name, Value::Int(number.into())));
            }
        }
        let mut entries = vec![("m", Value::dict(names))];
        for (name, number) in [
            ("enxame_block", self.block),
            ("enxame_rtc", self.rtc.map(u32::from)),
            ("metadata_size", self.metadata_size),
            ("reqq", self.reqq),
            ("upload_only", self.upload_only.map(u32::from)),
        ] {
            if let Some(number) = number {
                entries.push((name, Value::from(number)));
            }
        }
        if let Some(client) = &self.client {
            entries.push(("v", Value::from(client.as_str())));
        }
        Value::dict(entries).encode().into()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`ExtensionError`] when it is no bencoded dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        // Some clients leave padding behind the dictionary.
        let (value, _) = Value::parse_prefix(payload)?;
        let dict = value.as_dict().ok_or(ExtensionError::Missing("its dictionary"))?;
        let names = dict.dict("m");
        // Zero means that the extension is switched off.
        let number = |name| names?.int(name).and_then(|n| u8::try_from(n).ok()).filter(|n| *n != 0);
        let positive = |name| dict.int(name).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        Ok(Self {
            ut_metadata: number("ut_metadata"),
            lt_donthave: number("lt_donthave"),
            enxame_signal: number("enxame_signal"),
            rtc: dict.int("enxame_rtc").map(|n| n != 0),
            metadata_size: positive("metadata_size").filter(|size| *size as usize <= MAX_METADATA_BYTES),
            reqq: positive("reqq"),
            upload_only: dict.int("upload_only").map(|n| n != 0),
            client: dict.bytes("v").map(client_name).filter(|name| !name.is_empty()),
            block: positive("enxame_block")
                .map(|n| n.min(MAX_BLOCK_BYTES) / BLOCK_LEN * BLOCK_LEN)
                .filter(|n| *n > 0),
        })
    }
}

/// A name fit to be shown: no control characters, and not long.
fn client_name(bytes: &[u8]) -> String {
    let mut name = String::new();
    for c in String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_CLIENT_NAME_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

/// The payload of a `lt_donthave` message: a piece that the sender has no more (BEP 54).
pub fn encode_dont_have(piece: u32) -> Bytes {
    Bytes::copy_from_slice(&piece.to_be_bytes())
}

/// Reads a `lt_donthave` payload.
///
/// # Errors
/// [`ExtensionError::Length`] unless it has four bytes.
pub fn decode_dont_have(payload: &[u8]) -> Result<u32, ExtensionError> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| ExtensionError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;
    use proptest::prelude::*;

    fn ours() -> ExtendedHandshake {
        ExtendedHandshake {
            ut_metadata: Some(OUR_UT_METADATA),
            lt_donthave: Some(OUR_LT_DONTHAVE),
            enxame_signal: Some(OUR_ENXAME_SIGNAL),
            rtc: Some(true),
            metadata_size: Some(31_235),
            reqq: Some(1024),
            upload_only: Some(true),
            client: Some("Enxame 0.1.0".into()),
            block: Some(131_072),
        }
    }

    #[test]
    fn golden_bytes_of_an_extended_handshake() {
        let text = "d12:enxame_blocki131072e10:enxame_rtci1e\
                    1:md13:enxame_signali3e11:lt_donthavei2e11:ut_metadatai1ee\
                    13:metadata_sizei31235e4:reqqi1024e11:upload_onlyi1e1:v12:Enxame 0.1.0e";
        assert_eq!(ours().encode(), text.as_bytes());
        assert_eq!(ExtendedHandshake::decode(text.as_bytes()), Ok(ours()));
    }

    #[test]
    fn what_makes_no_sense_in_an_extended_handshake_is_left_out() {
        let text = "d12:enxame_blocki7e10:enxame_rtc1:11:md13:enxame_signali-1e11:ut_metadatai0e11:lt_donthavei900ee13:metadata_sizei-5e4:reqq1:x11:upload_only1:11:vi5ee";
        assert_eq!(ExtendedHandshake::decode(text.as_bytes()), Ok(ExtendedHandshake::default()));
        let large = "d12:enxame_blocki999999e13:metadata_sizei10000001e1:v3:a\u{7}be";
        let read = ExtendedHandshake::decode(large.as_bytes()).unwrap();
        assert_eq!((read.block, read.metadata_size, read.client), (Some(131_072), None, Some("ab".into())));
        let long = format!("d1:v200:{}e", "x".repeat(200));
        let read = ExtendedHandshake::decode(long.as_bytes()).unwrap();
        assert_eq!(read.client.unwrap().len(), MAX_CLIENT_NAME_BYTES);
        assert!(ExtendedHandshake::decode(b"le").is_err());
        assert!(ExtendedHandshake::decode(b"").is_err());
    }

    #[test]
    fn golden_bytes_of_dont_have() {
        assert_eq!(encode_dont_have(258)[..], [0, 0, 1, 2]);
        assert_eq!(decode_dont_have(&[0, 0, 1, 2]), Ok(258));
        assert_eq!(decode_dont_have(&[0, 0, 1]), Err(ExtensionError::Length));
    }

    proptest! {
        #[test]
        fn perturbed_payloads_never_panic(at: usize, value: u8, cut: usize) {
            let metadata = MetadataMessage::Data { piece: 0, total_size: 5, data: Bytes::from_static(b"hello") };
            let members = Introduction::Members(vec![PeerId::new([7; 20]); 3]);
            for payload in [metadata.encode(), members.encode(), ours().encode()] {
                let mut bytes = payload.to_vec();
                let len = bytes.len();
                bytes[at % len] = value;
                bytes.truncate(cut % (len + 1));
                let _ = ExtendedHandshake::decode(&bytes);
                let _ = Introduction::decode(&bytes);
                let _ = MetadataMessage::decode(&Bytes::from(bytes));
            }
        }
    }
}
