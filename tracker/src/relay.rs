//! Which relay channels are open, and what may be sent on them: pure state machines.
//!
//! [`Channels`] knows both ends of every channel. [`Credit`] counts the bytes of one direction of one channel; the
//! connections keep one for each direction towards them, so that forwarding a frame needs no lock that others share.
//!
//! A channel is opened inside one swarm, between two peers over two connections, at the wish of either. Each end has a
//! number of its own, never used again on that connection: whoever gets a message about an unknown number that is not
//! above the highest it has seen knows that it is about a channel closed in the meantime.

mod credit;
mod numbers;

use std::collections::HashMap;
use std::sync::Arc;

use shared::relay::ChannelId;
use shared::signal::RelayReason;
use shared::{InfoHash, PeerId};

use crate::ConnectionId;
use crate::limits::{MAX_CHANNELS, MAX_RELAY_CHANNELS};
use crate::registry::Membership;
pub use credit::{Credit, CreditError};
pub use numbers::Numbers;

/// One end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    /// The connection.
    pub connection: ConnectionId,
    /// The channel's number on it.
    pub channel: ChannelId,
}

/// What became of a wish to open a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open now; both sides are to be told.
    Opened {
        /// The end of the peer that asked.
        asker: End,
        /// The end of the other peer.
        other: End,
    },
    /// The two have a channel in this swarm already, and both have been told so: there is nothing to do. (Two peers
    /// that find each other often ask at the same moment.)
    Existing,
}

/// Which relay channels are open.
///
/// A tracker may have several, each for some of the swarms; they share the [`Numbers`], by which the bounds hold for all of them
/// together.
///
/// Invariant: the far end of a channel's far end is the channel itself.
#[derive(Debug)]
pub struct Channels {
    /// Of each connection that has any.
    sides: HashMap<ConnectionId, HashMap<ChannelId, Line>>,
    numbers: Arc<Numbers>,
}

impl Default for Channels {
    fn default() -> Self {
        Self::new(Arc::new(Numbers::new(MAX_CHANNELS, MAX_RELAY_CHANNELS)))
    }
}

/// A channel as seen from one of its ends.
#[derive(Debug, Clone, Copy)]
struct Line {
    far: End,
    info_hash: InfoHash,
    near_peer: PeerId,
    far_peer: PeerId,
}

impl Channels {
    /// None are open.
    pub fn new(numbers: Arc<Numbers>) -> Self {
        Self { sides: HashMap::new(), numbers }
    }

    /// Opens a channel between two peers of one swarm.
    ///
    /// # Errors
    /// [`RelayReason::UnknownPeer`] when both are of different swarms or over the same connection, and
    /// [`RelayReason::TooManyChannels`] when either has as many as it may have, or no numbers left, or when there are as many
    /// as there may be.
    pub fn open(&mut self, asker: Membership, other: Membership) -> Result<Opening, RelayReason> {
        if asker.connection == other.connection || asker.info_hash != other.info_hash {
            return Err(RelayReason::UnknownPeer);
        }
        let existing = |line: &Line| {
            line.info_hash == asker.info_hash
                && line.near_peer == asker.peer_id
                && line.far_peer == other.peer_id
        };
        if self.sides.get(&asker.connection).is_some_and(|side| side.values().any(existing)) {
            return Ok(Opening::Existing);
        }
        let both = self.numbers.take(asker.connection, other.connection);
        let (asker_channel, other_channel) = both.ok_or(RelayReason::TooManyChannels)?;
        let asker_end = End { connection: asker.connection, channel: asker_channel };
        let other_end = End { connection: other.connection, channel: other_channel };
        self.add(asker_end, other_end, asker, other.peer_id);
        self.add(other_end, asker_end, other, asker.peer_id);
        Ok(Opening::Opened { asker: asker_end, other: other_end })
    }

    /// Closes a channel and gives its far end and its swarm; `None` if it is not open.
    pub fn close(&mut self, end: End) -> Option<(End, InfoHash)> {
        let line = self.remove(end)?;
        self.remove(line.far);
        self.numbers.give_back(end.connection, line.far.connection);
        Some((line.far, line.info_hash))
    }

    /// The other end of an open channel.
    pub fn far_end(&self, end: End) -> Option<End> {
        Some(self.sides.get(&end.connection)?.get(&end.channel)?.far)
    }

    /// Both ends, its own first, of the channel that this peer has with that one, in their swarm.
    pub(crate) fn between(&self, member: Membership, other: PeerId) -> Option<(End, End)> {
        let side = self.sides.get(&member.connection)?;
        let (channel, line) = side.iter().find(|(_, line)| {
            line.info_hash == member.info_hash && line.near_peer == member.peer_id && line.far_peer == other
        })?;
        Some((End { connection: member.connection, channel: *channel }, line.far))
    }

    /// The open channels of one peer in one swarm.
    pub fn of_member(&self, member: Membership) -> Vec<End> {
        let Some(side) = self.sides.get(&member.connection) else { return Vec::new() };
        side.iter()
            .filter(|(_, line)| line.info_hash == member.info_hash && line.near_peer == member.peer_id)
            .map(|(channel, _)| End { connection: member.connection, channel: *channel })
            .collect()
    }

