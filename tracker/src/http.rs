//! Everything that comes over HTTP: WebSocket upgrades, the page, and what the tracker tells about itself.

mod report;
mod security;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::door::{Pass, Refusal, Seat};
use crate::metrics::Rejection;
use crate::server::{App, Ends};
use crate::{access, lock, socket};

/// A response with its whole body.
pub(crate) type Reply = Response<Full<Bytes>>;

/// How a connection is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// HTTP on a port without TLS.
    Plain,
    /// HTTP inside TLS.
    Tls,
    /// HTTP on a port where TLS is spoken: whoever does it by mistake is told so.
    PlainOnTls,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Visitor {
    address: IpAddr,
    pub(crate) welcome: Result<(), Rejection>,
    pub(crate) pass: Option<Pass>,
    pub(crate) speech: Speech,
    pub(crate) refusal: Option<Refusal>,
    _seat: Seat,
}

impl Visitor {
    pub(crate) fn new(address: IpAddr, seat: Seat, welcome: Result<(), Rejection>) -> Self {
        Self { address, welcome, pass: None, speech: Speech::Plain, refusal: None, _seat: seat }
    }
}

/// A WebSocket that is about to be opened.
struct Opening {
    upgrade: OnUpgrade,
    pass: Pass,
}

/// Serves one connection: some HTTP requests, or one that turns it into a WebSocket.
pub(crate) async fn serve<S>(stream: S, mut visitor: Visitor, app: Arc<App>, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pass = Mutex::new(visitor.pass.take());
    let Some(Opening { upgrade, pass }) = converse(stream, &visitor, &pass, &app, &ends).await else {
        return;
    };
    match upgrade.await {
        Ok(upgraded) => serve_socket::<S>(upgraded, pass, visitor, &app, ends),
        Err(error) => tracing::debug!(%error, "an upgrade failed"),
    }
}

/// Answers requests, until the connection ends or is to be a WebSocket.
async fn converse<S>(
    stream: S,
    visitor: &Visitor,
    pass: &Mutex<Option<Pass>>,
    app: &Arc<App>,
    ends: &Ends,
) -> Option<Opening>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opening: Mutex<Option<Opening>> = Mutex::new(None);
    let has_asked = AtomicBool::new(false);
    let service = service_fn(|request| async {
        let began = Instant::now();
        has_asked.store(true, Ordering::Relaxed);
        app.metrics.http_requests.add(1);
        let mut reply = respond(request, app, visitor, pass, &opening).await;
        if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
            security::secure(reply.headers_mut());
        }
        app.metrics.http.observe(began.elapsed());
        Ok::<_, Infallible>(reply)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.handshake_time)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => Some(result),
        () = ends.leave.cancelled() => None,
        () = ends.now.cancelled() => None,
        () = sleep(app.limits.http_time) => None,
    };
    let result = match result {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            let Ok(result) = timeout(app.limits.http_time, connection).await else {
                tracing::debug!(
                    "cut off a connection that does not read its reply, or never ends its request"
                );
                app.metrics.reject(Rejection::SlowHttp);
                return None;
            };
            result
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
        // A browser that has its page and asks for nothing more ends like this as well.
        if error.is_timeout() && !has_asked.load(Ordering::Relaxed) {
            app.metrics.reject(Rejection::Handshake);
        }
        return None;
    }
    lock(&opening).take()
}

/// In a task of its own: what HTTP took is free then.
fn serve_socket<S>(upgraded: Upgraded, pass: Pass, visitor: Visitor, app: &Arc<App>, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Always the stream that was served. Taken out of its box, it is read and written without a virtual call.
    match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => {
            let (stream, read) = (parts.io.into_inner(), parts.read_buf);
            let (app, tasks) = (Arc::clone(app), ends.tasks.clone());
            tasks.spawn(async move {
                socket::serve(stream, read, pass, app, ends).await;
                // Its place was taken until now.
                drop(visitor);
            });
        }
        Err(_) => tracing::warn!("an upgraded connection is not the stream that was served"),
    }
}

