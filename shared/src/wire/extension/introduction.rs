//! `enxame_signal`, our own extension: peers introduce peers. What BEP 11 is for TCP, for WebRTC: there an address is not
//! enough, an offer and an answer have to travel between the two, and a neighbour that both are linked to carries them.
//!
//! ```text
//! a dictionary; keys in order, those of its type:
//!   type    "members", "offer", "answer" or "lost"
//!   peers   members: 20 bytes a peer id, at most MAX_MEMBERS of them
//!   from    offer, answer: 20 bytes, who made it; filled in by the neighbour that forwards it, absent before
//!   to      offer, answer, lost: 20 bytes, for whom it is; the receiver itself, or somebody to forward it to
//!   id      offer, answer, lost: 20 bytes, the offer's id
//!   sdp     offer, answer: the session description, UTF-8, at most MAX_INTRODUCED_SDP_BYTES
//! ```

use bytes::Bytes;

use super::ExtensionError;
use crate::bencode::{Dict, Value};
use crate::ids::ID_LEN;
use crate::limits::{MAX_INTRODUCED_SDP_BYTES, MAX_MEMBERS};
use crate::signal::SessionDescription;
use crate::{OfferId, PeerId};

/// An `enxame_signal` message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introduction {
    /// The sender is linked to these, and they take direct links. At most [`MAX_MEMBERS`]; the list replaces the one before.
    Members(Vec<PeerId>),
    /// An offer or an answer.
    Signal {
        /// Who made it, if that is not the sender.
        from: Option<PeerId>,
        /// For whom.
        to: PeerId,
        /// The offer, or the one that is answered.
        offer_id: OfferId,
        /// Its `kind` is `offer` or `answer`, its SDP at most [`MAX_INTRODUCED_SDP_BYTES`] long.
        description: SessionDescription,
    },
    /// This offer did not reach the peer it was for.
    Lost {
        /// For whom it was.
        to: PeerId,
        /// The offer.
        offer_id: OfferId,
    },
}

impl Introduction {
    /// The payload to send. What is above a limit is not cut off: the receiver will refuse it.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Members(peers) => {
                let ids: Vec<u8> = peers.iter().flat_map(|peer| *peer.as_bytes()).collect();
                let entries = [("peers", Value::from(&ids[..])), ("type", Value::from("members"))];
                Value::dict(entries).encode().into()
            }
            Self::Signal { from, to, offer_id, description } => {
                let mut entries = Vec::new();
                if let Some(from) = from {
                    entries.push(("from", Value::from(&from.as_bytes()[..])));
                }
                entries.push(("id", Value::from(&offer_id.as_bytes()[..])));
                entries.push(("sdp", Value::from(description.sdp.as_str())));
                entries.push(("to", Value::from(&to.as_bytes()[..])));
                entries.push(("type", Value::from(description.kind.as_str())));
                Value::dict(entries).encode().into()
            }
            Self::Lost { to, offer_id } => {
                let entries = [
                    ("id", Value::from(&offer_id.as_bytes()[..])),
                    ("to", Value::from(&to.as_bytes()[..])),
                    ("type", Value::from("lost")),
                ];
                Value::dict(entries).encode().into()
            }
        }
    }

    /// Reads a payload; `None` for a type that this version does not know.
    ///
    /// # Errors
    /// [`ExtensionError`] when it is not such a message, or has more than it may.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, ExtensionError> {
        let value = Value::parse(payload)?;
        let dict = value.as_dict().ok_or(ExtensionError::Missing("its dictionary"))?;
        let kind = dict.bytes("type").ok_or(ExtensionError::Missing("type"))?;
        Ok(Some(match kind {
            b"members" => {
                let bytes = dict.bytes("peers").ok_or(ExtensionError::Missing("peers"))?;
                let (ids, rest) = bytes.as_chunks::<ID_LEN>();
                if !rest.is_empty() || ids.len() > MAX_MEMBERS {
                    return Err(ExtensionError::Length);
                }
                Self::Members(ids.iter().copied().map(PeerId::new).collect())
            }
            b"offer" => Self::signal("offer", dict)?,
            b"answer" => Self::signal("answer", dict)?,
            b"lost" => {
                Self::Lost { to: PeerId::new(id(dict, "to")?), offer_id: OfferId::new(id(dict, "id")?) }
            }
            _ => return Ok(None),
        }))
    }

    fn signal(kind: &str, dict: &Dict<'_>) -> Result<Self, ExtensionError> {
        let sdp = dict.bytes("sdp").ok_or(ExtensionError::Missing("sdp"))?;
        if sdp.is_empty() || sdp.len() > MAX_INTRODUCED_SDP_BYTES {
            return Err(ExtensionError::Length);
        }
        let sdp = std::str::from_utf8(sdp).map_err(|_| ExtensionError::Range("sdp"))?;
        Ok(Self::Signal {
            from: dict.get("from").map(|_| id(dict, "from")).transpose()?.map(PeerId::new),
            to: PeerId::new(id(dict, "to")?),
            offer_id: OfferId::new(id(dict, "id")?),
            description: SessionDescription { kind: kind.to_owned(), sdp: sdp.to_owned() },
        })
    }
}

