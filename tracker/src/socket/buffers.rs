//! What the connections of a thread read into, one after the other, so that none that is silent holds a buffer.
//!
//! Payloads are handed on as parts of the buffer that they were read into, and most are written before the same connection reads
//! again. A thread keeps a few buffers: while parts of one are with others, the next one is read into, and one that is whole again
//! is read into anew. So none is made or given back to the system for each read.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use shared::limits::MAX_RELAY_PAYLOAD;
use shared::relay::HEADER_LEN;

/// Longest header of a WebSocket frame (RFC 6455, section 5.2).
const MAX_HEADER: usize = 14;

/// Bytes read at once from one client: a relay frame of the largest size.
pub(super) const READ_BUFFER: usize = (MAX_HEADER + HEADER_LEN + MAX_RELAY_PAYLOAD).next_multiple_of(4096);

/// Buffers that one thread keeps.
const KEPT: usize = 16;

/// The beginning of a frame that is at most so long is copied out of the thread's buffer, so that the next connection can use
/// that, and a client that sends no more holds no more than it sent; one that is longer takes the buffer along.
const MAX_COPIED: usize = READ_BUFFER / 2;

thread_local! {
    /// The one that was used last is the last one.
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer: of those that are whole again, the one that was used last.
fn take() -> BytesMut {
    BUFFERS.with_borrow_mut(|buffers| {
        let free = (0..buffers.len()).rev().find(|place| buffers[*place].try_reclaim(READ_BUFFER));
        free.map_or_else(|| BytesMut::with_capacity(READ_BUFFER), |place| buffers.remove(place))
    })
}

fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    // One that was made for a long message is not kept for short ones.
    if buffer.capacity() > 2 * READ_BUFFER {
        return;
    }
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() == KEPT {
            buffers.remove(0);
        }
        buffers.push(buffer);
    });
}

/// Makes room behind the beginning of a message, and gives how many bytes to read. A buffer that grows for a message longer than
/// itself is to be [replaced](replace_grown) when that has come.
pub(super) fn make_room(buffer: &mut BytesMut) -> usize {
    let Some(most) = READ_BUFFER.checked_sub(buffer.len()).filter(|most| *most > 0) else {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BUFFER);
        }
        return (buffer.capacity() - buffer.len()).min(READ_BUFFER);
    };
    if !buffer.try_reclaim(most) {
        let mut other = take();
        other.extend_from_slice(buffer);
        give_back(std::mem::replace(buffer, other));
    }
    most
}

/// A message with a payload of so many bytes is out of this buffer: if it grew for that, it is not kept for shorter ones, which
/// would keep all of it.
pub(super) fn replace_grown(buffer: &mut BytesMut, payload: usize) {
    if payload > READ_BUFFER - MAX_HEADER {
        let mut other = take();
        other.extend_from_slice(buffer);
        *buffer = other;
    }
}

/// What one client sent and is not a message yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    rest: BytesMut,
}

impl Inbox {
    /// Begins with these bytes.
    pub(super) fn new(read: Bytes) -> Self {
        Self { rest: BytesMut::from(read) }
    }

    /// A buffer of the thread's, with what is left of the last time. Is to be [put back](Self::put_back).
    pub(super) fn take(&mut self) -> BytesMut {
        let rest = std::mem::take(&mut self.rest);
        if rest.len() > MAX_COPIED {
            return rest;
        }
        let mut buffer = take();
        buffer.extend_from_slice(&rest);
        buffer
    }

    /// What is in it now is left for the next time.
    pub(super) fn put_back(&mut self, buffer: BytesMut) {
        if buffer.len() > MAX_COPIED {
            self.rest = buffer;
            return;
        }
        if !buffer.is_empty() {
            self.rest = BytesMut::from(&buffer[..]);
        }
        give_back(buffer);
    }
}

