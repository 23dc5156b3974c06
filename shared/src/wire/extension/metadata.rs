//! `ut_metadata` (BEP 9): the info dictionary, in pieces.

use bytes::Bytes;

use super::ExtensionError;
use crate::bencode::{Dict, Value};

/// Bytes of one piece of metadata; the last is shorter (BEP 9).
pub const METADATA_PIECE_LEN: usize = 16 * 1024;

/// A `ut_metadata` message (BEP 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Send me this piece of the info dictionary.
    Request {
        /// Counted in [`METADATA_PIECE_LEN`].
        piece: u32,
    },
    /// A piece of the info dictionary.
    Data {
        /// Counted in [`METADATA_PIECE_LEN`].
        piece: u32,
        /// Length of the whole info dictionary, in bytes.
        total_size: u32,
        /// The piece.
        data: Bytes,
    },
    /// You will not get this piece.
    Reject {
        /// Counted in [`METADATA_PIECE_LEN`].
        piece: u32,
    },
}

impl MetadataMessage {
    /// The payload to send. Its dictionary ends in an integer, as WebTorrent's parser needs: it takes the first `ee` for
    /// the end. Keys are in order, and `total_size` is the last of them.
    pub fn encode(&self) -> Bytes {
        let (kind, piece) = match self {
            Self::Request { piece } => (0, piece),
            Self::Data { piece, .. } => (1, piece),
            Self::Reject { piece } => (2, piece),
        };
        let mut entries = vec![("msg_type", Value::Int(kind)), ("piece", Value::from(*piece))];
        let Self::Data { total_size, data, .. } = self else {
            return Value::dict(entries).encode().into();
        };
        entries.push(("total_size", Value::from(*total_size)));
        let mut payload = Value::dict(entries).encode();
        payload.extend_from_slice(data);
        payload.into()
    }

    /// Reads a payload; `None` for a kind of message that BEP 9 does not know, which it says to ignore.
    ///
    /// # Errors
    /// [`ExtensionError`] when it is not such a message.
    pub fn decode(payload: &Bytes) -> Result<Option<Self>, ExtensionError> {
        let (value, end) = Value::parse_prefix(payload)?;
        let dict = value.as_dict().ok_or(ExtensionError::Missing("its dictionary"))?;
        let kind = dict.int("msg_type").ok_or(ExtensionError::Missing("msg_type"))?;
        let piece = field(dict, "piece")?;
        Ok(Some(match kind {
            0 => Self::Request { piece },
            1 => {
                let total_size = field(dict, "total_size")?;
                let data = payload.slice(end..);
                if data.is_empty() || data.len() > METADATA_PIECE_LEN {
                    return Err(ExtensionError::Length);
                }
                Self::Data { piece, total_size, data }
            }
            2 => Self::Reject { piece },
            _ => return Ok(None),
        }))
    }
}

fn field(dict: &Dict<'_>, name: &'static str) -> Result<u32, ExtensionError> {
    let number = dict.int(name).ok_or(ExtensionError::Missing(name))?;
    u32::try_from(number).map_err(|_| ExtensionError::Range(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_metadata_messages() {
        let data = MetadataMessage::Data { piece: 0, total_size: 34_256, data: Bytes::from_static(b"xxxx") };
        for (message, bytes) in [
            (MetadataMessage::Request { piece: 3 }, &b"d8:msg_typei0e5:piecei3ee"[..]),
            (data, b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxx"),
            (MetadataMessage::Reject { piece: 1 }, b"d8:msg_typei2e5:piecei1ee"),
        ] {
            assert_eq!(message.encode(), bytes);
            assert_eq!(MetadataMessage::decode(&Bytes::from_static(bytes)), Ok(Some(message)));
        }
    }

    #[test]
    fn unknown_metadata_messages_are_ignored_and_malformed_ones_refused() {
        let decode = |text: &'static str| MetadataMessage::decode(&Bytes::from_static(text.as_bytes()));
        assert_eq!(decode("d8:msg_typei9e5:piecei0ee"), Ok(None));
        assert_eq!(decode("d8:msg_typei0ee"), Err(ExtensionError::Missing("piece")));
        assert_eq!(decode("d8:msg_typei0e5:piecei-1ee"), Err(ExtensionError::Range("piece")));
        assert_eq!(decode("d8:msg_typei1e5:piecei0e10:total_sizei5ee"), Err(ExtensionError::Length));
        let long = Bytes::from(format!("d8:msg_typei1e5:piecei0e10:total_sizei5ee{}", "x".repeat(16_385)));
        assert_eq!(MetadataMessage::decode(&long), Err(ExtensionError::Length));
    }

    proptest! {
        #[test]
        fn metadata_messages_are_read_back(kind in 0u8..3, piece: u32, total_size: u32, data in proptest::collection::vec(any::<u8>(), 1..100)) {
            let message = match kind {
                0 => MetadataMessage::Request { piece },
                1 => MetadataMessage::Data { piece, total_size, data: data.into() },
                _ => MetadataMessage::Reject { piece },
            };
            prop_assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
        }
    }
}
