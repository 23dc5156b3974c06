//! Nodes as their owner runs them: each a process of its own, and Redis too.

use std::time::Duration;

use shared::limits::RELAY_WINDOW;
use shared::relay::Frame;
use shared::signal::{RelayReason, ToPeer};

use crate::client::*;
use crate::place::{LOOK, RedisServer};
use crate::process::Program;

/// Bytes of a transfer, and of one frame of it.
const TORRENT: usize = 24 * 1024 * 1024;
const FRAME: usize = 64 * 1024;

/// The byte at this place: of a period that no frame has.
fn byte(place: usize) -> u8 {
    (place % 251) as u8
}

async fn node(server: &RedisServer) -> Program {
    let settings = ["--cluster", &server.url(), "--cluster-heartbeat", "1s"];
    Program::start(0, &settings).await
}

/// Says again that a client is there, until so many are.
async fn meets(client: &mut Client, n: u8, incomplete: u32) {
    soon(async {
        while client.announced(ours(n)).await.incomplete != incomplete {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// Gives whoever opens a channel the bytes from where it asks for them, as often as one does; ends with its connection.
async fn seed(mut client: Client) {
    let (mut at, mut credit) = (None, 0);
    loop {
        if let Some((channel, place)) = at.filter(|(_, place)| *place < TORRENT && credit >= FRAME) {
            let payload: Vec<u8> = (place..TORRENT.min(place + FRAME)).map(byte).collect();
            (at, credit) = (Some((channel, place + payload.len())), credit - payload.len());
            client.data(channel, &payload).await;
            continue;
        }
        // Nothing may come for long, while the other side is away.
        let Some(Ok(message)) = futures::StreamExt::next(&mut client.socket).await else { return };
        match message {
            tokio_tungstenite::tungstenite::Message::Binary(bytes) => match Frame::decode(bytes).unwrap() {
                Frame::Data { channel, payload } => {
                    let place = u64::from_be_bytes(payload[..].try_into().unwrap()) as usize;
                    client.credit(channel, 8).await;
                    (at, credit) = (Some((channel, place)), RELAY_WINDOW as usize);
                }
                Frame::Credit { channel, bytes } if at.is_some_and(|(open, _)| open == channel) => {
                    credit += bytes as usize;
                }
                Frame::Credit { .. } => {}
            },
            tokio_tungstenite::tungstenite::Message::Text(text) => {
                if let Ok(ToPeer::RelayClosed { .. }) = ToPeer::from_json(&text) {
                    at = None;
                }
            }
            _ => {}
        }
    }
}

/// Fetches all bytes from peer 1, opening a channel as often as it takes, and checks each. Calls `on_half` once in the middle.
/// Gives how many channels it took.
async fn fetch(client: &mut Client, me: u8, on_half: impl AsyncFnOnce()) -> usize {
    let (mut got, mut channels, mut on_half) = (0, 0, Some(on_half));
    while got < TORRENT {
        client.ask_to_open(me, 1).await;
        loop {
            match client.receive().await {
                tokio_tungstenite::tungstenite::Message::Binary(bytes) => {
                    let Frame::Data { channel, payload } = Frame::decode(bytes).unwrap() else { continue };
                    for (n, found) in payload.iter().enumerate() {
                        assert_eq!(*found, byte(got + n), "at {}", got + n);
                    }
                    got += payload.len();
                    client.credit(channel, payload.len() as u32).await;
                    if got >= TORRENT / 2
                        && let Some(on_half) = on_half.take()
                    {
                        on_half().await;
                    }
                    if got == TORRENT {
                        break;
                    }
                }
                tokio_tungstenite::tungstenite::Message::Text(text) => {
                    match ToPeer::from_json(&text).unwrap() {
                        ToPeer::RelayOpened(opened) => {
                            channels += 1;
                            client.data(opened.channel, &(got as u64).to_be_bytes()).await;
                        }
                        ToPeer::RelayClosed { .. } | ToPeer::RelayRefused { .. } => {
                            tokio::time::sleep(LOOK).await;
                            break;
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
    channels
}

#[tokio::test]
async fn a_transfer_between_two_nodes_outlives_a_restart_of_redis() {
    let mut redis = RedisServer::start().await;
    let (a, b) = (node(&redis).await, node(&redis).await);
    let (mut seeder, mut leecher) = (a.connect().await, b.connect().await);
    seeder.announced(ours(1)).await;
    meets(&mut leecher, 2, 2).await;
    let seeding = tokio::spawn(seed(seeder));
    let channels = fetch(&mut leecher, 2, async || {
        redis.kill().await;
        redis.start_again().await;
    })
    .await;
    assert!(channels >= 2, "Redis was gone, and nobody noticed");
    seeding.abort();
    a.kill().await;
    b.kill().await;
}

#[tokio::test]
async fn a_node_that_is_killed_takes_its_own_peers_with_it_and_no_others() {
    let redis = RedisServer::start().await;
    let (a, b, c) = (node(&redis).await, node(&redis).await, node(&redis).await);
    let (mut seeder, mut doomed, mut leecher) = (a.connect().await, b.connect().await, c.connect().await);
    seeder.announced(ours(1)).await;
    doomed.announced(ours(3)).await;
    meets(&mut leecher, 2, 3).await;
    let seeding = tokio::spawn(seed(seeder));
    let opened = leecher.open_to(2, 3).await;
    doomed.opened().await;
    b.kill().await;
    // Told as soon as somebody would say something to that node, or when it gives no sign of life.
    assert_eq!(leecher.relay_closed().await, (opened.channel, RelayReason::PeerLeft));
    // Well before its entries expire, which would take minutes.
    meets(&mut leecher, 2, 2).await;
    // The others were not disturbed.
    assert_eq!(fetch(&mut leecher, 2, async || ()).await, 1);
    // The peer comes to another node, and can be reached there.
    let mut again = c.connect().await;
    soon(async {
        while again.announced(ours(3)).await.incomplete != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    leecher.open_to(2, 3).await;
    again.opened().await;
    seeding.abort();
    a.kill().await;
    c.kill().await;
}
