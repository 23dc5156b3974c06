//! Channels between clients of two nodes.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use shared::limits::{MAX_RELAY_PAYLOAD, RELAY_WINDOW};
use shared::relay::Frame;
use shared::signal::{Announce, Event, RelayOpened, RelayReason, ToPeer};
use tracker::cluster::Memory;

use crate::client::*;
use crate::place::World;

const WINDOW: usize = RELAY_WINDOW as usize;

/// Two clients at two nodes, with a channel between them.
struct Pair {
    a: Client,
    at_a: RelayOpened,
    b: Client,
    at_b: RelayOpened,
    nodes: [Tracker; 2],
}

impl Pair {
    async fn new(world: &World) -> Self {
        let nodes: [Tracker; 2] = world.nodes().await;
        let (mut a, mut b) = (nodes[0].join(1).await, nodes[1].join(2).await);
        let at_a = a.open_to(1, 2).await;
        let at_b = b.opened().await;
        Self { a, at_a, b, at_b, nodes }
    }

    /// Waits until neither node has a channel to another one, and ends.
    async fn end(self) {
        drop((self.a, self.b));
        for node in &self.nodes {
            soon(async {
                while node.metric("cluster_channels").await + node.metric("relay_channels").await > 0 {
                    tokio::time::sleep(crate::place::LOOK).await;
                }
            })
            .await;
        }
        let [a, b] = self.nodes;
        tokio::join!(a.stop(), b.stop());
    }
}

