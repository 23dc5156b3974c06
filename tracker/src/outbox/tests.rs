use futures::FutureExt;
use proptest::prelude::*;
use shared::PeerId;
use shared::signal::{Failed, RelayOpened};

use super::payload::{MAX_LENT, MERGE_LEN};
use super::*;
use crate::signal::{Forwarded, SessionDescription};

fn hash() -> InfoHash {
    InfoHash::new([1; 20])
}

/// What the client that asked for a channel is told.
fn opened(channel: u32) -> ToPeer {
    opened_by(channel, true)
}

fn opened_by(channel: u32, initiator: bool) -> ToPeer {
    ToPeer::RelayOpened(RelayOpened {
        info_hash: hash(),
        peer_id: PeerId::new([2; 20]),
        channel: ChannelId(channel),
        window: RELAY_WINDOW,
        initiator,
    })
}

fn failed(reason: &str) -> ToPeer {
    ToPeer::Failed(Failed { action: "announce".into(), info_hash: None, reason: reason.into() })
}

fn next(outbox: &Outbox) -> Option<Next> {
    std::future::poll_fn(|context| outbox.poll_next(context)).now_or_never()
}

/// An outbox with these channels open, and told to the client.
fn with_channels(channels: &[u32]) -> Outbox {
    let outbox = Outbox::default();
    for channel in channels {
        outbox.open(ChannelId(*channel), hash(), opened(*channel));
        assert_eq!(next(&outbox), Some(Next::Opened(ChannelId(*channel), opened(*channel))));
    }
    outbox
}

fn data(channel: u32, payload: &[u8]) -> Next {
    Next::Data(ChannelId(channel), Payload::Shared(Bytes::copy_from_slice(payload)))
}

fn closed(channel: u32, reason: RelayReason) -> Next {
    let message = ToPeer::RelayClosed { info_hash: hash(), channel: ChannelId(channel), reason };
    Next::Closed(ChannelId(channel), message)
}

#[test]
fn signals_go_before_credits_and_credits_before_data() {
    let outbox = with_channels(&[1]);
    outbox.data(ChannelId(1), Bytes::from_static(b"data")).unwrap();
    outbox.credit(ChannelId(1), 5);
    outbox.signal(failed("first"));
    assert_eq!(next(&outbox), Some(Next::Signal(failed("first"))));
    let credit = Frame::Credit { channel: ChannelId(1), bytes: 5 }.encode();
    assert_eq!(next(&outbox), Some(Next::Frame(credit)));
    assert_eq!(next(&outbox), Some(data(1, b"data")));
    assert_eq!(next(&outbox), None);
}

#[test]
fn a_channel_is_told_of_before_its_data_and_ahead_of_other_data() {
    let outbox = with_channels(&[1]);
    outbox.data(ChannelId(1), Bytes::from_static(b"old")).unwrap();
    outbox.open(ChannelId(2), hash(), opened(2));
    outbox.data(ChannelId(2), Bytes::from_static(b"new")).unwrap();
    assert_eq!(next(&outbox), Some(Next::Opened(ChannelId(2), opened(2))));
    assert_eq!(next(&outbox), Some(data(2, b"new")));
    assert_eq!(next(&outbox), Some(data(1, b"old")));
    assert_eq!(next(&outbox), None);
}

#[test]
fn channels_take_turns() {
    let outbox = with_channels(&[1, 2]);
    let large = Bytes::from(vec![7; MERGE_LEN + 1]);
    for _ in 0..2 {
        outbox.data(ChannelId(1), large.clone()).unwrap();
    }
    outbox.data(ChannelId(2), Bytes::from_static(b"small")).unwrap();
    assert_eq!(next(&outbox), Some(data(1, &large)));
    assert_eq!(next(&outbox), Some(data(2, b"small")));
    assert_eq!(next(&outbox), Some(data(1, &large)));
}

