//! Channels for which a client goes to the other peer's node.

use std::time::Duration;

use shared::limits::RELAY_WINDOW;
use shared::signal::{
    Announce, Event, RelayAt, RelayOpen, RelayOpened, RelayReason, RelayVisit, Scrape, Ticket, ToPeer,
    ToTracker,
};
use tracker::access::{Access, AccessFiles};

use crate::client::*;
use crate::place::{LOOK, World, knows};

impl Client {
    /// Asks for a channel, and would go to another node for it.
    async fn ask_to_visit(&mut self, from: u8, to: u8) {
        let open = RelayOpen { info_hash: hash(1), peer_id: peer(from), to_peer_id: peer(to), visit: true };
        self.send(&ToTracker::RelayOpen(open)).await;
    }

    /// Where the channel is to be had.
    async fn sent(&mut self) -> RelayAt {
        match self.signal().await {
            ToPeer::RelayAt(at) => at,
            other => panic!("not sent elsewhere: {other:?}"),
        }
    }

    async fn visit(&mut self, from: u8, to: u8, ticket: Ticket) {
        let visit = RelayVisit { info_hash: hash(1), peer_id: peer(from), to_peer_id: peer(to), ticket };
        self.send(&ToTracker::RelayVisit(visit)).await;
    }
}

/// A client of one node and one of another, to which the first one was sent.
struct Sent {
    nodes: [Tracker; 2],
    a: Client,
    b: Client,
    at: RelayAt,
}

impl Sent {
    async fn new(world: &World) -> Self {
        Self::with(world, |_| {}).await
    }

    async fn with(world: &World, change: impl FnOnce(&mut tracker::Settings)) -> Self {
        let nodes = [world.node().await, world.public_node(change).await];
        for node in &nodes {
            knows(node, 2).await;
        }
        let (mut a, b) = (nodes[0].join(1).await, nodes[1].join(2).await);
        a.ask_to_visit(1, 2).await;
        let at = a.sent().await;
        assert_eq!((at.info_hash, at.to_peer_id), (hash(1), peer(2)));
        assert_eq!(at.url, format!("ws://{}/ws", nodes[1].address));
        Self { nodes, a, b, at }
    }

    /// The first one comes, over a connection of its own.
    async fn come(&mut self) -> (Client, RelayOpened, RelayOpened) {
        let mut visitor = self.nodes[1].connect().await;
        visitor.visit(1, 2, self.at.ticket).await;
        let (at_a, at_b) = (visitor.opened().await, self.b.opened().await);
        assert_eq!((at_a.peer_id, at_b.peer_id), (peer(2), peer(1)));
        assert!(at_a.initiator && !at_b.initiator);
        (visitor, at_a, at_b)
    }
}

async fn what_is_relayed_at_the_other_peer_s_node_does_not_pass_between_nodes(world: World) {
    let mut sent = Sent::new(&world).await;
    let (mut visitor, at_a, at_b) = sent.come().await;
    let between = async || {
        sent.nodes[0].metric("cluster_told_bytes_total").await
            + sent.nodes[1].metric("cluster_told_bytes_total").await
    };
    let before = between().await;
    let bytes: Vec<u8> = (0..RELAY_WINDOW).map(|n| (n % 251) as u8).collect();
    for frame in bytes.chunks(100_000) {
        visitor.data(at_a.channel, frame).await;
        assert!(sent.b.read_data(at_b.channel, frame.len(), false).await == frame);
        sent.b.data(at_b.channel, frame).await;
        assert!(visitor.read_data(at_a.channel, frame.len(), false).await == frame);
    }
    assert_eq!(between().await, before);
    assert_eq!(sent.nodes[0].metric("cluster_sent_total").await, 1);
    assert_eq!(sent.nodes[1].metric("cluster_visits_total").await, 1);
    assert_eq!(sent.nodes[1].metric("cluster_channels").await, 0);
    // And who leaves is missed by the other.
    drop(visitor);
    assert_eq!(sent.b.relay_closed().await, (at_b.channel, RelayReason::PeerLeft));
}

async fn a_ticket_is_good_once_and_for_its_two_peers(world: World) {
    let mut sent = Sent::new(&world).await;
    let mut liar = sent.nodes[1].connect().await;
    for (from, to, ticket) in
        [(1, 2, Ticket::new([0; 16])), (3, 2, sent.at.ticket), (2, 1, sent.at.ticket), (1, 3, sent.at.ticket)]
    {
        liar.visit(from, to, ticket).await;
        assert_eq!(liar.refused().await, RelayReason::NotInSwarm, "{from} {to}");
    }
    let (mut visitor, ..) = sent.come().await;
    liar.visit(1, 2, sent.at.ticket).await;
    assert_eq!(liar.refused().await, RelayReason::NotInSwarm, "used up");
    assert_eq!(sent.nodes[1].rejections("ticket").await, 5);
    // Nobody else noticed.
    visitor.quiet().await;
    sent.b.quiet().await;
    assert_eq!(sent.nodes[1].metric("cluster_tickets").await, 0);
    // Nor is it good at another node, the one that handed it over included.
    sent.a.ask_to_visit(1, 2).await;
    let again = sent.a.sent().await;
    assert_ne!(again.ticket, sent.at.ticket);
    sent.a.visit(1, 2, again.ticket).await;
    assert_eq!(sent.a.refused().await, RelayReason::NotInSwarm);
}

