//! What the tracker tells about itself: `/health`, `/stats` and `/metrics`.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use serde_json::json;

use super::{Reply, with_type};
use crate::metrics::{CONTENT_TYPE, Exposition};
use crate::server::App;

/// Whether new clients are welcome: what a balancer asks.
pub(super) fn health(app: &App) -> Reply {
    let draining = app.is_draining.load(Ordering::Relaxed);
    let (status, word) =
        if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") };
    let mut health = json!({ "status": word });
    // A node that cannot reach the others still serves its own clients.
    if let Some(cluster) = &app.cluster {
        let word = if cluster.is_joined() { "joined" } else { "alone" };
        health["cluster"] = json!({ "status": word, "nodes": cluster.nodes() });
    }
    json_reply(status, &health)
}

/// The most important numbers: a small page for those who ask for HTML, JSON for everybody else.
pub(super) fn stats(app: &App, headers: &HeaderMap) -> Reply {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let stats = numbers(app);
    let mut reply = if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        with_type(StatusCode::OK, "text/html; charset=utf-8", Bytes::from(page(&stats)))
    } else {
        json_reply(StatusCode::OK, &stats)
    };
    reply.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    reply
}

/// Everything, as Prometheus reads it.
pub(super) fn metrics(app: &App) -> Reply {
    let mut text = Exposition::default();
    let (counts, queues) = (app.hub.counts(), app.hub.queues());
    text.gauge("sockets", "Open connections, HTTP and WebSocket.", app.door.open());
    text.gauge("connections", "Open WebSocket connections.", counts.connections);
    text.gauge("addresses", "Addresses that are connected or have relayed today.", app.door.addresses());
    text.gauge("swarms", "Swarms with at least one peer.", counts.totals.swarms);
    text.gauge("peers", "Peers, counted once in each swarm.", counts.totals.peers);
    text.gauge("seeders", "Peers that have everything.", counts.totals.seeders);
    text.gauge("remembered_swarms", "Torrents whose completed count is kept.", counts.remembered);
    text.gauge("relay_channels", "Open relay channels.", counts.channels);
    text.gauge("queue_bytes", "Bytes that wait for all connections.", app.queues.held());
    text.gauge("queue_bytes_max", "Bytes that wait for the connection with the most.", queues.most);
    text.gauge("queue_connections", "Connections for which something waits.", queues.busy);
    text.gauge(
        "draining",
        "1 when the tracker is about to end.",
        app.is_draining.load(Ordering::Relaxed).into(),
    );
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    text.gauge("tasks", "Tasks of the program that have not ended.", tasks);
    let uptime = usize::try_from(app.started.elapsed().as_secs()).unwrap_or(usize::MAX);
    text.gauge("uptime_seconds", "Seconds since the start.", uptime);
    app.metrics.write(&mut text);
    if let Some(cluster) = &app.cluster {
        cluster.write(&mut text);
    }
    with_type(StatusCode::OK, CONTENT_TYPE, Bytes::from(text.into_text()))
}

fn numbers(app: &App) -> serde_json::Value {
    let counts = app.hub.counts();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": app.started.elapsed().as_secs(),
        "connections": counts.connections,
        "swarms": counts.totals.swarms,
        "peers": counts.totals.peers,
        "seeders": counts.totals.seeders,
        "leechers": counts.totals.peers - counts.totals.seeders,
        "completed": app.metrics.completed.value(),
        "relayChannels": counts.channels,
        "relayedBytes": app.metrics.relayed_bytes.value(),
        "queuedBytes": app.queues.held(),
        "messages": { "in": app.metrics.messages_in.value(), "out": app.metrics.messages_out.value() },
        "lifetime": app.lifetime().map(|lifetime| json!({
            "connections": lifetime.connections,
            "messages": lifetime.messages,
            "relayedBytes": lifetime.relayed_bytes,
            "completed": lifetime.completed,
        })),
    })
}

/// The numbers as a page without a script, which loads itself again now and then.
fn page(stats: &serde_json::Value) -> String {
    const ROWS: [(&str, &str); 10] = [
        ("uptimeSeconds", "Seconds since the start"),
        ("connections", "Connections"),
        ("swarms", "Swarms"),
        ("peers", "Peers"),
        ("seeders", "Seeders"),
        ("leechers", "Leechers"),
        ("completed", "Downloads completed"),
        ("relayChannels", "Relay channels"),
        ("relayedBytes", "Bytes relayed"),
        ("queuedBytes", "Bytes waiting"),
    ];
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"10\">\n<title>Enxame tracker</title>\n\
         <h1>Enxame tracker</h1>\n<table>\n",
    );
    for (field, name) in ROWS {
        // Writing to a string does not fail; numbers need no escaping.
        let _ = writeln!(page, "<tr><th align=\"left\">{name}<td align=\"right\">{}", stats[field]);
    }
    page.push_str("</table>\n<p>The same as JSON for programs; more for Prometheus at <a href=\"/metrics\">/metrics</a>.\n");
    page
}

fn json_reply(status: StatusCode, value: &serde_json::Value) -> Reply {
    with_type(status, "application/json", Bytes::from(value.to_string()))
}
