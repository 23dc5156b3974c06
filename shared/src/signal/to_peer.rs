//! What the tracker says to a peer.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

use super::{IceServer, RelayReason, SessionDescription, SignalError, Ticket, ice};
use crate::ids::{InfoHash, OfferId, PeerId};
use crate::limits::{MAX_NUMWANT, MAX_REASON_BYTES, MAX_RELAY_URL_BYTES, MAX_SIGNAL_BYTES};
use crate::relay::ChannelId;

/// One text message from the tracker. `S` is how the SDP in it is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum ToPeer<S = String> {
    /// The reply to an announce.
    Announced(Announced),
    /// Somebody's offer, to be answered.
    Offer(Forwarded<S>),
    /// Your offer for one peer was not passed on (our extension).
    OfferRefused(OfferRefused),
    /// The answer to an offer of yours.
    Answer(Forwarded<S>),
    /// The reply to a scrape.
    Scraped(Scraped),
    /// What you sent was refused.
    Failed(Failed),
    /// A relay channel is open (our extension).
    RelayOpened(RelayOpened),
    /// The relay channel is to be had at another tracker of the cluster (our extension).
    RelayAt(RelayAt),
    /// A relay channel was not opened (our extension).
    RelayRefused {
        /// The swarm.
        info_hash: InfoHash,
        /// Who was to be reached.
        to_peer_id: PeerId,
        /// Why not.
        reason: RelayReason,
    },
    /// A relay channel is closed (our extension).
    RelayClosed {
        /// The swarm.
        info_hash: InfoHash,
        /// The channel, as numbered on this connection.
        channel: ChannelId,
        /// Why.
        reason: RelayReason,
    },
    /// The tracker is about to end: connect anew, at a moment of your own choice within this time (our extension).
    Reconnect {
        /// Milliseconds.
        within: u32,
    },
}

/// The reply to an announce.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Seconds until the next announce is due.
    pub interval: u32,
    /// Seeders in the swarm.
    pub complete: u32,
    /// Leechers in the swarm.
    pub incomplete: u32,
    /// Our extension; only to peers that sent theirs.
    pub enxame: Option<EnxameReply>,
}

/// What the tracker adds to its reply for our own clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnxameReply {
    /// The version spoken.
    pub v: u32,
    /// Credit that each direction of a relay channel starts with, in bytes.
    pub window: u32,
    /// Peers of the swarm that speak the extension and share a way with the asker (relay, or WebRTC), chosen at random,
    /// at most `numwant`.
    #[serde(deserialize_with = "at_most_max_numwant")]
    pub peers: Vec<NamedPeer>,
    /// How many peers of other programs the swarm has that an offer in an announce could go to; for a seeder,
    /// those that are none.
    #[serde(default)]
    pub strangers: u32,
    /// The ICE servers that the tracker's owner chose, maybe none; absent where nothing was chosen. Those that a browser
    /// would not take are left out when it is read.
    #[serde(default, deserialize_with = "ice::usable", skip_serializing_if = "Option::is_none")]
    pub ice: Option<Vec<IceServer>>,
}

fn at_most_max_numwant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamedPeer>, D::Error> {
    let mut peers = Vec::deserialize(deserializer)?;
    peers.truncate(MAX_NUMWANT);
    Ok(peers)
}

/// A peer that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPeer {
    /// Its id.
    pub peer_id: PeerId,
    /// Whether it has everything.
    pub seeder: bool,
    /// Whether relay channels can be opened to it.
    #[serde(default = "yes")]
    pub relay: bool,
    /// Whether it takes WebRTC offers.
    #[serde(default)]
    pub rtc: bool,
    /// The relay channel to it that was opened just now, as the announce asked, numbered on this connection; the asker is
    /// the initiator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
}

/// Trackers from before WebRTC named only peers that relay.
fn yes() -> bool {
    true
}

