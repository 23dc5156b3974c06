//! The command line of the tracker: see `tracker --help`.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use clap::Parser;
use shared::signal::parse_ice_servers;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use tracker::page::HOW_TO_BUILD;
use tracker::{Page, Settings, listen};

/// Introduces peers to each other, relays between them, and serves the page.
///
/// The page, the WebSocket (at any path; `/ws` is the usual one), `/health` and `/stats` share one port. The first line
/// on standard output is the page's address.
#[derive(Debug, Parser)]
#[command(name = "tracker", version)]
struct Arguments {
    /// Address and port to listen on; port 0 takes a free one.
    ///
    /// The default is reached from this machine (http://localhost:8000/) and from others in its network, over IPv6 and
    /// IPv4. 127.0.0.1:8000 is reached from this machine alone.
    #[arg(long, env = "ENXAME_LISTEN", value_name = "ADDR:PORT", default_value = "[::]:8000")]
    listen: SocketAddr,

    /// Serve the page in this folder, instead of the one that was built into the program.
    #[arg(long, env = "ENXAME_PAGE", value_name = "DIR")]
    page: Option<PathBuf>,

    /// ICE servers that pages use to find direct ways: addresses between commas, like `stun:stun.example.org:3478`, or a
    /// JSON list of `RTCIceServer` objects (TURN needs its `username` and `credential`), or `none`.
    ///
    /// Pages get the list with its credentials from this tracker. Without this setting they use their own list.
    #[arg(long, env = "ENXAME_ICE_SERVERS", value_name = "LIST", hide_env_values = true)]
    ice_servers: Option<String>,

    /// Write the log to this file as well; it is appended to.
    #[arg(long, env = "ENXAME_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// How much to log: error, warn, info, debug or trace; or for each part, like `warn,tracker=debug`.
    #[arg(long, env = "ENXAME_LOG", value_name = "LEVEL", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<()> {
    start_log(&arguments.log, arguments.log_file.as_deref())?;
    let page = match &arguments.page {
        Some(folder) => Page::from_folder(folder)?,
        None => Page::embedded(),
    };
    let mut settings = Settings::new(page);
    // A variable that is set to nothing is not set.
    if let Some(list) = arguments.ice_servers.as_deref().filter(|list| !list.trim().is_empty()) {
        settings.ice = Some(parse_ice_servers(list).context("`--ice-servers` cannot be used")?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments.listen, settings))
}

async fn serve(address: SocketAddr, settings: Settings) -> anyhow::Result<()> {
    let shutdown = stop_signal().context("cannot wait for ctrl-c")?;
    let listener = listen::bind(address)?;
    let url = listen::page_url(listener.local_addr()?);
    // Nobody may be reading: that is no reason to stop.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{url}").and_then(|()| stdout.flush());
    if !settings.page.is_built() {
        eprintln!("The page has not been built yet: {HOW_TO_BUILD}. The WebSocket works.");
    }
    tracing::info!(%url, "listening");
    tracker::run(listener, settings, shutdown).await?;
    Ok(())
}

/// Done at ctrl-c, or when the system asks the program to end.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot wait for ctrl-c");
        }
    })
}

/// Logs go to standard error, since standard output is for the page's address, and to a file if one is named.
fn start_log(level: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level).with_context(|| format!("`--log {level}` is not a level"))?;
    let colour = std::io::stderr().is_terminal();
    let console = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(std::io::stderr);
    let file = file
        .map(|path| {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write the log file {}", path.display()))?;
            Ok::<_, anyhow::Error>(
                tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file)),
            )
        })
        .transpose()?;
    tracing_subscriber::registry().with(filter).with(console).with(file).init();
    Ok(())
}