#[test]
fn what_waits_for_a_client_that_takes_nothing_keeps_no_more_than_itself() {
    let outbox = with_channels(&[1]);
    let read = Bytes::from((0..130_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    // Handed on as they are, while it takes what is written.
    outbox.data(ChannelId(1), read.slice(1..=MERGE_LEN)).unwrap();
    outbox.data(ChannelId(1), read.slice(20_000..50_000)).unwrap();
    assert!(!read.is_unique());
    outbox.stall(true);
    assert!(read.is_unique(), "what waited was copied");
    outbox.data(ChannelId(1), read.slice(50_000..90_000)).unwrap();
    assert!(read.is_unique(), "and what comes is");
    outbox.stall(false);
    outbox.data(ChannelId(1), read.slice(90_000..110_000)).unwrap();
    assert!(!read.is_unique());
    for part in [1..MERGE_LEN + 1, 20_000..50_000, 50_000..90_000, 90_000..110_000] {
        assert_eq!(next(&outbox), Some(data(1, &read[part])));
    }
    assert!(read.is_unique());
}

#[test]
fn a_client_that_is_behind_is_lent_no_more_than_a_turn_or_two_bring() {
    let outbox = with_channels(&[1]);
    let reads: Vec<Bytes> = (0..20).map(|n| Bytes::from(vec![n; 130_000])).collect();
    for read in &reads {
        outbox.data(ChannelId(1), read.slice(..MERGE_LEN)).unwrap();
    }
    let lent = reads.iter().filter(|read| !read.is_unique()).count();
    assert_eq!(lent, MAX_LENT / MERGE_LEN);
    for read in &reads {
        assert_eq!(next(&outbox), Some(data(1, &read[..MERGE_LEN])));
    }
}

#[test]
fn tiny_frames_that_wait_become_one() {
    let outbox = with_channels(&[1]);
    for byte in 0..100 {
        outbox.data(ChannelId(1), Bytes::from(vec![byte])).unwrap();
    }
    assert_eq!(next(&outbox), Some(data(1, &(0..100).collect::<Vec<u8>>())));
    assert_eq!(next(&outbox), None);
}

#[test]
fn credits_that_wait_become_one() {
    let outbox = with_channels(&[1]);
    outbox.credit(ChannelId(1), 5);
    outbox.credit(ChannelId(1), 6);
    let credit = Frame::Credit { channel: ChannelId(1), bytes: 11 }.encode();
    assert_eq!(next(&outbox), Some(Next::Frame(credit)));
    assert_eq!(next(&outbox), None);
}

#[test]
fn a_sender_without_credit_is_refused_until_the_receiver_gives_some() {
    let outbox = with_channels(&[1]);
    let window = Bytes::from(vec![0; RELAY_WINDOW as usize]);
    outbox.data(ChannelId(1), window.clone()).unwrap();
    assert_eq!(
        outbox.data(ChannelId(1), Bytes::from_static(b"x")),
        Err(DataError::Credit(CreditError::Exceeded))
    );
    assert_eq!(outbox.give(ChannelId(1), 1), Err(CreditError::NotDelivered));
    assert_eq!(next(&outbox), Some(data(1, &window)));
    assert_eq!(
        outbox.data(ChannelId(1), Bytes::from_static(b"x")),
        Err(DataError::Credit(CreditError::Exceeded))
    );
    outbox.give(ChannelId(1), 1).unwrap();
    outbox.data(ChannelId(1), Bytes::from_static(b"x")).unwrap();
}

#[test]
fn what_was_sent_before_the_closing_arrives_before_its_notice() {
    let outbox = with_channels(&[1]);
    outbox.data(ChannelId(1), Bytes::from_static(b"last words")).unwrap();
    outbox.credit(ChannelId(1), 9);
    outbox.close(ChannelId(1), RelayReason::PeerLeft);
    outbox.close(ChannelId(1), RelayReason::Protocol);
    outbox.data(ChannelId(1), Bytes::from_static(b"too late")).unwrap();
    assert_eq!(next(&outbox), Some(data(1, b"last words")));
    assert_eq!(next(&outbox), Some(closed(1, RelayReason::PeerLeft)));
    assert_eq!(next(&outbox), None);
}

#[test]
fn channels_that_come_and_go_leave_nothing_with_a_client_that_does_not_read() {
    let outbox = Outbox::default();
    for n in 1..=100_000 {
        outbox.open(ChannelId(n), hash(), opened_by(n, false));
        outbox.data(ChannelId(n), Bytes::from_static(b"hello")).unwrap();
        outbox.close(ChannelId(n), RelayReason::PeerLeft);
    }
    assert_eq!((outbox.bytes(), next(&outbox)), (0, None));
    // Whoever asks for them all and reads no answer has only itself to thank.
    for n in 1..=100_000 {
        outbox.open(ChannelId(n), hash(), opened_by(n, true));
        outbox.close(ChannelId(n), RelayReason::PeerLeft);
    }
    assert!(outbox.is_over(), "it has no say any more");
    assert_eq!(next(&outbox), Some(Next::End(Ending::SlowReader)));
}

#[test]
fn a_channel_closed_at_once_is_still_told_of_to_who_asked_for_it() {
    let outbox = Outbox::default();
    outbox.open(ChannelId(1), hash(), opened(1));
    outbox.close(ChannelId(1), RelayReason::PeerLeft);
    assert_eq!(next(&outbox), Some(Next::Opened(ChannelId(1), opened(1))));
    assert_eq!(next(&outbox), Some(closed(1, RelayReason::PeerLeft)));
    assert_eq!(next(&outbox), None);
}

#[test]
fn a_channel_that_the_client_closed_is_never_mentioned_again() {
    let outbox = with_channels(&[1, 2]);
    outbox.data(ChannelId(1), Bytes::from_static(b"unwanted")).unwrap();
    outbox.credit(ChannelId(1), 9);
    outbox.forget(ChannelId(1));
    outbox.credit(ChannelId(1), 9);
    outbox.close(ChannelId(1), RelayReason::Done);
    outbox.data(ChannelId(1), Bytes::from_static(b"unwanted")).unwrap();
    assert_eq!(outbox.give(ChannelId(1), 5), Ok(()));
    assert_eq!(next(&outbox), None);
    assert_eq!(outbox.held(), 0);
}

/// An offer with the longest session description.
fn long() -> ToPeer {
    let description = SessionDescription { kind: "offer".into(), sdp: "x".repeat(64 * 1024).into() };
    let (peer_id, offer_id) = (PeerId::new([1; 20]), shared::OfferId::new([1; 20]));
    ToPeer::Offer(Forwarded { info_hash: hash(), peer_id, offer_id, description })
}

#[test]
fn nobody_is_flooded_out_by_the_offers_of_others() {
    let outbox = Outbox::default();
    let queued = (0..1000).filter(|_| outbox.forward(long())).count();
    assert!((4..8).contains(&queued), "{queued} in half of the room");
    for _ in 0..100 {
        outbox.signal(failed("a reply"));
    }
    for _ in 0..queued {
        assert_eq!(next(&outbox), Some(Next::Signal(long())));
    }
    for _ in 0..100 {
        assert_eq!(next(&outbox), Some(Next::Signal(failed("a reply"))));
    }
    assert_eq!(next(&outbox), None);
    assert!(outbox.forward(long()), "there is room again");
}

#[test]
fn a_client_that_does_not_read_its_signals_is_ended() {
    let outbox = Outbox::default();
    for _ in 0..15 {
        outbox.signal(long());
    }
    assert_eq!(next(&outbox), Some(Next::Signal(long())));
    assert!(!outbox.is_over());
    for _ in 0..100 {
        outbox.signal(long());
    }
    assert!(outbox.is_over(), "it has no say any more");
    assert_eq!(next(&outbox), Some(Next::End(Ending::SlowReader)));
}

#[test]
fn a_client_that_reads_may_be_sent_any_number_of_signals() {
    let outbox = Outbox::default();
    outbox.signal(failed("always one behind"));
    for _ in 0..100_000 {
        outbox.signal(failed("x"));
        assert!(matches!(next(&outbox), Some(Next::Signal(_))));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open,
    Data(usize, u32),
    Read,
    Give(usize, u32),
    Close(usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..4_usize;
    let len = || prop_oneof![1..200_u32, 1..=RELAY_WINDOW];
    prop_oneof![
        1 => Just(Step::Open),
        6 => (which(), len()).prop_map(|(n, len)| Step::Data(n, len)),
        4 => Just(Step::Read),
        4 => (which(), len()).prop_map(|(n, bytes)| Step::Give(n, bytes)),
        1 => which().prop_map(Step::Close),
        1 => which().prop_map(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Two ends that break every rule, against the promise: a window for each open channel, and one for those closed.
    #[test]
    fn no_more_is_held_than_a_window_a_channel_and_one(steps in proptest::collection::vec(step(), 0..120)) {
        let outbox = Outbox::default();
        let bytes = Bytes::from(vec![0; RELAY_WINDOW as usize]);
        let mut open: Vec<u32> = Vec::new();
        let mut highest = 0;
        for step in steps {
            let pick = |n: usize| open.get(n % open.len().max(1)).copied().map(ChannelId);
            match step {
                Step::Open => {
                    highest += 1;
                    outbox.open(ChannelId(highest), hash(), opened(highest));
                    open.push(highest);
                }
                Step::Data(n, len) => {
                    if let Some(channel) = pick(n) {
                        // Refused or not: it is what is held that counts.
                        let _ = outbox.data(channel, bytes.slice(..len as usize));
                    }
                }
                Step::Read => drop(next(&outbox)),
                Step::Give(n, bytes) => {
                    if let Some(channel) = pick(n) {
                        let _ = outbox.give(channel, bytes);
                    }
                }
                Step::Close(n) => {
                    if let Some(channel) = pick(n) {
                        outbox.close(channel, RelayReason::Done);
                        open.retain(|other| *other != channel.0);
                    }
                }
                Step::Forget(n) => {
                    if let Some(channel) = pick(n) {
                        outbox.forget(channel);
                        open.retain(|other| *other != channel.0);
                    }
                }
            }
            prop_assert!(outbox.held() <= (open.len() + 1) * RELAY_WINDOW as usize);
        }
        while next(&outbox).is_some() {}
        prop_assert_eq!(outbox.held(), 0);
        prop_assert_eq!(lock(&outbox.waiting).orphaned, 0);
        prop_assert_eq!(lock(&outbox.waiting).lanes.len(), open.len());
        prop_assert!(lock(&outbox.waiting).ring.is_empty());
    }
}

#[test]
fn what_waits_is_counted_here_and_for_all_until_it_is_read_or_dropped() {
    let queues = Arc::new(Queues::new(&Limits::default()));
    let outbox = Outbox::new(Arc::clone(&queues));
    outbox.signal(failed("first"));
    let signal = outbox.bytes();
    assert!(signal > 0);
    assert_eq!(next(&outbox), Some(Next::Signal(failed("first"))));
    for channel in [1, 2, 3] {
        outbox.open(ChannelId(channel), hash(), opened(channel));
        assert!(matches!(next(&outbox), Some(Next::Opened(..))));
        outbox.data(ChannelId(channel), Bytes::from(vec![7; 1000])).unwrap();
    }
    assert_eq!((outbox.bytes(), queues.held()), (3000, 3000));
    outbox.forget(ChannelId(1));
    assert_eq!((outbox.bytes(), queues.held()), (2000, 2000));
    outbox.close(ChannelId(2), RelayReason::PeerLeft);
    assert!(matches!(next(&outbox), Some(Next::Data(..))));
    assert_eq!((outbox.bytes(), queues.held()), (1000, 1000));
    outbox.end(Ending::Crowded);
    assert_eq!((outbox.bytes(), queues.held()), (0, 0), "who is to go keeps nothing");
    outbox.signal(failed("last"));
    assert_eq!(queues.held(), signal);
    drop(outbox);
    assert_eq!(queues.held(), 0);
}

#[test]
fn a_full_queue_takes_no_more_and_no_credit_is_lost() {
    let limits = Limits { queue_per_connection: 1500, ..Limits::default() };
    let outbox = Outbox::new(Arc::new(Queues::new(&limits)));
    outbox.open(ChannelId(1), hash(), opened(1));
    assert!(matches!(next(&outbox), Some(Next::Opened(..))));
    outbox.data(ChannelId(1), Bytes::from(vec![7; 1000])).unwrap();
    assert_eq!(outbox.data(ChannelId(1), Bytes::from(vec![7; 501])), Err(DataError::Full));
    outbox.data(ChannelId(1), Bytes::from(vec![7; 500])).unwrap();
    assert_eq!(outbox.bytes(), 1500);
}
