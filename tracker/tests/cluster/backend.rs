//! What every backend does for its nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::{InfoHash, PeerId};
use tokio::sync::mpsc;
use tracker::cluster::backend::{Ask, Backend, Counts, Distant, Draw, Entry, NodeId, Session, Told};
use tracker::cluster::{Memory, Place, Redis};

use crate::client::{hash, peer, soon};
use crate::place::{LOOK, RedisCluster, RedisServer, World};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

const LEECHER: Entry = Entry { seeder: false, ours: true, relay: true, rtc: false, key: None };
const SEEDER: Entry = Entry { seeder: true, ..LEECHER };
const STRANGER: Entry = Entry { ours: false, relay: false, rtc: true, ..LEECHER };

const NOBODY: [Draw; 2] = [Draw { kinds: [false; 4], count: 0 }; 2];

/// A node without a tracker around it.
struct Node<S> {
    id: NodeId,
    session: S,
    heard: mpsc::UnboundedReceiver<Bytes>,
}

async fn join<B: Backend>(backend: &B) -> Node<B::Session> {
    let id = NodeId::random();
    let (tell, heard) = mpsc::unbounded_channel();
    let hear = Arc::new(move |bytes| _ = tell.send(bytes));
    Node { id, session: backend.join(id, hear).await.unwrap(), heard }
}

fn enter(peer: PeerId, entry: Entry) -> Ask {
    Ask::Enter { swarm: hash(1), peer, entry, completed: false, lifetime: LONG, draws: NOBODY }
}

impl<S: Session> Node<S> {
    async fn ask(&self, others: &[NodeId], ask: Ask) -> Told {
        self.session.ask(others, &[ask]).await.unwrap().remove(0)
    }

    async fn enter(&self, others: &[NodeId], peer: PeerId, entry: Entry) -> Told {
        self.ask(others, enter(peer, entry)).await
    }

    async fn count(&self, others: &[NodeId], swarm: InfoHash) -> Counts {
        match self.ask(others, Ask::Count { swarm }).await {
            Told::Counted(counts) => counts,
            other => panic!("{other:?}"),
        }
    }
}

fn entered(told: Told) -> (Counts, [Vec<Distant>; 2], Option<NodeId>) {
    match told {
        Told::Entered { counts, drawn, superseded } => (counts, drawn, superseded),
        other => panic!("{other:?}"),
    }
}

