//! The WebSocket protocol itself (RFC 6455), over raw TCP, in the groups of the Autobahn test suite: that one (25.10.1) is
//! written in Python 2, and runs nowhere any more. Where it expects an echo, the tracker's own answers stand: to a text a failure or a scrape's reply, to
//! bytes that are no relay frame a failure.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::*;
use crate::frame::frame;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A text that gets a reply, and nothing else.
const SCRAPE: &[u8] = br#"{"action":"scrape"}"#;

/// A tracker that sends no pings: here they would be taken for answers.
async fn start() -> Tracker {
    Tracker::start_with(|settings| settings.ping_interval = Duration::from_secs(3600)).await
}

/// A connection after the handshake, without a library.
struct Raw(TcpStream);

impl Raw {
    async fn open(tracker: &Tracker) -> Self {
        Self(crate::hostile::raw_socket(tracker).await)
    }

    /// Sends bytes as they are. The tracker may have closed already.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = soon(self.0.write_all(bytes)).await;
    }

    /// Sends bytes one by one, each in a packet of its own.
    async fn send_one_by_one(&mut self, bytes: &[u8]) {
        self.0.set_nodelay(true).unwrap();
        for byte in bytes {
            self.send(&[*byte]).await;
        }
    }

    /// The next frame; `None` at the end.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, short) = (soon(self.0.read_u8()).await.ok()?, soon(self.0.read_u8()).await.ok()?);
        assert_eq!(short & 0x80, 0, "a server's frames are not masked");
        let length = match short {
            126 => soon(self.0.read_u16()).await.ok()?.into(),
            127 => soon(self.0.read_u64()).await.ok()?,
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        soon(self.0.read_exact(&mut payload)).await.ok()?;
        Some((first, payload))
    }

    /// The tracker is there, and has nothing else to say.
    async fn scrapes(&mut self) {
        self.send(&frame(TEXT, SCRAPE)).await;
        self.scraped().await;
    }

    async fn scraped(&mut self) {
        let (first, payload) = self.frame().await.expect("the tracker hung up");
        let text = String::from_utf8(payload).unwrap();
        assert!(first == TEXT && text.contains(r#""action":"scrape""#), "{first:x} {text}");
    }

    async fn fails(&mut self) {
        let (first, payload) = self.frame().await.expect("the tracker hung up");
        let text = String::from_utf8(payload).unwrap();
        assert!(first == TEXT && text.contains("failure reason"), "{first:x} {text}");
    }

    /// The tracker closes with this code, and then the connection ends.
    async fn closes(&mut self, code: u16) {
        let (first, payload) = self.frame().await.expect("ended without a close frame");
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        assert!(std::str::from_utf8(&payload[2..]).is_ok() && payload.len() <= 125);
        // It waits for this side.
        let _ = self.0.shutdown().await;
        assert_eq!(self.frame().await, None);
    }
}

/// What these bytes come to, each list on a connection of its own.
async fn each_closes(code: u16, cases: &[Vec<u8>]) {
    let tracker = start().await;
    for bytes in cases {
        let mut raw = Raw::open(&tracker).await;
        raw.send(bytes).await;
        raw.closes(code).await;
    }
    // And nobody else noticed.
    Raw::open(&tracker).await.scrapes().await;
    tracker.stop().await;
}

#[tokio::test]
async fn group_1_framing_messages_of_every_length_are_read() {
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 200_000] {
        raw.send(&frame(TEXT, &vec![b'*'; length])).await;
        raw.fails().await;
        raw.send(&frame(BINARY, &vec![0xfe; length])).await;
        raw.fails().await;
    }
    raw.send_one_by_one(&frame(TEXT, SCRAPE)).await;
    raw.scraped().await;
    let padded = [SCRAPE, &vec![b' '; 65_536]].concat();
    for part in [997, 20_000] {
        for bytes in frame(TEXT, &padded).chunks(part) {
            raw.send(bytes).await;
        }
        raw.scraped().await;
    }
    tracker.stop().await;
}

#[tokio::test]
async fn group_2_pings_are_answered_with_their_payload_and_pongs_with_nothing() {
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    for payload in
        [&b""[..], b"Hello, world!", &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff], &[0xfe; 125]]
    {
        raw.send(&frame(PING, payload)).await;
        assert_eq!(raw.frame().await, Some((PONG, payload.to_vec())));
        raw.send_one_by_one(&frame(PING, payload)).await;
        assert_eq!(raw.frame().await, Some((PONG, payload.to_vec())));
        raw.send(&frame(PONG, payload)).await;
    }
    // Of many at once the last is answered for sure, and none with anything else (RFC 6455, section 5.5.3).
    let pings: Vec<u8> = (0..10_u8).flat_map(|n| frame(PING, &[n])).collect();
    raw.send(&pings).await;
    loop {
        let (first, payload) = raw.frame().await.unwrap();
        assert_eq!((first, payload.len()), (PONG, 1));
        if payload == [9] {
            break;
        }
    }
    raw.scrapes().await;
    tracker.stop().await;
    each_closes(1002, &[frame(PING, &[0xfe; 126])]).await;
}

#[tokio::test]
async fn group_3_reserved_bits_close_the_connection() {
    let mut cases = Vec::new();
    for reserved in 1..8_u8 {
        for kind in [TEXT, BINARY, PING, CLOSE] {
            cases.push(frame(kind | reserved << 4, b""));
        }
    }
    each_closes(1002, &cases).await;
}

#[tokio::test]
async fn group_4_reserved_opcodes_close_the_connection() {
    let cases: Vec<_> = (3..8_u8).chain(11..16).map(|opcode| frame(0x80 | opcode, b"x")).collect();
    each_closes(1002, &cases).await;
}