async fn a_ticket_that_nobody_uses_in_time_is_good_no_more(world: World) {
    let expire = |settings: &mut tracker::Settings| {
        settings.cluster.as_mut().unwrap().ticket_lifetime = Duration::ZERO;
    };
    let mut sent = Sent::with(&world, expire).await;
    let mut late = sent.nodes[1].connect().await;
    late.visit(1, 2, sent.at.ticket).await;
    assert_eq!(late.refused().await, RelayReason::NotInSwarm);
    soon(async {
        while sent.nodes[1].metric("cluster_tickets").await > 0 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    sent.b.quiet().await;
}

async fn who_cannot_go_there_gets_the_channel_from_node_to_node(world: World) {
    let mut sent = Sent::new(&world).await;
    let at_a = sent.a.open_to(1, 2).await;
    let at_b = sent.b.opened().await;
    sent.a.data(at_a.channel, b"through").await;
    assert_eq!(sent.b.read_data(at_b.channel, 7, false).await, b"through");
    assert_eq!(sent.nodes[1].metric("cluster_channels").await, 1);
    // And it cannot come any more.
    let mut visitor = sent.nodes[1].connect().await;
    visitor.visit(1, 2, sent.at.ticket).await;
    assert_eq!(visitor.refused().await, RelayReason::NotInSwarm);
    // To a node without an address nobody is sent.
    let mut c = sent.nodes[1].join(3).await;
    c.ask_to_visit(3, 1).await;
    c.opened().await;
    sent.a.opened().await;
}

async fn both_may_ask_at_the_same_moment_and_one_of_them_is_sent(world: World) {
    let nodes = [world.public_node(|_| {}).await, world.public_node(|_| {}).await];
    for node in &nodes {
        knows(node, 2).await;
    }
    let (mut a, mut b) = (nodes[0].join(1).await, nodes[1].join(2).await);
    for _ in 0..20 {
        tokio::join!(a.ask_to_visit(1, 2), b.ask_to_visit(2, 1));
        let (at, from, to, node, host) = tokio::select! {
            biased;
            at = a.sent() => (at, 1, 2, &nodes[1], &mut b),
            at = b.sent() => (at, 2, 1, &nodes[0], &mut a),
        };
        let mut visitor = node.connect().await;
        visitor.visit(from, to, at.ticket).await;
        let (_, at_host) = (visitor.opened().await, host.opened().await);
        drop(visitor);
        assert_eq!(host.relay_closed().await, (at_host.channel, RelayReason::PeerLeft));
    }
    a.quiet().await;
    b.quiet().await;
    let channels = nodes[0].metric("relay_channels").await + nodes[1].metric("relay_channels").await;
    assert_eq!(channels, 0);
}

async fn who_waits_for_somebody_that_does_not_come_is_told_in_the_end(world: World) {
    let brief = |settings: &mut tracker::Settings| {
        settings.cluster.as_mut().unwrap().ticket_lifetime = Duration::from_secs(1);
    };
    let mut sent = Sent::with(&world, brief).await;
    loop {
        sent.b.ask_to_open(2, 1).await;
        match sent.b.signal().await {
            ToPeer::RelayRefused { reason, .. } => break assert_eq!(reason, RelayReason::UnknownPeer),
            // It asked too late, on a busy machine: nobody was expected any more.
            ToPeer::RelayOpened(at_b) => {
                sent.a.opened().await;
                sent.b.close_relay(at_b.channel, RelayReason::Done).await;
                sent.a.relay_closed().await;
            }
            other => panic!("{other:?}"),
        }
        sent.a.ask_to_visit(1, 2).await;
        sent.a.sent().await;
    }
    // It may try again then, and has more luck.
    sent.b.open_to(2, 1).await;
    sent.a.opened().await;
}

async fn a_node_that_ends_takes_its_visitors_channels_with_it_and_no_others(world: World) {
    let mut sent = Sent::new(&world).await;
    let (mut visitor, ..) = sent.come().await;
    let third = world.public_node(|_| {}).await;
    knows(&sent.nodes[0], 3).await;
    let mut c = third.join(3).await;
    sent.a.ask_to_visit(1, 3).await;
    let at = sent.a.sent().await;
    let mut other = third.connect().await;
    other.visit(1, 3, at.ticket).await;
    let (at_a, at_c) = (other.opened().await, c.opened().await);

    let [first, second] = sent.nodes;
    second.stop().await;
    assert!(visitor.closed().await.is_some());
    knows(&first, 2).await;
    other.data(at_a.channel, b"still").await;
    assert_eq!(c.read_data(at_c.channel, 5, false).await, b"still");
    sent.a.ask_to_visit(1, 2).await;
    assert_eq!(sent.a.refused().await, RelayReason::UnknownPeer);
    // Where it comes back, it is found there.
    let mut back = third.join(2).await;
    sent.a.ask_to_visit(1, 2).await;
    let at = sent.a.sent().await;
    other.visit(1, 2, at.ticket).await;
    other.opened().await;
    back.opened().await;
    // The node that sent it there is not needed.
    first.stop().await;
    other.data(at_a.channel, b"alone").await;
    assert_eq!(c.read_data(at_c.channel, 5, false).await, b"alone");
}

async fn who_leaves_the_swarm_loses_the_visitors_channel(world: World) {
    let mut sent = Sent::new(&world).await;
    let (mut visitor, at_a, at_b) = sent.come().await;
    sent.b.announced(Announce { event: Event::Stopped, ..ours(2) }).await;
    assert_eq!(sent.b.relay_closed().await, (at_b.channel, RelayReason::PeerLeft));
    assert_eq!(visitor.relay_closed().await, (at_a.channel, RelayReason::PeerLeft));
}

async fn a_private_node_is_opened_once_by_a_ticket_for_a_channel_and_to_foreign_pages_not_even_so(
    world: World,
) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "correct-horse-battery").unwrap();
    let nodes = [
        world.node().await,
        world
            .public_node(|settings| {
                let files = AccessFiles { tokens: Some(tokens), ..AccessFiles::default() };
                settings.access = Access::load(files, vec!["https://example.org".to_owned()]).unwrap();
            })
            .await,
    ];
    for node in &nodes {
        knows(node, 2).await;
    }
    let mut a = nodes[0].join(1).await;
    let mut b = nodes[1].try_connect("/ws?token=correct-horse-battery", &[]).await.ok().unwrap();
    b.announced(ours(2)).await;
    a.ask_to_visit(1, 2).await;
    let ticket = a.sent().await.ticket;
    let refused = async |path: &str, origin: &str| {
        nodes[1].try_connect(path, &[("origin", origin)]).await.err().map(|(status, _)| status)
    };
    let (path, false_path) = (format!("/ws?ticket={ticket}"), format!("/ws?ticket={}", Ticket::new([7; 16])));
    assert_eq!(refused("/ws", "https://example.org").await, Some(401));
    assert_eq!(refused(&false_path, "https://example.org").await, Some(401));
    assert_eq!(refused("/ws?ticket=7", "https://example.org").await, Some(401));
    assert_eq!(refused(&path, "https://evil.example").await, Some(403));
    let mut visitor = nodes[1].try_connect(&path, &[("origin", "https://example.org")]).await.ok().unwrap();
    assert_eq!(refused(&path, "https://example.org").await, Some(401), "used at the door");
    // It is nobody's client here: nothing but the channel is to be had.
    let open = RelayOpen { info_hash: hash(1), peer_id: peer(3), to_peer_id: peer(2), visit: false };
    for (asked, action) in [
        (ToTracker::Announce(ours(3)), "announce"),
        (ToTracker::Scrape(Scrape { info_hashes: vec![hash(1)] }), "scrape"),
        (ToTracker::RelayOpen(open), "relay-open"),
    ] {
        visitor.send(&asked).await;
        match visitor.signal().await {
            ToPeer::Failed(failed) => assert_eq!(failed.action, action),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(nodes[1].rejections("token").await, 3 + 1 + 3);
    assert_eq!(nodes[1].metric("peers").await, 1);
    visitor.visit(1, 2, ticket).await;
    let (at_a, at_b) = (visitor.opened().await, b.opened().await);
    visitor.data(at_a.channel, b"let in").await;
    assert_eq!(b.read_data(at_b.channel, 6, false).await, b"let in");
    visitor.close_relay(at_a.channel, RelayReason::Done).await;
    assert_eq!(b.relay_closed().await, (at_b.channel, RelayReason::Done));
    assert_eq!(refused(&path, "https://example.org").await, Some(401), "used up");
}

in_memory_and_in_redis! {
    what_is_relayed_at_the_other_peer_s_node_does_not_pass_between_nodes,
    a_ticket_is_good_once_and_for_its_two_peers,
    a_ticket_that_nobody_uses_in_time_is_good_no_more,
    who_cannot_go_there_gets_the_channel_from_node_to_node,
    both_may_ask_at_the_same_moment_and_one_of_them_is_sent,
    who_waits_for_somebody_that_does_not_come_is_told_in_the_end,
    a_node_that_ends_takes_its_visitors_channels_with_it_and_no_others,
    who_leaves_the_swarm_loses_the_visitors_channel,
    a_private_node_is_opened_once_by_a_ticket_for_a_channel_and_to_foreign_pages_not_even_so,
}
