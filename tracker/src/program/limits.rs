//! The bounds on what clients cost, as flags.

use clap::{Args, value_parser};
use shared::limits::{MAX_OFFERS, MAX_SIGNAL_BYTES};
use tracker::limits::{
    HANDSHAKE_TIME, HTTP_TIME, Limits, MAX_CHANNELS, MAX_CLUSTER_QUEUE, MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS, MAX_MEMBERSHIPS, MAX_MESSAGES_PER_SECOND, MAX_PEERS, MAX_PEERS_PER_SWARM,
    MAX_QUEUE, MAX_QUEUE_PER_CONNECTION, MAX_RELAY_CHANNELS, MAX_RELAY_PER_DAY,
    MAX_RELAY_PER_DAY_PER_ADDRESS, MAX_RELAY_RATE, MAX_RELAY_RATE_PER_ADDRESS, MESSAGE_BURST,
};

use super::quantity::{Period, Size};

/// See [`Limits`], and docs/OPERATIONS.md for what each is for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Most connections at once, HTTP and WebSocket.
    #[arg(long, env = "ENXAME_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = MAX_CONNECTIONS)]
    max_connections: usize,

    /// Most connections at once from one address (IPv6: one network of 64 bits).
    #[arg(long, env = "ENXAME_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", default_value_t = MAX_CONNECTIONS_PER_ADDRESS)]
    max_connections_per_address: usize,

    /// Most swarms of one connection.
    #[arg(long, env = "ENXAME_MAX_SWARMS_PER_CONNECTION", value_name = "COUNT", default_value_t = MAX_MEMBERSHIPS)]
    max_swarms_per_connection: usize,

    /// Most peers of one swarm.
    #[arg(long, env = "ENXAME_MAX_PEERS_PER_SWARM", value_name = "COUNT", default_value_t = MAX_PEERS_PER_SWARM)]
    max_peers_per_swarm: usize,

    /// Most peers in all swarms together.
    #[arg(long, env = "ENXAME_MAX_PEERS", value_name = "COUNT", default_value_t = MAX_PEERS)]
    max_peers: usize,

    /// Most offers of one announce that are passed on; at most 20.
    #[arg(long, env = "ENXAME_MAX_OFFERS", value_name = "COUNT", default_value_t = MAX_OFFERS)]
    max_offers: usize,

    /// Longest text message; at most 512KiB.
    #[arg(long, env = "ENXAME_MAX_MESSAGE", value_name = "BYTES", default_value_t = Size(MAX_SIGNAL_BYTES as u64))]
    max_message: Size,

    /// Text messages that one connection may send a second, over time.
    #[arg(long, env = "ENXAME_MAX_MESSAGES_PER_SECOND", value_name = "COUNT", default_value_t = MAX_MESSAGES_PER_SECOND, value_parser = value_parser!(u32).range(1..))]
    max_messages_per_second: u32,

    /// Text messages that one connection may send at once.
    #[arg(long, env = "ENXAME_MAX_MESSAGE_BURST", value_name = "COUNT", default_value_t = MESSAGE_BURST, value_parser = value_parser!(u32).range(1..))]
    max_message_burst: u32,

    /// Most relay channels of one connection.
    #[arg(long, env = "ENXAME_MAX_CHANNELS_PER_CONNECTION", value_name = "COUNT", default_value_t = MAX_CHANNELS)]
    max_channels_per_connection: usize,

    /// Most relay channels in all.
    #[arg(long, env = "ENXAME_MAX_CHANNELS", value_name = "COUNT", default_value_t = MAX_RELAY_CHANNELS)]
    max_channels: usize,

    /// Bytes a second that one connection may relay, or none.
    #[arg(long, env = "ENXAME_MAX_RELAY_RATE", value_name = "BYTES", default_value_t = Size(MAX_RELAY_RATE))]
    max_relay_rate: Size,

    /// Bytes a second that one address may relay, or none.
    #[arg(long, env = "ENXAME_MAX_RELAY_RATE_PER_ADDRESS", value_name = "BYTES", default_value_t = Size(MAX_RELAY_RATE_PER_ADDRESS))]
    max_relay_rate_per_address: Size,

    /// Bytes a day that one connection may relay, or none.
    #[arg(long, env = "ENXAME_MAX_RELAY_PER_DAY", value_name = "BYTES", default_value_t = Size(MAX_RELAY_PER_DAY))]
    max_relay_per_day: Size,

    /// Bytes a day that one address may relay, or none.
    #[arg(long, env = "ENXAME_MAX_RELAY_PER_DAY_PER_ADDRESS", value_name = "BYTES", default_value_t = Size(MAX_RELAY_PER_DAY_PER_ADDRESS))]
    max_relay_per_day_per_address: Size,

    /// Bytes that may wait for one connection.
    #[arg(long, env = "ENXAME_MAX_QUEUE_PER_CONNECTION", value_name = "BYTES", default_value_t = Size(MAX_QUEUE_PER_CONNECTION))]
    max_queue_per_connection: Size,

    /// Bytes that may wait for all connections; above, whoever has most waiting is disconnected.
    #[arg(long, env = "ENXAME_MAX_QUEUE", value_name = "BYTES", default_value_t = Size(MAX_QUEUE))]
    max_queue: Size,

    /// Bytes that may wait for other nodes; from a quarter of it on senders are slowed down.
    #[arg(long, env = "ENXAME_MAX_CLUSTER_QUEUE", value_name = "BYTES", default_value_t = Size(MAX_CLUSTER_QUEUE))]
    max_cluster_queue: Size,

    /// Time for a TLS handshake, and for the head of a request.
    #[arg(long, env = "ENXAME_HANDSHAKE_TIME", value_name = "TIME", default_value_t = Period(HANDSHAKE_TIME))]
    handshake_time: Period,

    /// Time for which a connection may be one of plain HTTP; a reply that is under way then has as long again.
    #[arg(long, env = "ENXAME_HTTP_TIME", value_name = "TIME", default_value_t = Period(HTTP_TIME))]
    http_time: Period,
}

