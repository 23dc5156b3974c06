//! The tracker's program, as users start it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{output_folder, page_folder, workspace_root};

/// Time in which a tracker that was told to end makes room for another, and then ends.
const HAND_OVER_TIME: Duration = Duration::from_secs(180);

/// A tracker that serves the built page; ended when dropped.
#[derive(Debug)]
pub struct Tracker {
    child: Option<Child>,
    url: String,
    address: SocketAddr,
    log: PathBuf,
    flags: Vec<String>,
}

impl Tracker {
    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one on a free port, with these flags too.
    pub fn start_with(flags: &[&str]) -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), flags)
    }

    /// Starts one that others of its cluster know by its address, on a free port, with these flags too.
    pub fn start_public(flags: &[&str]) -> Result<Self> {
        loop {
            // Free now, and maybe not any more when it starts: then with another.
            let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let url = format!("ws://{address}/ws");
            let started = Self::start_on(address, &[flags, &["--public-url", &url]].concat());
            if started.is_ok() || std::net::TcpListener::bind(address).is_ok() {
                return started;
            }
        }
    }

    fn start_on(address: SocketAddr, flags: &[&str]) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let folder = output_folder().join("e2e/logs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let log = folder.join(format!("tracker-{}-{number}.log", std::process::id()));
        let (child, url) = spawn(address, &flags, &log)?;
        let address = address_of(&url)?;
        Ok(Self { child: Some(child), url, address, log, flags })
    }

    /// The page's URL: `http://127.0.0.1:…/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The page's URL with a query: `lang=en&transport=relay`.
    pub fn url_with(&self, query: &str) -> String {
        format!("{}/?{query}", self.url.trim_end_matches('/'))
    }

    /// The URL of its WebSocket: `ws://127.0.0.1:…/ws`.
    pub fn socket(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says at `/stats`.
    pub async fn stats(&self) -> Result<Value> {
        serde_json::from_str(&self.get("/stats").await?).context("what the tracker says of itself is no JSON")
    }

    /// What it counts under this name, as it tells Prometheus.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let text = self.get("/metrics").await?;
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix("enxame_")?.strip_prefix(name)?.strip_prefix(' '));
        Ok(values.next().with_context(|| format!("the tracker does not count {name}"))?.parse()?)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address).await.context("the tracker is not there")?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.context("the tracker hears nothing")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.context("the tracker says nothing")?;
        let (_, body) = reply.split_once("\r\n\r\n").context("the tracker's reply has no end of its head")?;
        Ok(body.to_owned())
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells it to end as a restart does, and starts its successor on the same port while it drains. Gives the old one, which
    /// ends by itself.
    pub async fn hand_over(&mut self) -> Result<Retired> {
        let old = Retired(self.child.take().context("the tracker is not there")?);
        crate::process::terminate(old.0.id())?;
        let began = Instant::now();
        // The port is free as soon as the old one accepts nobody any more.
        let (child, url) = loop {
            match spawn(self.address, &self.flags, &self.log) {
                Ok(started) => break started,
                Err(error) if began.elapsed() > HAND_OVER_TIME => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        self.child = Some(child);
        if url != self.url {
            bail!("the tracker came back as {url} instead of {}", self.url);
        }
        Ok(old)
    }

    /// Starts it again on the port it had.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop();
        let (child, url) = spawn(self.address, &self.flags, &self.log)?;
        self.child = Some(child);
        if url != self.url {
            bail!("the tracker came back as {url} instead of {}", self.url);
        }
        Ok(())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A tracker that was told to end. If it has not when this is dropped, it is killed.
#[derive(Debug)]
pub struct Retired(Child);

impl Retired {
    /// Waits until it has ended; an error unless all went well.
    pub async fn ended(mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.0.try_wait().context("cannot look after the old tracker")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the old tracker ended with {status}"),
                None if began.elapsed() > HAND_OVER_TIME => bail!("the old tracker does not end"),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> PathBuf {
    std::env::var_os("ENXAME_TRACKER_BIN")
        .map_or_else(|| workspace_root().join("target/release/tracker"), PathBuf::from)
}

fn spawn(address: SocketAddr, flags: &[String], log: &PathBuf) -> Result<(Child, String)> {
    let (program, page) = (program(), page_folder());
    if !program.is_file() || !page.join("index.html").is_file() {
        bail!("the tracker or the page is not built: run cargo xtask test");
    }
    let log_file =
        File::options().create(true).append(true).open(log).context("cannot open the tracker's log")?;
    let mut child = Command::new(&program)
        .args(["--listen", &address.to_string(), "--page"])
        .arg(page)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    match first_line(&mut child) {
        Ok(url) => Ok((child, url)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read_to_string(log).unwrap_or_default();
            Err(error.context(format!("the tracker does not start; it said:\n{said}")))
        }
    }
}

/// The first line of standard output; the rest is read and thrown away, so that the tracker never waits for us.
fn first_line(child: &mut Child) -> Result<String> {
    let stdout = child.stdout.take().context("it has no standard output")?;
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).context("cannot read its first line")?;
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    if !line.starts_with("http") {
        bail!("its first line is not the page's URL but '{}'", line.trim());
    }
    Ok(line.trim().to_owned())
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let rest = url.split_once("://").context("the tracker's URL has no scheme")?.1;
    let host = rest.split('/').next().unwrap_or(rest).replace("localhost", "127.0.0.1");
    host.parse().with_context(|| format!("the tracker's URL has no address: {url}"))
}
