//! The listener, and the orderly end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::address::{self, Networks, ProxyHeader};
use crate::cluster::{self, Member};
use crate::door::{Door, Seat};
use crate::http::{Speech, Visitor};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::memory::{self, Ebb};
use crate::metrics::{Metrics, Rejection};
use crate::outbox::Queues;
use crate::page::Page;
use crate::settings::Settings;
use crate::state::{Keeper, Lifetime, State};
use crate::tls::Tls;

/// Time that connections get to end by themselves when the tracker ends.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// Wait after a failed accept, as when the process has no file handles left: the next would fail as well.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Silent peers are searched for this many times in an announce interval.
const SWEEPS: u32 = 8;

/// Shortest time between two searches for silent peers.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1). No HTTP request begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) page: Arc<Page>,
    pub(crate) ping_interval: Duration,
    pub(crate) started: Instant,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) door: Arc<Door>,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) proxies: Networks,
    pub(crate) proxy_header: ProxyHeader,
    pub(crate) metrics_from: Networks,
    pub(crate) reconnect_within: Duration,
    pub(crate) tls: Option<Tls>,
    pub(crate) is_draining: AtomicBool,
    /// What leads to other nodes, if this is one of many.
    pub(crate) cluster: Option<Arc<cluster::Shared>>,
    /// The totals before this start, if they are kept.
    before: Option<Lifetime>,
}

/// What makes connections end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// Clients are to go somewhere else, soon.
    pub(crate) leave: CancellationToken,
    /// Everything ends.
    pub(crate) now: CancellationToken,
    /// Set before either is cancelled, and cheaper to look at.
    is_told: Arc<AtomicBool>,
    /// Everybody who is to end.
    pub(crate) tasks: TaskTracker,
}

impl Ends {
    /// Whether somebody was told to end.
    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    fn tell(&self, whom: &CancellationToken) {
        self.is_told.store(true, Ordering::Release);
        whom.cancel();
    }
}

/// Serves until `shutdown` is done, then ends: no new connections, a close frame to each client, and a few seconds for
/// them to go.
///
/// [`Settings::restart`] ends it more gently: clients are told to connect anew within some time, and those that relay may finish
/// what they are at.
///
/// # Errors
/// None after the start at present; the result leaves room for those of other listeners.
pub async fn run(
    listener: TcpListener,
    mut settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (restart, drain_delay, drain_time) =
        (settings.restart.clone(), settings.drain_delay, settings.drain_time);
    let announce_interval = settings.announce_interval;
    let sweep_interval = announce_interval / SWEEPS;
    let cluster = settings.cluster.take();
    let meeting = cluster.map(|cluster| {
        let queue = cluster::queue(&cluster, &settings.limits);
        (cluster, queue)
    });
    let (app, state) = App::new(settings, meeting.as_ref().map(|(_, (shared, _))| Arc::clone(shared)));
    let member = meeting.map(|(cluster, (shared, requests))| {
        Member::start(cluster, Arc::clone(&app), shared, requests, announce_interval)
    });
    let keeper = state.map(|state| Keeper::start(state, Arc::clone(&app)));
    let sweeper = tokio::spawn(sweep(Arc::clone(&app), sweep_interval));
    let memory = tokio::spawn(give_back(Arc::clone(&app)));
    let ends = Ends::default();
    let tasks = &ends.tasks;
    let drain = async {
        restart.cancelled().await;
        app.is_draining.store(true, Ordering::Relaxed);
        sleep(drain_delay).await;
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let is_restart = tokio::select! {
        () = accept(&listener, &app, &ends) => false,
        () = &mut shutdown => false,
        () = drain => true,
    };
    drop(listener);
    tasks.close();
    if is_restart {
        tracing::info!(connections = app.hub.counts().connections, "draining");
        ends.tell(&ends.leave);
        tokio::select! {
            () = tasks.wait() => {}
            () = shutdown => {}
            () = sleep(drain_time) => tracing::info!(left = app.door.open(), "not all have left in time"),
        }
    }
    tracing::info!(connections = app.hub.counts().connections, "shutting down");
    ends.tell(&ends.now);
    if timeout(SHUTDOWN_TIME, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "connections did not end in time");
    }
    sweeper.abort();
    memory.abort();
    if let Some(member) = member {
        member.stop().await;
    }
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    Ok(())
}