impl LimitOptions {
    /// The rate that is nothing, if one is: a sender that waits for it would wait for ever.
    pub(crate) fn zero_rate(&self) -> Option<&'static str> {
        let rates = [
            ("max-relay-rate", self.max_relay_rate),
            ("max-relay-rate-per-address", self.max_relay_rate_per_address),
        ];
        rates.into_iter().find(|(_, rate)| rate.0 == 0).map(|(name, _)| name)
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.connections = self.max_connections;
        limits.connections_per_address = self.max_connections_per_address;
        limits.swarms_per_connection = self.max_swarms_per_connection;
        limits.peers_per_swarm = self.max_peers_per_swarm;
        limits.peers = self.max_peers;
        limits.offers = self.max_offers;
        limits.message_bytes =
            usize::try_from(self.max_message.0).unwrap_or(usize::MAX).min(MAX_SIGNAL_BYTES);
        limits.messages_per_second = self.max_messages_per_second;
        limits.message_burst = self.max_message_burst;
        limits.channels_per_connection = self.max_channels_per_connection;
        limits.channels = self.max_channels;
        limits.relay_rate = self.max_relay_rate.0;
        limits.relay_rate_per_address = self.max_relay_rate_per_address.0;
        limits.relay_per_day = self.max_relay_per_day.0;
        limits.relay_per_day_per_address = self.max_relay_per_day_per_address.0;
        limits.queue_per_connection = self.max_queue_per_connection.0;
        limits.queue = self.max_queue.0;
        limits.cluster_queue = self.max_cluster_queue.0;
        limits.handshake_time = self.handshake_time.0;
        limits.http_time = self.http_time.0;
        limits
    }
}
