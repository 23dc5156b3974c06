//! Relay channels: bytes, credits, who waits for whom, and who hears of whose end.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use shared::limits::{MAX_RELAY_PAYLOAD, RELAY_WINDOW};
use shared::relay::{ChannelId, Frame};
use shared::signal::{Event, RelayReason, Scrape, ToPeer, ToTracker};

use crate::client::*;

const WINDOW: usize = RELAY_WINDOW as usize;

#[tokio::test]
async fn bytes_arrive_as_they_were_sent_in_both_directions() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    assert!(at_a.initiator && !at_b.initiator);
    assert_eq!((at_a.peer_id, at_b.peer_id), (peer(2), peer(1)));
    let mut rng = SmallRng::seed_from_u64(3);
    let mut bytes = vec![0; WINDOW];
    rng.fill_bytes(&mut bytes);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let len = rng.random_range(1..=MAX_RELAY_PAYLOAD).min(rest.len());
        a.data(at_a.channel, &rest[..len]).await;
        b.data(at_b.channel, &rest[..len]).await;
        rest = &rest[len..];
    }
    assert!(a.read_data(at_a.channel, WINDOW, false).await == bytes);
    assert!(b.read_data(at_b.channel, WINDOW, false).await == bytes);
    tracker.stop().await;
}

#[tokio::test]
async fn with_credit_more_than_the_window_crosses() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let frame = vec![9; 100 * 1024];
    let frames = 5 * WINDOW / frame.len();
    let sending = async {
        let mut credit = WINDOW;
        for _ in 0..frames {
            while credit < frame.len() {
                match a.frame().await {
                    Frame::Credit { channel, bytes } if channel == at_a.channel => credit += bytes as usize,
                    other => panic!("not credit: {other:?}"),
                }
            }
            credit -= frame.len();
            a.data(at_a.channel, &frame).await;
        }
    };
    let receiving = b.read_data(at_b.channel, frames * frame.len(), true);
    let ((), received) = tokio::join!(sending, receiving);
    assert_eq!(received.len(), frames * frame.len());
    tracker.stop().await;
}

#[tokio::test]
async fn channels_that_an_announce_asks_for_are_open_when_its_reply_comes() {
    let tracker = Tracker::start().await;
    let mut others = [tracker.join(1).await, tracker.join(2).await, tracker.join(3).await];
    let mut newcomer = tracker.connect().await;
    let named = newcomer.announced(opening(4, 2)).await.enxame.unwrap().peers;
    assert_eq!(named.len(), 3);
    for (index, named) in named.iter().enumerate() {
        let n = (1..=3).find(|n| named.peer_id == peer(*n)).unwrap();
        let other = &mut others[usize::from(n - 1)];
        // No more than were asked for.
        assert_eq!(named.channel.is_some(), index < 2);
        let Some(channel) = named.channel else {
            other.quiet().await;
            continue;
        };
        let opened = other.opened().await;
        assert_eq!((opened.peer_id, opened.initiator), (peer(4), false));
        newcomer.data(channel, &[n; 3]).await;
        assert_eq!(other.read_data(opened.channel, 3, false).await, [n; 3]);
        other.data(opened.channel, b"hello").await;
        assert_eq!(newcomer.read_data(channel, 5, false).await, b"hello");
    }
    // Those that are there are not opened again, and not spoken of.
    let named = newcomer.announced(opening(4, 3)).await.enxame.unwrap().peers;
    assert_eq!(named.iter().filter(|named| named.channel.is_some()).count(), 1);
    tracker.stop().await;
}

#[tokio::test]
async fn who_cannot_be_reached_by_relay_is_named_without_a_channel() {
    let tracker = Tracker::start().await;
    let mut direct = tracker.connect().await;
    let mut hello = with_rtc(1);
    hello.enxame.as_mut().unwrap().relay = false;
    direct.announced(hello).await;
    let mut newcomer = tracker.connect().await;
    let mut asking = with_rtc(2);
    asking.enxame.as_mut().unwrap().open = u32::MAX;
    let named = newcomer.announced(asking).await.enxame.unwrap().peers;
    assert_eq!(
        named.iter().map(|named| (named.peer_id, named.channel)).collect::<Vec<_>>(),
        [(peer(1), None)]
    );
    direct.quiet().await;
    newcomer.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_slow_receiver_stops_its_own_sender_and_nobody_else() {
    let tracker = Tracker::start().await;
    // `b` never reads its socket again.
    let ((mut a, to_b), (_b, _)) = tracker.pair().await;
    let mut c = tracker.join(3).await;
    let to_c = a.open_to(1, 3).await;
    let at_c = c.opened().await;
    let frame = vec![1; 64 * 1024];
    for _ in 0..WINDOW / frame.len() {
        a.data(to_b.channel, &frame).await;
    }
    for _ in 0..3 {
        for _ in 0..WINDOW / frame.len() {
            a.data(to_c.channel, &frame).await;
        }
        c.read_data(at_c.channel, WINDOW, false).await;
        c.credit(at_c.channel, RELAY_WINDOW).await;
        assert_eq!(a.frame().await, Frame::Credit { channel: to_c.channel, bytes: RELAY_WINDOW });
    }
    tracker.stop().await;
}

#[tokio::test]
async fn sending_without_credit_closes_the_channel_on_both_sides() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let frame = vec![1; 128 * 1024];
    for _ in 0..=WINDOW / frame.len() {
        a.data(at_a.channel, &frame).await;
    }
    assert_eq!(a.relay_closed().await, (at_a.channel, RelayReason::CreditExceeded));
    b.read_data(at_b.channel, WINDOW, false).await;
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::CreditExceeded));
    a.data(at_a.channel, b"too late").await;
    a.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn credit_for_bytes_that_never_came_closes_the_channel_on_both_sides() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, b"four").await;
    b.read_data(at_b.channel, 4, false).await;
    b.credit(at_b.channel, 5).await;
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::Protocol));
    assert_eq!(a.relay_closed().await, (at_a.channel, RelayReason::Protocol));
    tracker.stop().await;
}