/// `action: offer-refused` (our extension): the peer is not in that swarm, takes no offers, or got too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferRefused {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Whom the offer was for.
    pub to_peer_id: PeerId,
    /// Which offer.
    pub offer_id: OfferId,
}

/// An offer or an answer on its way to the peer it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded<S = String> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who sent it.
    pub peer_id: PeerId,
    /// Which offer this is, or answers.
    pub offer_id: OfferId,
    /// The session description.
    pub description: SessionDescription<S>,
}

/// Peers in one swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmCounts {
    /// Seeders now.
    pub complete: u32,
    /// Leechers now.
    pub incomplete: u32,
    /// How often `completed` was announced.
    pub downloaded: u32,
}

/// The reply to a scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scraped {
    /// The counts of each swarm that was asked about.
    pub files: BTreeMap<InfoHash, SwarmCounts>,
    /// Seconds to wait before asking again.
    pub min_request_interval: u32,
}

/// What you sent was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What was refused (`announce` when that is not known: clients need the field).
    pub action: String,
    /// The swarm, where one was named.
    pub info_hash: Option<InfoHash>,
    /// One sentence.
    pub reason: String,
}

/// A relay channel is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayOpened {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who is at the other end.
    pub peer_id: PeerId,
    /// The channel, as numbered on this connection.
    pub channel: ChannelId,
    /// Credit that each direction starts with, in bytes.
    pub window: u32,
    /// Whether it was this side that asked.
    pub initiator: bool,
}

/// The relay channel is to be had at the tracker where the other peer is: go there with
/// [`RelayVisit`](super::RelayVisit), or ask again without [`RelayOpen::visit`](super::RelayOpen::visit). Only to
/// those who said that they would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAt {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who is to be reached.
    pub to_peer_id: PeerId,
    /// The tracker's address, `ws://…` or `wss://…`, at most [`MAX_RELAY_URL_BYTES`]; see
    /// [`check_relay_url`](super::check_relay_url) for the rest.
    pub url: String,
    /// What opens the channel there: once, within seconds, and for these two peers alone.
    pub ticket: Ticket,
}

/// Every field that any message to a peer has. Unknown fields are ignored, as other trackers send some.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    action: String,
    info_hash: Option<InfoHash>,
    peer_id: Option<PeerId>,
    to_peer_id: Option<PeerId>,
    offer_id: Option<OfferId>,
    offer: Option<SessionDescription>,
    answer: Option<SessionDescription>,
    interval: Option<Number>,
    #[serde(rename = "min interval", alias = "min_interval")]
    min_interval: Option<Number>,
    complete: Option<u32>,
    incomplete: Option<u32>,
    files: Option<BTreeMap<InfoHash, SwarmCounts>>,
    flags: Option<Flags>,
    #[serde(rename = "failure reason")]
    failure_reason: Option<String>,
    channel: Option<ChannelId>,
    window: Option<u32>,
    initiator: Option<bool>,
    reason: Option<RelayReason>,
    url: Option<String>,
    ticket: Option<Ticket>,
    within: Option<u32>,
    enxame: Option<EnxameReply>,
}

#[derive(Serialize, Deserialize)]
struct Flags {
    #[serde(default)]
    min_request_interval: u32,
}

const ALWAYS_JSON: &str = "strings, finite numbers and maps with text keys are always JSON";

impl ToPeer {
    /// Reads one text message.
    ///
    /// # Errors
    /// [`SignalError`]: too long, not JSON of the right shape, an unknown action, a field missing.
    pub fn from_json(text: &str) -> Result<Self, SignalError> {
        if text.len() > MAX_SIGNAL_BYTES {
            return Err(SignalError::TooLong(text.len()));
        }
        let raw: Raw =
            serde_json::from_str(text).map_err(|error| SignalError::Malformed(error.to_string()))?;
        raw.parse()
    }

    /// Writes the message as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect(ALWAYS_JSON)
    }
}

