//! The others are out of reach, and come back.

use std::time::Duration;

use serde_json::json;
use shared::signal::RelayReason;
use tracker::cluster::{ClusterSettings, Place, Redis};

use crate::client::*;
use crate::place::{HEARTBEAT, RedisServer, World, health, is_alone, knows};

async fn a_node_that_lost_the_others_serves_its_own_and_joins_again_by_itself(mut world: World) {
    let [a, b] = world.nodes().await;
    assert_eq!(health(&a).await, json!({ "status": "ready", "cluster": { "status": "joined", "nodes": 2 } }));
    let (mut here, mut there) = (a.join(1).await, b.join(2).await);
    here.open_to(1, 2).await;
    there.opened().await;

    world.interrupt().await;
    is_alone(&a).await;
    is_alone(&b).await;
    assert_eq!(health(&a).await, json!({ "status": "ready", "cluster": { "status": "alone", "nodes": 1 } }));
    for client in [&mut here, &mut there] {
        assert_eq!(client.relay_closed().await.1, RelayReason::PeerLeft);
    }
    // One that comes now meets those who are here, at once.
    let mut newcomer = a.connect().await;
    let reply = newcomer.announced(ours(3)).await;
    assert_eq!((reply.incomplete, reply.enxame.unwrap().peers.len()), (2, 1));
    here.ask_to_open(1, 2).await;
    assert_eq!(here.refused().await, RelayReason::UnknownPeer);
    newcomer.open_to(3, 1).await;
    here.opened().await;

    world.resume().await;
    knows(&a, 2).await;
    knows(&b, 2).await;
    // Nobody had to announce again: each node has told the others of its own. But that may take a moment.
    soon(async {
        while there.announced(ours(2)).await.incomplete != 3 {
            tokio::time::sleep(crate::place::LOOK).await;
        }
    })
    .await;
    there.open_to(2, 1).await;
    here.opened().await;
    assert_eq!(a.metric("cluster_joins_total").await, 2);
}

async fn a_node_that_starts_while_nobody_can_be_reached_serves_and_joins_later(mut world: World) {
    world.interrupt().await;
    let a = world.node().await;
    let mut here = a.join(1).await;
    assert_eq!(here.announced(ours(1)).await.incomplete, 1);
    assert_eq!(health(&a).await["cluster"]["status"], "alone");
    world.resume().await;
    knows(&a, 1).await;
    let b = world.node().await;
    knows(&b, 2).await;
    let mut there = b.connect().await;
    soon(async {
        while there.announced(ours(2)).await.incomplete != 2 {
            tokio::time::sleep(crate::place::LOOK).await;
        }
    })
    .await;
}

async fn a_node_that_ends_takes_only_its_own_peers_with_it(world: World) {
    let [a, b, c] = world.nodes().await;
    let (mut first, _second, mut third) = (a.join(1).await, b.join(2).await, c.join(3).await);
    first.open_to(1, 3).await;
    third.opened().await;
    let before = first.open_to(1, 2).await;
    b.stop().await;
    assert_eq!(first.relay_closed().await, (before.channel, RelayReason::PeerLeft));
    knows(&a, 2).await;
    assert_eq!(first.announced(ours(1)).await.incomplete, 2);
    first.quiet().await;
    third.quiet().await;
    assert_eq!(a.metric("cluster_channels").await, 1);
}

/// It takes connections, and says nothing: what waits for an answer is answered without.
#[tokio::test]
async fn a_redis_that_stands_still_is_left_alone_and_nobody_waits_for_ever() {
    let server = RedisServer::start().await;
    let world = World::Redis(Box::new(server));
    let [a, b] = world.nodes().await;
    let (mut here, there) = (a.join(1).await, b.join(2).await);
    let World::Redis(server) = &world else { unreachable!() };
    server.signal("STOP");
    let reply = here.announced(ours(1)).await;
    assert_eq!((reply.incomplete, reply.enxame.unwrap().peers.len()), (1, 0));
    is_alone(&a).await;
    assert_eq!(here.announced(ours(1)).await.incomplete, 1);
    // Nor does a node that ends.
    drop(there);
    b.stop().await;
    server.signal("CONT");
    soon(async {
        while a.metric("cluster_joined").await == 0 {
            tokio::time::sleep(crate::place::LOOK).await;
        }
    })
    .await;
    // The one that ended could not say so for sure, and may count with its peer until its lifetime is over.
    let c = world.node().await;
    let mut there = c.connect().await;
    soon(async {
        loop {
            let peers = there.announced(ours(3)).await.enxame.unwrap().peers;
            if peers.iter().any(|named| named.peer_id == peer(1)) {
                break;
            }
            tokio::time::sleep(crate::place::LOOK).await;
        }
    })
    .await;
}

/// It had no word with the others when it was told to end; as soon as there is a way it takes leave all the same.
#[tokio::test]
async fn a_node_that_ends_while_it_is_alone_takes_leave_of_the_others() {
    let server = RedisServer::start().await;
    // Without a word it would count for longer than is waited here.
    let node = async || {
        let mut cluster = ClusterSettings::new(Place::Redis(Redis::new(&server.url()).unwrap()), HEARTBEAT);
        cluster.lifetime = Duration::from_secs(3600);
        Tracker::start_with(|settings| settings.cluster = Some(cluster)).await
    };
    let (a, b) = (node().await, node().await);
    knows(&a, 2).await;
    knows(&b, 2).await;
    server.signal("STOP");
    is_alone(&a).await;
    is_alone(&b).await;
    server.signal("CONT");
    b.stop().await;
    knows(&a, 1).await;
}

in_memory_and_in_redis! {
    a_node_that_lost_the_others_serves_its_own_and_joins_again_by_itself,
    a_node_that_starts_while_nobody_can_be_reached_serves_and_joins_later,
    a_node_that_ends_takes_only_its_own_peers_with_it,
}
