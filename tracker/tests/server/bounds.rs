//! What clients may cost: over each bound there is one clear reason for the one who is over it, and nothing at all for
//! everybody else.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use shared::limits::RELAY_WINDOW;
use shared::signal::{Announce, EnxameHello, RelayReason, ToPeer, ToTracker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::*;
use crate::page::get;

#[tokio::test]
async fn connections_above_the_bound_hear_why_and_the_place_is_free_again_afterwards() {
    let tracker = Tracker::start_with(|settings| settings.limits.connections = 2).await;
    let mut a = tracker.join(1).await;
    let b = tracker.join(2).await;
    let (status, said) = tracker.try_connect("/ws", &[]).await.err().unwrap();
    assert_eq!(status, 503);
    assert!(said.contains("as many connections as it may have"), "{said}");
    assert_eq!(get(&tracker, "/", &[]).await.status, 503);
    a.quiet().await;
    drop(b);
    // The tracker notices the end in its own time.
    let free = async {
        while tracker.try_connect("/ws", &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(free).await;
    tracker.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_the_places_of_others() {
    let tracker = Tracker::start_with(|settings| {
        settings.proxies = "127.0.0.1".parse().unwrap();
        settings.limits.connections_per_address = 2;
    })
    .await;
    let from = |address| [("x-forwarded-for", address)];
    let _a = tracker.try_connect("/ws", &from("192.0.2.1")).await.map_err(drop).unwrap();
    let _b = tracker.try_connect("/ws", &from("192.0.2.1")).await.map_err(drop).unwrap();
    let (status, said) = tracker.try_connect("/ws", &from("192.0.2.1")).await.err().unwrap();
    assert_eq!(status, 429);
    assert!(said.contains("from this address"), "{said}");
    assert!(tracker.try_connect("/ws", &from("192.0.2.2")).await.is_ok());
    assert_eq!(tracker.rejections("connections-per-address").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn half_open_connections_end_and_cost_nobody_anything() {
    let tracker =
        Tracker::start_with(|settings| settings.limits.handshake_time = Duration::from_secs(5)).await;
    let mut silent = TcpStream::connect(tracker.address).await.unwrap();
    let mut slow = TcpStream::connect(tracker.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
    tracker.join(1).await.quiet().await;
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    assert!(tracker.rejections("handshake").await >= 1);
    tracker.stop().await;
}

#[tokio::test]
async fn a_flood_of_messages_ends_the_connection_that_makes_it_and_no_other() {
    let tracker = Tracker::start_with(|settings| {
        settings.limits.messages_per_second = 1;
        settings.limits.message_burst = 50;
    })
    .await;
    let mut other = tracker.join(1).await;
    let mut flooder = tracker.connect().await;
    for _ in 0..60 {
        // The tracker may have closed it by now.
        let _ = flooder.socket.feed(Message::text(r#"{"action":"scrape"}"#)).await;
    }
    let _ = flooder.socket.flush().await;
    let closed = flooder.closed().await.unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::Policy, "too many messages in a second"));
    other.quiet().await;
    assert_eq!(tracker.rejections("message-rate").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn a_text_above_the_setting_is_too_long_and_a_relay_frame_of_that_size_is_not() {
    let tracker = Tracker::start_with(|settings| settings.limits.message_bytes = 10_000).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, &[1; 20_000]).await;
    b.read_data(at_b.channel, 20_000, false).await;
    a.send_text(&" ".repeat(10_001)).await;
    assert_eq!(a.closed().await.unwrap().code, CloseCode::Size);
    assert_eq!(tracker.rejections("message-size").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn swarms_and_the_tracker_have_room_for_so_many_peers() {
    let tracker = Tracker::start_with(|settings| {
        settings.limits.peers_per_swarm = 2;
        settings.limits.peers = 3;
        settings.limits.swarms_per_connection = 2;
    })
    .await;
    let mut a = tracker.join(1).await;
    let mut b = tracker.join(2).await;
    let refused = async |client: &mut Client, announce: Announce| {
        client.send(&ToTracker::Announce(announce)).await;
        client.failed().await.reason
    };
    let in_swarm = |swarm, n| Announce { info_hash: hash(swarm), ..ours(n) };
    assert_eq!(refused(&mut a, ours(3)).await, "this swarm has 2 peers already");
    a.announced(in_swarm(2, 1)).await;
    assert_eq!(refused(&mut a, in_swarm(3, 1)).await, "this connection is in 2 swarms already");
    assert_eq!(refused(&mut b, in_swarm(3, 2)).await, "this tracker is full");
    // Those who are there are served on.
    b.announced(ours(2)).await;
    for reason in ["peers-per-swarm", "swarms-per-connection", "peers"] {
        assert_eq!(tracker.rejections(reason).await, 1, "{reason}");
    }
    tracker.stop().await;
}

#[tokio::test]
async fn channels_are_bounded_in_all() {
    let tracker = Tracker::start_with(|settings| settings.limits.channels = 1).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let _c = tracker.join(3).await;
    a.ask_to_open(1, 3).await;
    assert_eq!(a.refused().await, RelayReason::TooManyChannels);
    a.close_relay(at_a.channel, RelayReason::Done).await;
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::Done));
    a.open_to(1, 3).await;
    assert_eq!(tracker.rejections("relay-channels").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn who_opens_and_closes_channels_without_end_is_refused() {
    let tracker = Tracker::start_with(|settings| settings.limits.message_burst = 1_000_000).await;
    let ((mut a, at_a), (mut b, _)) = tracker.pair().await;
    a.close_relay(at_a.channel, RelayReason::Done).await;
    let refused = async {
        loop {
            a.ask_to_open(1, 2).await;
            match a.signal().await {
                ToPeer::RelayOpened(opened) => a.close_relay(opened.channel, RelayReason::Done).await,
                ToPeer::RelayRefused { reason, .. } => break reason,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(soon(refused).await, RelayReason::TooManyChannels);
    // It is its own places that it used up.
    b.relay_closed().await;
    tracker.join(3).await.open_to(3, 2).await;
    tracker.stop().await;
}

#[tokio::test]
async fn who_relays_faster_than_it_may_waits() {
    const RATE: usize = 500_000;
    let tracker = Tracker::start_with(|settings| settings.limits.relay_rate = RATE as u64).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let began = Instant::now();
    // The first second's worth is free; the rest takes a second and a half.
    for _ in 0..25 {
        a.data(at_a.channel, &[1; RATE / 10]).await;
    }
    b.read_data(at_b.channel, 25 * RATE / 10, false).await;
    // The last frame is taken when the debt of the one before is paid.
    let all = began.elapsed();
    assert!(all >= Duration::from_millis(1350), "{all:?}");
    tracker.stop().await;
}

#[tokio::test]
async fn while_one_waits_because_it_relays_too_fast_nobody_else_does() {
    // What it sends first is paid for in a hundred seconds: longer than anything here is waited for.
    let tracker = Tracker::start_with(|settings| settings.limits.relay_rate = 1000).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, &[1; 101_000]).await;
    a.data(at_a.channel, b"too fast").await;
    b.read_data(at_b.channel, 101_000, false).await;
    b.data(at_b.channel, b"meanwhile").await;
    assert_eq!(a.read_data(at_a.channel, 9, false).await, b"meanwhile");
    assert_eq!(tracker.metric("relayed_bytes_total").await, 101_000 + 9);
    b.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_day_has_so_many_bytes_and_then_the_relay_is_closed_with_a_reason() {
    let tracker = Tracker::start_with(|settings| settings.limits.relay_per_day = 1000).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, &[1; 990]).await;
    b.read_data(at_b.channel, 990, false).await;
    a.data(at_a.channel, &[1; 11]).await;
    assert_eq!(a.relay_closed().await, (at_a.channel, RelayReason::Quota));
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::Quota));
    // What is left is too little to be of use: the day is over.
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::Quota);
    // Nor does an announce open channels then.
    let hello = EnxameHello { open: 1, ..ours(1).enxame.unwrap() };
    let named = a.announced(Announce { enxame: Some(hello), ..ours(1) }).await.enxame.unwrap().peers;
    assert_eq!(named.iter().map(|peer| peer.channel).collect::<Vec<_>>(), [None]);
    let back = b.open_to(2, 1).await;
    a.opened().await;
    b.data(back.channel, &[1; 1000]).await;
    assert_eq!(tracker.rejections("relay-day").await, 2);
    tracker.stop().await;
}

#[tokio::test]
async fn an_address_has_its_day_too_whatever_connections_it_uses() {
    let tracker = Tracker::start_with(|settings| settings.limits.relay_per_day_per_address = 1000).await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, &[1; 600]).await;
    b.read_data(at_b.channel, 600, false).await;
    b.data(at_b.channel, &[1; 600]).await;
    assert_eq!(b.relay_closed().await.1, RelayReason::Quota);
    // It is not asked what either connection has left.
    a.relay_closed().await;
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::Quota);
    tracker.stop().await;
}

#[tokio::test]
async fn when_too_much_waits_for_one_only_the_channel_that_is_too_much_closes() {
    let tracker = Tracker::start_with(|settings| settings.limits.queue_per_connection = 100_000).await;
    let slow = tracker.join(100).await;
    let mut last = None;
    // What the system's buffers take does not wait here: more than they take is sent.
    for n in 1..=6 {
        let mut sender = tracker.join(n).await;
        let channel = sender.open_to(n, 100).await.channel;
        for _ in 0..RELAY_WINDOW / 100_000 {
            sender.data(channel, &[1; 100_000]).await;
        }
        last = Some((sender, channel));
    }
    let (mut sender, channel) = last.unwrap();
    assert_eq!(sender.relay_closed().await, (channel, RelayReason::QueueFull));
    assert!(tracker.rejections("queue-per-connection").await >= 1);
    // The sender is served on, and others.
    sender.quiet().await;
    let (mut c, mut d) = (tracker.join(7).await, tracker.join(8).await);
    let (at_c, at_d) = (c.open_to(7, 8).await, d.opened().await);
    c.data(at_c.channel, b"others").await;
    assert_eq!(d.read_data(at_d.channel, 6, false).await, b"others");
    drop(slow);
    tracker.stop().await;
}

#[tokio::test]
async fn when_too_much_waits_for_all_the_one_with_the_most_goes() {
    let tracker = Tracker::start_with(|settings| settings.limits.queue = 1_000_000).await;
    let mut senders = Vec::new();
    let mut slow = tracker.join(100).await;
    for n in 1..=6 {
        let mut sender = tracker.join(n).await;
        let channel = sender.open_to(n, 100).await.channel;
        senders.push((sender, channel));
    }
    // Windows enough to fill the system's buffers and then the tracker's bound. It is not the senders who have to go.
    for (sender, channel) in &mut senders {
        for _ in 0..RELAY_WINDOW / 131_072 {
            sender.data(*channel, &[1; 131_072]).await;
        }
    }
    for (sender, channel) in &mut senders {
        assert_eq!(sender.relay_closed().await, (*channel, RelayReason::PeerLeft));
        sender.quiet().await;
    }
    // The slow one was told, behind what it had not read.
    let closed = async {
        while let Some(Ok(message)) = slow.socket.next().await {
            if let Message::Close(frame) = message {
                return frame;
            }
        }
        None
    };
    let _ = soon(closed).await;
    assert_eq!(tracker.rejections("queue").await, 1);
    assert_eq!(tracker.metric("queue_bytes").await, 0);
    tracker.stop().await;
}
