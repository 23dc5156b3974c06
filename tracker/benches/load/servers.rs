//! The servers that are measured: ours, and those that stand beside it in the same run. Each is a process of its own, on a core
//! of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::machine;

/// Time in which a server must be there.
const START_TIME: Duration = Duration::from_secs(60);

/// The core of the servers. Clients have the others.
pub(crate) const SERVER_CORE: usize = 0;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This project's.
    Ours,
    /// aquatic_ws, of crates.io.
    Aquatic,
    /// bittorrent-tracker, of npm.
    BittorrentTracker,
    /// Joins every two connections, and does nothing else: see `bare`.
    Bare,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "enxame",
            Self::Aquatic => "aquatic_ws",
            Self::BittorrentTracker => "bittorrent-tracker",
            Self::Bare => "bare forwarder",
        }
    }
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Running,
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, None)
    }

    /// One of the trackers that speak TLS, with this certificate.
    pub(crate) fn start_tls(kind: Kind, certificate: &Certificate) -> Result<Self> {
        Self::start_with(kind, Some(certificate.files()))
    }

    fn start_with(kind: Kind, tls: Option<[PathBuf; 2]>) -> Result<Self> {
        // Children run where the thread that starts them may run.
        std::thread::spawn(move || {
            if machine::cores() > 1 {
                machine::pin(SERVER_CORE);
            }
            match kind {
                Kind::BittorrentTracker | Kind::Bare if tls.is_some() => bail!("it speaks no TLS"),
                Kind::Ours => ours(tls),
                Kind::Aquatic => aquatic(tls),
                Kind::BittorrentTracker => bittorrent_tracker(),
                Kind::Bare => bare(),
            }
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that starts a server panicked"))?
        .with_context(|| format!("cannot start {}", kind.name()))
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.0.id()
    }
}

fn ours(tls: Option<[PathBuf; 2]>) -> Result<Server> {
    // Another build of it, to be compared with this one.
    let other = std::env::var_os("ENXAME_TRACKER_BIN");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_tracker").into()));
    command.args(["--listen", "127.0.0.1:0", "--log", "warn"]);
    if let Some([certificate, key]) = tls {
        command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    }
    // What is measured is how fast it can be, not how fast it lets one address be.
    for bound in ["max-connections", "max-connections-per-address", "max-swarms-per-connection"] {
        command.args([format!("--{bound}"), "100000".to_owned()]);
    }
    for bound in ["max-messages-per-second", "max-message-burst"] {
        command.args([format!("--{bound}"), u32::MAX.to_string()]);
    }
    for bound in
        ["max-relay-rate", "max-relay-rate-per-address", "max-relay-per-day", "max-relay-per-day-per-address"]
    {
        command.args([format!("--{bound}"), "none".to_owned()]);
    }
    let (child, line) = started(&mut command)?;
    let port = line.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
    let address = format!("127.0.0.1:{port}").parse().with_context(|| format!("no address: {line}"))?;
    Ok(Server { child, kind: Kind::Ours, address })
}

fn bare() -> Result<Server> {
    let (child, line) = started(Command::new(std::env::current_exe()?).arg("bare"))?;
    Ok(Server { child, kind: Kind::Bare, address: line.parse()? })
}

fn bittorrent_tracker() -> Result<Server> {
    let source = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/src/node/tracker.mjs"))?;
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", &source]).current_dir(tools()?.join("npm"));
    let (child, line) = started(&mut command)?;
    Ok(Server { child, kind: Kind::BittorrentTracker, address: format!("127.0.0.1:{line}").parse()? })
}

/// Says what it has to say on its first line. Its standard input stays open: some end with it. bittorrent-tracker has a line for
/// each client that goes without a word, which is what all of them do here.
fn started(command: &mut Command) -> Result<(Running, String)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn()?);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().context("no standard output")?).read_line(&mut line)?;
    Ok((child, line.trim().to_owned()))
}

/// One worker for sockets and one for swarms, which is the least that it takes; both on the one core.
fn aquatic(tls: Option<[PathBuf; 2]>) -> Result<Server> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = std::env::temp_dir().join(format!("enxame-aquatic-{}.toml", std::process::id()));
    let mut text = format!(
        "socket_workers = 1\nswarm_workers = 1\nlog_level = \"off\"\n[network]\naddress = \"{address}\"\n"
    );
    if let Some(files) = tls {
        let [certificate, key] = files.map(|file| file.display().to_string());
        text += &format!(
            "enable_tls = true\ntls_certificate_path = {certificate:?}\ntls_private_key_path = {key:?}\n"
        );
    }
    fs::write(&config, text)?;
    let mut command = Command::new(tools()?.join("bin/aquatic_ws"));
    let child = command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let server = Server { child: Running(child), kind: Kind::Aquatic, address };
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > START_TIME {
            bail!("it does not listen");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(&config)?;
    Ok(server)
}

/// A certificate that vouches for itself, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Certificate(TempDir);

impl Certificate {
    pub(crate) fn new() -> Result<Self> {
        let certificate = Self(TempDir::new()?);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let [file, key] = certificate.files();
        fs::write(file, made.cert.pem())?;
        fs::write(key, made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The certificate's, and its key's.
    fn files(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.0.path().join(name))
    }
}

pub(crate) fn tools() -> Result<PathBuf> {
    let tools = std::env::var_os("ENXAME_TOOLS_DIR").context("run it by `cargo xtask bench tracker`")?;
    Ok(PathBuf::from(tools))
}
