//! A tracker to test, and clients of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame};
use shared::signal::{
    Announce, Announced, EnxameHello, RelayClose, RelayOpen, RelayOpened, RelayReason, Scrape, ToPeer,
    ToTracker,
};
use shared::{InfoHash, PeerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracker::{Page, Settings};

/// Time after which a test that still waits has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it took too long")
}

/// The whole reply, head and body, of the tracker at this address to who asks for this path.
pub(crate) async fn reply(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// What the tracker at this address counts under this name (with its labels), as it tells Prometheus.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> u64 {
    let text = reply(address, "/metrics").await;
    let line =
        text.lines().find_map(|line| line.strip_prefix("enxame_")?.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name} in {text}")).parse().unwrap()
}

/// A running tracker.
pub(crate) struct Tracker {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Tracker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), change)
    }

    pub(crate) fn start_on(listener: TcpListener, change: impl FnOnce(&mut Settings)) -> Self {
        let address = listener.local_addr().unwrap();
        let mut settings = Settings::new(Page::embedded());
        settings.seed = 1;
        change(&mut settings);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(tracker::run(listener, settings, async {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        soon(self.task).await.unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) {
        soon(self.task).await.unwrap().unwrap();
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_to(self.address).await
    }

    /// Connects to it at another of its addresses.
    pub(crate) async fn connect_to(&self, address: SocketAddr) -> Client {
        let url = format!("ws://{address}/ws");
        let (socket, _) = soon(tokio_tungstenite::connect_async(url)).await.unwrap();
        Client { socket }
    }

    /// Connects with this path and these headers.
    ///
    /// # Errors
    /// The status and the body of a reply that refuses.
    pub(crate) async fn try_connect(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, (u16, String)> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match soon(tokio_tungstenite::connect_async(request)).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(Error::Http(reply)) => {
                let body = reply.body().clone().unwrap_or_default();
                Err((reply.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What it counts under this name (with its labels), as it tells Prometheus.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(self.address, name).await
    }

    /// How often it refused something for this reason.
    pub(crate) async fn rejections(&self, reason: &str) -> u64 {
        self.metric(&format!("rejections_total{{reason=\"{reason}\"}}")).await
    }

    /// A client of ours in swarm 1, that can relay.
    pub(crate) async fn join(&self, peer: u8) -> Client {
        let mut client = self.connect().await;
        client.announced(ours(peer)).await;
        client
    }

    /// Two clients of ours in swarm 1 with a channel between them, as it is told to each.
    pub(crate) async fn pair(&self) -> ((Client, RelayOpened), (Client, RelayOpened)) {
        let mut a = self.join(1).await;
        let mut b = self.join(2).await;
        let at_a = a.open_to(1, 2).await;
        let at_b = b.opened().await;
        ((a, at_a), (b, at_b))
    }
}

/// A client's socket.
pub(crate) struct Client<S = MaybeTlsStream<TcpStream>> {
    pub(crate) socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, message: &ToTracker) {
        self.send_text(&message.to_json()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        soon(self.socket.send(Message::text(text))).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, frame: &Frame) {
        soon(self.socket.send(Message::Binary(frame.encode()))).await.unwrap();
    }

    pub(crate) async fn data(&mut self, channel: ChannelId, payload: &[u8]) {
        self.send_frame(&Frame::Data { channel, payload: Bytes::copy_from_slice(payload) }).await;
    }

    pub(crate) async fn credit(&mut self, channel: ChannelId, bytes: u32) {
        self.send_frame(&Frame::Credit { channel, bytes }).await;
    }

    /// The next message that is not a ping or a pong.
    pub(crate) async fn receive(&mut self) -> Message {
        loop {
            match soon(self.socket.next()).await.expect("the tracker hung up").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.receive().await {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) async fn signal(&mut self) -> ToPeer {
        ToPeer::from_json(&self.text().await).unwrap()
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        match self.receive().await {
            Message::Binary(bytes) => Frame::decode(bytes).unwrap(),
            other => panic!("not a frame: {other:?}"),
        }
    }

    /// Bytes of data frames, until there are so many; gives credit for all if `crediting`.
    pub(crate) async fn read_data(&mut self, channel: ChannelId, len: usize, crediting: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            match self.frame().await {
                Frame::Data { channel: from, payload } if from == channel => {
                    bytes.extend_from_slice(&payload);
                    if crediting {
                        self.credit(channel, payload.len() as u32).await;
                    }
                }
                other => panic!("not data of {channel:?}: {other:?}"),
            }
        }
        bytes
    }

    /// How the tracker closed the connection.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("ended without a close frame: {other:?}"),
            }
        }
    }

    pub(crate) async fn announced(&mut self, announce: Announce) -> Announced {
        self.send(&ToTracker::Announce(announce)).await;
        match self.signal().await {
            ToPeer::Announced(reply) => reply,
            other => panic!("not a reply: {other:?}"),
        }
    }

    /// Waits until the tracker has handled all that was sent, and fails if it sent anything in the meantime.
    pub(crate) async fn quiet(&mut self) {
        self.send(&ToTracker::Scrape(Scrape { info_hashes: Vec::new() })).await;
        let message = self.receive().await;
        match &message {
            Message::Text(text) if matches!(ToPeer::from_json(text), Ok(ToPeer::Scraped(_))) => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }

    pub(crate) async fn ask_to_open(&mut self, from: u8, to: u8) {
        let open = RelayOpen { info_hash: hash(1), peer_id: peer(from), to_peer_id: peer(to), visit: false };
        self.send(&ToTracker::RelayOpen(open)).await;
    }

    pub(crate) async fn open_to(&mut self, from: u8, to: u8) -> RelayOpened {
        self.ask_to_open(from, to).await;
        self.opened().await
    }

    pub(crate) async fn opened(&mut self) -> RelayOpened {
        match self.signal().await {
            ToPeer::RelayOpened(opened) => {
                assert_eq!((opened.info_hash, opened.window), (hash(1), RELAY_WINDOW));
                opened
            }
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(crate) async fn close_relay(&mut self, channel: ChannelId, reason: RelayReason) {
        self.send(&ToTracker::RelayClose(RelayClose { channel, reason })).await;
    }

    pub(crate) async fn relay_closed(&mut self) -> (ChannelId, RelayReason) {
        match self.signal().await {
            ToPeer::RelayClosed { channel, reason, .. } => (channel, reason),
            other => panic!("not closed: {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self) -> RelayReason {
        match self.signal().await {
            ToPeer::RelayRefused { reason, .. } => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn failed(&mut self) -> shared::signal::Failed {
        match self.signal().await {
            ToPeer::Failed(failed) => failed,
            other => panic!("not a failure: {other:?}"),
        }
    }
}

pub(crate) fn hash(n: u8) -> InfoHash {
    InfoHash::new([n; 20])
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

/// The announce of a leecher of ours, in swarm 1.
pub(crate) fn ours(n: u8) -> Announce {
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: None, open: 0 };
    Announce { left: Some(1000), numwant: Some(10), enxame: Some(hello), ..Announce::new(hash(1), peer(n)) }
}

/// The same with WebRTC.
pub(crate) fn with_rtc(n: u8) -> Announce {
    let hello = EnxameHello { v: 1, relay: true, rtc: true, key: None, open: 0 };
    Announce { enxame: Some(hello), ..ours(n) }
}

/// The same with a wish for so many relay channels.
pub(crate) fn opening(n: u8, open: u32) -> Announce {
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: None, open };
    Announce { enxame: Some(hello), ..ours(n) }
}

/// The same with a key.
pub(crate) fn with_key(n: u8, key: &str) -> Announce {
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: Some(key.into()), open: 0 };
    Announce { enxame: Some(hello), ..ours(n) }
}
