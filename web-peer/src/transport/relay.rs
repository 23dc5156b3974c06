//! The relay channels inside the tracker's socket: which link each belongs to, what may be sent, what is owed.
//!
//! Credit (`shared::relay`) is counted on both sides. What exceeds it waits here: the engine keeps within
//! [`RelayChannels::room`] for blocks, so that only small messages ever wait. No IO: what is to be sent is
//! handed to the caller.

use std::collections::VecDeque;

use bytes::Bytes;
use engine::LinkId;
use shared::limits::{MAX_RELAY_PAYLOAD, RELAY_WINDOW};
use shared::order::{SortedMap, sorted};
use shared::relay::{ChannelId, Frame, HEADER_LEN, data_header};

/// Received bytes after which credit is given back: a block. The sender takes for waiting what it was given no credit for,
/// and lets others wait for it.
const CREDIT_STEP: u32 = RELAY_WINDOW / 32;

struct Channel {
    link: LinkId,
    /// Bytes that we may send.
    credit: u32,
    /// What did not fit, in order.
    backlog: VecDeque<Bytes>,
    backlog_bytes: usize,
    /// Bytes received that the sender has not been given credit for.
    owed: u32,
}

impl Channel {
    /// Sends what credit allows, as whole frames.
    fn flush(&mut self, id: ChannelId, send: &mut impl FnMut(Vec<u8>)) {
        while self.credit > 0 {
            let Some(front) = self.backlog.front_mut() else { return };
            let len = front.len().min(MAX_RELAY_PAYLOAD).min(self.credit as usize);
            let payload = front.split_to(len);
            if front.is_empty() {
                self.backlog.pop_front();
            }
            self.backlog_bytes -= len;
            // `len` is at most `credit`, which is 32 bits wide.
            self.credit -= len as u32;
            let mut message = Vec::with_capacity(HEADER_LEN + len);
            message.extend_from_slice(&data_header(id));
            message.extend_from_slice(&payload);
            send(message);
        }
    }
}

/// All relay channels of one socket.
///
/// Invariant: `by_link` is the inverse of `channels`.
#[derive(Default)]
pub struct RelayChannels {
    channels: SortedMap<ChannelId, Channel>,
    by_link: SortedMap<LinkId, ChannelId>,
}