impl<S: Serialize> ToPeer<S> {
    /// Appends the message as JSON, without a copy of anything in it.
    pub fn write_json(&self, to: &mut Vec<u8>) {
        serde_json::to_writer(to, self).expect(ALWAYS_JSON);
    }
}

impl Raw {
    fn parse(self) -> Result<ToPeer, SignalError> {
        fn need<T>(field: Option<T>, action: &'static str, name: &'static str) -> Result<T, SignalError> {
            field.ok_or(SignalError::Missing { action, field: name })
        }
        if let Some(reason) = self.failure_reason {
            let mut reason = reason;
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
            return Ok(ToPeer::Failed(Failed { action: self.action, info_hash: self.info_hash, reason }));
        }
        match self.action.as_str() {
            "announce" if self.offer.is_some() || self.answer.is_some() => {
                let is_offer = self.offer.is_some();
                let description = need(self.offer.or(self.answer), "announce", "offer or answer")?;
                description.check(if is_offer { "offer" } else { "answer" })?;
                let forwarded = Forwarded {
                    info_hash: need(self.info_hash, "offer or answer", "info_hash")?,
                    peer_id: need(self.peer_id, "offer or answer", "peer_id")?,
                    offer_id: need(self.offer_id, "offer or answer", "offer_id")?,
                    description,
                };
                Ok(if is_offer { ToPeer::Offer(forwarded) } else { ToPeer::Answer(forwarded) })
            }
            "announce" => Ok(ToPeer::Announced(Announced {
                info_hash: need(self.info_hash, "announce", "info_hash")?,
                // Other trackers write fractions too. Saturating; what is below zero is 0, which the announcer raises to its
                // own minimum.
                interval: need(self.interval.or(self.min_interval), "announce", "interval")?
                    .as_f64()
                    .unwrap_or(0.0) as u32,
                complete: self.complete.unwrap_or(0),
                incomplete: self.incomplete.unwrap_or(0),
                enxame: self.enxame,
            })),
            "scrape" => Ok(ToPeer::Scraped(Scraped {
                files: need(self.files, "scrape", "files")?,
                min_request_interval: self.flags.map_or(0, |flags| flags.min_request_interval),
            })),
            "offer-refused" => Ok(ToPeer::OfferRefused(OfferRefused {
                info_hash: need(self.info_hash, "offer-refused", "info_hash")?,
                to_peer_id: need(self.to_peer_id, "offer-refused", "to_peer_id")?,
                offer_id: need(self.offer_id, "offer-refused", "offer_id")?,
            })),
            "relay-opened" => Ok(ToPeer::RelayOpened(RelayOpened {
                info_hash: need(self.info_hash, "relay-opened", "info_hash")?,
                peer_id: need(self.peer_id, "relay-opened", "peer_id")?,
                channel: need(self.channel, "relay-opened", "channel")?,
                window: need(self.window, "relay-opened", "window")?,
                initiator: self.initiator.unwrap_or(false),
            })),
            "relay-at" => {
                let url = need(self.url, "relay-at", "url")?;
                if url.len() > MAX_RELAY_URL_BYTES {
                    let sentence = format!("an address is longer than {MAX_RELAY_URL_BYTES} bytes");
                    return Err(SignalError::Malformed(sentence));
                }
                Ok(ToPeer::RelayAt(RelayAt {
                    info_hash: need(self.info_hash, "relay-at", "info_hash")?,
                    to_peer_id: need(self.to_peer_id, "relay-at", "to_peer_id")?,
                    url,
                    ticket: need(self.ticket, "relay-at", "ticket")?,
                }))
            }
            "relay-refused" => Ok(ToPeer::RelayRefused {
                info_hash: need(self.info_hash, "relay-refused", "info_hash")?,
                to_peer_id: need(self.to_peer_id, "relay-refused", "to_peer_id")?,
                reason: self.reason.unwrap_or(RelayReason::Other),
            }),
            "relay-closed" => Ok(ToPeer::RelayClosed {
                info_hash: need(self.info_hash, "relay-closed", "info_hash")?,
                channel: need(self.channel, "relay-closed", "channel")?,
                reason: self.reason.unwrap_or(RelayReason::Other),
            }),
            "reconnect" => Ok(ToPeer::Reconnect { within: need(self.within, "reconnect", "within")? }),
            other => Err(SignalError::UnknownAction(other.chars().take(32).collect())),
        }
    }
}

