//! Everything that comes over HTTP: WebSocket upgrades, the page, `/health` and `/stats`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use crate::server::App;
use crate::{lock, socket};

/// A response with its whole body.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Time in which a client must have sent its request's head.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// Serves one connection: some HTTP requests, or one that turns it into a WebSocket.
pub(crate) async fn serve(stream: TcpStream, app: Arc<App>, ending: CancellationToken) {
    let upgrade: Mutex<Option<OnUpgrade>> = Mutex::new(None);
    let service = service_fn(|request| async { Ok::<_, Infallible>(respond(request, &app, &upgrade).await) });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
        return;
    }
    let Some(upgrade) = lock(&upgrade).take() else { return };
    match upgrade.await {
        Ok(upgraded) => serve_socket(upgraded, Arc::clone(&app), ending).await,
        Err(error) => tracing::debug!(%error, "an upgrade failed"),
    }
}

async fn serve_socket(upgraded: Upgraded, app: Arc<App>, ending: CancellationToken) {
    // Always a TCP stream here. Taken out of its box, it is read and written without a virtual call.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
            Box::pin(socket::serve(stream, read, app, ending)).await;
        }
        Err(_) => tracing::warn!("an upgraded connection is not a TCP stream"),
    }
}

async fn respond(request: Request<Incoming>, app: &App, upgrade: &Mutex<Option<OnUpgrade>>) -> Reply {
    if wants_websocket(request.headers()) {
        let reply = handshake(&request);
        if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
            *lock(upgrade) = Some(hyper::upgrade::on(request));
        }
        return reply;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served here.\n");
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match request.uri().path() {
        "/health" => json_reply(&json!({ "status": "ok" })),
        "/stats" => json_reply(&stats(app)),
        path => app.page.respond(path, request.headers()).await,
    }
}

fn stats(app: &App) -> serde_json::Value {
    let counts = lock(&app.hub).counts();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": app.started.elapsed().as_secs(),
        "connections": counts.connections,
        "swarms": counts.totals.swarms,
        "peers": counts.totals.peers,
        "seeders": counts.totals.seeders,
        "leechers": counts.totals.peers - counts.totals.seeders,
        "relayChannels": counts.channels,
        "relayedBytes": app.relayed_bytes.load(Ordering::Relaxed),
        "messages": {
            "in": app.messages_in.load(Ordering::Relaxed),
            "out": app.messages_out.load(Ordering::Relaxed),
        },
    })
}

/// Whether a comma-separated header holds this word.
fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    has_word(headers, header::UPGRADE, "websocket")
}

/// The server's half of the opening handshake (RFC 6455, section 4.2), on any path.
fn handshake(request: &Request<Incoming>) -> Reply {
    let headers = request.headers();
    if request.method() != Method::GET || !has_word(headers, header::CONNECTION, "upgrade") {
        return plain(StatusCode::BAD_REQUEST, "This is not a WebSocket handshake.\n");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut reply = plain(StatusCode::UPGRADE_REQUIRED, "Only version 13 of WebSocket is spoken here.\n");
        reply.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return reply;
    }
    let accept = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return plain(StatusCode::BAD_REQUEST, "The handshake has no Sec-WebSocket-Key.\n");
    };
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

/// A short text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

/// A body that must not be cached, with its type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

fn json_reply(value: &serde_json::Value) -> Reply {
    with_type(StatusCode::OK, "application/json", Bytes::from(value.to_string()))
}
