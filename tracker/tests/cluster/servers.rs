//! Nodes that meet in several servers, or in one over TLS.

use std::process::Stdio;

use shared::InfoHash;
use shared::signal::{Announce, RelayReason};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tracker::cluster::{ClusterSettings, Place, Redis};

use crate::client::*;
use crate::place::{HEARTBEAT, LOOK, RedisCluster, free_port, health, knows};

async fn node(redis: Redis) -> Tracker {
    let mut cluster = ClusterSettings::new(Place::Redis(redis), HEARTBEAT);
    cluster.lifetime = std::time::Duration::from_secs(60);
    Tracker::start_with(|settings| settings.cluster = Some(cluster)).await
}

/// How many are in a swarm, as a client of it is told.
async fn peers(client: &mut Client, n: u8, swarm: InfoHash) -> u32 {
    client.announced(Announce { info_hash: swarm, ..ours(n) }).await.incomplete
}

async fn peers_become(client: &mut Client, n: u8, swarm: InfoHash, expected: u32) {
    soon(async {
        while peers(client, n, swarm).await != expected {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// A swarm that each of the servers keeps.
async fn swarms(cluster: &RedisCluster) -> [InfoHash; 3] {
    let mut found = [None; 3];
    for n in 1..=255 {
        let owner = cluster.owner(&format!("{{{}}}", hash(n))).await;
        found[owner].get_or_insert(hash(n));
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.map(Option::unwrap)
}

#[tokio::test]
async fn swarms_lie_on_all_servers_of_a_redis_cluster_and_one_that_is_lost_costs_only_its_own() {
    let mut cluster = RedisCluster::start().await;
    let swarms = swarms(&cluster).await;
    let redis = Redis::new(&cluster.url()).unwrap();
    let (a, b) = (node(redis.clone()).await, node(redis).await);
    knows(&a, 2).await;
    knows(&b, 2).await;
    let (mut here, mut there) = (a.connect().await, b.connect().await);
    for swarm in swarms {
        assert_eq!(peers(&mut here, 1, swarm).await, 1);
        assert_eq!(peers(&mut there, 2, swarm).await, 2);
    }

    // Any but the one where the list of nodes is.
    let lost = (cluster.owner("enxame:nodes").await + 1) % 3;

    // It refuses what it is asked for a while: nothing but that is missed.
    let joins = async || [a.metric("cluster_joins_total").await, b.metric("cluster_joins_total").await];
    let before = joins().await;
    let at_here = here.open_to(1, 2).await;
    let at_there = there.opened().await;
    for (rule, known) in [("-evalsha", 1), ("+evalsha", 2)] {
        let said = cluster.servers[lost].say(&format!("ACL SETUSER default {rule}")).await;
        assert!(said.is_some_and(|said| said.contains("OK")));
        peers_become(&mut there, 2, swarms[lost], known).await;
    }
    assert_eq!(joins().await, before);
    here.data(at_here.channel, b"still").await;
    assert_eq!(there.read_data(at_there.channel, 5, false).await, b"still");
    here.close_relay(at_here.channel, RelayReason::Done).await;
    assert_eq!(there.relay_closed().await, (at_there.channel, RelayReason::Done));

    cluster.servers[lost].kill().await;
    peers_become(&mut there, 2, swarms[lost], 1).await;
    for (_, swarm) in swarms.iter().enumerate().filter(|(n, _)| *n != lost) {
        peers_become(&mut there, 2, *swarm, 2).await;
        peers_become(&mut here, 1, *swarm, 2).await;
    }
    assert_eq!(health(&a).await["cluster"]["status"], "joined");

    // It comes back with nothing. Nobody has to announce for it.
    cluster.servers[lost].start_again().await;
    peers_become(&mut there, 2, swarms[lost], 2).await;
    drop((here, there));
    tokio::join!(a.stop(), b.stop());
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_to_its_new_server() {
    let cluster = RedisCluster::start().await;
    let swarms = swarms(&cluster).await;
    let redis = Redis::new(&cluster.url()).unwrap();
    let (a, b) = (node(redis.clone()).await, node(redis).await);
    knows(&a, 2).await;
    knows(&b, 2).await;
    let joins = async || [a.metric("cluster_joins_total").await, b.metric("cluster_joins_total").await];
    let before = joins().await;
    // Nobody is in it yet, so nothing has to be moved with it.
    let key = format!("{{{}}}", swarms[0]);
    let said = cluster.servers[0].say(&format!("CLUSTER KEYSLOT {key}")).await.unwrap();
    let slot = said.lines().next().unwrap().trim_start_matches(':').trim().to_owned();
    let said = cluster.servers[1].say("CLUSTER MYID").await.unwrap();
    let to = said.lines().nth(1).unwrap().trim().to_owned();
    for server in [1, 0, 2] {
        let said = cluster.servers[server].say(&format!("CLUSTER SETSLOT {slot} NODE {to}")).await.unwrap();
        assert!(said.contains("OK"), "{said}");
    }
    let (mut here, mut there) = (a.connect().await, b.connect().await);
    assert_eq!(peers(&mut here, 1, swarms[0]).await, 1);
    assert_eq!(peers(&mut there, 2, swarms[0]).await, 2);
    assert_eq!(peers(&mut here, 1, swarms[0]).await, 2);
    assert_eq!(joins().await, before);
    drop((here, there));
    tokio::join!(a.stop(), b.stop());
}

/// A Redis that speaks TLS alone, and the certificate that vouches for it.
struct Encrypted {
    _child: Child,
    _folder: TempDir,
    port: u16,
    certificate: Vec<u8>,
}

impl Encrypted {
    async fn start() -> Self {
        loop {
            let folder = tempfile::tempdir().unwrap();
            let (port, (cert, key)) =
                (free_port(), (folder.path().join("cert.pem"), folder.path().join("key.pem")));
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(&cert, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port.to_string()]);
            command.args(["--save", "", "--appendonly", "no", "--tls-auth-clients", "no", "--dir"]);
            command.arg(folder.path()).arg("--tls-cert-file").arg(&cert).arg("--tls-key-file").arg(&key);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let certificate = made.cert.pem().into_bytes();
            let is_up = soon(async {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    if child.try_wait().unwrap().is_some() {
                        return false;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                child.try_wait().unwrap().is_none()
            });
            if is_up.await {
                return Self { _child: child, _folder: folder, port, certificate };
            }
        }
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }
}

#[tokio::test]
async fn nodes_meet_over_tls_and_believe_only_who_is_vouched_for() {
    let server = Encrypted::start().await;
    let redis = Redis::with_authority(&server.url(), Some(&server.certificate)).unwrap();
    let (a, b) = (node(redis.clone()).await, node(redis).await);
    knows(&a, 2).await;
    knows(&b, 2).await;
    let (mut here, mut there) = (a.join(1).await, b.join(2).await);
    let at_a = here.open_to(1, 2).await;
    let at_b = there.opened().await;
    here.data(at_a.channel, b"in secret").await;
    assert_eq!(there.read_data(at_b.channel, 9, false).await, b"in secret");

    // One that nobody here knows, another one's, and no TLS at all.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stranger = Redis::with_authority(&server.url(), Some(other.cert.pem().as_bytes())).unwrap();
    let plain = Redis::new(&format!("redis://localhost:{}", server.port)).unwrap();
    for redis in [Redis::new(&server.url()).unwrap(), stranger, plain] {
        let lost = tracker::cluster::backend::Backend::join(
            &redis,
            tracker::cluster::backend::NodeId::random(),
            std::sync::Arc::new(|_| {}),
        );
        assert!(soon(lost).await.is_err());
    }
    assert!(Redis::with_authority(&server.url(), Some(b"nonsense")).is_err());
    drop((here, there));
    tokio::join!(a.stop(), b.stop());
}
