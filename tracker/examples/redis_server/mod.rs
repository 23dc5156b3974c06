//! A Redis server, where trackers meet that are one: for the measurement here, and for the end-to-end tests.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Time for the start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis server on a free port of this machine, that keeps nothing; ended when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let began = Instant::now();
        loop {
            // Free now, and maybe not any more when it starts: then with another.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let child = Command::new("redis-server")
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("redis-server (version 7 or newer) must be installed: cargo xtask test does so")?;
            let mut server = Self { child, port };
            while server.child.try_wait()?.is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Ok(server);
                }
                if began.elapsed() > PATIENCE {
                    bail!("redis-server does not start");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// What trackers are told with `--cluster`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
