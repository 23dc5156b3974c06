//! What a peer says to the tracker.

use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{RelayReason, Sdp, SessionDescription, SignalError, Ticket};
use crate::ids::{InfoHash, OfferId, PeerId};
use crate::limits::{MAX_KEY_BYTES, MAX_OFFERS, MAX_SCRAPE_HASHES, MAX_SIGNAL_BYTES};
use crate::relay::ChannelId;

/// One text message from a peer. `S` is how the SDP in it is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum ToTracker<S = String> {
    /// I am in this swarm; here are some offers; name me some peers.
    Announce(Announce<S>),
    /// An offer for a peer that you named (our extension).
    Offer(TargetedOffer<S>),
    /// My answer to an offer that you forwarded.
    Answer(Answer<S>),
    /// How many are in these swarms?
    Scrape(Scrape),
    /// Open a relay channel to this peer.
    RelayOpen(RelayOpen),
    /// I come for the relay channel that this ticket is for (our extension).
    RelayVisit(RelayVisit),
    /// Close this relay channel.
    RelayClose(RelayClose),
}

/// What happened since the last announce (BEP 3). Words that we do not know count as [`Event::Update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Event {
    /// First announce in this swarm.
    Started,
    /// The last piece arrived.
    Completed,
    /// Leaving the swarm.
    Stopped,
    /// Nothing special: absent, `update`, `empty`, `paused`, or a word of the future.
    #[default]
    Update,
}

impl Event {
    fn read(word: Option<&str>) -> Self {
        match word {
            Some("started") => Self::Started,
            Some("completed") => Self::Completed,
            Some("stopped") => Self::Stopped,
            _ => Self::Update,
        }
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Started => Some("started"),
            Self::Completed => Some("completed"),
            Self::Stopped => Some("stopped"),
            Self::Update => None,
        }
    }
}

/// A WebRTC offer inside an announce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer<S = String> {
    /// The session description.
    pub offer: SessionDescription<S>,
    /// Comes back with the answer.
    pub offer_id: OfferId,
}

/// What our own clients add to an announce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnxameHello {
    /// The version spoken: [`ENXAME_VERSION`](super::ENXAME_VERSION).
    pub v: u32,
    /// Whether relay channels may be opened to this peer.
    #[serde(default)]
    pub relay: bool,
    /// Whether this peer takes WebRTC offers. Other clients always do; ours say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rtc: bool,
    /// A secret of this peer: whoever shows it again on another connection takes the peer id over at once, as
    /// after a lost connection that the tracker has not noticed yet (BEP 7's `key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Relay channels to so many of the peers that the reply will name are to be opened at once; the reply then says
    /// which. Saves each of them a message and the answer to it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// `action: announce` without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Announce<S = String> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// What happened.
    pub event: Event,
    /// Bytes still missing. `None` when the peer does not know (no metadata yet): a leecher. Zero: a seeder.
    pub left: Option<u64>,
    /// Bytes sent in this swarm since `started`.
    pub uploaded: u64,
    /// Bytes received in this swarm since `started`.
    pub downloaded: u64,
    /// How many peers it would like to meet; `None` when it did not say.
    pub numwant: Option<usize>,
    /// Offers to forward, at most [`MAX_OFFERS`]: further ones were dropped.
    pub offers: Vec<Offer<S>>,
    /// Our extension; `None` from other clients.
    pub enxame: Option<EnxameHello>,
}

impl<S> Announce<S> {
    /// A peer of another program that comes into the swarm, and says nothing more.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            info_hash,
            peer_id,
            event: Event::Started,
            left: None,
            uploaded: 0,
            downloaded: 0,
            numwant: None,
            offers: Vec::new(),
            enxame: None,
        }
    }
}

/// `action: announce` with one offer and a receiver (our extension). Nothing comes back but the answer, or
/// [`OfferRefused`](super::OfferRefused).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetedOffer<S = String> {
    /// The swarm that both are in.
    pub info_hash: InfoHash,
    /// Who offers.
    pub peer_id: PeerId,
    /// Whom it is for.
    pub to_peer_id: PeerId,
    /// Comes back with the answer.
    pub offer_id: OfferId,
    /// The session description.
    pub offer: SessionDescription<S>,
}

/// `action: announce` with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<S = String> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who answers.
    pub peer_id: PeerId,
    /// Who offered.
    pub to_peer_id: PeerId,
    /// Which offer.
    pub offer_id: OfferId,
    /// The session description.
    pub answer: SessionDescription<S>,
}

/// `action: scrape`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The swarms asked about, at most [`MAX_SCRAPE_HASHES`]; empty when none was named.
    pub info_hashes: Vec<InfoHash>,
}

/// `action: relay-open` (our extension).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOpen {
    /// The swarm that both are in.
    pub info_hash: InfoHash,
    /// Who asks.
    pub peer_id: PeerId,
    /// Whom to reach.
    pub to_peer_id: PeerId,
    /// Whether the asker would go to the peer's tracker, if that is another one of a cluster:
    /// [`RelayAt`](super::RelayAt) may then be the answer.
    #[serde(default)]
    pub visit: bool,
}