fn id(dict: &Dict<'_>, name: &'static str) -> Result<[u8; ID_LEN], ExtensionError> {
    let bytes = dict.bytes(name).ok_or(ExtensionError::Missing(name))?;
    bytes.try_into().map_err(|_| ExtensionError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signal(kind: &str, from: Option<PeerId>, sdp: &str) -> Introduction {
        Introduction::Signal {
            from,
            to: PeerId::new(*b"-EX0100-bbbbbbbbbbbb"),
            offer_id: OfferId::new(*b"oooooooooooooooooooo"),
            description: SessionDescription { kind: kind.into(), sdp: sdp.into() },
        }
    }

    #[test]
    fn golden_bytes_of_each_type() {
        let a = PeerId::new(*b"-EX0100-aaaaaaaaaaaa");
        let b = PeerId::new(*b"-EX0100-bbbbbbbbbbbb");
        let lost = Introduction::Lost { to: b, offer_id: OfferId::new(*b"oooooooooooooooooooo") };
        for (message, bytes) in [
            (
                Introduction::Members(vec![a, b]),
                &b"d5:peers40:-EX0100-aaaaaaaaaaaa-EX0100-bbbbbbbbbbbb4:type7:memberse"[..],
            ),
            (Introduction::Members(vec![]), b"d5:peers0:4:type7:memberse"),
            (
                signal("offer", None, "v=0"),
                b"d2:id20:oooooooooooooooooooo3:sdp3:v=02:to20:-EX0100-bbbbbbbbbbbb4:type5:offere",
            ),
            (
                signal("answer", Some(a), "v=0"),
                b"d4:from20:-EX0100-aaaaaaaaaaaa2:id20:oooooooooooooooooooo3:sdp3:v=0\
                  2:to20:-EX0100-bbbbbbbbbbbb4:type6:answere",
            ),
            (lost, b"d2:id20:oooooooooooooooooooo2:to20:-EX0100-bbbbbbbbbbbb4:type4:loste"),
        ] {
            assert_eq!(message.encode(), bytes);
            assert_eq!(Introduction::decode(bytes), Ok(Some(message)));
        }
    }

    #[test]
    fn what_is_above_a_limit_or_incomplete_is_refused_and_unknown_types_are_ignored() {
        let members = |count| Introduction::Members(vec![PeerId::new([1; 20]); count]).encode();
        assert!(Introduction::decode(&members(MAX_MEMBERS)).is_ok());
        assert_eq!(Introduction::decode(&members(MAX_MEMBERS + 1)), Err(ExtensionError::Length));
        let sdp = |len| signal("offer", None, &"x".repeat(len)).encode();
        assert!(Introduction::decode(&sdp(MAX_INTRODUCED_SDP_BYTES)).is_ok());
        assert_eq!(Introduction::decode(&sdp(MAX_INTRODUCED_SDP_BYTES + 1)), Err(ExtensionError::Length));
        assert_eq!(Introduction::decode(&sdp(0)), Err(ExtensionError::Length));
        let decode = |text: &str| Introduction::decode(text.as_bytes());
        assert_eq!(decode("d5:peers21:aaaaaaaaaaaaaaaaaaaaa4:type7:memberse"), Err(ExtensionError::Length));
        assert_eq!(decode("d4:type7:memberse"), Err(ExtensionError::Missing("peers")));
        assert_eq!(decode("d5:peers0:e"), Err(ExtensionError::Missing("type")));
        assert_eq!(decode("d2:id20:oooooooooooooooooooo4:type4:loste"), Err(ExtensionError::Missing("to")));
        assert_eq!(decode("d2:id2:oo4:type4:loste"), Err(ExtensionError::Missing("to")));
        assert_eq!(
            decode("d4:from1:x2:id20:oooooooooooooooooooo3:sdp1:x2:to20:oooooooooooooooooooo4:type5:offere"),
            Err(ExtensionError::Length)
        );
        assert_eq!(decode("le"), Err(ExtensionError::Missing("its dictionary")));
        assert_eq!(decode("d4:type5:peerse"), Ok(None));
        let binary = b"d2:id20:oooooooooooooooooooo3:sdp1:\xff2:to20:oooooooooooooooooooo4:type5:offere";
        assert_eq!(Introduction::decode(binary), Err(ExtensionError::Range("sdp")));
        assert!(matches!(decode("d4:type4:lostexx"), Err(ExtensionError::Bencode(_))));
    }

    proptest! {
        #[test]
        fn signals_are_read_back(from: Option<[u8; 20]>, answer: bool, sdp in "[a-zà-ü\r\n]{1,200}") {
            let kind = if answer { "answer" } else { "offer" };
            let message = signal(kind, from.map(PeerId::new), &sdp);
            prop_assert_eq!(Introduction::decode(&message.encode()), Ok(Some(message)));
        }

        #[test]
        fn perturbed_signals_never_panic(at: usize, value: u8, cut: usize) {
            let mut bytes = signal("offer", Some(PeerId::new([1; 20])), "v=0").encode().to_vec();
            let len = bytes.len();
            bytes[at % len] = value;
            bytes.truncate(cut % (len + 1));
            let _ = Introduction::decode(&bytes);
        }
    }
}