#[tokio::test]
async fn the_other_side_hears_why_a_channel_was_closed_and_a_new_one_gets_a_new_number() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    b.close_relay(at_b.channel, RelayReason::Direct).await;
    assert_eq!(a.relay_closed().await, (at_a.channel, RelayReason::Direct));
    a.data(at_a.channel, b"sent before that was known").await;
    a.credit(at_a.channel, 1).await;
    a.close_relay(at_a.channel, RelayReason::Done).await;
    a.quiet().await;
    b.quiet().await;
    let again = b.open_to(2, 1).await;
    assert!(again.channel > at_b.channel);
    assert!(a.opened().await.channel > at_a.channel);
    tracker.stop().await;
}

#[tokio::test]
async fn asking_for_a_channel_that_is_open_changes_nothing() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.ask_to_open(1, 2).await;
    b.ask_to_open(2, 1).await;
    a.quiet().await;
    b.quiet().await;
    a.data(at_a.channel, b"still open").await;
    assert_eq!(b.read_data(at_b.channel, 10, false).await, b"still open");
    tracker.stop().await;
}

#[tokio::test]
async fn what_a_leaving_peer_had_sent_still_arrives_then_its_leaving() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let frame = vec![5; 64 * 1024];
    for _ in 0..WINDOW / frame.len() {
        a.data(at_a.channel, &frame).await;
    }
    a.quiet().await;
    drop(a);
    assert_eq!(b.read_data(at_b.channel, WINDOW, false).await.len(), WINDOW);
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::PeerLeft));
    tracker.stop().await;
}

#[tokio::test]
async fn a_peer_that_stops_in_the_swarm_loses_its_channels_there() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    let mut stopped = ours(1);
    stopped.event = Event::Stopped;
    a.announced(stopped).await;
    assert_eq!(a.relay_closed().await, (at_a.channel, RelayReason::PeerLeft));
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::PeerLeft));
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::NotInSwarm);
    tracker.stop().await;
}

#[tokio::test]
async fn channels_are_opened_only_between_two_of_a_swarm_that_both_can() {
    let tracker = Tracker::start().await;
    let mut a = tracker.connect().await;
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::NotInSwarm);
    a.announced(ours(1)).await;
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::UnknownPeer);
    a.ask_to_open(1, 1).await;
    assert_eq!(a.refused().await, RelayReason::UnknownPeer);

    let mut elsewhere = tracker.connect().await;
    let mut announce = ours(2);
    announce.info_hash = hash(2);
    elsewhere.announced(announce).await;
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::UnknownPeer);

    let mut plain = tracker.connect().await;
    let mut announce = ours(3);
    announce.enxame = None;
    plain.announced(announce).await;
    a.ask_to_open(1, 3).await;
    assert_eq!(a.refused().await, RelayReason::NotCapable);

    let b = tracker.join(4).await;
    let mut thief = tracker.join(5).await;
    thief.ask_to_open(1, 4).await;
    assert_eq!(thief.refused().await, RelayReason::NotInSwarm);
    drop(b);
    plain.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_silent_peer_is_forgotten_with_its_channels_but_not_its_connection() {
    let tracker = Tracker::start_with(|settings| settings.announce_interval = Duration::ZERO).await;
    let mut a = tracker.connect().await;
    a.announced(ours(1)).await;
    let scrape = ToTracker::Scrape(Scrape { info_hashes: vec![hash(1)] });
    let forgotten = async {
        loop {
            a.send(&scrape).await;
            match a.signal().await {
                ToPeer::Scraped(reply) if reply.files[&hash(1)].incomplete == 0 => break,
                ToPeer::Scraped(_) => {}
                other => panic!("not counts: {other:?}"),
            }
        }
    };
    soon(forgotten).await;
    a.ask_to_open(1, 2).await;
    assert_eq!(a.refused().await, RelayReason::NotInSwarm);
    assert_eq!(a.announced(ours(1)).await.incomplete, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn frames_for_channels_that_never_were_are_complained_of_once() {
    let tracker = Tracker::start().await;
    let mut a = tracker.join(1).await;
    for _ in 0..3 {
        a.data(ChannelId(77), b"hello?").await;
        a.credit(ChannelId(0), 1).await;
    }
    let failed = a.failed().await;
    assert!(failed.reason.contains("no relay channel 77"), "{failed:?}");
    a.quiet().await;
    tracker.stop().await;
}
