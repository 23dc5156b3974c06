//! Connections over pipes, all on one thread.

use std::net::Ipv4Addr;

use futures::{SinkExt, StreamExt};
use shared::PeerId;
use shared::signal::{self, EnxameHello, RelayOpen};
use tokio::io::{DuplexStream, duplex};
use tokio::task::yield_now;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::buffers::all_and_free;
use super::*;
use crate::page::Page;
use crate::settings::Settings;

const SWARM: InfoHash = InfoHash::new([1; 20]);

type Wire = WebSocketStream<DuplexStream>;

/// A client that is in the swarm, over a pipe that holds so many bytes.
async fn join(app: &Arc<App>, peer_id: PeerId, pipe: usize) -> Wire {
    let (here, there) = duplex(pipe);
    let pass = app.door.enter(Ipv4Addr::LOCALHOST.into(), Instant::now().into_std()).unwrap();
    tokio::spawn(serve(here, Bytes::new(), pass, Arc::clone(app), Ends::default()));
    let mut wire = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
    let hello = EnxameHello { v: 1, relay: true, rtc: false, key: None, open: 0 };
    let announce = signal::Announce {
        left: Some(1),
        numwant: Some(0),
        enxame: Some(hello),
        ..signal::Announce::new(SWARM, peer_id)
    };
    say(&mut wire, signal::ToTracker::Announce(announce)).await;
    assert!(matches!(hear(&mut wire).await, signal::ToPeer::Announced(_)));
    wire
}

async fn say(wire: &mut Wire, message: signal::ToTracker) {
    wire.send(Message::text(message.to_json())).await.unwrap();
}

async fn hear(wire: &mut Wire) -> signal::ToPeer {
    signal::ToPeer::from_json(wire.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn opened(wire: &mut Wire) -> ChannelId {
    let signal::ToPeer::RelayOpened(opened) = hear(wire).await else { panic!("not opened") };
    opened.channel
}

#[tokio::test]
async fn what_waits_for_a_client_that_reads_nothing_keeps_none_of_the_buffers_of_all() {
    const BLOCK: usize = 16 * 1024;
    const BLOCKS: usize = 60;
    let (app, _) = App::new(Settings::new(Page::embedded()), None);
    let (from, to) = (PeerId::new([2; 20]), PeerId::new([3; 20]));
    let mut sender = join(&app, from, 1 << 20).await;
    let mut receiver = join(&app, to, 10_000).await;
    let open = RelayOpen { info_hash: SWARM, peer_id: from, to_peer_id: to, visit: false };
    say(&mut sender, signal::ToTracker::RelayOpen(open)).await;
    let (here, there) = (opened(&mut sender).await, opened(&mut receiver).await);
    for n in 0..BLOCKS {
        let payload = Bytes::from(vec![n as u8; BLOCK]);
        sender.send(Message::Binary(Frame::Data { channel: here, payload }.encode())).await.unwrap();
    }
    let relayed = async {
        while app.metrics.relayed_frames.value() < BLOCKS as u64 {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), relayed).await.unwrap();
    assert!(app.queues.held() > BLOCKS * BLOCK / 2, "most of it waits");
    // As soon as the receiver has had its turn.
    for _ in 0..10 {
        yield_now().await;
    }
    let (all, free) = all_and_free();
    assert!(all > 0 && free == all, "{free} of {all}");
    let mut received = Vec::new();
    while received.len() < BLOCKS * BLOCK {
        let message = receiver.next().await.unwrap().unwrap().into_data();
        let Ok(Frame::Data { channel, payload }) = Frame::decode(message) else { panic!("not data") };
        assert_eq!(channel, there);
        received.extend_from_slice(&payload);
    }
    assert!(received.chunks(BLOCK).enumerate().all(|(n, block)| block.iter().all(|byte| *byte == n as u8)));
}
