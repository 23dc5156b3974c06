//! Two clients that relay through trackers, as fast as they can.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame, data_header};
use shared::signal::{Announce, EnxameHello, RelayOpen, RelayVisit, ToPeer, ToTracker};
use shared::{InfoHash, PeerId};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracker::Settings;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Bytes that a receiver takes before it gives credit for them.
const CREDIT_STEP: u32 = RELAY_WINDOW / 32;

/// What is measured is how fast a tracker can be, not how fast it lets a client be.
pub(crate) fn unbounded(settings: &mut Settings) {
    let limits = &mut settings.limits;
    (limits.relay_rate, limits.relay_rate_per_address) = (u64::MAX, u64::MAX);
    (limits.relay_per_day, limits.relay_per_day_per_address) = (u64::MAX, u64::MAX);
    (limits.messages_per_second, limits.message_burst) = (u32::MAX, u32::MAX);
}

pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Socket> {
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await?;
    Ok(socket)
}

/// Time for so many bytes in frames of this length, from a client of one tracker to one of the other, which may be the same.
/// Where it is sent to the other one, the sender goes there.
pub(crate) async fn through_trackers(
    [from, to]: [SocketAddr; 2],
    total: usize,
    frame: usize,
) -> anyhow::Result<Duration> {
    let mut sender = join(from, 1).await?;
    let mut receiver = join(to, 2).await?;
    let (info_hash, peer_id, to_peer_id) = (InfoHash::new([1; 20]), peer(1), peer(2));
    let open = RelayOpen { info_hash, peer_id, to_peer_id, visit: true };
    sender.send(Message::text(ToTracker::RelayOpen(open).to_json())).await?;
    let mut home = None;
    let from = match signal(&mut sender).await? {
        ToPeer::RelayOpened(opened) => opened.channel,
        ToPeer::RelayAt(at) => {
            let (there, _) = tokio_tungstenite::connect_async(&at.url).await?;
            home = Some(std::mem::replace(&mut sender, there));
            let visit = RelayVisit { info_hash, peer_id, to_peer_id, ticket: at.ticket };
            sender.send(Message::text(ToTracker::RelayVisit(visit).to_json())).await?;
            opened(&mut sender).await?
        }
        other => bail!("not opened: {other:?}"),
    };
    let to = opened(&mut receiver).await?;
    let start = Instant::now();
    let sending = async {
        let mut message = BytesMut::from(&data_header(from)[..]);
        message.resize(message.len() + frame, 0);
        let message = message.freeze();
        let mut credit = RELAY_WINDOW as usize;
        for _ in 0..total / frame {
            while credit < frame {
                sender.flush().await?;
                match Frame::decode(next(&mut sender).await?)? {
                    Frame::Credit { bytes, .. } => credit += bytes as usize,
                    Frame::Data { .. } => bail!("data came back"),
                }
            }
            credit -= frame;
            sender.feed(Message::Binary(message.clone())).await?;
        }
        sender.flush().await?;
        anyhow::Ok(())
    };
    let receiving = async {
        let (mut received, mut owed) = (0, 0);
        while received < total {
            let len = next(&mut receiver).await?.len() - 5;
            received += len;
            owed += u32::try_from(len)?;
            if owed >= CREDIT_STEP {
                let credit = Frame::Credit { channel: to, bytes: owed };
                receiver.send(Message::Binary(credit.encode())).await?;
                owed = 0;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    let time = start.elapsed();
    // It has to stay until here: the sender's place in the swarm is there.
    drop(home);
    Ok(time)
}

/// The next binary message.
pub(crate) async fn next(socket: &mut Socket) -> anyhow::Result<Bytes> {
    loop {
        match socket.next().await.context("hung up")?? {
            Message::Binary(bytes) => return Ok(bytes),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("not a frame: {other}"),
        }
    }
}

pub(crate) async fn signal(socket: &mut Socket) -> anyhow::Result<ToPeer> {
    match socket.next().await.context("hung up")?? {
        Message::Text(text) => Ok(ToPeer::from_json(&text)?),
        other => bail!("not a signal: {other}"),
    }
}

async fn opened(socket: &mut Socket) -> anyhow::Result<ChannelId> {
    match signal(socket).await? {
        ToPeer::RelayOpened(opened) => Ok(opened.channel),
        other => bail!("not opened: {other:?}"),
    }
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::new([n; 20])
}

pub(crate) async fn join(address: SocketAddr, n: u8) -> anyhow::Result<Socket> {
    let mut socket = connect(address).await?;
    let announce = Announce {
        left: Some(1),
        numwant: Some(0),
        // Takes the peer id over from the measurement before, should its end not have been noticed yet.
        enxame: Some(EnxameHello {
            v: 1,
            relay: true,
            rtc: false,
            key: Some("measuring".to_owned()),
            open: 0,
        }),
        ..Announce::new(InfoHash::new([1; 20]), peer(n))
    };
    socket.send(Message::text(ToTracker::Announce(announce).to_json())).await?;
    match signal(&mut socket).await? {
        ToPeer::Announced(_) => Ok(socket),
        other => bail!("not welcome: {other:?}"),
    }
}