impl App {
    pub(crate) fn new(
        settings: Settings,
        cluster: Option<Arc<cluster::Shared>>,
    ) -> (Arc<Self>, Option<State>) {
        let metrics = Arc::new(Metrics::default());
        let queues = Arc::new(Queues::new(&settings.limits));
        let mut hub = Hub::new(&settings, Arc::clone(&metrics), Arc::clone(&queues));
        if let Some(shared) = &cluster {
            hub.share_with(Arc::clone(shared));
        }
        let app = Self {
            hub,
            page: Arc::new(settings.page),
            ping_interval: settings.ping_interval,
            started: Instant::now(),
            metrics,
            queues,
            door: Arc::new(Door::new(&settings.limits)),
            limits: settings.limits,
            access: settings.access,
            proxies: settings.proxies,
            proxy_header: settings.proxy_header,
            metrics_from: settings.metrics_from,
            reconnect_within: settings.reconnect_within,
            tls: settings.tls,
            is_draining: AtomicBool::new(false),
            cluster,
            before: settings.state.as_ref().map(State::lifetime),
        };
        (Arc::new(app), settings.state)
    }

    /// Who asks: this address, or the client behind it.
    pub(crate) fn client(&self, address: IpAddr, headers: &HeaderMap) -> IpAddr {
        address::client(address, headers, &self.proxies, self.proxy_header)
    }

    /// Totals over the life of the state file, if there is one.
    pub(crate) fn lifetime(&self) -> Option<Lifetime> {
        Some(self.before?.plus(Lifetime {
            connections: self.metrics.accepted.value(),
            messages: self.metrics.messages_in.value(),
            relayed_bytes: self.metrics.relayed_bytes.value(),
            completed: self.metrics.completed.value(),
        }))
    }
}

/// Accepts connections for ever.
async fn accept(listener: &TcpListener, app: &Arc<App>, ends: &Ends) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                app.metrics.accepted.add(1);
                if let Some((seat, welcome)) = app.door.sit() {
                    let connection =
                        connection(stream, address, seat, welcome, Arc::clone(app), ends.clone());
                    ends.tasks.spawn(connection);
                } else {
                    app.metrics.reject(Rejection::Connections);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    seat: Seat,
    welcome: Result<(), Rejection>,
    app: Arc<App>,
    ends: Ends,
) {
    tracing::trace!(%address, "accepted");
    // Small messages matter here: what can be put together is put together by hand.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let address = address.ip().to_canonical();
    let mut visitor = Visitor::new(address, seat, welcome);
    // Behind a proxy it is the request that tells who comes.
    if visitor.welcome.is_ok() && !app.proxies.contain(address) {
        match app.door.enter(address, std::time::Instant::now()) {
            Ok(pass) => visitor.pass = Some(pass),
            Err(reason) => {
                let Some(refusal) = app.door.refuse() else { return app.metrics.reject(reason) };
                (visitor.welcome, visitor.refusal) = (Err(reason), Some(refusal));
            }
        }
    }
    let Some(tls) = &app.tls else { return crate::http::serve(stream, visitor, app, ends).await };
    let mut first = [0];
    let peeked = timeout(app.limits.handshake_time, stream.peek(&mut first));
    let peeked = tokio::select! {
        peeked = peeked => peeked,
        () = ends.now.cancelled() => return,
    };
    match peeked {
        Ok(Ok(1)) if first[0] != TLS_HANDSHAKE => {
            app.metrics.reject(Rejection::PlainHttp);
            visitor.speech = Speech::PlainOnTls;
            return crate::http::serve(stream, visitor, app, ends).await;
        }
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return app.metrics.reject(Rejection::Handshake),
    }
    visitor.speech = Speech::Tls;
    let began = Instant::now();
    let accepted = tokio::select! {
        accepted = timeout(app.limits.handshake_time, tls.acceptor().accept(stream)) => accepted,
        () = ends.now.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => {
            app.metrics.tls.observe(began.elapsed());
            crate::http::serve(stream, visitor, app, ends).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            app.metrics.reject(Rejection::Handshake);
        }
        Err(_) => app.metrics.reject(Rejection::Handshake),
    }
}

async fn sweep(app: Arc<App>, period: Duration) {
    let mut ticks = tokio::time::interval(period.max(MIN_SWEEP_INTERVAL));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.access.changed() => app.hub.enforce_access(),
        }
        let now = Instant::now().into_std();
        app.hub.expire(now);
        app.door.sweep(now);
    }
}

/// Gives back the memory that many clients took, whenever most of them have left, or most of what waited for them is gone.
async fn give_back(app: Arc<App>) {
    let mut ticks = tokio::time::interval(memory::LOOK_INTERVAL);
    let (mut clients, mut waiting) = (Ebb::default(), Ebb::default());
    loop {
        ticks.tick().await;
        let (have_left, is_sent) =
            (clients.look(app.door.open()), waiting.look(app.queues.held() / memory::UNIT));
        if have_left || is_sent {
            let app = Arc::clone(&app);
            tokio::task::spawn_blocking(move || {
                app.hub.shrink();
                app.door.shrink();
                memory::give_back();
            });
        }
    }
}
