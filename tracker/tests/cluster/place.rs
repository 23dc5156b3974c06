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
    in_cluster: bool,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_as(false).await
    }

    /// The only server of a Redis Cluster: it refuses whatever would not lie on one server of many.
    pub(crate) async fn start_in_cluster() -> Self {
        let server = Self::start_as(true).await;
        assert!(server.say("CLUSTER ADDSLOTSRANGE 0 16383").await.unwrap().contains("OK"));
        while !server.say("CLUSTER INFO").await.unwrap().contains("cluster_state:ok") {
            tokio::time::sleep(LOOK).await;
        }
        server
    }

    async fn start_as(in_cluster: bool) -> Self {
        loop {
            // Free now, and maybe not any more when it starts: then with another.
            let port = free_port();
            let folder = tempfile::tempdir().unwrap();
            let child = spawn(port, &folder, in_cluster);
            let mut server = Self { child, port, folder, in_cluster };
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
            self.child = spawn(self.port, &self.folder, self.in_cluster);
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &TempDir, in_cluster: bool) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(folder.path());
    if in_cluster {
        command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("redis-server (version 7 or newer) must be installed; `cargo xtask test` does so")
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
