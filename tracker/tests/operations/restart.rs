//! A restart under load. Each pair of clients moves a stream through the relay; when told to, each client connects anew at
//! a moment of its own, and the receiver tells the sender from where to go on. The streams must arrive whole, and bytes that
//! the tracker took before it went must not have been sent in vain.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame};
use shared::signal::ToPeer;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::client::*;
use crate::program::{Came, Program, connect};

/// Bytes of one stream. At the rate below, half of them are sent in the first second.
const STREAM: usize = 16 * 1024 * 1024;

/// Bytes of one frame.
const FRAME: usize = 64 * 1024;

/// Bytes of each stream that have arrived when the tracker is told to restart.
const ENOUGH: usize = 1024 * 1024;

/// Bytes that are sent before the restart at most, so that something is left for after it however slow this machine is.
const BEFORE: usize = STREAM / 4 * 3;

const PAIRS: u8 = 4;

/// The byte at this place of a stream: of a period that no frame has.
fn byte(place: usize) -> u8 {
    (place % 251) as u8
}

async fn came(client: &mut Client) -> Came {
    loop {
        return match soon(client.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => match Frame::decode(bytes).unwrap() {
                Frame::Data { channel, payload } => Came::Data(channel, payload),
                Frame::Credit { bytes, .. } => Came::Credit(bytes),
            },
            Some(Ok(Message::Text(text))) => Came::Signal(ToPeer::from_json(&text).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(_) | Err(_)) | None => Came::Gone,
        };
    }
}

/// Connects, as often as it takes: the new tracker may not be there yet.
async fn arrive(address: SocketAddr, peer: u8, key: &str) -> Client {
    loop {
        if let Some(mut client) = connect(address).await {
            client.announced(with_key(peer, key)).await;
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Leaves at some moment within what the tracker said.
fn moment(within: u32) -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_millis(u64::from(within)).mul_f64(rand::random())
}

/// Takes the stream, and tells how much there is now and then. Gives the number of connections it took.
async fn receive(address: SocketAddr, me: u8, from: u8, progress: mpsc::Sender<usize>) -> u32 {
    let (mut got, mut connections) = (0, 0);
    while got < STREAM {
        let mut client = arrive(address, me, "receiver").await;
        connections += 1;
        client.ask_to_open(me, from).await;
        let mut leaving = None;
        loop {
            let came = tokio::select! {
                came = came(&mut client) => came,
                () = tokio::time::sleep_until(leaving.unwrap_or_else(tokio::time::Instant::now)), if leaving.is_some() => Came::Gone,
            };
            match came {
                Came::Signal(ToPeer::RelayOpened(opened)) => {
                    client.data(opened.channel, &(got as u64).to_be_bytes()).await;
                }
                Came::Data(channel, payload) => {
                    for (n, found) in payload.iter().enumerate() {
                        assert_eq!(*found, byte(got + n), "at {}", got + n);
                    }
                    got += payload.len();
                    client.credit(channel, payload.len() as u32).await;
                    let _ = progress.try_send(got);
                    if got == STREAM {
                        break;
                    }
                }
                Came::Signal(ToPeer::Reconnect { within }) => leaving = Some(moment(within)),
                // The sender is not there yet, or left before us.
                Came::Signal(ToPeer::RelayRefused { .. } | ToPeer::RelayClosed { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    client.ask_to_open(me, from).await;
                }
                Came::Signal(_) | Came::Credit(_) => {}
                Came::Gone => break,
            }
        }
        // As a tab does: the close frame, and no more.
        let _ = client.socket.close(None).await;
    }
    connections
}

/// Sends the stream to whoever opens a channel, from where it is asked for. Ends when it is told to.
async fn send(address: SocketAddr, me: u8, mut done: mpsc::Receiver<()>) {
    let stream: Bytes = (0..STREAM).map(byte).collect();
    let mut end = BEFORE;
    loop {
        let mut client = arrive(address, me, "sender").await;
        let mut leaving = None;
        let mut at: Option<(ChannelId, usize)> = None;
        let mut credit = RELAY_WINDOW as usize;
        loop {
            if let Some((channel, place)) = at.filter(|(_, place)| *place < end && credit >= FRAME) {
                let payload = stream.slice(place..end.min(place + FRAME));
                credit -= payload.len();
                at = Some((channel, place + payload.len()));
                if client
                    .socket
                    .feed(Message::Binary(Frame::Data { channel, payload }.encode()))
                    .await
                    .is_err()
                {
                    break;
                }
                continue;
            }
            let _ = client.socket.flush().await;
            let came = tokio::select! {
                came = came(&mut client) => came,
                () = tokio::time::sleep_until(leaving.unwrap_or_else(tokio::time::Instant::now)), if leaving.is_some() => Came::Gone,
                _ = done.recv() => return,
            };
            match came {
                Came::Data(channel, payload) => {
                    let place = u64::from_be_bytes(payload[..].try_into().unwrap()) as usize;
                    client.credit(channel, 8).await;
                    (at, credit) = (Some((channel, place)), RELAY_WINDOW as usize);
                }
                Came::Credit(bytes) => credit += bytes as usize,
                Came::Signal(ToPeer::Reconnect { within }) => leaving = Some(moment(within)),
                Came::Signal(ToPeer::RelayClosed { .. }) => at = None,
                Came::Signal(_) => {}
                Came::Gone => break,
            }
        }
        let _ = client.socket.close(None).await;
        end = STREAM;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_no_transfer() {
    let settings =
        ["--reconnect-within", "400ms", "--max-relay-rate", "8MiB", "--max-relay-rate-per-address", "none"];
    let mut first = Program::start(0, &settings).await;
    let address = first.address;
    let (mut receivers, mut senders, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (sender, receiver) = (2 * pair + 1, 2 * pair + 2);
        let (progress, started) = mpsc::channel(1000);
        let (stop, stopped) = mpsc::channel(1);
        senders.push((tokio::spawn(send(address, sender, stopped)), stop));
        receivers.push(tokio::spawn(receive(address, receiver, sender, progress)));
        starts.push(started);
    }
    for started in &mut starts {
        while soon(started.recv()).await.expect("it is still receiving") < ENOUGH {}
    }
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(0));
    let second = Program::start(address.port(), &settings).await;
    for receiver in receivers {
        let connections = soon(receiver).await.unwrap();
        assert!(connections >= 2, "the transfer was over before the restart");
    }
    for (sender, stop) in senders {
        drop(stop);
        soon(sender).await.unwrap();
    }
    second.kill().await;
}

#[tokio::test]
async fn a_second_request_to_end_is_obeyed_at_once() {
    let mut program = Program::start(0, &["--drain-time", "1h"]).await;
    let mut client = program.connect().await;
    client.announced(ours(1)).await;
    program.signal("TERM");
    assert!(matches!(client.signal().await, ToPeer::Reconnect { within: 5000 }));
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
}
