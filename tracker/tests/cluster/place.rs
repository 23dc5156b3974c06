//! Where the nodes of a test meet.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tracker::Settings;
use tracker::cluster::{ClusterSettings, Memory, Place, Redis};

use crate::client::{Tracker, soon};

/// Time between two signs of life of a node, in tests.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(50);

/// Time after which a node counts as gone: however busy this machine is, none is that late.
const LIFETIME: Duration = Duration::from_secs(60);

/// Time between two looks at something that must come.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// A Redis server of a test's own, ended with it. It keeps nothing.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    /// The port for other servers of its Redis Cluster, if it is to be in one.
    bus: Option<u16>,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_as(None).await
    }

    async fn start_as(bus: Option<u16>) -> Self {
        loop {
            // Free now, and maybe not any more when it starts: then with another.
            let port = free_port();
            let folder = tempfile::tempdir().unwrap();
            let child = spawn(port, &folder, bus);
            let mut server = Self { child, port, folder, bus };
            if server.is_up().await {
                return server;
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops it where it is (`STOP`), or has it go on (`CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn kill(&mut self) {
        soon(self.child.kill()).await.unwrap();
    }

    /// Starts it again, empty.
    pub(crate) async fn start_again(&mut self) {
        loop {
            self.child = spawn(self.port, &self.folder, self.bus);
            if self.is_up().await {
                return;
            }
        }
    }

    async fn is_up(&mut self) -> bool {
        let up = async {
            loop {
                if self.say("PING").await.is_some_and(|said| said.contains("PONG")) {
                    return self.child.try_wait().unwrap().is_none();
                }
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        soon(up).await
    }

    /// What it says to a command.
    pub(crate) async fn say(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.ok()?;
        let mut said = String::new();
        soon(stream.read_to_string(&mut said)).await.ok()?;
        Some(said)
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &TempDir, bus: Option<u16>) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(folder.path());
    if let Some(bus) = bus {
        command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
        command.args(["--cluster-require-full-coverage", "no"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("redis-server (version 7 or newer) must be installed; `cargo xtask test` does so")
}

/// A Redis Cluster of three servers, each with a third of the slots, and none with another that would stand in for it.
pub(crate) struct RedisCluster {
    pub(crate) servers: [RedisServer; 3],
}

impl RedisCluster {
    pub(crate) async fn start() -> Self {
        loop {
            let start = || RedisServer::start_as(Some(free_port()));
            let (a, b, c) = tokio::join!(start(), start(), start());
            let cluster = Self { servers: [a, b, c] };
            if cluster.meet().await {
                return cluster;
            }
        }
    }

    /// Whether they became one. They do not where another program took the port that one of them was to have for the others.
    async fn meet(&self) -> bool {
        let ranges = ["0 5460", "5461 10922", "10923 16383"];
        for (epoch, (server, range)) in self.servers.iter().zip(ranges).enumerate() {
            let said = server
                .say(&format!("CLUSTER ADDSLOTSRANGE {range}\r\nCLUSTER SET-CONFIG-EPOCH {}", epoch + 1))
                .await;
            assert!(said.is_some_and(|said| said.matches("OK").count() >= 2));
        }
        for other in &self.servers[1..] {
            let bus = other.bus.expect("it is in a cluster");
            self.servers[0].say(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port)).await.unwrap();
        }
        let mut looks = 0;
        for server in &self.servers {
            let is_one = |info: String| {
                ["cluster_state:ok", "cluster_slots_assigned:16384", "cluster_known_nodes:3"]
                    .iter()
                    .all(|words| info.contains(words))
            };
            while !server.say("CLUSTER INFO").await.is_some_and(is_one) {
                looks += 1;
                if looks > 6000 {
                    return false;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        true
    }

    /// The address of two of them: any one is enough.
    pub(crate) fn url(&self) -> String {
        format!("{},{}", self.servers[0].url(), self.servers[1].url())
    }

    /// Which of them a key lies at.
    pub(crate) async fn owner(&self, key: &str) -> usize {
        let said = self.servers[0].say(&format!("CLUSTER KEYSLOT {key}")).await.unwrap();
        let slot: usize = said.lines().next().unwrap().trim_start_matches(':').trim().parse().unwrap();
        // As they were handed out above.
        usize::from(slot > 5460) + usize::from(slot > 10_922)
    }
}

/// Where the nodes of a test meet.
pub(crate) enum World {
    Memory(Memory),
    Redis(Box<RedisServer>),
}

impl World {
    pub(crate) fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    pub(crate) async fn redis() -> Self {
        Self::Redis(Box::new(RedisServer::start().await))
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Memory(memory) => Place::Memory(memory.clone()),
            Self::Redis(server) => Place::Redis(Redis::new(&server.url()).unwrap()),
        }
    }

    /// A node that has not met others yet.
    pub(crate) async fn node(&self) -> Tracker {
        let mut cluster = ClusterSettings::new(self.place(), HEARTBEAT);
        cluster.lifetime = LIFETIME;
        Tracker::start_with(|settings| settings.cluster = Some(cluster)).await
    }

    /// One that clients of others can reach.
    pub(crate) async fn public_node(&self, change: impl FnOnce(&mut Settings)) -> Tracker {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut cluster = ClusterSettings::new(self.place(), HEARTBEAT);
        cluster.lifetime = LIFETIME;
        cluster.public_url = Some(format!("ws://{}/ws", listener.local_addr().unwrap()));
        Tracker::start_on(listener, |settings| {
            settings.cluster = Some(cluster);
            change(settings);
        })
    }

    /// Nodes that know of each other.
    pub(crate) async fn nodes<const N: usize>(&self) -> [Tracker; N] {
        let mut nodes = Vec::new();
        for _ in 0..N {
            nodes.push(self.node().await);
        }
        for node in &nodes {
            knows(node, N as u64).await;
        }
        nodes.try_into().unwrap_or_else(|_| unreachable!())
    }

    /// Nobody can be reached from now on, and what was there is lost.
    pub(crate) async fn interrupt(&mut self) {
        match self {
            Self::Memory(memory) => memory.interrupt(),
            Self::Redis(server) => server.kill().await,
        }
    }

    /// Nodes can meet again.
    pub(crate) async fn resume(&mut self) {
        match self {
            Self::Memory(memory) => memory.resume(),
            Self::Redis(server) => server.start_again().await,
        }
    }
}

/// Waits until a node knows of so many, itself among them.
pub(crate) async fn knows(node: &Tracker, nodes: u64) {
    soon(async {
        while (node.metric("cluster_joined").await, node.metric("cluster_nodes").await) != (1, nodes) {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// Waits until a node has lost the others.
pub(crate) async fn is_alone(node: &Tracker) {
    soon(async {
        while node.metric("cluster_joined").await == 1 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// What a node says about itself.
pub(crate) async fn health(node: &Tracker) -> serde_json::Value {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    soon(stream.read_to_string(&mut reply)).await.unwrap();
    serde_json::from_str(reply.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}
