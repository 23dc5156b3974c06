//! Twenty-byte names: [`InfoHash`] for a torrent, [`PeerId`] for a participant, [`OfferId`] for one WebRTC
//! offer. They are different types, so that one can never stand where another belongs.
//!
//! Each has two textual forms: forty hexadecimal digits, for people, and the tracker's form, a string of
//! exactly twenty characters U+0000–U+00FF, one per byte, as WebTorrent carries them in JSON (`signal`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of every id, in bytes (SHA-1's digest length; BEP 3).
pub const ID_LEN: usize = 20;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The hexadecimal form has forty digits.
    #[error("expected 40 hexadecimal digits")]
    NotHex,
    /// The tracker's form has twenty characters, none above U+00FF.
    #[error("expected a string of exactly 20 characters, each U+0000 to U+00FF")]
    NotByteString,
}

/// Reads twice as many hexadecimal digits as there are bytes.
pub(crate) fn parse_hex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digits = text.as_bytes();
    if digits.len() != LEN * 2 {
        return None;
    }
    let mut bytes = [0; LEN];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_byte_string(text: &str) -> Result<[u8; ID_LEN], IdError> {
    let mut bytes = [0; ID_LEN];
    let mut chars = text.chars();
    for byte in &mut bytes {
        let c = chars.next().ok_or(IdError::NotByteString)?;
        *byte = u8::try_from(u32::from(c)).map_err(|_| IdError::NotByteString)?;
    }
    if chars.next().is_some() { Err(IdError::NotByteString) } else { Ok(bytes) }
}

/// Writes the tracker's form, which takes one or two bytes of UTF-8 a character.
fn byte_string<'a>(bytes: &[u8; ID_LEN], text: &'a mut [u8; 2 * ID_LEN]) -> &'a str {
    let mut len = 0;
    for byte in bytes {
        len += char::from(*byte).encode_utf8(&mut text[len..]).len();
    }
    std::str::from_utf8(&text[..len]).expect("characters that were encoded one after the other")
}

/// Reads the tracker's form from where it is, without a copy.
struct ReadByteString;

impl serde::de::Visitor<'_> for ReadByteString {
    type Value = [u8; ID_LEN];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&IdError::NotByteString, f)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; ID_LEN], E> {
        parse_byte_string(text).map_err(E::custom)
    }
}

macro_rules! twenty_byte_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// The id made of these bytes.
            pub const fn new(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// The tracker's form: one character U+0000–U+00FF per byte.
            pub fn to_byte_string(&self) -> String {
                self.0.iter().copied().map(char::from).collect()
            }

            /// Reads the tracker's form.
            ///
            /// # Errors
            /// [`IdError::NotByteString`] unless there are exactly twenty characters up to U+00FF.
            pub fn from_byte_string(text: &str) -> Result<Self, IdError> {
                parse_byte_string(text).map(Self)
            }
        }

        impl From<[u8; ID_LEN]> for $name {
            fn from(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }
        }

        /// Forty lower-case hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        /// Reads forty hexadecimal digits, upper or lower case.
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or(IdError::NotHex)
            }
        }

        /// The tracker's form.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 2 * ID_LEN];
                serializer.serialize_str(byte_string(&self.0, &mut text))
            }
        }

        /// The tracker's form.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(ReadByteString).map(Self)
            }
        }
    };
}

twenty_byte_id!(
    /// The v1 info-hash: SHA-1 of the bencoded info dictionary (BEP 3). Names a torrent and its swarm.
    InfoHash
);
twenty_byte_id!(
    /// Names one participant for the life of its tab. See [`PeerId::with_prefix`] for the client's mark.
    PeerId
);
twenty_byte_id!(
    /// Names one WebRTC offer, so that its answer finds the way back.
    OfferId
);

/// The mark of this program at the start of its peer ids, in the Azureus style (BEP 20): client `EX`,
/// version 0.1.0.
pub const PEER_ID_PREFIX: &[u8; 8] = b"-EX0100-";

impl PeerId {
    /// An id of this program: [`PEER_ID_PREFIX`], then twelve bytes that the caller drew at random, mapped to
    /// printable characters.
    pub fn with_prefix(random: [u8; 12]) -> Self {
        const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-";
        let mut bytes = [0; ID_LEN];
        bytes[..8].copy_from_slice(PEER_ID_PREFIX);
        for (byte, random) in bytes[8..].iter_mut().zip(random) {
            *byte = ALPHABET[usize::from(random) % ALPHABET.len()];
        }
        Self(bytes)
    }

    /// The program that such an id belongs to, if it is a well-known one in Azureus' style, `-` and two letters (BEP 20).
    pub fn client(&self) -> Option<&'static str> {
        let [b'-', letters @ .., _, _, _, _, b'-'] = self.0.first_chunk::<8>()? else { return None };
        CLIENTS.iter().find(|(code, _)| *code == letters).map(|(_, name)| *name)
    }
}

/// Programs that a browser can meet, or whose users open our torrents, by their letters in a peer id.
const CLIENTS: [(&[u8], &str); 9] = [
    (b"BI", "BiglyBT"),
    (b"DE", "Deluge"),
    (b"EX", "Enxame"),
    (b"LT", "libtorrent"),
    (b"TR", "Transmission"),
    (b"UT", "µTorrent"),
    (b"WD", "WebTorrent Desktop"),
    (b"WW", "WebTorrent"),
    (b"qB", "qBittorrent"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_programs_are_told_by_their_ids() {
        let client = |id: &[u8; 20]| PeerId::new(*id).client();
        assert_eq!(client(b"-WW0300-abcdefghijkl"), Some("WebTorrent"));
        assert_eq!(PeerId::with_prefix([0; 12]).client(), Some("Enxame"));
        assert_eq!(client(b"-XX0001-abcdefghijkl"), None);
        assert_eq!(client(b"M7-9-2--abcdefghijkl"), None);
        assert_eq!(client(&[0; 20]), None);
    }

    #[test]
    fn hexadecimal_is_read_in_either_case_and_written_in_lower() {
        let hash: InfoHash = "00FFabCD00000000000000000000000000000001".parse().unwrap();
        assert_eq!(hash.to_string(), "00ffabcd00000000000000000000000000000001");
        assert_eq!("00ff".parse::<InfoHash>(), Err(IdError::NotHex));
        assert_eq!("zz".repeat(20).parse::<InfoHash>(), Err(IdError::NotHex));
        assert_eq!("é".repeat(20).parse::<InfoHash>(), Err(IdError::NotHex));
    }

    #[test]
    fn bytes_above_127_are_one_character_each_in_json() {
        let id = PeerId::new([0xff; 20]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{}\"", "ÿ".repeat(20)));
        assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), id);
    }

    #[test]
    fn escaped_characters_are_read_too() {
        let json = format!("\"{}\"", "\\u0000".repeat(20));
        assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), PeerId::new([0; 20]));
    }

    #[test]
    fn other_lengths_and_wide_characters_are_refused() {
        for text in ["", "short", &"a".repeat(21), &"Ā".repeat(20)] {
            assert_eq!(PeerId::from_byte_string(text), Err(IdError::NotByteString), "{text:?}");
        }
    }

    #[test]
    fn our_peer_ids_carry_the_mark_and_are_printable() {
        let id = PeerId::with_prefix([0xfe; 12]);
        assert!(id.as_bytes().starts_with(PEER_ID_PREFIX));
        assert!(id.as_bytes().iter().all(u8::is_ascii_graphic));
    }
}
