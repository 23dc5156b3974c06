//! What nodes of a cluster share, and how they hear of each other: one trait, in memory ([`Memory`](super::Memory)) and in
//! Redis ([`Redis`](super::Redis)).
//!
//! Each node enters its own peers, under a number of its own, drawn anew each time it joins. So nobody has to clear up
//! after a node that is gone: what stands under its number counts no more as soon as it stops to say that it lives, and
//! expires.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use shared::{InfoHash, PeerId};

/// A node, from when it joins to when it leaves or loses the others; then it comes as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// One that no other node has.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Bytes of a key's digest.
pub(crate) const DIGEST_LEN: usize = 16;

/// What the nodes know of a peer beside its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Has everything.
    pub seeder: bool,
    /// Speaks our extension.
    pub ours: bool,
    /// Relay channels may be opened to it.
    pub relay: bool,
    /// Takes WebRTC offers.
    pub rtc: bool,
    /// Of the secret that moves the peer id to another connection, if it has one.
    pub key: Option<[u8; DIGEST_LEN]>,
}

/// The four kinds of peers that are counted and drawn apart from each other.
pub const KINDS: usize = 4;

impl Entry {
    /// The digest under which a key is kept: the key itself stays at its node.
    pub fn digest(key: &str) -> [u8; DIGEST_LEN] {
        let digest: [u8; 20] = Sha1::digest(key.as_bytes()).into();
        let mut short = [0; DIGEST_LEN];
        short.copy_from_slice(&digest[..DIGEST_LEN]);
        short
    }

    /// 0 our leechers, 1 our seeders, 2 leechers of other programs, 3 their seeders.
    pub fn kind(&self) -> usize {
        usize::from(self.seeder) + if self.ours { 0 } else { 2 }
    }

    /// One byte of flags, and the digest if there is a key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bits = [self.seeder, self.ours, self.relay, self.rtc];
        let flags = bits.iter().enumerate().map(|(n, bit)| u8::from(*bit) << n).sum();
        let mut bytes = vec![flags];
        bytes.extend(self.key.iter().flatten());
        bytes
    }

    /// The opposite; `None` for what no node writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, digest) = bytes.split_first()?;
        let key = if digest.is_empty() { None } else { Some(digest.try_into().ok()?) };
        let bit = |n: u8| flags & (1 << n) != 0;
        Some(Self { seeder: bit(0), ours: bit(1), relay: bit(2), rtc: bit(3), key })
    }
}

/// How many peers to draw at random, and of which [kinds](Entry::kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draw {
    /// Whether each kind is among them.
    pub kinds: [bool; KINDS],
    /// How many, at most.
    pub count: usize,
}

/// A peer of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distant {
    /// Its node.
    pub node: NodeId,
    /// Its id.
    pub peer: PeerId,
    /// What is known of it.
    pub entry: Entry,
}

/// What a node asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A peer of this node is in a swarm, or still is: who else is there?
    Enter {
        /// The swarm.
        swarm: InfoHash,
        /// The peer.
        peer: PeerId,
        /// What is to be known of it.
        entry: Entry,
        /// Whether it has just completed the torrent.
        completed: bool,
        /// Time after which the entry counts no more, unless it is made again.
        lifetime: Duration,
        /// Whom to draw.
        draws: [Draw; 2],
    },
    /// A peer of this node left a swarm.
    Leave {
        /// The swarm.
        swarm: InfoHash,
        /// The peer.
        peer: PeerId,
    },
    /// How many are in a swarm at other nodes?
    Count {
        /// The swarm.
        swarm: InfoHash,
    },
    /// At which other node is this peer?
    Find {
        /// The swarm.
        swarm: InfoHash,
        /// The peer.
        peer: PeerId,
    },
}

/// A swarm at all nodes but the one that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Peers by [kind](Entry::kind).
    pub kinds: [u32; KINDS],
    /// How often the torrent was completed, at any node.
    pub completed: u32,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The peer is entered.
    Entered {
        /// Who else is in the swarm.
        counts: Counts,
        /// Those who were drawn, for each draw.
        drawn: [Vec<Distant>; 2],
        /// The node that had a peer of this id, which showed the same key: the id is here now.
        superseded: Option<NodeId>,
    },
    /// Another node has a peer of this id, with another key or none. Nothing was entered.
    Taken,
    /// It is done.
    Left,
    /// How many there are.
    Counted(Counts),
    /// Where the peer is, if it is at another node.
    Found(Option<Distant>),
    /// What keeps this swarm is out of reach. Other swarms may be kept elsewhere.
    Away,
}

/// The others cannot be reached. The sentence is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Called with each message for a node. Must not block.
pub type Hear = Arc<dyn Fn(Bytes) + Send + Sync>;

/// Where nodes meet.
pub trait Backend: Send + Sync + 'static {
    /// One stay there.
    type Session: Session;

    /// Comes, and hears from now on what others tell this node.
    fn join(&self, node: NodeId, hear: Hear) -> impl Future<Output = Result<Self::Session, Lost>> + Send;
}

/// A node's stay where nodes meet. After the first [`Lost`] nothing more comes of it.
pub trait Session: Send + Sync + 'static {
    /// Says that this node lives for so long. Gives the other nodes that live.
    ///
    /// # Errors
    /// [`Lost`], also when the node was taken for dead in the meantime.
    fn live(&self, lifetime: Duration) -> impl Future<Output = Result<Vec<NodeId>, Lost>> + Send;

    /// Answers in the order of the questions. `others` are the nodes whose peers count.
    ///
    /// # Errors
    /// [`Lost`]; then some of it may have happened.
    fn ask(&self, others: &[NodeId], asks: &[Ask]) -> impl Future<Output = Result<Vec<Told>, Lost>> + Send;

    /// Tells other nodes something, in this order. Gives for each message whether its node was there to hear it.
    ///
    /// # Errors
    /// [`Lost`]; then some of it may have been heard.
    fn tell(&self, messages: &[(NodeId, Bytes)]) -> impl Future<Output = Result<Vec<bool>, Lost>> + Send;

    /// Waits until the node hears no more of what it is told.
    fn lost(&self) -> impl Future<Output = Lost> + Send;

    /// Has a node count as dead at once: this one when it leaves, or the one that it was before it lost the others.
    ///
    /// # Errors
    /// [`Lost`].
    fn bury(&self, node: NodeId) -> impl Future<Output = Result<(), Lost>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_nothing_else_is() {
        let entry =
            Entry { seeder: true, ours: false, relay: true, rtc: false, key: Some(Entry::digest("a")) };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        let entry = Entry { seeder: false, ours: true, relay: false, rtc: true, key: None };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!(Entry::decode(&[]), None);
        assert_eq!(Entry::decode(&[0, 1, 2]), None);
    }
}
