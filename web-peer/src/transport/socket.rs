//! The one connection to the tracker, as events in and messages out.
//!
//! Reading and the socket's life are gloo-net's. Binary messages are sent past it, straight to the browser's
//! socket: gloo-net wraps each in a `Blob`, which the browser then reads back asynchronously, at a fraction of the
//! throughput (docs/FIGURES.md has the figures).

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use futures::{Sink, StreamExt};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, State};
use wasm_bindgen_futures::spawn_local;

use crate::{browser_error, buffers};

/// What happens on the socket, in order: `Opened` at most once, then messages, then `Closed` exactly once.
#[derive(Debug)]
pub enum SocketEvent {
    /// Messages can be sent.
    Opened,
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The socket could not be opened, or is gone.
    Closed,
}

/// The connection. Dropping it closes it; no event comes after that.
pub struct TrackerSocket {
    raw: web_sys::WebSocket,
    reader: AbortHandle,
}

impl TrackerSocket {
    /// Starts to connect. `on_event` is called from the event loop, never from here.
    ///
    /// # Errors
    /// The browser's sentence when it refuses the address.
    pub fn connect(url: &str, on_event: impl Fn(SocketEvent) + 'static) -> Result<Self, String> {
        let raw = web_sys::WebSocket::new(url).map_err(|error| browser_error::sentence(&error))?;
        let socket = WebSocket::try_from(raw.clone()).map_err(|error| error.to_string())?;
        let (reader, registration) = AbortHandle::new_pair();
        spawn_local(async move {
            // Aborted is as good as ended: whoever dropped the socket wants to hear no more.
            let _ = Abortable::new(read(socket, on_event), registration).await;
        });
        Ok(Self { raw, reader })
    }

    /// Sends a text message. A socket that is not open drops it: `Closed` is on its way.
    pub fn send_text(&self, text: &str) {
        // An error here means that the socket is not open; see above.
        let _ = self.raw.send_with_str(text);
    }

    /// Sends a binary message. A socket that is not open drops it: `Closed` is on its way.
    pub fn send_binary(&self, message: &[u8]) {
        let _ = self.raw.send_with_u8_array(message);
    }
}

impl Drop for TrackerSocket {
    fn drop(&mut self) {
        self.reader.abort();
        // Fails only for a close code that is not allowed; there is none here.
        let _ = self.raw.close();
    }
}

async fn read(mut socket: WebSocket, on_event: impl Fn(SocketEvent)) {
    let ready = poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await;
    if ready.is_ok() && matches!(socket.state(), State::Open) {
        on_event(SocketEvent::Opened);
        while let Some(Ok(message)) = socket.next().await {
            on_event(match message {
                Message::Text(text) => SocketEvent::Text(text),
                Message::Bytes(bytes) => {
                    // gloo-net has copied it out of a buffer of its own.
                    buffers::let_go(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    SocketEvent::Binary(bytes.into())
                }
            });
        }
    }
    on_event(SocketEvent::Closed);
}
