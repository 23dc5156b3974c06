//! What the tracker says to a peer.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::{IceServer, RelayReason, SessionDescription, SignalError, ice};
use crate::ids::{InfoHash, OfferId, PeerId};
use crate::limits::{MAX_NUMWANT, MAX_REASON_BYTES, MAX_SIGNAL_BYTES};
use crate::relay::ChannelId;

/// One text message from the tracker.
#[derive(Debug, Clone, PartialEq)]
pub enum ToPeer {
    /// The reply to an announce.
    Announced(Announced),
    /// Somebody's offer, to be answered.
    Offer(Forwarded),
    /// Your offer for one peer was not passed on (our extension).
    OfferRefused(OfferRefused),
    /// The answer to an offer of yours.
    Answer(Forwarded),
    /// The reply to a scrape.
    Scraped(Scraped),
    /// What you sent was refused.
    Failed(Failed),
    /// A relay channel is open (our extension).
    RelayOpened(RelayOpened),
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
pub struct Forwarded {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who sent it.
    pub peer_id: PeerId,
    /// Which offer this is, or answers.
    pub offer_id: OfferId,
    /// The session description.
    pub description: SessionDescription,
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

/// Every field that any message to a peer has. Unknown fields are ignored, as other trackers send some.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Raw {
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<InfoHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_peer_id: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_id: Option<OfferId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<SessionDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<SessionDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Number>,
    #[serde(rename = "min interval", alias = "min_interval", skip_serializing_if = "Option::is_none")]
    min_interval: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<BTreeMap<InfoHash, SwarmCounts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Flags>,
    #[serde(rename = "failure reason", skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RelayReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enxame: Option<EnxameReply>,
}

#[derive(Serialize, Deserialize)]
struct Flags {
    #[serde(default)]
    min_request_interval: u32,
}

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
        serde_json::to_string(&Raw::from(self.clone()))
            .expect("strings, finite numbers and maps with text keys are always JSON")
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

impl From<ToPeer> for Raw {
    fn from(message: ToPeer) -> Self {
        match message {
            ToPeer::Announced(reply) => Self {
                action: "announce".into(),
                info_hash: Some(reply.info_hash),
                interval: Some(reply.interval.into()),
                complete: Some(reply.complete),
                incomplete: Some(reply.incomplete),
                enxame: reply.enxame,
                ..Self::default()
            },
            ToPeer::Offer(forwarded) => {
                Self { offer: Some(forwarded.description.clone()), ..Self::forwarded(&forwarded) }
            }
            ToPeer::OfferRefused(refused) => Self {
                action: "offer-refused".into(),
                info_hash: Some(refused.info_hash),
                to_peer_id: Some(refused.to_peer_id),
                offer_id: Some(refused.offer_id),
                ..Self::default()
            },
            ToPeer::Answer(forwarded) => {
                Self { answer: Some(forwarded.description.clone()), ..Self::forwarded(&forwarded) }
            }
            ToPeer::Scraped(reply) => Self {
                action: "scrape".into(),
                files: Some(reply.files),
                flags: Some(Flags { min_request_interval: reply.min_request_interval }),
                ..Self::default()
            },
            ToPeer::Failed(failed) => Self {
                action: failed.action,
                info_hash: failed.info_hash,
                failure_reason: Some(failed.reason),
                ..Self::default()
            },
            ToPeer::RelayOpened(opened) => Self {
                action: "relay-opened".into(),
                info_hash: Some(opened.info_hash),
                peer_id: Some(opened.peer_id),
                channel: Some(opened.channel),
                window: Some(opened.window),
                initiator: Some(opened.initiator),
                ..Self::default()
            },
            ToPeer::RelayRefused { info_hash, to_peer_id, reason } => Self {
                action: "relay-refused".into(),
                info_hash: Some(info_hash),
                to_peer_id: Some(to_peer_id),
                reason: Some(reason),
                ..Self::default()
            },
            ToPeer::RelayClosed { info_hash, channel, reason } => Self {
                action: "relay-closed".into(),
                info_hash: Some(info_hash),
                channel: Some(channel),
                reason: Some(reason),
                ..Self::default()
            },
            ToPeer::Reconnect { within } => {
                Self { action: "reconnect".into(), within: Some(within), ..Self::default() }
            }
        }
    }
}

impl Raw {
    fn forwarded(forwarded: &Forwarded) -> Self {
        Self {
            action: "announce".into(),
            info_hash: Some(forwarded.info_hash),
            peer_id: Some(forwarded.peer_id),
            offer_id: Some(forwarded.offer_id),
            ..Self::default()
        }
    }
}
