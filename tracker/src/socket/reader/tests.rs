use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::buffers::Inbox;
use super::*;
use frame::frame;

#[path = "../../../tests/server/frame.rs"]
mod frame;

const MAX: usize = 70_000;

/// What comes of bytes that come in parts of such lengths, in turn; the last is what ended it.
fn read(bytes: &[u8], parts: &[usize]) -> (Vec<Incoming>, Option<Fault>) {
    let (mut reader, mut inbox, mut messages) = (Reader::new(MAX), Inbox::default(), Vec::new());
    let (mut rest, mut parts) = (bytes, parts.iter().cycle());
    while !rest.is_empty() {
        let (part, after) = rest.split_at((*parts.next().unwrap_or(&1)).clamp(1, rest.len()));
        rest = after;
        let mut buffer = inbox.take();
        buffer.extend_from_slice(part);
        loop {
            match reader.next(&mut buffer) {
                Ok(Some(Incoming::Fragment(_))) => {}
                Ok(Some(message)) => {
                    let closes = matches!(message, Incoming::Close(_));
                    messages.push(message);
                    if closes {
                        return (messages, None);
                    }
                }
                Ok(None) => break,
                Err(fault) => return (messages, Some(fault)),
            }
        }
        inbox.put_back(buffer);
    }
    (messages, None)
}

/// The same by tungstenite: its messages, and whether an error ended it.
fn model(bytes: &[u8]) -> (Vec<Incoming>, bool) {
    /// Reads, and takes whatever is written.
    struct Wire<'a>(&'a [u8]);
    impl std::io::Read for Wire<'_> {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Err(std::io::ErrorKind::WouldBlock.into()) } else { self.0.read(to) }
        }
    }
    impl std::io::Write for Wire<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let (mut context, mut wire) = (WebSocketContext::new(Role::Server, Some(config)), Wire(bytes));
    let mut messages = Vec::new();
    loop {
        messages.push(match context.read(&mut wire) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Ping(bytes)) => Incoming::Ping(bytes),
            Ok(Message::Pong(_)) => Incoming::Pong,
            Ok(Message::Close(frame)) => {
                let payload = frame.map_or(Vec::new(), |frame| {
                    [&u16::from(frame.code).to_be_bytes()[..], frame.reason.as_bytes()].concat()
                });
                messages.push(Incoming::Close(payload.into()));
                return (messages, false);
            }
            Ok(Message::Frame(_)) => unreachable!("only written"),
            Err(Error::Io(_)) => return (messages, false),
            Err(_) => return (messages, true),
        });
    }
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.into())
}

#[test]
fn messages_are_read_however_their_bytes_come() {
    let long = "x".repeat(66_000);
    let frames = [
        frame(0x81, b"hello"),
        frame(0x82, &[7; 200]),
        frame(0x81, long.as_bytes()),
        frame(0x89, b"ping"),
        frame(0x8a, b""),
        frame(0x88, b"\x03\xe8bye"),
    ];
    let expected = vec![
        text("hello"),
        Incoming::Binary(Bytes::from(vec![7; 200])),
        text(&long),
        Incoming::Ping(Bytes::from_static(b"ping")),
        Incoming::Pong,
        Incoming::Close(Bytes::from_static(b"\x03\xe8bye")),
    ];
    for parts in [&[1][..], &[2, 3], &[1000, 1], &[40_000], &[usize::MAX]] {
        assert_eq!(read(&frames.concat(), parts), (expected.clone(), None), "{parts:?}");
    }
}

#[test]
fn fragments_are_put_together_and_control_frames_come_between() {
    let frames = [
        frame(0x01, "gr\u{fc}".as_bytes().split_at(3).0),
        frame(0x89, b"?"),
        frame(0x00, b""),
        frame(0x80, b"\xbcn"),
    ];
    let expected = vec![Incoming::Ping(Bytes::from_static(b"?")), text("grün")];
    assert_eq!(read(&frames.concat(), &[1]), (expected, None));
}

