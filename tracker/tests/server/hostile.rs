//! What is malformed, oversized or unknown ends in a message to its sender, or in the sender's connection, and in
//! nothing else.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use shared::OfferId;
use shared::limits::{MAX_RELAY_PAYLOAD, MAX_SDP_BYTES, MAX_SIGNAL_BYTES};
use shared::signal::{SessionDescription, TargetedOffer, ToPeer, ToTracker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::*;

#[tokio::test]
async fn malformed_texts_get_a_failure_each_and_the_connection_stays() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let hash = "h".repeat(20);
    let texts = [
        "".to_owned(),
        "hello".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "[".repeat(100_000),
        r#"{"action":"dance"}"#.to_owned(),
        r#"{"action":"announce","info_hash":"short","peer_id":"short"}"#.to_owned(),
        r#"{"action":"announce","info_hash":"ĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀĀ","peer_id":"pppppppppppppppppppp"}"#
            .to_owned(),
        format!(r#"{{"action":"announce","info_hash":"{hash}"}}"#),
        format!(r#"{{"action":"announce","info_hash":"{hash}","peer_id":"{hash}","offers":[{{}}]}}"#),
        format!(r#"{{"action":"relay-open","info_hash":"{hash}","peer_id":"{hash}"}}"#),
        r#"{"action":"relay-close"}"#.to_owned(),
        r#"{"action":"relay-close","channel":-1}"#.to_owned(),
    ];
    for text in texts {
        a.send_text(&text).await;
        // Other clients throw, or leave, without these fields; they know no other actions.
        let failed: serde_json::Value = serde_json::from_str(&a.text().await).unwrap();
        let action = failed["action"].as_str().unwrap();
        assert!(action == "announce" || text.contains(action), "{text}: {failed}");
        let swarm = failed["info_hash"].as_str().unwrap();
        let named = if text.contains(&hash) { hash.clone() } else { "\0".repeat(20) };
        assert_eq!(swarm, named, "{text}: {failed}");
        assert!(!failed["failure reason"].as_str().unwrap().is_empty(), "{text}: {failed}");
    }
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_scrape_with_one_bad_hash_fails_in_the_name_of_a_good_one() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let good = "g".repeat(20);
    a.send_text(&serde_json::json!({"action": "scrape", "info_hash": ["short", 7, good]}).to_string()).await;
    let failed = a.failed().await;
    assert_eq!(failed.action, "scrape");
    assert_eq!(failed.info_hash.map(|hash| hash.to_byte_string()), Some(good));
    tracker.stop().await;
}

#[tokio::test]
async fn a_flood_of_offers_is_refused_and_disturbs_nobody() {
    let tracker = Tracker::start().await;
    let mut victim = tracker.connect().await;
    victim.announced(with_rtc(1)).await;
    let mut flooder = tracker.connect().await;
    flooder.announced(with_rtc(2)).await;
    let offer = |n: u16| {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        ToTracker::Offer(TargetedOffer {
            info_hash: hash(1),
            peer_id: peer(2),
            to_peer_id: peer(1),
            offer_id: OfferId::new(id),
            offer: SessionDescription { kind: "offer".into(), sdp: "x".repeat(MAX_SDP_BYTES) },
        })
    };
    let mut refused = 0;
    for n in 0..400 {
        flooder.send(&offer(n)).await;
        // Each is passed on in silence or refused; the scrape behind it tells which.
        flooder.send_text(r#"{"action":"scrape"}"#).await;
        match flooder.signal().await {
            ToPeer::OfferRefused(refusal) => {
                refused += 1;
                assert_eq!((refusal.info_hash, refusal.to_peer_id), (hash(1), peer(1)));
                assert!(matches!(flooder.signal().await, ToPeer::Scraped(_)));
            }
            ToPeer::Scraped(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 200, "only {refused} of 400 were refused");
    // The victim has not read a word so far, and is still there.
    victim.send_text(r#"{"action":"scrape"}"#).await;
    let mut offers = 0;
    while let ToPeer::Offer(_) = victim.signal().await {
        offers += 1;
    }
    assert!((1..=400 - refused).contains(&offers), "{offers}");
    let mut other = tracker.connect().await;
    assert_eq!(other.announced(with_rtc(3)).await.incomplete, 3);
    tracker.stop().await;
}

#[tokio::test]
async fn a_failure_says_what_it_is_about() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    a.send_text(&format!(r#"{{"action":"announce","info_hash":"{}"}}"#, "h".repeat(20))).await;
    let text = a.text().await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["action"], "announce");
    assert_eq!(json["info_hash"], "h".repeat(20));
    assert_eq!(json["failure reason"], "announce needs peer_id");
    tracker.stop().await;
}

#[tokio::test]
async fn malformed_frames_get_a_failure_each_and_the_connection_stays() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let frames = [
        vec![],
        vec![1],
        vec![1, 0, 0, 0, 1],
        vec![7; 20],
        vec![2, 0, 0, 0, 1],
        vec![1; MAX_RELAY_PAYLOAD + 6],
    ];
    for frame in frames {
        a.socket.send(Message::Binary(Bytes::from(frame))).await.unwrap();
        assert_eq!(a.failed().await.action, "relay");
    }
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn messages_above_the_limit_close_the_connection_with_code_1009() {
    let tracker = Tracker::start().await;
    for message in
        [Message::text("x".repeat(MAX_SIGNAL_BYTES + 1)), Message::binary(vec![1; MAX_SIGNAL_BYTES + 1])]
    {
        let mut a = tracker.connect().await;
        // The tracker may be gone before all of it is written.
        let _ = a.socket.send(message).await;
        assert_eq!(a.closed().await.unwrap().code, CloseCode::Size);
    }
    tracker.join(1).await.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_the_connection() {
    let tracker = Tracker::start().await;
    let mut a = raw_socket(&tracker).await;
    // A masked text frame of one byte, 0xff, with a mask of zeros.
    a.write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.unwrap();
    let mut rest = Vec::new();
    soon(a.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest[..4], [0x88, rest[1], 0x03, 0xef], "a close frame with code 1007");
    tracker.stop().await;
}

#[tokio::test]
async fn clients_that_give_no_sign_of_life_are_disconnected() {
    let tracker = Tracker::start_with(|settings| settings.ping_interval = Duration::from_millis(50)).await;
    let mut silent = raw_socket(&tracker).await;
    let mut pings = Vec::new();
    soon(silent.read_to_end(&mut pings)).await.unwrap();
    assert_eq!(pings, [0x89, 0, 0x89, 0], "two pings, then the end");
    tracker.stop().await;
}

#[tokio::test]
async fn clients_that_answer_pings_stay() {
    let tracker = Tracker::start_with(|settings| settings.ping_interval = Duration::from_millis(50)).await;
    let mut a = tracker.connect().await;
    for _ in 0..8 {
        let message = soon(a.socket.next()).await.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_finished_is_not_held_for_ever_however_alive_its_sender_is() {
    let tracker = Tracker::start_with(|settings| settings.ping_interval = Duration::from_millis(500)).await;
    let (mut read, mut write) = raw_socket(&tracker).await.into_split();
    write.write_all(&[0x02, 0x81, 0, 0, 0, 0, 7]).await.unwrap();
    let alive = async {
        while write.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = async {
        let mut pings = Vec::new();
        // It may end with a reset: what was sent last is not read.
        let _ = read.read_to_end(&mut pings).await;
        pings
    };
    let ((), pings) = soon(futures::future::join(alive, ended)).await;
    assert_eq!(pings, [0x89, 0, 0x89, 0], "two pings, then the end");
    assert_eq!(tracker.rejections("silent").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn empty_fragments_without_end_end_with_a_close_and_others_are_answered_meanwhile() {
    let tracker = Tracker::start().await;
    let mut other = tracker.join(1).await;
    let (mut read, mut write) = raw_socket(&tracker).await.into_split();
    let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
    let flood = async {
        write.write_all(&[0x02, 0x80, 0, 0, 0, 0]).await.unwrap();
        while write.write_all(&empty).await.is_ok() {}
    };
    let closed = async {
        let mut head = [0; 4];
        read.read_exact(&mut head).await.unwrap();
        head
    };
    let answered = async {
        for _ in 0..10 {
            other.quiet().await;
        }
    };
    let ((), head, ()) = soon(futures::future::join3(flood, closed, answered)).await;
    assert_eq!(head, [0x88, head[1], 0x03, 0xf0], "a close frame with code 1008");
    tracker.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_what_it_asks_for_is_disconnected() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    let hashes: Vec<String> = (0..100_u8).map(|n| char::from(n).to_string().repeat(20)).collect();
    let scrape = Message::text(serde_json::json!({"action": "scrape", "info_hash": hashes}).to_string());
    // Until the tracker has had enough; without that, this would go on until the test's patience ends.
    let flood = async { while a.socket.send(scrape.clone()).await.is_ok() {} };
    soon(flood).await;
    tracker.join(1).await.quiet().await;
    tracker.stop().await;
}

/// A connection after the handshake, without a library that would answer pings.
pub(crate) async fn raw_socket(tracker: &Tracker) -> TcpStream {
    let mut stream = TcpStream::connect(tracker.address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

#[tokio::test]
async fn pongs_do_not_pile_up_for_a_client_that_floods_with_pings_and_does_not_read() {
    const FLOOD: usize = 64 * 1024 * 1024;
    let tracker = Tracker::start().await;
    let mut a = raw_socket(&tracker).await;
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[7; 125]].concat();
    let pings = ping.repeat(1000);
    let flood = async {
        for _ in 0..FLOOD / pings.len() {
            a.write_all(&pings).await.unwrap();
        }
        let scrape = br#"{"action":"scrape"}"#;
        a.write_all(&[&[0x81, 0x80 | scrape.len() as u8, 0, 0, 0, 0], &scrape[..]].concat()).await.unwrap();
    };
    soon(flood).await;
    let mut read = 0;
    let answered = async {
        loop {
            let (kind, len) = (a.read_u8().await.unwrap(), a.read_u8().await.unwrap());
            if kind == 0x81 {
                break;
            }
            assert_eq!((kind, len), (0x8a, 125), "a pong");
            a.read_exact(&mut [0; 125]).await.unwrap();
            read += 127;
        }
    };
    soon(answered).await;
    assert!(read < FLOOD / 2, "{read} bytes of pongs");
    tracker.stop().await;
}
