//! The listener, and the orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::Hub;
use crate::lock;
use crate::page::Page;
use crate::settings::Settings;

/// Time that connections get to end by themselves when the tracker ends.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// Wait after a failed accept, as when the process has no file handles left: the next would fail as well.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Silent peers are searched for this many times in an announce interval.
const SWEEPS: u32 = 8;

/// Shortest time between two searches for silent peers.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) hub: Mutex<Hub>,
    pub(crate) page: Arc<Page>,
    pub(crate) ping_interval: Duration,
    pub(crate) started: Instant,
    pub(crate) relayed_bytes: AtomicU64,
    /// Text messages of clients.
    pub(crate) messages_in: AtomicU64,
    /// Text messages to clients.
    pub(crate) messages_out: AtomicU64,
}

/// Serves until `shutdown` is done, then ends: no new connections, a close frame to each client, and a few seconds for
/// them to go.
///
/// # Errors
/// None after the start at present; the result leaves room for those of other listeners.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let announce_interval = settings.announce_interval;
    let app = Arc::new(App {
        hub: Mutex::new(Hub::new(announce_interval, settings.ice, settings.seed)),
        page: Arc::new(settings.page),
        ping_interval: settings.ping_interval,
        started: Instant::now(),
        relayed_bytes: AtomicU64::new(0),
        messages_in: AtomicU64::new(0),
        messages_out: AtomicU64::new(0),
    });
    let tasks = TaskTracker::new();
    let ending = CancellationToken::new();
    tasks
        .spawn(ending.clone().run_until_cancelled_owned(sweep(Arc::clone(&app), announce_interval / SWEEPS)));
    tokio::select! {
        () = accept(&listener, &app, &tasks, &ending) => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!(connections = lock(&app.hub).counts().connections, "shutting down");
    ending.cancel();
    tasks.close();
    if timeout(SHUTDOWN_TIME, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "connections did not end in time");
    }
    Ok(())
}

/// Accepts connections for ever.
async fn accept(listener: &TcpListener, app: &Arc<App>, tasks: &TaskTracker, ending: &CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                tasks.spawn(connection(stream, address, Arc::clone(app), ending.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, app: Arc<App>, ending: CancellationToken) {
    tracing::trace!(%address, "accepted");
    // Small messages matter here: what can be put together is put together by hand.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    crate::http::serve(stream, app, ending).await;
}

async fn sweep(app: Arc<App>, period: Duration) {
    let mut ticks = tokio::time::interval(period.max(MIN_SWEEP_INTERVAL));
    loop {
        ticks.tick().await;
        lock(&app.hub).expire(Instant::now().into_std());
    }
}
