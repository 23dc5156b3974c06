//! The binary frames in which the tracker carries bytes between two peers.
//!
//! ```text
//! offset 0   u8        kind: 1 data, 2 credit
//! offset 1   u32 BE    channel, as numbered on this connection
//! offset 5   data:     1 to MAX_RELAY_PAYLOAD opaque bytes
//!            credit:   u32 BE, bytes that the sender of the data may send beyond what it might before
//! ```
//!
//! A channel has a number of its own on each of its two connections; the tracker rewrites it ([`retarget`]) and
//! forwards the rest unseen. Each direction starts with [`RELAY_WINDOW`](crate::limits::RELAY_WINDOW) bytes of credit.
//! The receiver gives credit as it consumes; the tracker passes it on to the sender.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::MAX_RELAY_PAYLOAD;

/// Bytes before a data frame's payload.
pub const HEADER_LEN: usize = 5;

const DATA: u8 = 1;
const CREDIT: u8 = 2;

/// A relay channel, as numbered on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u32);

/// One binary message between a peer and the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes for the peer at the other end; at least one.
    Data {
        /// The channel on this connection.
        channel: ChannelId,
        /// Opaque to the tracker.
        payload: Bytes,
    },
    /// Leave to send more.
    Credit {
        /// The channel on this connection.
        channel: ChannelId,
        /// Bytes; at least one.
        bytes: u32,
    },
}

/// Why a binary message is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header or its number.
    #[error("a relay frame of {0} bytes is too short")]
    TooShort(usize),
    /// A payload above [`MAX_RELAY_PAYLOAD`].
    #[error("a relay payload of {0} bytes is above {MAX_RELAY_PAYLOAD}")]
    TooLong(usize),
    /// Neither data nor credit.
    #[error("relay frame of unknown kind {0}")]
    Kind(u8),
    /// A credit of no bytes, or with bytes behind its number.
    #[error("a credit frame must hold one number above zero and nothing else")]
    Credit,
}

impl Frame {
    /// Reads one binary message; the payload shares its memory.
    ///
    /// # Errors
    /// [`FrameError`] for what no well-behaved peer sends.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the message becomes the payload; nobody needs it afterwards"
    )]
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        let too_short = FrameError::TooShort(message.len());
        let (&[kind, a, b, c, d], rest) = message.split_first_chunk::<HEADER_LEN>().ok_or(too_short)?;
        let channel = ChannelId(u32::from_be_bytes([a, b, c, d]));
        match kind {
            DATA if rest.is_empty() => Err(too_short),
            DATA if rest.len() > MAX_RELAY_PAYLOAD => Err(FrameError::TooLong(rest.len())),
            DATA => Ok(Self::Data { channel, payload: message.slice(HEADER_LEN..) }),
            CREDIT => {
                let number: [u8; 4] = rest.try_into().map_err(|_| FrameError::Credit)?;
                match u32::from_be_bytes(number) {
                    0 => Err(FrameError::Credit),
                    bytes => Ok(Self::Credit { channel, bytes }),
                }
            }
            kind => Err(FrameError::Kind(kind)),
        }
    }

    /// Writes the frame as one binary message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Data { channel, payload } => {
                let mut message = BytesMut::with_capacity(HEADER_LEN + payload.len());
                message.put_slice(&data_header(*channel));
                message.put_slice(payload);
                message.freeze()
            }
            Self::Credit { channel, bytes } => {
                let mut message = BytesMut::with_capacity(HEADER_LEN + 4);
                message.put_u8(CREDIT);
                message.put_u32(channel.0);
                message.put_u32(*bytes);
                message.freeze()
            }
        }
    }
}

/// The header that makes the bytes behind it a data frame; for writers that assemble a frame in place.
pub const fn data_header(channel: ChannelId) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = channel.0.to_be_bytes();
    [DATA, a, b, c, d]
}

/// The same frame for another connection: rewrites the channel number, in place when nobody else holds the
/// message's memory. `message` must have been decoded as a frame before.
pub fn retarget(message: Bytes, channel: ChannelId) -> Bytes {
    let mut message = message.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    if let Some(number) = message.get_mut(1..HEADER_LEN) {
        number.copy_from_slice(&channel.0.to_be_bytes());
    }
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_a_data_frame() {
        let frame = Frame::Data { channel: ChannelId(0x0102_0304), payload: Bytes::from_static(b"hi") };
        let bytes = [
            1, // data
            1, 2, 3, 4, // channel
            b'h', b'i', // payload
        ];
        assert_eq!(frame.encode()[..], bytes);
        assert_eq!(Frame::decode(Bytes::copy_from_slice(&bytes)), Ok(frame));
    }

    #[test]
    fn golden_bytes_of_a_credit_frame() {
        let frame = Frame::Credit { channel: ChannelId(7), bytes: 65_536 };
        let bytes = [
            2, // credit
            0, 0, 0, 7, // channel
            0, 1, 0, 0, // 65,536 bytes
        ];
        assert_eq!(frame.encode()[..], bytes);
        assert_eq!(Frame::decode(Bytes::copy_from_slice(&bytes)), Ok(frame));
    }

    #[test]
    fn malformed_frames_are_refused() {
        let decode = |bytes: &[u8]| Frame::decode(Bytes::copy_from_slice(bytes));
        assert_eq!(decode(&[]), Err(FrameError::TooShort(0)));
        assert_eq!(decode(&[1, 0, 0, 0]), Err(FrameError::TooShort(4)));
        assert_eq!(decode(&[1, 0, 0, 0, 1]), Err(FrameError::TooShort(5)));
        assert_eq!(decode(&[9, 0, 0, 0, 1, 0]), Err(FrameError::Kind(9)));
        assert_eq!(decode(&[2, 0, 0, 0, 1, 0, 0, 0, 0]), Err(FrameError::Credit));
        assert_eq!(decode(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 1]), Err(FrameError::Credit));
        let long = vec![1; HEADER_LEN + MAX_RELAY_PAYLOAD + 1];
        assert_eq!(decode(&long), Err(FrameError::TooLong(MAX_RELAY_PAYLOAD + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_is_written_back(bytes: Vec<u8>) {
            if let Ok(frame) = Frame::decode(Bytes::from(bytes.clone())) {
                prop_assert_eq!(frame.encode(), Bytes::from(bytes));
            }
        }

        #[test]
        fn retargeting_changes_the_number_and_nothing_else(from: u32, to: u32, payload in proptest::collection::vec(any::<u8>(), 1..50)) {
            let frame = Frame::Data { channel: ChannelId(from), payload: Bytes::from(payload.clone()) };
            let moved = retarget(frame.encode(), ChannelId(to));
            prop_assert_eq!(Frame::decode(moved), Ok(Frame::Data { channel: ChannelId(to), payload: Bytes::from(payload) }));
        }
    }
}
