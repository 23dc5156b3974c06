//! What can be chosen about a running tracker.

use std::time::Duration;

use shared::signal::IceServer;

use crate::page::Page;

/// Time between two announces that is asked of clients, unless set otherwise: what other WebTorrent trackers ask.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(120);

/// Time between two pings to a client, unless set otherwise: below the minute after which proxies and other servers
/// take a connection for dead.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

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
        }
    }
}