/// The text message, field by field.
impl<S: Serialize> Serialize for ToPeer<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Announced(reply) => {
                map.serialize_entry("action", "announce")?;
                map.serialize_entry("info_hash", &reply.info_hash)?;
                map.serialize_entry("interval", &reply.interval)?;
                map.serialize_entry("complete", &reply.complete)?;
                map.serialize_entry("incomplete", &reply.incomplete)?;
                if let Some(enxame) = &reply.enxame {
                    map.serialize_entry("enxame", enxame)?;
                }
            }
            Self::Offer(forwarded) => {
                forwarded.serialize_into(&mut map)?;
                map.serialize_entry("offer", &forwarded.description)?;
            }
            Self::OfferRefused(refused) => {
                map.serialize_entry("action", "offer-refused")?;
                map.serialize_entry("info_hash", &refused.info_hash)?;
                map.serialize_entry("to_peer_id", &refused.to_peer_id)?;
                map.serialize_entry("offer_id", &refused.offer_id)?;
            }
            Self::Answer(forwarded) => {
                forwarded.serialize_into(&mut map)?;
                map.serialize_entry("answer", &forwarded.description)?;
            }
            Self::Scraped(reply) => {
                map.serialize_entry("action", "scrape")?;
                map.serialize_entry("files", &reply.files)?;
                let flags = Flags { min_request_interval: reply.min_request_interval };
                map.serialize_entry("flags", &flags)?;
            }
            Self::Failed(failed) => {
                map.serialize_entry("action", &failed.action)?;
                if let Some(info_hash) = &failed.info_hash {
                    map.serialize_entry("info_hash", info_hash)?;
                }
                map.serialize_entry("failure reason", &failed.reason)?;
            }
            Self::RelayOpened(opened) => {
                map.serialize_entry("action", "relay-opened")?;
                map.serialize_entry("info_hash", &opened.info_hash)?;
                map.serialize_entry("peer_id", &opened.peer_id)?;
                map.serialize_entry("channel", &opened.channel)?;
                map.serialize_entry("window", &opened.window)?;
                map.serialize_entry("initiator", &opened.initiator)?;
            }
            Self::RelayAt(at) => {
                map.serialize_entry("action", "relay-at")?;
                map.serialize_entry("info_hash", &at.info_hash)?;
                map.serialize_entry("to_peer_id", &at.to_peer_id)?;
                map.serialize_entry("url", &at.url)?;
                map.serialize_entry("ticket", &at.ticket)?;
            }
            Self::RelayRefused { info_hash, to_peer_id, reason } => {
                map.serialize_entry("action", "relay-refused")?;
                map.serialize_entry("info_hash", info_hash)?;
                map.serialize_entry("to_peer_id", to_peer_id)?;
                map.serialize_entry("reason", reason)?;
            }
            Self::RelayClosed { info_hash, channel, reason } => {
                map.serialize_entry("action", "relay-closed")?;
                map.serialize_entry("info_hash", info_hash)?;
                map.serialize_entry("channel", channel)?;
                map.serialize_entry("reason", reason)?;
            }
            Self::Reconnect { within } => {
                map.serialize_entry("action", "reconnect")?;
                map.serialize_entry("within", within)?;
            }
        }
        map.end()
    }
}

impl<S> Forwarded<S> {
    /// All but the description, whose field's name tells an offer from an answer.
    fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("action", "announce")?;
        map.serialize_entry("info_hash", &self.info_hash)?;
        map.serialize_entry("peer_id", &self.peer_id)?;
        map.serialize_entry("offer_id", &self.offer_id)
    }
}