/// `action: relay-visit` (our extension): said to the tracker that [`RelayAt`](super::RelayAt) named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayVisit {
    /// The swarm that both are in.
    pub info_hash: InfoHash,
    /// Who comes.
    pub peer_id: PeerId,
    /// Whom to reach.
    pub to_peer_id: PeerId,
    /// What was handed out for the two.
    pub ticket: Ticket,
}

/// `action: relay-close` (our extension).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayClose {
    /// The channel, as numbered on this connection.
    pub channel: ChannelId,
    /// Why; told to the other side.
    pub reason: RelayReason,
}

/// Every field that any message to the tracker has.
#[derive(Default, Serialize, Deserialize)]
struct Raw<S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_peer_id: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    uploaded: Option<u64>,
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    downloaded: Option<u64>,
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    numwant: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<Vec<Offer<S>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<SessionDescription<S>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<SessionDescription<S>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_id: Option<OfferId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    visit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<Ticket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RelayReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enxame: Option<EnxameHello>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(InfoHash),
    Many(Vec<InfoHash>),
}

/// Read as it comes: what serde derives would keep a copy until it knows which of the two it is.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an info-hash or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                InfoHash::from_byte_string(text).map(OneOrMany::One).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut hashes = Vec::new();
                while let Some(hash) = list.next_element()? {
                    hashes.push(hash);
                }
                Ok(OneOrMany::Many(hashes))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// A count as other clients write it: absent, `null` (JavaScript's NaN), a whole number, a fraction, a string.
/// What is not a number from zero up counts as unknown.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| match value {
        serde_json::Value::Number(number) => {
            // Saturating: a count above 2^64 is as good as the largest.
            number.as_u64().or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
        }
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    }))
}

impl<S: Sdp + DeserializeOwned> ToTracker<S> {
    /// Reads one text message, with the SDP in it kept in this way.
    ///
    /// # Errors
    /// [`SignalError`]: too long, not JSON of the right shape, an unknown action, a field missing.
    pub fn read(text: &str) -> Result<Self, SignalError> {
        if text.len() > MAX_SIGNAL_BYTES {
            return Err(SignalError::TooLong(text.len()));
        }
        let raw: Raw<S> =
            serde_json::from_str(text).map_err(|error| SignalError::Malformed(error.to_string()))?;
        match raw.action.as_deref() {
            Some("announce") if raw.answer.is_some() => raw.answer().map(Self::Answer),
            Some("announce") if raw.offer.is_some() && raw.to_peer_id.is_some() => {
                raw.offer().map(Self::Offer)
            }
            Some("announce") => raw.announce().map(Self::Announce),
            Some("scrape") => Ok(Self::Scrape(raw.scrape())),
            Some("relay-open") => raw.relay_open().map(Self::RelayOpen),
            Some("relay-visit") => raw.relay_visit().map(Self::RelayVisit),
            Some("relay-close") => raw.relay_close().map(Self::RelayClose),
            Some(other) => Err(SignalError::UnknownAction(other.chars().take(32).collect())),
            None => Err(SignalError::Missing { action: "every message", field: "action" }),
        }
    }
}

impl ToTracker {
    /// Reads one text message.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_json(text: &str) -> Result<Self, SignalError> {
        Self::read(text)
    }

    /// Writes the message as JSON.
    pub fn to_json(&self) -> String {
        let raw = match self.clone() {
            Self::Announce(announce) => Raw {
                action: Some("announce".into()),
                info_hash: Some(OneOrMany::One(announce.info_hash)),
                peer_id: Some(announce.peer_id),
                event: announce.event.word().map(Into::into),
                left: announce.left,
                uploaded: Some(announce.uploaded),
                downloaded: Some(announce.downloaded),
                numwant: announce.numwant.map(|n| n as u64),
                offers: (!announce.offers.is_empty()).then_some(announce.offers),
                enxame: announce.enxame,
                ..Raw::default()
            },
            Self::Offer(offer) => Raw {
                action: Some("announce".into()),
                info_hash: Some(OneOrMany::One(offer.info_hash)),
                peer_id: Some(offer.peer_id),
                to_peer_id: Some(offer.to_peer_id),
                offer_id: Some(offer.offer_id),
                offer: Some(offer.offer),
                ..Raw::default()
            },
            Self::Answer(answer) => Raw {
                action: Some("announce".into()),
                info_hash: Some(OneOrMany::One(answer.info_hash)),
                peer_id: Some(answer.peer_id),
                to_peer_id: Some(answer.to_peer_id),
                offer_id: Some(answer.offer_id),
                answer: Some(answer.answer),
                ..Raw::default()
            },
            Self::Scrape(scrape) => Raw {
                action: Some("scrape".into()),
                info_hash: Some(OneOrMany::Many(scrape.info_hashes)),
                ..Raw::default()
            },
            Self::RelayOpen(open) => Raw {
                action: Some("relay-open".into()),
                info_hash: Some(OneOrMany::One(open.info_hash)),
                peer_id: Some(open.peer_id),
                to_peer_id: Some(open.to_peer_id),
                visit: open.visit,
                ..Raw::default()
            },
            Self::RelayVisit(visit) => Raw {
                action: Some("relay-visit".into()),
                info_hash: Some(OneOrMany::One(visit.info_hash)),
                peer_id: Some(visit.peer_id),
                to_peer_id: Some(visit.to_peer_id),
                ticket: Some(visit.ticket),
                ..Raw::default()
            },
            Self::RelayClose(close) => Raw {
                action: Some("relay-close".into()),
                channel: Some(close.channel),
                reason: Some(close.reason),
                ..Raw::default()
            },
        };
        serde_json::to_string(&raw).expect("strings, numbers and lists of them are always JSON")
    }
}

