//! What is counted, and how it is told to Prometheus.
//!
//! Counters and histograms are plain atomics: counting takes no lock, and those on the relay's path cost one addition.
//! What can be looked up (who is there, what waits) is not counted but asked for when somebody reads `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::signal::ToTracker;

/// The type of the text format that is written here: version 0.0.4, which every Prometheus reads.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of a histogram's buckets, in microseconds.
const BOUNDS: [u64; 14] =
    [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 50_000, 100_000, 500_000, 2_500_000];

/// Something that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, each time.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let micros = took.as_micros();
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[bucket].add(1);
        self.nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Numbers the variants of an enum and names each for a label.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labels! {
    /// Why something was refused, dropped, or ended by the tracker.
    Rejection {
        Connections = "connections",
        ConnectionsPerAddress = "connections-per-address",
        Origin = "origin",
        Token = "token",
        Handshake = "handshake",
        SlowHttp = "slow-http",
        PlainHttp = "plain-http",
        MessageSize = "message-size",
        MessageRate = "message-rate",
        Malformed = "malformed",
        AccessList = "access-list",
        SwarmsPerConnection = "swarms-per-connection",
        PeersPerSwarm = "peers-per-swarm",
        Peers = "peers",
        Offers = "offers",
        PeerIdTaken = "peer-id-taken",
        NamedOffer = "named-offer",
        UnknownAnswer = "unknown-answer",
        Backlog = "backlog",
        RelayRefused = "relay-refused",
        Ticket = "ticket",
        Tickets = "tickets",
        RelayChannels = "relay-channels",
        RelayProtocol = "relay-protocol",
        RelayDay = "relay-day",
        QueuePerConnection = "queue-per-connection",
        Queue = "queue",
        SlowReader = "slow-reader",
        Silent = "silent",
        Cluster = "cluster",
    }
}

labels! {
    /// What a client asks for.
    Action {
        Announce = "announce",
        Offer = "offer",
        Answer = "answer",
        Scrape = "scrape",
        RelayOpen = "relay-open",
        RelayVisit = "relay-visit",
        RelayClose = "relay-close",
    }
}

impl From<&ToTracker> for Action {
    fn from(message: &ToTracker) -> Self {
        match message {
            ToTracker::Announce(_) => Self::Announce,
            ToTracker::Offer(_) => Self::Offer,
            ToTracker::Answer(_) => Self::Answer,
            ToTracker::Scrape(_) => Self::Scrape,
            ToTracker::RelayOpen(_) => Self::RelayOpen,
            ToTracker::RelayVisit(_) => Self::RelayVisit,
            ToTracker::RelayClose(_) => Self::RelayClose,
        }
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Connections that were accepted.
    pub(crate) accepted: Counter,
    /// Text messages of clients.
    pub(crate) messages_in: Counter,
    /// Text messages to clients.
    pub(crate) messages_out: Counter,
    /// Bytes that went through the relay.
    pub(crate) relayed_bytes: Counter,
    /// Relay frames of data.
    pub(crate) relayed_frames: Counter,
    /// Relay channels that were opened.
    pub(crate) channels_opened: Counter,
    /// Downloads that were told to be complete.
    pub(crate) completed: Counter,
    /// HTTP requests, the opening of WebSockets among them.
    pub(crate) http_requests: Counter,
    /// Saves of the durable state.
    pub(crate) saves: Counter,
    /// Saves that failed.
    pub(crate) failed_saves: Counter,
    /// Time for one message of each action, with the wait for the lock.
    pub(crate) handling: [Histogram; Action::ALL.len()],
    /// Time for the answer to one HTTP request.
    pub(crate) http: Histogram,
    /// Time for a TLS handshake.
    pub(crate) tls: Histogram,
    rejections: [Counter; Rejection::ALL.len()],
}

impl Metrics {
    pub(crate) fn reject(&self, reason: Rejection) {
        self.rejections[reason as usize].add(1);
    }

    #[cfg(test)]
    pub(crate) fn rejected(&self, reason: Rejection) -> u64 {
        self.rejections[reason as usize].value()
    }