/// How many buffers this thread has, and of how many of them nobody holds a part.
#[cfg(test)]
pub(super) fn all_and_free() -> (usize, usize) {
    BUFFERS.with_borrow_mut(|buffers| {
        let free =
            buffers.iter_mut().filter_map(|buffer| buffer.try_reclaim(READ_BUFFER).then_some(())).count();
        (buffers.len(), free)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where its bytes are.
    fn place(buffer: &BytesMut) -> *const u8 {
        buffer.as_ptr()
    }

    #[test]
    fn between_messages_nothing_is_kept_and_of_a_beginning_no_more_than_its_own_length() {
        let mut inbox = Inbox::default();
        let mut buffer = inbox.take();
        buffer.extend_from_slice(&[1; 60_000]);
        drop(buffer.split());
        inbox.put_back(buffer);
        assert_eq!(inbox.rest.capacity(), 0);
        for length in [50, 16_385, MAX_COPIED] {
            let mut buffer = inbox.take();
            buffer.clear();
            buffer.extend_from_slice(&vec![7; length]);
            inbox.put_back(buffer);
            assert_eq!(inbox.rest, vec![7; length]);
            assert!(inbox.rest.capacity() < 2 * length, "{}", inbox.rest.capacity());
        }
    }

    #[test]
    fn a_long_beginning_takes_its_buffer_along() {
        let mut inbox = Inbox::default();
        let mut buffer = inbox.take();
        buffer.extend_from_slice(&[7; MAX_COPIED + 1]);
        let at = place(&buffer);
        inbox.put_back(buffer);
        assert_ne!(place(&take()), at, "nobody else reads into it");
        assert_eq!(place(&inbox.take()), at, "and it is not copied");
    }

    #[test]
    fn a_buffer_is_read_into_anew_when_nobody_holds_a_part_of_it() {
        let mut buffer = take();
        buffer.extend_from_slice(&[1; 100_000]);
        let (first, part) = (place(&buffer), buffer.split().freeze());
        give_back(buffer);
        let mut other = take();
        assert_ne!(place(&other), first);
        other.extend_from_slice(&[2; 100_000]);
        assert_eq!(part, vec![1; 100_000]);
        give_back(other);
        drop(part);
        let (last, before) = (take(), take());
        assert_eq!(place(&before), first, "the one before the last");
        assert_ne!(place(&last), first);
        assert!(before.capacity() >= READ_BUFFER);
    }

    #[test]
    fn a_thread_keeps_a_few() {
        let held: Vec<Bytes> = (0..3 * KEPT)
            .map(|_| {
                let mut buffer = take();
                buffer.extend_from_slice(&[1; 100_000]);
                let part = buffer.split().freeze();
                give_back(buffer);
                part
            })
            .collect();
        assert_eq!(BUFFERS.with_borrow(Vec::len), KEPT);
        drop(held);
        // Long ones are not among them.
        let mut buffer = BytesMut::with_capacity(2 * READ_BUFFER + 1);
        buffer.extend_from_slice(b"long");
        give_back(buffer);
        assert_eq!(BUFFERS.with_borrow(Vec::len), KEPT);
        assert!((0..KEPT).all(|_| take().capacity() <= 2 * READ_BUFFER));
    }

    #[test]
    fn room_is_made_behind_what_is_there_wherever_it_goes() {
        let mut buffer = take();
        buffer.extend_from_slice(&[1; 100_000]);
        let part = buffer.split_to(99_000);
        assert_eq!(make_room(&mut buffer), READ_BUFFER - 1000);
        assert!(buffer.capacity() >= READ_BUFFER);
        assert_eq!((&buffer[..], &part[..]), (&[1; 1000][..], &[1; 99_000][..]));
        // A message longer than a buffer.
        buffer.extend_from_slice(&[2; READ_BUFFER - 1000]);
        assert_eq!(make_room(&mut buffer), READ_BUFFER);
        buffer.extend_from_slice(&[2; READ_BUFFER]);
        drop(buffer.split_to(2 * READ_BUFFER - 100));
        replace_grown(&mut buffer, 2 * READ_BUFFER - 100);
        assert_eq!(buffer, [2; 100][..]);
        assert!((READ_BUFFER..=2 * READ_BUFFER).contains(&buffer.capacity()), "it is another one");
    }
}
