//! Every bound on what clients cost the server: its name, its usual value and why, and its place in the settings.
//!
//! What one message may hold is in [`shared::limits`], since both sides must agree on it. A number that is exceeded is
//! counted as a rejection in `/metrics`, and the client is told one reason.

use std::time::Duration;

use shared::limits::{MAX_NUMWANT, MAX_OFFERS, MAX_SIGNAL_BYTES};

/// Most connections at once, HTTP and WebSocket: each is a file handle and some 3 KB of memory without TLS, more with it and
/// while it is busy.
pub const MAX_CONNECTIONS: usize = 20_000;

/// Connections above the bound that are still answered, with the reason why they are refused; those above are cut off.
pub const REFUSED_CONNECTIONS: usize = 256;

/// Most connections at once from one address (in IPv6 from one network of 64 bits): a school behind one address fits.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 1000;

/// Most memberships (pairs of swarm and peer id) of one connection: a client with this many torrents is served in
/// full, and one connection cannot fill the memory.
pub const MAX_MEMBERSHIPS: usize = 1000;

/// Most peers of one swarm.
pub const MAX_PEERS_PER_SWARM: usize = 100_000;

/// Most peers in all swarms together, and so most swarms: some 300 bytes each.
pub const MAX_PEERS: usize = 1_000_000;

/// Text messages that one connection may send a second, over time.
pub const MAX_MESSAGES_PER_SECOND: u32 = 200;

/// Text messages that one connection may send at once: a tab with the most torrents announces them all when it
/// connects, some with their offers behind.
pub const MESSAGE_BURST: u32 = 5 * 1000;

/// Most open channels of one connection: those to the most peers that an announce names, and as many opened by others.
pub const MAX_CHANNELS: usize = 2 * MAX_NUMWANT;

/// Most relay channels in all.
pub const MAX_RELAY_CHANNELS: usize = 50_000;

/// Bytes that one connection may send through the relay in a second: more than a browser can.
pub const MAX_RELAY_RATE: u64 = 64 << 20;

/// Bytes that all connections of one address may send through the relay in a second.
pub const MAX_RELAY_RATE_PER_ADDRESS: u64 = 128 << 20;

/// Bytes that one connection may send through the relay in a day.
pub const MAX_RELAY_PER_DAY: u64 = 256 << 30;

/// Bytes that all connections of one address may send through the relay in a day.
pub const MAX_RELAY_PER_DAY_PER_ADDRESS: u64 = 1 << 40;

/// Bytes that wait for one connection, at most. A page asks for less at a time.
pub const MAX_QUEUE_PER_CONNECTION: u64 = 128 << 20;

/// Bytes that wait for all connections, at most. Above, whoever has most waiting is disconnected.
pub const MAX_QUEUE: u64 = 1 << 30;

/// Bytes that wait to be told to other nodes, at most: some 16 channels at full speed. From a quarter of it on senders are
/// slowed down; above, channels to other nodes are closed, and offers for their peers dropped.
pub const MAX_CLUSTER_QUEUE: u64 = 64 << 20;

/// Time in which a client must have finished a TLS handshake, or sent a request's head.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(15);

/// Time for which a connection may be one of plain HTTP: long enough for the page over a slow line. A reply that is under way then
/// has as long again. So nobody holds a place by not reading.
pub const HTTP_TIME: Duration = Duration::from_secs(120);

/// What clients may cost. No field is unlimited unless it is the largest number of its type.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// [`MAX_CONNECTIONS_PER_ADDRESS`].
    pub connections_per_address: usize,
    /// [`MAX_MEMBERSHIPS`].
    pub swarms_per_connection: usize,
    /// [`MAX_PEERS_PER_SWARM`].
    pub peers_per_swarm: usize,
    /// [`MAX_PEERS`].
    pub peers: usize,
    /// Offers of one announce that are passed on; above [`MAX_OFFERS`] none are read.
    pub offers: usize,
    /// Longest text message, in bytes; at most [`MAX_SIGNAL_BYTES`].
    pub message_bytes: usize,
    /// [`MAX_MESSAGES_PER_SECOND`].
    pub messages_per_second: u32,
    /// [`MESSAGE_BURST`].
    pub message_burst: u32,
    /// [`MAX_CHANNELS`].
    pub channels_per_connection: usize,
    /// [`MAX_RELAY_CHANNELS`].
    pub channels: usize,
    /// [`MAX_RELAY_RATE`], bytes a second.
    pub relay_rate: u64,
    /// [`MAX_RELAY_RATE_PER_ADDRESS`], bytes a second.
    pub relay_rate_per_address: u64,
    /// [`MAX_RELAY_PER_DAY`], bytes.
    pub relay_per_day: u64,
    /// [`MAX_RELAY_PER_DAY_PER_ADDRESS`], bytes.
    pub relay_per_day_per_address: u64,
    /// [`MAX_QUEUE_PER_CONNECTION`], bytes.
    pub queue_per_connection: u64,
    /// [`MAX_QUEUE`], bytes.
    pub queue: u64,
    /// [`MAX_CLUSTER_QUEUE`], bytes.
    pub cluster_queue: u64,
    /// [`HANDSHAKE_TIME`].
    pub handshake_time: Duration,
    /// [`HTTP_TIME`].
    pub http_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            swarms_per_connection: MAX_MEMBERSHIPS,
            peers_per_swarm: MAX_PEERS_PER_SWARM,
            peers: MAX_PEERS,
            offers: MAX_OFFERS,
            message_bytes: MAX_SIGNAL_BYTES,
            messages_per_second: MAX_MESSAGES_PER_SECOND,
            message_burst: MESSAGE_BURST,
            channels_per_connection: MAX_CHANNELS,
            channels: MAX_RELAY_CHANNELS,
            relay_rate: MAX_RELAY_RATE,
            relay_rate_per_address: MAX_RELAY_RATE_PER_ADDRESS,
            relay_per_day: MAX_RELAY_PER_DAY,
            relay_per_day_per_address: MAX_RELAY_PER_DAY_PER_ADDRESS,
            queue_per_connection: MAX_QUEUE_PER_CONNECTION,
            queue: MAX_QUEUE,
            cluster_queue: MAX_CLUSTER_QUEUE,
            handshake_time: HANDSHAKE_TIME,
            http_time: HTTP_TIME,
        }
    }
}