impl RelayChannels {
    /// The tracker opened `id`, and the engine knows it as `link`. Returns false, changing nothing, if a channel of
    /// that number is open already.
    pub fn open(&mut self, id: ChannelId, link: LinkId, window: u32) -> bool {
        if self.channels.contains_key(&id) {
            return false;
        }
        let channel = Channel { link, credit: window, backlog: VecDeque::new(), backlog_bytes: 0, owed: 0 };
        self.channels.insert(id, channel);
        self.by_link.insert(link, id);
        true
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Bytes that can be sent on this link without waiting.
    pub fn room(&self, link: LinkId) -> usize {
        let channel = self.by_link.get(&link).and_then(|id| self.channels.get(id));
        channel.map_or(0, |channel| (channel.credit as usize).saturating_sub(channel.backlog_bytes))
    }

    /// Sends `bytes` over this link: now what credit allows, the rest when credit comes.
    pub fn send(&mut self, link: LinkId, bytes: Bytes, mut send: impl FnMut(Vec<u8>)) {
        let Some(&id) = self.by_link.get(&link) else { return };
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if bytes.is_empty() {
            return;
        }
        channel.backlog_bytes += bytes.len();
        channel.backlog.push_back(bytes);
        channel.flush(id, &mut send);
    }

    /// `len` bytes came in on this channel. Returns the link they are for, and a credit frame when one is due.
    pub fn received(&mut self, id: ChannelId, len: usize) -> Option<(LinkId, Option<Frame>)> {
        let channel = self.channels.get_mut(&id)?;
        channel.owed = channel.owed.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let due = channel.owed >= CREDIT_STEP;
        let credit = due.then(|| Frame::Credit { channel: id, bytes: std::mem::take(&mut channel.owed) });
        Some((channel.link, credit))
    }

    /// The other side gave credit; sends what waited for it. Returns the link, whose room has grown.
    pub fn credited(&mut self, id: ChannelId, bytes: u32, mut send: impl FnMut(Vec<u8>)) -> Option<LinkId> {
        let channel = self.channels.get_mut(&id)?;
        channel.credit = channel.credit.saturating_add(bytes);
        channel.flush(id, &mut send);
        Some(channel.link)
    }

    /// We end this link. Returns the channel to close.
    pub fn close_link(&mut self, link: LinkId) -> Option<ChannelId> {
        let id = self.by_link.remove(&link)?;
        self.channels.remove(&id);
        Some(id)
    }

    /// The tracker closed this channel. Returns the link that ended.
    pub fn close_channel(&mut self, id: ChannelId) -> Option<LinkId> {
        let channel = self.channels.remove(&id)?;
        self.by_link.remove(&channel.link);
        Some(channel.link)
    }

    /// The socket is gone, and all channels with it. Returns the links that ended.
    pub fn close_all(&mut self) -> Vec<LinkId> {
        self.by_link.clear();
        let channels = std::mem::take(&mut self.channels);
        sorted(channels.into_iter().map(|(_, channel)| channel.link).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ChannelId = ChannelId(3);
    const LINK: LinkId = LinkId(9);

    fn opened(window: u32) -> RelayChannels {
        let mut channels = RelayChannels::default();
        assert!(channels.open(ID, LINK, window));
        channels
    }

    #[test]
    fn what_exceeds_the_credit_waits_for_it_and_keeps_its_order() {
        let mut channels = opened(4);
        let mut sent = Vec::new();
        channels.send(LINK, Bytes::from_static(b"abcdef"), |m| sent.push(m));
        channels.send(LINK, Bytes::from_static(b"gh"), |m| sent.push(m));
        assert_eq!(sent, [b"\x01\0\0\0\x03abcd".to_vec()]);
        assert_eq!(channels.room(LINK), 0);
        assert_eq!(channels.credited(ID, 10, |m| sent.push(m)), Some(LINK));
        assert_eq!(sent[1..], [b"\x01\0\0\0\x03ef".to_vec(), b"\x01\0\0\0\x03gh".to_vec()]);
        assert_eq!(channels.room(LINK), 6);
    }

    #[test]
    fn long_messages_are_cut_into_frames_that_the_tracker_takes() {
        let mut channels = opened(u32::MAX);
        let mut sent = Vec::new();
        channels.send(LINK, Bytes::from(vec![7; MAX_RELAY_PAYLOAD + 1]), |m| sent.push(m.len()));
        assert_eq!(sent, [HEADER_LEN + MAX_RELAY_PAYLOAD, HEADER_LEN + 1]);
    }

    #[test]
    fn credit_is_given_back_in_steps_and_adds_up() {
        let mut channels = opened(RELAY_WINDOW);
        assert_eq!(channels.received(ID, CREDIT_STEP as usize - 1), Some((LINK, None)));
        let credit = Frame::Credit { channel: ID, bytes: CREDIT_STEP + 1 };
        assert_eq!(channels.received(ID, 2), Some((LINK, Some(credit))));
        assert_eq!(channels.received(ID, 1), Some((LINK, None)));
    }

    #[test]
    fn a_channel_ends_from_either_side_and_is_forgotten() {
        let mut channels = opened(1);
        assert_eq!(channels.close_link(LINK), Some(ID));
        assert_eq!(channels.close_channel(ID), None);
        assert!(channels.open(ID, LINK, 1));
        assert!(!channels.open(ID, LinkId(10), 1));
        assert_eq!(channels.close_channel(ID), Some(LINK));
        assert_eq!(channels.room(LINK), 0);
        assert!(channels.open(ID, LINK, 1));
        assert_eq!(channels.close_all(), [LINK]);
        channels.send(LINK, Bytes::from_static(b"x"), |_| unreachable!("nothing is open"));
    }

    #[test]
    fn frames_for_channels_that_are_not_open_are_ignored() {
        let mut channels = RelayChannels::default();
        assert_eq!(channels.received(ID, 5), None);
        assert_eq!(channels.credited(ID, 5, |_| unreachable!("nothing waits")), None);
    }
}
