//! The tracker's own view of the signals: session descriptions are passed on as they came.
//!
//! A tracker reads an SDP only to hand it to somebody else, so it is never unescaped and escaped again: what stands
//! between the quotes of the sender's JSON stands between those of the receiver's. That it is a whole JSON string is checked
//! when it is read ([`Escaped`]).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use shared::signal::Sdp;

/// [`shared::signal::ToTracker`] as a tracker reads it.
pub type ToTracker = shared::signal::ToTracker<Escaped>;
/// [`shared::signal::ToPeer`] as a tracker writes it.
pub type ToPeer = shared::signal::ToPeer<Escaped>;
/// [`shared::signal::SessionDescription`] as a tracker passes it on.
pub type SessionDescription = shared::signal::SessionDescription<Escaped>;
/// [`shared::signal::Announce`] as a tracker reads it.
pub type Announce = shared::signal::Announce<Escaped>;
/// [`shared::signal::Answer`] as a tracker reads it.
pub type Answer = shared::signal::Answer<Escaped>;
/// [`shared::signal::Offer`] as a tracker reads it.
pub type Offer = shared::signal::Offer<Escaped>;
/// [`shared::signal::TargetedOffer`] as a tracker reads it.
pub type TargetedOffer = shared::signal::TargetedOffer<Escaped>;
/// [`shared::signal::Forwarded`] as a tracker writes it.
pub type Forwarded = shared::signal::Forwarded<Escaped>;

/// A text as JSON writes it: quotes, escapes and all.
///
/// Invariant: it is a JSON string (RFC 8259, section 7) that stands for Unicode text: no escape is unknown, and no surrogate
/// is alone.
#[derive(Clone)]
pub struct Escaped(Box<RawValue>);

impl Escaped {
    /// Bytes that are kept: of the text with its escapes and quotes.
    #[expect(clippy::len_without_is_empty, reason = "there are always the quotes")]
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// The text without escapes.
    pub fn to_text(&self) -> String {
        // What does not hold by the invariant must not end the server.
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Escaped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let json = raw.get();
        if !json.starts_with('"') {
            return Err(de::Error::custom("an SDP is not a string"));
        }
        // A raw value was looked through to its end, but numbered characters only counted: half of a surrogate pair is
        // found by reading them. No browser writes any.
        if json.contains("\\u") {
            serde_json::from_str::<String>(json).map_err(de::Error::custom)?;
        }
        Ok(Self(raw.to_owned()))
    }
}

impl Serialize for Escaped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Sdp for Escaped {
    fn is_longer_than(&self, bytes: usize) -> bool {
        // No escape is shorter than what it stands for.
        self.len() - 2 > bytes && self.to_text().len() > bytes
    }
}

/// They stand for the same text.
impl PartialEq for Escaped {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get() || self.to_text() == other.to_text()
    }
}

impl Eq for Escaped {}

impl From<&str> for Escaped {
    fn from(text: &str) -> Self {
        Self(serde_json::value::to_raw_value(text).expect("a text is always JSON"))
    }
}

impl From<String> for Escaped {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Nothing of the text: it holds addresses.
impl fmt::Debug for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Escaped({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests;