    /// All that was counted, as Prometheus reads it.
    pub(crate) fn write(&self, text: &mut Exposition) {
        text.counter("connections_accepted_total", "Connections accepted.", self.accepted.value());
        text.counter("messages_received_total", "Text messages of clients.", self.messages_in.value());
        text.counter("messages_sent_total", "Text messages to clients.", self.messages_out.value());
        text.counter("relayed_bytes_total", "Bytes that went through the relay.", self.relayed_bytes.value());
        text.counter("relayed_frames_total", "Frames of data relayed.", self.relayed_frames.value());
        text.counter("relay_channels_opened_total", "Relay channels opened.", self.channels_opened.value());
        text.counter("completed_total", "Downloads told to be complete.", self.completed.value());
        text.counter("http_requests_total", "HTTP requests.", self.http_requests.value());
        text.counter("state_saves_total", "Saves of the durable state.", self.saves.value());
        text.counter("state_save_failures_total", "Saves that failed.", self.failed_saves.value());
        text.head("rejections_total", "counter", "What was refused, dropped or ended, by reason.");
        for (reason, count) in Rejection::ALL.iter().zip(&self.rejections) {
            text.line("rejections_total", &format!("{{reason=\"{}\"}}", reason.label()), count.value());
        }
        text.head("message_seconds", "histogram", "Time to handle one message, by action.");
        for (action, histogram) in Action::ALL.iter().zip(&self.handling) {
            text.histogram("message_seconds", &format!("action=\"{}\"", action.label()), histogram);
        }
        text.head("http_seconds", "histogram", "Time to answer one HTTP request.");
        text.histogram("http_seconds", "", &self.http);
        text.head("tls_handshake_seconds", "histogram", "Time of one TLS handshake.");
        text.histogram("tls_handshake_seconds", "", &self.tls);
    }
}

/// Prometheus's text, as it grows.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    /// Something that goes up and down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    /// Something that only grows.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(name, "", value);
    }

    // Writing to a string does not fail.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP enxame_{name} {help}\n# TYPE enxame_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "enxame_{name}{labels} {value}");
    }

    pub(crate) fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let bucket = format!("{name}_bucket");
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().zip(&histogram.buckets) {
            sum += count.value();
            let seconds = Duration::from_micros(*bound).as_secs_f64();
            self.line(&bucket, &format!("{{{labels}{comma}le=\"{seconds}\"}}"), sum);
        }
        sum += histogram.buckets[BOUNDS.len()].value();
        self.line(&bucket, &format!("{{{labels}{comma}le=\"+Inf\"}}"), sum);
        let seconds = Duration::from_nanos(histogram.nanoseconds.value()).as_secs_f64();
        self.line(&format!("{name}_sum"), &braced, seconds);
        self.line(&format!("{name}_count"), &braced, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbered_as_they_are_listed() {
        for (n, reason) in Rejection::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, n);
        }
        for (n, action) in Action::ALL.iter().enumerate() {
            assert_eq!(*action as usize, n);
        }
    }

    #[test]
    fn a_histogram_is_told_in_sums_and_in_seconds() {
        let histogram = Histogram::default();
        for micros in [10, 11, 3_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut text = Exposition::default();
        text.histogram("h", "", &histogram);
        let text = text.into_text();
        for line in [
            "enxame_h_bucket{le=\"0.00001\"} 1\n",
            "enxame_h_bucket{le=\"0.000025\"} 2\n",
            "enxame_h_bucket{le=\"2.5\"} 2\n",
            "enxame_h_bucket{le=\"+Inf\"} 3\n",
            "enxame_h_sum 3.000021\n",
            "enxame_h_count 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn refusals_are_told_by_reason() {
        let metrics = Metrics::default();
        metrics.reject(Rejection::Origin);
        assert_eq!(metrics.rejected(Rejection::Origin), 1);
        let mut text = Exposition::default();
        metrics.write(&mut text);
        let text = text.into_text();
        assert!(text.contains("enxame_rejections_total{reason=\"origin\"} 1\n"), "{text}");
        assert!(
            text.contains("enxame_message_seconds_bucket{action=\"announce\",le=\"+Inf\"} 0\n"),
            "{text}"
        );
    }
}
