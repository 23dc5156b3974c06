//! What a peer and the tracker say to each other, as JSON text over a WebSocket.
//!
//! The messages are WebTorrent's (there is no BEP; bittorrent-tracker, aquatic and libtorrent are the
//! specification); `enxame` fields and `relay-…` actions are our extension, which other clients never see.
//! Types are named by direction: [`ToTracker`] and [`ToPeer`].
//!
//! ```text
//! peer → tracker   announce (with offers), offer (to a named peer), answer, scrape, relay-open, relay-visit, relay-close
//! tracker → peer   announced, offer, offer-refused, answer, scraped, failed, relay-opened, relay-at, relay-refused, relay-closed,
//!                  reconnect
//! ```

mod ice;
mod ticket;
mod to_peer;
mod to_tracker;
mod url;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_SDP_BYTES;
pub use ice::{IceError, IceServer, parse_ice_servers};
pub use ticket::Ticket;
pub use to_peer::{
    Announced, EnxameReply, Failed, Forwarded, NamedPeer, OfferRefused, RelayAt, RelayOpened, Scraped,
    SwarmCounts, ToPeer,
};
pub use to_tracker::{
    Announce, Answer, EnxameHello, Event, Offer, RelayClose, RelayOpen, RelayVisit, Scrape, TargetedOffer,
    ToTracker,
};
pub use url::check_relay_url;

/// The version of our extension that this program speaks.
pub const ENXAME_VERSION: u32 = 1;

/// WebSocket close code for a client whose peer id went over to a newer connection of the same peer; it should not come
/// back by itself. From the range that RFC 6455, section 7.4.2, leaves to applications.
pub const CLOSE_SUPERSEDED: u16 = 4001;

/// One session description, exactly as WebTorrent signals it.
///
/// Whoever only passes descriptions on may keep the SDP as it came: `S` is how it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription<S = String> {
    /// `offer` or `answer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The SDP. Never logged: it holds addresses.
    pub sdp: S,
}

/// The text of a session description, however it is kept.
pub trait Sdp {
    /// Whether the text is longer than so many bytes.
    fn is_longer_than(&self, bytes: usize) -> bool;
}

impl Sdp for String {
    fn is_longer_than(&self, bytes: usize) -> bool {
        self.len() > bytes
    }
}

impl<S: Sdp> SessionDescription<S> {
    /// Checks that this is an offer, or an answer, that is not too long.
    fn check(&self, kind: &'static str) -> Result<(), SignalError> {
        if self.kind != kind {
            return Err(SignalError::Malformed(format!("the {kind}'s description is of another type")));
        }
        if self.sdp.is_longer_than(MAX_SDP_BYTES) {
            return Err(SignalError::Malformed(format!("an SDP is longer than {MAX_SDP_BYTES} bytes")));
        }
        Ok(())
    }
}

impl<S> std::fmt::Debug for SessionDescription<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionDescription({})", self.kind)
    }
}

/// Why a text message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Longer than [`MAX_SIGNAL_BYTES`](crate::limits::MAX_SIGNAL_BYTES).
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Not JSON, or a field of the wrong shape. The sentence is safe to send back.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// An `action` that this program does not know.
    #[error("unknown action {0:?}")]
    UnknownAction(String),
    /// A field that this action needs.
    #[error("{action} needs {field}")]
    Missing {
        /// The action.
        action: &'static str,
        /// The field that is not there.
        field: &'static str,
    },
}

/// Why a relay channel was not opened, or is closed; a word on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayReason {
    /// One side asked for it: it needs the channel no more.
    Done,
    /// The peer at the other end left, or lost its connection.
    PeerLeft,
    /// There is no such peer in that swarm.
    UnknownPeer,
    /// The asker has not announced itself in that swarm.
    NotInSwarm,
    /// One of the two did not say that it can relay.
    NotCapable,
    /// One of the two has as many channels as it may have.
    TooManyChannels,
    /// One of the two has sent as much as it may in a day.
    Quota,
    /// Too much waits for one of the two, or for the tracker as a whole.
    QueueFull,
    /// A side sent more than it had credit for.
    CreditExceeded,
    /// A frame or a credit that breaks the protocol.
    Protocol,
    /// The direct link took over.
    Direct,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}
