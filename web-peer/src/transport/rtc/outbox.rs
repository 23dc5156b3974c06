//! What waits for a data channel, and how it is cut into messages. No IO.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A byte stream that is sent in messages, whose boundaries mean nothing (BEP 3 has its own).
///
/// Invariant: no part is empty, and `len` is the sum of their lengths.
#[derive(Default)]
pub(super) struct Outbox {
    parts: VecDeque<Bytes>,
    len: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.parts.push_back(bytes);
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The next message, of at most `longest` bytes (1 or more).
    ///
    /// What is long enough is cut and not copied. What is shorter takes from its successors, since a message costs more
    /// than the copy does.
    pub(super) fn next(&mut self, longest: usize) -> Option<Bytes> {
        let front = self.parts.front_mut()?;
        let message = if front.len() > longest {
            front.split_to(longest)
        } else if front.len() == longest || self.parts.len() == 1 {
            self.parts.pop_front()?
        } else {
            let mut gathered = BytesMut::with_capacity(longest.min(self.len));
            while gathered.len() < longest
                && let Some(front) = self.parts.front_mut()
            {
                let part = front.split_to(front.len().min(longest - gathered.len()));
                gathered.extend_from_slice(&part);
                if front.is_empty() {
                    self.parts.pop_front();
                }
            }
            gathered.freeze()
        };
        self.len -= message.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(outbox: &mut Outbox, longest: usize) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.next(longest)).collect()
    }

    #[test]
    fn long_parts_are_cut_and_not_copied() {
        let bytes = Bytes::from(vec![1; 10]);
        let mut outbox = Outbox::default();
        outbox.push(bytes.clone());
        let messages = all(&mut outbox, 4);
        assert_eq!(messages.iter().map(Bytes::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(messages[1].as_ptr(), bytes[4..].as_ptr());
        assert_eq!(messages[2].as_ptr(), bytes[8..].as_ptr());
    }

    #[test]
    fn short_parts_share_a_message_and_the_stream_keeps_its_order() {
        let mut outbox = Outbox::default();
        for part in [&b"ab"[..], b"", b"c", b"defgh", b"i"] {
            outbox.push(Bytes::copy_from_slice(part));
        }
        assert_eq!(outbox.len(), 9);
        assert_eq!(all(&mut outbox, 4), [&b"abcd"[..], b"efgh", b"i"]);
        assert_eq!(outbox.len(), 0);
        assert_eq!(outbox.next(4), None);
    }

    #[test]
    fn whatever_is_put_in_comes_out_whole_at_every_size_of_message() {
        let stream: Vec<u8> = (0..200).collect();
        for longest in 1..=201 {
            let mut outbox = Outbox::default();
            let mut rest = &stream[..];
            let mut step = 1;
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.len().min(step));
                outbox.push(Bytes::copy_from_slice(part));
                rest = after;
                step = step * 3 % 31 + 1;
            }
            let messages = all(&mut outbox, longest);
            assert!(messages[..messages.len() - 1].iter().all(|message| message.len() <= longest));
            assert_eq!(messages.concat(), stream);
        }
    }
}