async fn nodes_that_live_are_told_of_each_other_and_the_others_are_not<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    assert_eq!(a.session.live(LONG).await.unwrap(), []);
    assert_eq!(b.session.live(LONG).await.unwrap(), [a.id]);
    assert_eq!(a.session.live(LONG).await.unwrap(), [b.id]);
    b.session.bury(b.id).await.unwrap();
    assert_eq!(a.session.live(LONG).await.unwrap(), []);
    let c = join(&backend).await;
    c.session.live(Duration::from_millis(50)).await.unwrap();
    assert_eq!(a.session.live(LONG).await.unwrap(), [c.id]);
    soon(async {
        while !a.session.live(LONG).await.unwrap().is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

async fn peers_of_other_nodes_are_counted_by_kind_and_drawn_by_kind<B: Backend>(backend: B) {
    let (a, b, c) = (join(&backend).await, join(&backend).await, join(&backend).await);
    for n in 1..=20 {
        entered(b.enter(&[], peer(n), LEECHER).await);
        entered(c.enter(&[], peer(100 + n), SEEDER).await);
    }
    entered(b.enter(&[], peer(50), STRANGER).await);
    // Its own count for nothing: what is at a node the node knows itself.
    entered(a.enter(&[], peer(200), SEEDER).await);
    let others = [b.id, c.id];
    assert_eq!(a.count(&others, hash(1)).await.kinds, [20, 20, 1, 0]);
    assert_eq!(a.count(&[c.id], hash(1)).await.kinds, [0, 20, 0, 0]);
    assert_eq!(a.count(&others, hash(2)).await, Counts::default());
    let draws = [
        Draw { kinds: [true, true, false, false], count: 30 },
        Draw { kinds: [false, false, true, true], count: 30 },
    ];
    let ask = Ask::Enter {
        swarm: hash(1),
        peer: peer(200),
        entry: SEEDER,
        completed: false,
        lifetime: LONG,
        draws,
    };
    let (counts, [ours, strangers], superseded) = entered(a.ask(&others, ask).await);
    assert_eq!((counts.kinds, superseded), ([20, 20, 1, 0], None));
    let mut ids: Vec<PeerId> = ours.iter().map(|other| other.peer).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30, "each at most once");
    for other in ours {
        let entry = if other.peer >= peer(100) { SEEDER } else { LEECHER };
        let node = if other.peer >= peer(100) { c.id } else { b.id };
        assert_eq!((other.node, other.entry), (node, entry));
    }
    assert_eq!(strangers, [Distant { node: b.id, peer: peer(50), entry: STRANGER }]);
}

async fn every_peer_is_as_likely_to_be_drawn_as_any_other_wherever_it_is<B: Backend>(backend: B) {
    let (a, b, c) = (join(&backend).await, join(&backend).await, join(&backend).await);
    for n in 1..=9 {
        entered(b.enter(&[], peer(n), LEECHER).await);
    }
    entered(c.enter(&[], peer(10), LEECHER).await);
    let mut times = [0; 11];
    let draws = [Draw { kinds: [true; 4], count: 1 }, Draw::default()];
    for _ in 0..2000 {
        let ask = Ask::Enter {
            swarm: hash(1),
            peer: peer(200),
            entry: LEECHER,
            completed: false,
            lifetime: LONG,
            draws,
        };
        let (_, [drawn, _], _) = entered(a.ask(&[b.id, c.id], ask).await);
        times[usize::from(drawn[0].peer.as_bytes()[0])] += 1;
    }
    // 200 each, with a standard deviation of 13: seven of them.
    assert!(times[1..].iter().all(|times| (106..294).contains(times)), "{times:?}");
}

async fn a_peer_that_changed_or_left_is_counted_so<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    entered(b.enter(&[], peer(1), LEECHER).await);
    entered(b.enter(&[], peer(1), SEEDER).await);
    assert_eq!(a.count(&[b.id], hash(1)).await.kinds, [0, 1, 0, 0]);
    let find = Ask::Find { swarm: hash(1), peer: peer(1) };
    let there = Distant { node: b.id, peer: peer(1), entry: SEEDER };
    assert_eq!(a.ask(&[b.id], find.clone()).await, Told::Found(Some(there)));
    assert_eq!(b.ask(&[], Ask::Leave { swarm: hash(1), peer: peer(1) }).await, Told::Left);
    assert_eq!(a.count(&[b.id], hash(1)).await.kinds, [0; 4]);
    assert_eq!(a.ask(&[b.id], find).await, Told::Found(None));
}

