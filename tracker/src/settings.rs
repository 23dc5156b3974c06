//! What can be chosen about a running tracker.

use std::time::Duration;

use shared::signal::IceServer;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::address::{Networks, ProxyHeader};
use crate::limits::Limits;
use crate::page::Page;
use crate::state::State;
use crate::tls::Tls;

/// Time between two announces that is asked of clients, unless set otherwise: what other WebTorrent trackers ask.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(120);

/// Time between two pings to a client, unless set otherwise: below the minute after which proxies and other servers
/// take a connection for dead.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Time over which clients spread when they are told to connect anew, unless set otherwise.
pub const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Time that those who still relay get before a restart, unless set otherwise.
pub const DRAIN_TIME: Duration = Duration::from_secs(15);

/// What can be chosen about a running tracker.
#[derive(Debug)]
pub struct Settings {
    /// The page to serve.
    pub page: Page,
    /// Time between two announces that is asked of clients. A peer that is silent for more than twice as long is
    /// forgotten.
    pub announce_interval: Duration,
    /// Time between two pings to a client. One that sends nothing for two of them is disconnected.
    pub ping_interval: Duration,
    /// ICE servers for our own clients, maybe none; not set, they use those that they know themselves.
    pub ice: Option<Vec<IceServer>>,
    /// Seed of all choices among peers.
    pub seed: u64,
    /// What clients may cost.
    pub limits: Limits,
    /// TLS, if the port is to speak it.
    pub tls: Option<Tls>,
    /// Who may come, and to what.
    pub access: Access,
    /// The proxies that are believed when they say for whom they ask.
    pub proxies: Networks,
    /// Where they say it.
    pub proxy_header: ProxyHeader,
    /// Who may read `/metrics` and `/stats`; anybody if there is none.
    pub metrics_from: Networks,
    /// Cancelled by the owner of the tracker to have it end gently. Nothing happens if it is not.
    pub restart: CancellationToken,
    /// Time for which a tracker that is to end gently still accepts connections, saying in `/health` that it will not for
    /// long.
    pub drain_delay: Duration,
    /// Time over which clients spread when they are told to connect anew.
    pub reconnect_within: Duration,
    /// Time that those who still relay get.
    pub drain_time: Duration,
    /// What outlives a restart, if anything does.
    pub state: Option<State>,
}

impl Settings {
    /// The usual settings, with this page and a seed from the system.
    pub fn new(page: Page) -> Self {
        Self {
            page,
            announce_interval: ANNOUNCE_INTERVAL,
            ping_interval: PING_INTERVAL,
            ice: None,
            seed: rand::random(),
            limits: Limits::default(),
            tls: None,
            access: Access::default(),
            proxies: Networks::default(),
            proxy_header: ProxyHeader::default(),
            metrics_from: Networks::default(),
            restart: CancellationToken::new(),
            drain_delay: Duration::ZERO,
            reconnect_within: RECONNECT_WITHIN,
            drain_time: DRAIN_TIME,
            state: None,
        }
    }
}
