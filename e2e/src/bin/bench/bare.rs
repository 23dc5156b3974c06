//! The bare limits: a WebSocket forwarder with nothing in it, and a page that sends, counts, echoes and hashes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::{BrowserOptions, Tab};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PAGE: &str = include_str!("bare.html");
/// A WebSocket frame's payload: what a relay frame of ours carries.
pub(crate) const FRAME: u64 = 128 << 10;
/// The bytes on their way between the two pages: more than the link holds, less than would pile up.
const WINDOW: u64 = 4 << 20;

type Socket = WebSocketStream<TcpStream>;
/// Sockets that wait for the other of their room.
type Rooms = Arc<Mutex<HashMap<String, Socket>>>;

/// The forwarder; ends when dropped.
pub(crate) struct Forwarder {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwarder {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the bare relay")?;
        let address = listener.local_addr().context("the bare relay has no address")?;
        let rooms = Rooms::default();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever goes wrong with one connection shows in the page that made it.
                tokio::spawn(serve(stream, Arc::clone(&rooms)));
            }
        });
        Ok(Self { address, task })
    }

    /// The bare page in a browser of its own.
    pub(crate) async fn page(&self) -> Result<Tab> {
        let page = Tab::start(&BrowserOptions::default()).await?;
        page.load(&format!("http://{}/", self.address)).await?;
        Ok(page)
    }
}

async fn serve(stream: TcpStream, rooms: Rooms) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut start = [0; 2048];
    let read = stream.peek(&mut start).await?;
    let request = String::from_utf8_lossy(&start[..read]).to_lowercase();
    if !request.contains("upgrade: websocket") {
        return serve_page(stream).await;
    }
    let room = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let socket = tokio_tungstenite::accept_async(stream).await?;
    let Some(other) = take_or_wait(&rooms, room, socket).await else { return Ok(()) };
    let ((to_one, from_one), (to_two, from_two)) = (other.0.split(), other.1.split());
    tokio::join!(forward(from_one, to_two), forward(from_two, to_one));
    Ok(())
}

/// The two sockets of a room, once the second comes.
async fn take_or_wait(rooms: &Rooms, room: String, socket: Socket) -> Option<(Socket, Socket)> {
    let mut rooms = rooms.lock().await;
    match rooms.remove(&room) {
        Some(other) => Some((other, socket)),
        None => {
            rooms.insert(room, socket);
            None
        }
    }
}

async fn forward(mut from: SplitStream<Socket>, mut to: SplitSink<Socket, Message>) {
    while let Some(Ok(message)) = from.next().await {
        if message.is_close() || to.send(message).await.is_err() {
            break;
        }
    }
    let _ = to.close().await;
}

async fn serve_page(mut stream: TcpStream) -> Result<()> {
    let mut request = vec![0; 8192];
    // One read takes the whole of a browser's GET; its words do not matter.
    let _ = stream.read(&mut request).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        PAGE.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(PAGE.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

/// Calls an asynchronous function of the bare page and gives its answer.
async fn call(page: &Tab, expression: &str) -> Result<Value> {
    let script = format!("const done = arguments[arguments.length - 1]; {expression}.then(done)");
    page.run_async(&script, vec![]).await
}

/// How a bare page hands its frames to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As typed arrays.
    Arrays,
    /// Each made a `Blob` of first, as gloo-net does.
    Blobs,
}

/// Seconds that `total` bytes take from one bare page to another, first byte to last.
pub(crate) async fn relay(from: &Tab, to: &Tab, room: &str, total: u64, frames: Frames) -> Result<f64> {
    let blobs = frames == Frames::Blobs;
    let sending = format!("send('{room}', {total}, {FRAME}, {WINDOW}, {blobs})");
    let receiving = format!("receive('{room}', {total})");
    let (_, took) = tokio::try_join!(call(from, &sending), call(to, &receiving))?;
    Ok(took.as_f64().context("the bare page gives no time")? / 1000.0)
}

/// Seconds of each of `count` round trips between two bare pages.
pub(crate) async fn round_trips(one: &Tab, other: &Tab, count: u32) -> Result<Vec<f64>> {
    call(other, "echo('echo')").await?;
    let times = call(one, &format!("roundTrips('echo', {count})")).await?;
    Ok(times
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .map(|millis| millis / 1000.0)
        .collect())
}

/// Seconds that two workers of a bare page take to hash a file in pieces.
pub(crate) async fn hash(page: &Tab, file: &std::path::Path, piece: u64) -> Result<f64> {
    page.send_to("#file", &file.to_string_lossy()).await?;
    let took = call(page, &format!("hash({piece}, 2)")).await?;
    Ok(took.as_f64().context("the bare page gives no time")? / 1000.0)
}