async fn what_is_not_entered_again_expires<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    let ask = Ask::Enter {
        swarm: hash(1),
        peer: peer(1),
        entry: LEECHER,
        completed: false,
        lifetime: Duration::from_millis(50),
        draws: NOBODY,
    };
    entered(b.ask(&[], ask).await);
    soon(async {
        while a.count(&[b.id], hash(1)).await.kinds != [0; 4] {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

async fn a_peer_id_stays_where_it_is_unless_its_key_is_shown<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    let with = |key| Entry { key: Some(Entry::digest(key)), ..LEECHER };
    entered(b.enter(&[a.id], peer(1), with("a")).await);
    entered(b.enter(&[a.id], peer(2), LEECHER).await);
    for (id, entry) in [(1, with("b")), (1, LEECHER), (2, LEECHER), (2, with("a"))] {
        assert_eq!(a.enter(&[b.id], peer(id), entry).await, Told::Taken);
        // Nor the second time.
        assert_eq!(a.enter(&[b.id], peer(id), entry).await, Told::Taken);
    }
    assert_eq!(b.count(&[a.id], hash(1)).await.kinds, [0; 4]);
    let (_, _, superseded) = entered(a.enter(&[b.id], peer(1), with("a")).await);
    assert_eq!(superseded, Some(b.id));
    assert_eq!(a.count(&[b.id], hash(1)).await.kinds, [1, 0, 0, 0]);
    assert_eq!(b.count(&[a.id], hash(1)).await.kinds, [1, 0, 0, 0]);
    // What a node that is gone had is free.
    entered(a.enter(&[], peer(2), LEECHER).await);
}

async fn completions_are_counted_over_all_nodes<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    for node in [&a, &b, &b] {
        let ask = Ask::Enter {
            swarm: hash(1),
            peer: peer(1),
            entry: SEEDER,
            completed: true,
            lifetime: LONG,
            draws: NOBODY,
        };
        entered(node.ask(&[], ask).await);
    }
    assert_eq!(a.count(&[], hash(1)).await.completed, 3);
    let (counts, ..) = entered(a.enter(&[], peer(1), SEEDER).await);
    assert_eq!(counts.completed, 3);
}

async fn many_questions_are_answered_in_order<B: Backend>(backend: B) {
    let (a, b) = (join(&backend).await, join(&backend).await);
    let mut asks = Vec::new();
    for n in 0..200 {
        let swarm = hash(n);
        asks.push(Ask::Enter {
            swarm,
            peer: peer(n),
            entry: LEECHER,
            completed: false,
            lifetime: LONG,
            draws: NOBODY,
        });
        asks.push(Ask::Count { swarm });
        asks.push(Ask::Leave { swarm, peer: peer(n) });
        asks.push(Ask::Find { swarm, peer: peer(n) });
    }
    let told = a.session.ask(&[b.id], &asks).await.unwrap();
    for told in told.as_chunks::<4>().0 {
        assert!(matches!(told, [Told::Entered { .. }, Told::Counted(_), Told::Left, Told::Found(None)]));
    }
    assert_eq!(told.len(), asks.len());
}

async fn messages_come_whole_and_in_order_or_it_is_known_that_nobody_heard_them<B: Backend>(backend: B) {
    let (a, mut b) = (join(&backend).await, join(&backend).await);
    let messages: Vec<(NodeId, Bytes)> =
        (0..300_u32).map(|n| (b.id, Bytes::from(n.to_be_bytes().repeat(n as usize * 10)))).collect();
    assert!(a.session.tell(&messages).await.unwrap().iter().all(|heard| *heard));
    for (_, message) in messages {
        assert!(soon(b.heard.recv()).await.unwrap() == message);
    }
    let nobody = NodeId::random();
    let heard = a.session.tell(&[(b.id, Bytes::from_static(b"x")), (nobody, Bytes::new())]).await.unwrap();
    assert_eq!(heard, [true, false]);
}

/// Makes a test for each backend.
macro_rules! of_each_backend {
    ($($name:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Memory::default()).await;
            })+
        }

        mod in_redis {
            $(#[tokio::test]
            async fn $name() {
                let server = super::RedisServer::start().await;
                super::$name(super::Redis::new(&server.url()).unwrap()).await;
            })+
        }

        /// Its servers take two seconds to start: one after the other, with the same ones.
        #[tokio::test]
        async fn in_a_redis_cluster_all_of_it_holds() {
            let cluster = RedisCluster::start().await;
            $(
                $name(Redis::new(&cluster.url()).unwrap()).await;
                for server in &cluster.servers {
                    assert!(server.say("FLUSHALL").await.unwrap().contains("OK"));
                }
            )+
        }
    };
}

of_each_backend! {
    nodes_that_live_are_told_of_each_other_and_the_others_are_not,
    peers_of_other_nodes_are_counted_by_kind_and_drawn_by_kind,
    every_peer_is_as_likely_to_be_drawn_as_any_other_wherever_it_is,
    a_peer_that_changed_or_left_is_counted_so,
    what_is_not_entered_again_expires,
    a_peer_id_stays_where_it_is_unless_its_key_is_shown,
    completions_are_counted_over_all_nodes,
    many_questions_are_answered_in_order,
    messages_come_whole_and_in_order_or_it_is_known_that_nobody_heard_them,
}

async fn a_node_notices_that_it_hears_nothing_any_more(mut world: World) {
    async fn lost<B: Backend>(backend: B, world: &mut World) {
        let node = join(&backend).await;
        node.session.live(LONG).await.unwrap();
        world.interrupt().await;
        soon(node.session.lost()).await;
        node.session.live(LONG).await.unwrap_err();
        assert!(backend.join(NodeId::random(), Arc::new(|_| {})).await.is_err());
        world.resume().await;
        join(&backend).await.session.live(LONG).await.unwrap();
    }
    match world.place() {
        Place::Memory(memory) => lost(memory, &mut world).await,
        Place::Redis(redis) => lost(redis, &mut world).await,
    }
}

#[tokio::test]
async fn in_memory_a_node_notices_that_it_hears_nothing_any_more() {
    a_node_notices_that_it_hears_nothing_any_more(World::memory()).await;
}

#[tokio::test]
async fn in_redis_a_node_notices_that_it_hears_nothing_any_more() {
    a_node_notices_that_it_hears_nothing_any_more(World::redis().await).await;
}