#[test]
fn what_is_not_allowed_is_a_fault_as_soon_as_it_can_be_seen() {
    let protocol = [
        &[0xc1][..],
        &[0xa1],
        &[0x91],
        &[0x83],
        &[0x87],
        &[0x8b],
        &[0x09],
        &[0x08],
        &[0x81, 5],
        &[0x89, 0xfe],
        &[0x80, 0x80],
        &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80],
        &[0x81, 0xfe, 0, 125],
        &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &frame(0x88, b"\x03"),
        &frame(0x88, b"\x03\xed"),
        &frame(0x88, b"\x03\xff"),
        &frame(0x88, b"\x13\x88"),
    ];
    for bytes in protocol {
        let (messages, fault) = read(bytes, &[1]);
        assert!(messages.is_empty() && matches!(fault, Some(Fault::Protocol(_))), "{bytes:x?}: {fault:?}");
    }
    for bytes in
        [frame(0x81, b"\xff"), [frame(0x01, b"ok\xff"), Vec::new()].concat(), frame(0x88, b"\x03\xe8\xff")]
    {
        assert_eq!(read(&bytes, &[1]), (Vec::new(), Some(Fault::NotUtf8)), "{bytes:x?}");
    }
    let halves = [frame(0x01, &[b'x'; MAX / 2 + 1]), frame(0x80, &[b'x'; MAX / 2 + 1])].concat();
    for bytes in [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x71][..], &halves] {
        assert_eq!(read(bytes, &[100]), (Vec::new(), Some(Fault::TooLong)));
    }
}

#[test]
fn a_message_has_so_many_fragments_and_no_more() {
    let empty = |count: u32| [frame(0x01, b""), frame(0x00, b"").repeat(count as usize - 1)].concat();
    let end = frame(0x80, b"end");
    let whole = read(&[empty(MAX_FRAGMENTS - 1), end.clone()].concat(), &[4096]);
    assert_eq!(whole, (vec![text("end")], None));
    for bytes in [empty(MAX_FRAGMENTS + 1), [empty(MAX_FRAGMENTS), end].concat()] {
        assert_eq!(read(&bytes, &[4096]), (Vec::new(), Some(Fault::TooManyFragments)));
    }
}

#[test]
fn each_fragment_is_told_so_that_reading_can_stop_between_them() {
    let mut reader = Reader::new(MAX);
    let mut bytes = BytesMut::from(&[frame(0x02, b"ab"), frame(0x00, b""), frame(0x80, b"c")].concat()[..]);
    assert_eq!(reader.next(&mut bytes), Ok(Some(Incoming::Fragment(2))));
    assert!(reader.is_amid_message());
    assert_eq!(reader.next(&mut bytes), Ok(Some(Incoming::Fragment(0))));
    assert_eq!(reader.next(&mut bytes), Ok(Some(Incoming::Binary(Bytes::from_static(b"abc")))));
    assert!(!reader.is_amid_message());
}

fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        // Of closes it says something else: it answers those that are wrong.
        1 => any::<u8>().prop_filter("a close", |first| first & 0x0f != 0x08),
    ];
    let payload = prop_oneof![
        4 => "[ -~äß€😀]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..70_000).prop_map(|length| vec![b'x'; length]),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn it_reads_what_tungstenite_reads(
        frames in prop::collection::vec(some_frame(), 0..12),
        parts in prop::collection::vec(1_usize..3000, 1..5),
    ) {
        let bytes = frames.concat();
        let (messages, fault) = read(&bytes, &parts);
        let (expected, failed) = model(&bytes);
        prop_assert_eq!((messages, fault.is_some()), (expected, failed));
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), parts in prop::collection::vec(1_usize..50, 1..4)) {
        read(&bytes, &parts);
    }

    #[test]
    fn unmasking_twice_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..50), mask in any::<[u8; 4]>()) {
        let mut twice = bytes.clone();
        unmask(&mut twice, mask);
        let expected: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        prop_assert_eq!(&twice, &expected);
        unmask(&mut twice, mask);
        prop_assert_eq!(twice, bytes);
    }
}