    /// Closes all channels of a connection that is gone, and gives their far ends.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Vec<End> {
        let side = self.sides.remove(&connection).unwrap_or_default();
        let ends: Vec<End> = side.values().map(|line| line.far).collect();
        for far in &ends {
            self.remove(*far);
            self.numbers.give_back(connection, far.connection);
        }
        ends
    }

    /// The same for one that has channels here alone: its numbers are forgotten.
    pub(crate) fn end(&mut self, connection: ConnectionId) -> Vec<End> {
        let ends = self.disconnect(connection);
        self.numbers.forget(connection);
        ends
    }

    /// Keeps no room for those who have left.
    pub(crate) fn shrink(&mut self) {
        self.sides.shrink_to_fit();
    }

    /// Number of open channels, of all that share the numbers.
    pub fn count(&self) -> usize {
        self.numbers.open()
    }

    fn add(&mut self, near: End, far: End, member: Membership, far_peer: PeerId) {
        let line = Line { far, info_hash: member.info_hash, near_peer: member.peer_id, far_peer };
        self.sides.entry(near.connection).or_default().insert(near.channel, line);
    }

    fn remove(&mut self, end: End) -> Option<Line> {
        let side = self.sides.get_mut(&end.connection)?;
        let line = side.remove(&end.channel);
        if side.is_empty() {
            self.sides.remove(&end.connection);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one peer of a connection.
    fn member(connection: u64, swarm: u8) -> Membership {
        let mut peer_id = [0; 20];
        peer_id[..8].copy_from_slice(&connection.to_be_bytes());
        Membership {
            connection: ConnectionId(connection),
            info_hash: InfoHash::new([swarm; 20]),
            peer_id: PeerId::new(peer_id),
        }
    }

    fn opened(channels: &mut Channels, asker: Membership, other: Membership) -> (End, End) {
        match channels.open(asker, other) {
            Ok(Opening::Opened { asker, other }) => (asker, other),
            result => panic!("not opened: {result:?}"),
        }
    }

    #[test]
    fn each_end_has_a_number_of_its_own_that_is_never_used_again() {
        let mut channels = Channels::default();
        let (a, b) = opened(&mut channels, member(1, 1), member(2, 1));
        assert_eq!((a.channel, b.channel), (ChannelId(1), ChannelId(1)));
        let (c, a2) = opened(&mut channels, member(3, 1), member(1, 1));
        assert_eq!((c.channel, a2.channel), (ChannelId(1), ChannelId(2)));
        assert_eq!(channels.close(b).map(|(far, _)| far), Some(a));
        let (a3, b2) = opened(&mut channels, member(1, 1), member(2, 1));
        assert_eq!((a3.channel, b2.channel), (ChannelId(3), ChannelId(2)));
        assert_eq!(channels.count(), 2);
    }

    #[test]
    fn two_peers_have_one_channel_a_swarm_whoever_asks_and_however_often() {
        let mut channels = Channels::default();
        opened(&mut channels, member(1, 1), member(2, 1));
        assert_eq!(channels.open(member(1, 1), member(2, 1)), Ok(Opening::Existing));
        assert_eq!(channels.open(member(2, 1), member(1, 1)), Ok(Opening::Existing));
        opened(&mut channels, member(1, 2), member(2, 2));
        assert_eq!(channels.count(), 2);
    }

    #[test]
    fn no_channel_leads_to_oneself_or_into_another_swarm() {
        let mut channels = Channels::default();
        assert_eq!(channels.open(member(1, 1), member(1, 1)), Err(RelayReason::UnknownPeer));
        assert_eq!(channels.open(member(1, 1), member(2, 2)), Err(RelayReason::UnknownPeer));
        assert_eq!(channels.count(), 0);
    }

    #[test]
    fn closing_either_end_closes_both_and_closing_twice_does_nothing() {
        let mut channels = Channels::default();
        let (a, b) = opened(&mut channels, member(1, 1), member(2, 1));
        assert_eq!(channels.close(a), Some((b, InfoHash::new([1; 20]))));
        assert_eq!(channels.close(a), None);
        assert_eq!(channels.close(b), None);
        assert_eq!(channels.count(), 0);
    }

    #[test]
    fn a_connection_that_goes_takes_its_channels_along() {
        let mut channels = Channels::default();
        let (_, b) = opened(&mut channels, member(1, 1), member(2, 1));
        let (_, c) = opened(&mut channels, member(1, 1), member(3, 1));
        opened(&mut channels, member(2, 1), member(3, 1));
        let mut gone = channels.disconnect(ConnectionId(1));
        gone.sort();
        assert_eq!(gone, [b, c]);
        assert_eq!(channels.count(), 1);
        assert_eq!(channels.close(b), None);
    }

    #[test]
    fn channels_of_one_connection_are_bounded_on_either_side() {
        let mut channels = Channels::default();
        for other in 0..MAX_CHANNELS as u64 {
            opened(&mut channels, member(1000 + other, 1), member(1, 1));
        }
        assert_eq!(channels.open(member(1, 1), member(2, 1)), Err(RelayReason::TooManyChannels));
        assert_eq!(channels.open(member(2, 1), member(1, 1)), Err(RelayReason::TooManyChannels));
        opened(&mut channels, member(2, 1), member(3, 1));
    }
}
