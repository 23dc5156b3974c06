//! What nodes tell each other: the bytes.
//!
//! ```text
//! offset 0   u8       kind: 1 words, 2 relayed bytes
//! offset 1   words:   JSON of the sender and what it says
//!            bytes:   u64 BE each: the sender, the receiver's and the sender's number of the line, the place in the line
//! offset 33           bytes: the payload
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use shared::limits::MAX_RELAY_PAYLOAD;
use shared::signal::{RelayReason, Ticket};
use shared::{InfoHash, OfferId, PeerId};

use super::backend::NodeId;
use crate::signal::SessionDescription;

const WORDS: u8 = 1;
const BYTES: u8 = 2;

/// Bytes before a payload.
const HEADER_LEN: usize = 1 + 4 * 8;

/// One message from node to node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    /// Anything but relayed bytes.
    Words(NodeId, Words),
    /// Relayed bytes.
    Data { from: NodeId, on: Line, payload: Bytes },
}

/// A line between two nodes is what a relay channel is between two connections. Each node numbers it for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The receiver's number.
    pub(crate) to: u64,
    /// The sender's number.
    pub(crate) from: u64,
    /// Counts what one side says on the line, from 1: a gap means that something was lost.
    pub(crate) place: u64,
}

/// An offer or an answer for a peer of another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) swarm: InfoHash,
    pub(crate) from: PeerId,
    pub(crate) to: PeerId,
    pub(crate) id: OfferId,
    pub(crate) description: SessionDescription,
}

/// What one node tells another, beside relayed bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Words {
    /// Pass this offer on. `named` if its maker wants to hear when that was not possible.
    Offer { offer: Described, named: bool },
    /// That was not possible.
    OfferRefused { swarm: InfoHash, from: PeerId, to: PeerId, id: OfferId },
    /// Pass this answer on.
    Answer(Described),
    /// This peer is here now: it showed the same key.
    Superseded { swarm: InfoHash, peer: PeerId },
    /// Open a relay channel to your peer `to`. `visit` if `from` would also come to you for it.
    Open { swarm: InfoHash, from: PeerId, to: PeerId, line: u64, visit: bool },
    /// It may come: this is my address, and what it is to show there. The channel is none of yours then.
    Visit { to: u64, url: String, ticket: Ticket },
    /// It is open.
    Opened { to: u64, line: u64 },
    /// It cannot be opened.
    Refused { to: u64, reason: RelayReason },
    /// I want no answer any more to what I asked you to open under this number.
    Cancelled { line: u64 },
    /// Credit for the sender at your side.
    Credit { on: Line, bytes: u32 },
    /// The channel is closed.
    Closed { on: Line, reason: RelayReason },
    /// I know of no such line.
    Unknown { to: u64 },
}

impl Message {
    /// Writes it.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Words(from, words) => {
                let mut bytes = vec![WORDS];
                serde_json::to_writer(&mut bytes, &(from, words))
                    .expect("numbers and strings are always JSON");
                Bytes::from(bytes)
            }
            Self::Data { from, on, payload } => {
                let mut bytes = BytesMut::with_capacity(HEADER_LEN + payload.len());
                bytes.put_u8(BYTES);
                [from.0, on.to, on.from, on.place].into_iter().for_each(|number| bytes.put_u64(number));
                bytes.put_slice(payload);
                bytes.freeze()
            }
        }
    }

    /// Reads it; `None` for what no node of this version writes.
    pub(crate) fn decode(message: &Bytes) -> Option<Self> {
        match *message.first()? {
            WORDS => {
                let (from, words) = serde_json::from_slice(&message[1..]).ok()?;
                Some(Self::Words(from, words))
            }
            BYTES if (HEADER_LEN + 1..=HEADER_LEN + MAX_RELAY_PAYLOAD).contains(&message.len()) => {
                let mut numbers =
                    message[1..HEADER_LEN].as_chunks::<8>().0.iter().map(|n| u64::from_be_bytes(*n));
                let mut next = || numbers.next();
                let from = NodeId(next()?);
                let on = Line { to: next()?, from: next()?, place: next()? };
                Some(Self::Data { from, on, payload: message.slice(HEADER_LEN..) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line { to: 1, from: 2, place: u64::MAX };

    #[test]
    fn messages_are_read_as_they_were_written() {
        let (swarm, peer) = (InfoHash::new([200; 20]), PeerId::new([255; 20]));
        for message in [
            Message::Words(NodeId(u64::MAX), Words::Superseded { swarm, peer }),
            Message::Words(NodeId(7), Words::Closed { on: LINE, reason: RelayReason::PeerLeft }),
            Message::Data { from: NodeId(9), on: LINE, payload: Bytes::from_static(b"abc") },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn relayed_bytes_lie_where_they_are_said_to() {
        let data = Message::Data { from: NodeId(9), on: LINE, payload: Bytes::from_static(b"abc") };
        let mut bytes = vec![2];
        for number in [9, 1, 2, u64::MAX] {
            bytes.extend(u64::to_be_bytes(number));
        }
        bytes.extend(b"abc");
        assert_eq!(data.encode(), bytes);
    }

    #[test]
    fn what_is_cut_or_too_long_or_of_another_kind_is_not_read() {
        let data = Message::Data { from: NodeId(9), on: LINE, payload: Bytes::from_static(b"a") }.encode();
        for cut in 0..data.len() {
            assert_eq!(Message::decode(&data.slice(..cut)), None, "{cut}");
        }
        let long = [&data[..], &[0; MAX_RELAY_PAYLOAD]].concat();
        assert_eq!(Message::decode(&Bytes::from(long)), None);
        assert_eq!(Message::decode(&Bytes::from_static(b"\x03")), None);
        assert_eq!(Message::decode(&Bytes::from_static(b"\x01[1,{\"dance\":{}}]")), None);
    }
}