#[tokio::test]
async fn group_5_fragments_are_put_together_with_control_frames_between_them() {
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    let (a, b) = SCRAPE.split_at(7);
    let whole = |middle: &[Vec<u8>]| [&[frame(0x01, a)][..], middle, &[frame(0x80, b)]].concat().concat();
    raw.send(&whole(&[])).await;
    raw.scraped().await;
    raw.send_one_by_one(&whole(&[frame(0x00, b"")])).await;
    raw.scraped().await;
    for bytes in [whole(&[frame(PING, b"between")]), whole(&[frame(0x00, b""), frame(PING, b"between")])] {
        raw.send(&bytes).await;
        assert_eq!(raw.frame().await, Some((PONG, b"between".to_vec())));
        raw.scraped().await;
    }
    raw.send(&[frame(0x02, b"\xfe"), frame(0x00, b"\xfe"), frame(0x80, b"\xfe")].concat()).await;
    raw.fails().await;
    tracker.stop().await;
    each_closes(
        1002,
        &[
            frame(0x09, b"a ping in parts"),
            frame(0x0a, b"a pong in parts"),
            frame(0x08, b""),
            frame(0x80, b"the end of nothing"),
            frame(0x00, b"the middle of nothing"),
            [frame(0x01, a), frame(TEXT, b)].concat(),
            [frame(0x01, a), frame(0x02, b)].concat(),
            [frame(0x01, a), frame(0x00, b), frame(0x01, a)].concat(),
        ],
    )
    .await;
}

#[tokio::test]
async fn group_6_texts_are_utf_8_also_where_a_character_is_in_two_fragments() {
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    let text = "Hello-µ@ßöäüàá-UTF-8!! \u{10ffff}\u{ffff}\u{0}κόσμε".as_bytes();
    raw.send(&frame(TEXT, text)).await;
    raw.fails().await;
    for at in 1..text.len() {
        raw.send(&[frame(0x01, &text[..at]), frame(0x80, &text[at..])].concat()).await;
        raw.fails().await;
    }
    tracker.stop().await;
    let invalid = [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xff",
        b"\xfe",
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc3",
        b"\xf0\x9f\x98",
    ];
    let mut cases: Vec<Vec<u8>> = invalid.iter().map(|bytes| frame(TEXT, bytes)).collect();
    cases.extend(invalid.iter().map(|bytes| {
        let (a, b) = bytes.split_at(1);
        [frame(0x01, b"begun"), frame(0x00, a), frame(0x80, b)].concat()
    }));
    // Seen before the end comes.
    cases.push(frame(0x01, b"never ended \xff"));
    each_closes(1007, &cases).await;
}

#[tokio::test]
async fn group_7_closes_are_answered_and_nothing_after_them_is() {
    let tracker = start().await;
    let long = [&1000_u16.to_be_bytes()[..], &[b'x'; 123]].concat();
    let mut payloads = vec![Vec::new(), long, [&[0x03, 0xe8][..], "bye ä".as_bytes()].concat()];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999_u16]
    {
        payloads.push(code.to_be_bytes().to_vec());
    }
    for payload in payloads {
        let mut raw = Raw::open(&tracker).await;
        raw.send(&[frame(CLOSE, &payload), frame(PING, b"late"), frame(TEXT, SCRAPE)].concat()).await;
        assert_eq!(raw.frame().await, Some((CLOSE, payload)));
        assert_eq!(raw.frame().await, None);
    }
    // A close in the middle of a message is a close.
    let mut raw = Raw::open(&tracker).await;
    raw.send(&[frame(0x01, b"begun"), frame(CLOSE, b"")].concat()).await;
    assert_eq!(raw.frame().await, Some((CLOSE, Vec::new())));
    tracker.stop().await;
    let mut wrong = vec![frame(CLOSE, b"\x03"), frame(CLOSE, &[0x03; 126])];
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        wrong.push(frame(CLOSE, &code.to_be_bytes()));
    }
    each_closes(1002, &wrong).await;
    each_closes(1007, &[frame(CLOSE, b"\x03\xe8\xce\xba\xff")]).await;
}

#[tokio::test]
async fn group_9_limits_hold_for_messages_in_one_frame_and_in_many() {
    use shared::limits::MAX_SIGNAL_BYTES;
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    let longest = vec![b'*'; MAX_SIGNAL_BYTES];
    raw.send(&frame(TEXT, &longest)).await;
    raw.fails().await;
    for part in [64, 4096, 100_000] {
        let parts: Vec<&[u8]> = longest.chunks(part).collect();
        let frames = parts.iter().enumerate().map(|(n, part)| {
            let first = if n == 0 { 0x01 } else { 0x00 };
            frame(if n + 1 == parts.len() { first | 0x80 } else { first }, part)
        });
        raw.send(&frames.collect::<Vec<_>>().concat()).await;
        raw.fails().await;
    }
    tracker.stop().await;
    let half = vec![b'*'; MAX_SIGNAL_BYTES / 2 + 1];
    each_closes(
        1009,
        &[
            // The length alone is enough.
            vec![TEXT, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
            [frame(0x01, &half), frame(0x80, &half)].concat(),
        ],
    )
    .await;
    let mut not_shortest = vec![TEXT, 0xfe, 0, 125];
    not_shortest.extend_from_slice(&[0; 4 + 125]);
    each_closes(1002, &[not_shortest, vec![TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], vec![TEXT, 0x05]]).await;
}

#[tokio::test]
async fn group_10_many_messages_in_one_packet_are_all_answered() {
    let tracker = start().await;
    let mut raw = Raw::open(&tracker).await;
    raw.send(&frame(TEXT, SCRAPE).repeat(100)).await;
    for _ in 0..100 {
        raw.scraped().await;
    }
    tracker.stop().await;
}
