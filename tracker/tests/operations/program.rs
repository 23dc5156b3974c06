//! A tracker as a process of its own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use shared::relay::ChannelId;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Client, soon};

/// Ended with the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it on this port of this machine, 0 for a free one.
    pub(crate) async fn start<A: AsRef<OsStr>>(port: u16, arguments: &[A]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ENXAME_")) {
            command.env_remove(name);
        }
        command.args(["--listen", &format!("127.0.0.1:{port}")]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        soon(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        let port = line.trim().trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("not an address: {line:?}"));
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        soon(self.child.wait()).await.unwrap()
    }

    pub(crate) async fn kill(mut self) {
        soon(self.child.kill()).await.unwrap();
    }

    pub(crate) async fn connect(&self) -> Client {
        connect(self.address).await.unwrap()
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Option<Client> {
    let (socket, _) = soon(tokio_tungstenite::connect_async(format!("ws://{address}/ws"))).await.ok()?;
    Some(Client { socket })
}

/// What comes over a connection that relays.
pub(crate) enum Came {
    Data(ChannelId, bytes::Bytes),
    Credit(u32),
    Signal(shared::signal::ToPeer),
    Gone,
}