/// Takes a field out, or says which is missing.
macro_rules! need {
    ($raw:ident, $action:literal, $field:ident) => {
        $raw.$field.ok_or(SignalError::Missing { action: $action, field: stringify!($field) })?
    };
}

impl<S: Sdp> Raw<S> {
    fn info_hash(one_or_many: Option<&OneOrMany>, action: &'static str) -> Result<InfoHash, SignalError> {
        match one_or_many {
            Some(OneOrMany::One(hash)) => Ok(*hash),
            _ => Err(SignalError::Missing { action, field: "info_hash" }),
        }
    }

    fn announce(self) -> Result<Announce<S>, SignalError> {
        let mut offers = self.offers.unwrap_or_default();
        offers.truncate(MAX_OFFERS);
        offers.iter().try_for_each(|offer| offer.offer.check("offer"))?;
        let key = self.enxame.as_ref().and_then(|hello| hello.key.as_ref());
        if key.is_some_and(|key| key.len() > MAX_KEY_BYTES) {
            return Err(SignalError::Malformed(format!("the key is longer than {MAX_KEY_BYTES} bytes")));
        }
        Ok(Announce {
            info_hash: Self::info_hash(self.info_hash.as_ref(), "announce")?,
            peer_id: need!(self, "announce", peer_id),
            event: Event::read(self.event.as_deref()),
            left: self.left,
            uploaded: self.uploaded.unwrap_or(0),
            downloaded: self.downloaded.unwrap_or(0),
            numwant: self.numwant.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            offers,
            enxame: self.enxame,
        })
    }

    fn offer(self) -> Result<TargetedOffer<S>, SignalError> {
        let offer = need!(self, "offer", offer);
        offer.check("offer")?;
        Ok(TargetedOffer {
            info_hash: Self::info_hash(self.info_hash.as_ref(), "offer")?,
            peer_id: need!(self, "offer", peer_id),
            to_peer_id: need!(self, "offer", to_peer_id),
            offer_id: need!(self, "offer", offer_id),
            offer,
        })
    }

    fn answer(self) -> Result<Answer<S>, SignalError> {
        let answer = need!(self, "answer", answer);
        answer.check("answer")?;
        Ok(Answer {
            info_hash: Self::info_hash(self.info_hash.as_ref(), "answer")?,
            peer_id: need!(self, "answer", peer_id),
            to_peer_id: need!(self, "answer", to_peer_id),
            offer_id: need!(self, "answer", offer_id),
            answer,
        })
    }

    fn scrape(self) -> Scrape {
        let mut info_hashes = match self.info_hash {
            Some(OneOrMany::One(hash)) => vec![hash],
            Some(OneOrMany::Many(hashes)) => hashes,
            None => Vec::new(),
        };
        info_hashes.truncate(MAX_SCRAPE_HASHES);
        Scrape { info_hashes }
    }

    fn relay_open(self) -> Result<RelayOpen, SignalError> {
        Ok(RelayOpen {
            info_hash: Self::info_hash(self.info_hash.as_ref(), "relay-open")?,
            peer_id: need!(self, "relay-open", peer_id),
            to_peer_id: need!(self, "relay-open", to_peer_id),
            visit: self.visit,
        })
    }

    fn relay_visit(self) -> Result<RelayVisit, SignalError> {
        Ok(RelayVisit {
            info_hash: Self::info_hash(self.info_hash.as_ref(), "relay-visit")?,
            peer_id: need!(self, "relay-visit", peer_id),
            to_peer_id: need!(self, "relay-visit", to_peer_id),
            ticket: need!(self, "relay-visit", ticket),
        })
    }

    fn relay_close(self) -> Result<RelayClose, SignalError> {
        Ok(RelayClose {
            channel: need!(self, "relay-close", channel),
            reason: self.reason.unwrap_or(RelayReason::Done),
        })
    }
}