async fn respond(
    request: Request<Incoming>,
    app: &Arc<App>,
    visitor: &Visitor,
    pass: &Mutex<Option<Pass>>,
    opening: &Mutex<Option<Opening>>,
) -> Reply {
    if visitor.speech == Speech::PlainOnTls {
        return to_https(&request);
    }
    if let Err(reason) = visitor.welcome {
        return refuse(app, reason);
    }
    if wants_websocket(request.headers()) {
        let (reply, opened) = open_socket(request, app, visitor, pass);
        *lock(opening) = opened;
        return reply;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served here.\n");
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    if let Some(reply) = keep_token(&request, app, visitor) {
        return reply;
    }
    let may_read = || {
        let client = app.client(visitor.address, request.headers());
        app.metrics_from.is_empty() || app.metrics_from.contain(client)
    };
    match request.uri().path() {
        "/health" => report::health(app),
        "/stats" | "/metrics" if !may_read() => plain(StatusCode::FORBIDDEN, "This is not for everybody.\n"),
        "/stats" => report::stats(app, request.headers()),
        "/metrics" => report::metrics(app),
        path => app.page.respond(path, request.headers()).await,
    }
}

/// Checks who wants a WebSocket, and answers the handshake.
fn open_socket(
    request: Request<Incoming>,
    app: &Arc<App>,
    visitor: &Visitor,
    pass: &Mutex<Option<Pass>>,
) -> (Reply, Option<Opening>) {
    let headers = request.headers();
    if !app.access.admits_origin(text(headers, header::ORIGIN), text(headers, header::HOST)) {
        return (refuse(app, Rejection::Origin), None);
    }
    let has_token = app.access.admits_token(token(&request).as_deref());
    let reply = handshake(&request);
    // A ticket is used up by a handshake that is right, and by no other.
    let is_right = reply.status() == StatusCode::SWITCHING_PROTOCOLS;
    let is_known = has_token || is_right && uses_ticket(request.uri().query(), app);
    if !is_known {
        return (refuse(app, Rejection::Token), None);
    }
    if !is_right {
        return (reply, None);
    }
    let known = lock(pass).take();
    let entered = known.map_or_else(
        || {
            let client = app.client(visitor.address, headers);
            app.door.enter(client, std::time::Instant::now())
        },
        Ok,
    );
    match entered {
        Ok(mut pass) => {
            pass.is_for_visits = !has_token;
            (reply, Some(Opening { upgrade: hyper::upgrade::on(request), pass }))
        }
        Err(reason) => (refuse(app, reason), None),
    }
}

/// Says why somebody is turned away. `Connection: close`, so that the place is free for another.
fn refuse(app: &App, reason: Rejection) -> Reply {
    app.metrics.reject(reason);
    let (status, sentence) = match reason {
        Rejection::Origin => (StatusCode::FORBIDDEN, "Pages of this origin may not use this tracker.\n"),
        Rejection::Token => (
            StatusCode::UNAUTHORIZED,
            "This tracker is private: its address needs a valid ?token= at the end.\n",
        ),
        Rejection::ConnectionsPerAddress => (
            StatusCode::TOO_MANY_REQUESTS,
            "There are as many connections from this address as there may be.\n",
        ),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "The tracker has as many connections as it may have.\n"),
    };
    let mut reply = plain(status, sentence);
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UNAUTHORIZED {
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn token<B>(request: &Request<B>) -> Option<String> {
    let headers = request.headers();
    access::token(request.uri().query(), text(headers, header::AUTHORIZATION), text(headers, header::COOKIE))
}

/// Whether this is somebody whom another node of the cluster has sent: who comes from there for a relay channel has no
/// token for this address, but has shown one to get the ticket. It lets one connection in, for that alone.
fn uses_ticket(query: Option<&str>, app: &App) -> bool {
    let Some(shared) = &app.cluster else { return false };
    let pairs = query.unwrap_or_default().split('&');
    let ticket = pairs.filter_map(|pair| pair.strip_prefix("ticket=")).find_map(|ticket| ticket.parse().ok());
    ticket.is_some_and(|ticket| lock(&shared.tickets).admit(&ticket, std::time::Instant::now()))
}

/// Somebody opens the page of a private tracker with a token in its address: the browser keeps it as a cookie, which it
/// shows when the page opens its WebSocket, and the address loses it, so that links to torrents do not give it away.
fn keep_token<B>(request: &Request<B>, app: &App, visitor: &Visitor) -> Option<Reply> {
    let query = request.uri().query().filter(|_| app.access.is_private())?;
    let token = access::token(Some(query), None, None)?;
    if !app.access.admits_token(Some(&token)) {
        return Some(refuse(app, Rejection::Token));
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=")).collect();
    // A path of two slashes, or of what browsers take for one, would lead to another host.
    let path = format!("/{}", request.uri().path().trim_start_matches(['/', '\\']));
    let target = if rest.is_empty() { path } else { format!("{path}?{}", rest.join("&")) };
    let secure = if visitor.speech == Speech::Tls { "; Secure" } else { "" };
    let cookie =
        format!("{}={token}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict{secure}", access::COOKIE);
    let mut reply = plain(StatusCode::SEE_OTHER, "The token is kept.\n");
    reply.headers_mut().insert(header::LOCATION, HeaderValue::try_from(target).ok()?);
    reply.headers_mut().insert(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    Some(reply)
}

/// Tells somebody who speaks plain HTTP where TLS is spoken, and sends browsers to the right address.
fn to_https<B>(request: &Request<B>) -> Reply {
    let host = text(request.headers(), header::HOST).filter(|host| !host.contains(['/', '\\', '@']));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = host.and_then(|host| HeaderValue::try_from(format!("https://{host}{path}")).ok());
    let sentence = "This port speaks TLS: its addresses begin with https:// and wss://.\n";
    let Some(target) = target.filter(|_| matches!(*request.method(), Method::GET | Method::HEAD)) else {
        return plain(StatusCode::BAD_REQUEST, sentence);
    };
    let mut reply = plain(StatusCode::PERMANENT_REDIRECT, sentence);
    reply.headers_mut().insert(header::LOCATION, target);
    reply
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
    reply
}