async fn bytes_cross_in_both_directions_beyond_the_window(world: World) {
    let Pair { mut a, at_a, mut b, at_b, nodes } = Pair::new(&world).await;
    assert!(at_a.initiator && !at_b.initiator);
    assert_eq!((at_a.peer_id, at_b.peer_id), (peer(2), peer(1)));
    // Of all lengths, seeded.
    let mut rng = SmallRng::seed_from_u64(3);
    let mut bytes = vec![0; 3 * WINDOW];
    rng.fill_bytes(&mut bytes);
    for (from, to) in [(true, false), (false, true)].map(|(from_a, _)| (from_a, !from_a)) {
        let (sender, receiver) = if from { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let (out, into) = if to { (at_b.channel, at_a.channel) } else { (at_a.channel, at_b.channel) };
        let sending = async {
            let (mut credit, mut rest) = (WINDOW, &bytes[..]);
            while !rest.is_empty() {
                let len = rng.random_range(1..=MAX_RELAY_PAYLOAD).min(rest.len());
                while credit < len {
                    match sender.frame().await {
                        Frame::Credit { channel, bytes } if channel == out => credit += bytes as usize,
                        other => panic!("not credit: {other:?}"),
                    }
                }
                credit -= len;
                sender.data(out, &rest[..len]).await;
                rest = &rest[len..];
            }
            while credit < WINDOW {
                match sender.frame().await {
                    Frame::Credit { bytes, .. } => credit += bytes as usize,
                    other => panic!("not credit: {other:?}"),
                }
            }
        };
        let receiving = receiver.read_data(into, bytes.len(), true);
        let ((), received) = tokio::join!(sending, receiving);
        assert!(received == bytes);
    }
    Pair { a, at_a, b, at_b, nodes }.end().await;
}

async fn what_was_sent_before_the_end_is_delivered_and_then_the_reason(world: World) {
    let mut pair = Pair::new(&world).await;
    pair.a.data(pair.at_a.channel, b"last words").await;
    pair.a.close_relay(pair.at_a.channel, RelayReason::Direct).await;
    assert_eq!(pair.b.read_data(pair.at_b.channel, 10, false).await, b"last words");
    assert_eq!(pair.b.relay_closed().await, (pair.at_b.channel, RelayReason::Direct));
    // And the other way round, by a connection that is gone.
    pair.at_b = pair.b.open_to(2, 1).await;
    pair.at_a = pair.a.opened().await;
    drop(pair.b);
    assert_eq!(pair.a.relay_closed().await, (pair.at_a.channel, RelayReason::PeerLeft));
    pair.b = pair.nodes[1].connect().await;
    pair.end().await;
}

async fn who_leaves_the_swarm_loses_its_channels(world: World) {
    let mut pair = Pair::new(&world).await;
    pair.b.announced(Announce { event: Event::Stopped, ..ours(2) }).await;
    assert_eq!(pair.b.relay_closed().await, (pair.at_b.channel, RelayReason::PeerLeft));
    assert_eq!(pair.a.relay_closed().await, (pair.at_a.channel, RelayReason::PeerLeft));
    pair.end().await;
}

async fn both_may_ask_at_the_same_moment_and_have_one_channel(world: World) {
    let nodes: [Tracker; 2] = world.nodes().await;
    let (mut a, mut b) = (nodes[0].join(1).await, nodes[1].join(2).await);
    for _ in 0..20 {
        tokio::join!(a.ask_to_open(1, 2), b.ask_to_open(2, 1));
        let (at_a, at_b) = tokio::join!(a.opened(), b.opened());
        assert_ne!(at_a.initiator, at_b.initiator);
        a.data(at_a.channel, b"a").await;
        b.data(at_b.channel, b"b").await;
        assert_eq!(a.read_data(at_a.channel, 1, false).await, b"b");
        assert_eq!(b.read_data(at_b.channel, 1, false).await, b"a");
        a.close_relay(at_a.channel, RelayReason::Done).await;
        assert_eq!(b.relay_closed().await.0, at_b.channel);
    }
    a.quiet().await;
    b.quiet().await;
    let pair = Pair { at_a: fake(), at_b: fake(), a, b, nodes };
    pair.end().await;
}

fn fake() -> RelayOpened {
    RelayOpened {
        info_hash: hash(1),
        peer_id: peer(1),
        channel: shared::relay::ChannelId(1),
        window: 0,
        initiator: false,
    }
}

async fn a_channel_to_nobody_or_to_who_takes_none_is_refused(world: World) {
    let [a, b] = world.nodes().await;
    let mut asker = a.join(1).await;
    let mut stranger = b.connect().await;
    stranger.announced(Announce { enxame: None, ..ours(2) }).await;
    asker.ask_to_open(1, 2).await;
    assert_eq!(asker.refused().await, RelayReason::NotCapable);
    asker.ask_to_open(1, 3).await;
    assert_eq!(asker.refused().await, RelayReason::UnknownPeer);
    stranger.quiet().await;
}

async fn who_sends_without_credit_loses_the_channel_at_both_nodes(world: World) {
    let mut pair = Pair::new(&world).await;
    for _ in 0..=WINDOW / MAX_RELAY_PAYLOAD {
        pair.a.data(pair.at_a.channel, &vec![1; MAX_RELAY_PAYLOAD]).await;
    }
    assert_eq!(pair.a.relay_closed().await, (pair.at_a.channel, RelayReason::CreditExceeded));
    let came = WINDOW / MAX_RELAY_PAYLOAD * MAX_RELAY_PAYLOAD;
    pair.b.read_data(pair.at_b.channel, came, false).await;
    assert_eq!(pair.b.relay_closed().await, (pair.at_b.channel, RelayReason::CreditExceeded));
    pair.end().await;
}

in_memory_and_in_redis! {
    bytes_cross_in_both_directions_beyond_the_window,
    what_was_sent_before_the_end_is_delivered_and_then_the_reason,
    who_leaves_the_swarm_loses_its_channels,
    both_may_ask_at_the_same_moment_and_have_one_channel,
    a_channel_to_nobody_or_to_who_takes_none_is_refused,
    who_sends_without_credit_loses_the_channel_at_both_nodes,
}

/// Only in memory can a message be lost at will.
#[tokio::test]
async fn a_message_lost_between_nodes_closes_the_channel_and_leaves_no_gap() {
    let memory = Memory::default();
    let mut pair = Pair::new(&World::Memory(memory.clone())).await;
    pair.a.data(pair.at_a.channel, &[1; 5000]).await;
    pair.b.read_data(pair.at_b.channel, 5000, false).await;
    memory.lose_one(4000);
    pair.a.data(pair.at_a.channel, &[2; 5000]).await;
    pair.a.data(pair.at_a.channel, &[3; 5000]).await;
    pair.a.data(pair.at_a.channel, &[4; 5000]).await;
    // Nothing of what came behind it.
    assert_eq!(pair.b.relay_closed().await.0, pair.at_b.channel);
    assert_eq!(pair.a.relay_closed().await.0, pair.at_a.channel);
    assert_eq!(pair.nodes[1].metric("cluster_channels_broken_total").await, 1);
    // Another one works.
    pair.at_a = pair.a.open_to(1, 2).await;
    pair.at_b = pair.b.opened().await;
    pair.a.data(pair.at_a.channel, b"again").await;
    assert_eq!(pair.b.read_data(pair.at_b.channel, 5, false).await, b"again");
    pair.end().await;
}

/// The end itself may be what is lost: it is noticed with the next word.
#[tokio::test]
async fn a_channel_whose_end_was_lost_is_closed_by_the_next_word_on_it() {
    let memory = Memory::default();
    let mut pair = Pair::new(&World::Memory(memory.clone())).await;
    memory.lose_one(0);
    pair.a.close_relay(pair.at_a.channel, RelayReason::Done).await;
    pair.a.quiet().await;
    soon(async {
        while pair.nodes[0].metric("cluster_told_total").await < 2 {
            tokio::time::sleep(crate::place::LOOK).await;
        }
    })
    .await;
    pair.b.data(pair.at_b.channel, b"hello?").await;
    match pair.b.signal().await {
        ToPeer::RelayClosed { channel, .. } => assert_eq!(channel, pair.at_b.channel),
        other => panic!("{other:?}"),
    }
    pair.end().await;
}
