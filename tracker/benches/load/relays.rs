//! Pairs of clients that relay as fast as they can: through the tracker, and through a forwarder that does nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use shared::limits::RELAY_WINDOW;
use shared::relay::{ChannelId, Frame, data_header};
use tokio::task::JoinSet;

use crate::announces::names;
use crate::machine;
use crate::servers::{Kind, Server};
use crate::socket::{Received, Socket, put_binary};

/// Payload of one frame: a block of 16 KiB, which is what most clients ask for, and one of 64 KiB.
pub(crate) const FRAMES: [usize; 2] = [16 * 1024, 64 * 1024];

/// Bytes of all pairs in one measurement.
const TOTAL: usize = 1 << 30;

/// Bytes that a receiver takes before it gives credit for them.
const CREDIT_STEP: usize = RELAY_WINDOW as usize / 8;

/// Bytes that wait to be written by a client, at most.
const AHEAD: usize = 256 * 1024;

/// How fast it went.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Bytes a second, all pairs together.
    pub(crate) rate: f64,
    /// The same, for each second of the server's time on the processor.
    pub(crate) rate_per_core: f64,
}

/// So many pairs at once.
pub(crate) async fn measure(server: &Server, pairs: usize, frame: usize) -> Result<Figures> {
    let mut joined = Vec::with_capacity(pairs);
    for n in 0..pairs {
        joined.push(pair(server, n).await.with_context(|| format!("pair {n}"))?);
    }
    let each = TOTAL / pairs / frame * frame;
    let credited = server.kind == Kind::Ours;
    let (began, spent) = (Instant::now(), machine::processor_time(server.process())?);
    let mut running = JoinSet::new();
    for (sender, receiver) in joined {
        running.spawn(send(sender, each, frame, credited));
        running.spawn(receive(receiver, each, credited));
    }
    // Kept until all is done: one that hangs up takes what the other has not read.
    let mut done = Vec::new();
    while let Some(ended) = running.join_next().await {
        done.push(ended??);
    }
    let took = began.elapsed();
    let spent = machine::processor_time(server.process())?.saturating_sub(spent);
    done.into_iter().for_each(Socket::reset);
    let bytes = (each * pairs) as f64;
    Ok(Figures {
        rate: bytes / took.as_secs_f64(),
        rate_per_core: bytes / spent.max(Duration::from_millis(10)).as_secs_f64(),
    })
}

/// One end of a pair, and the number of its channel.
type End = (Socket, ChannelId);

async fn pair(server: &Server, n: usize) -> Result<(End, End)> {
    let mut sender = Socket::connect(server.address).await?;
    let mut receiver = Socket::connect(server.address).await?;
    if server.kind != Kind::Ours {
        return Ok(((sender, ChannelId(0)), (receiver, ChannelId(0))));
    }
    // Each pair has a swarm of its own.
    let (swarm, _) = names(50 * n);
    let (from, to) = (names(2 * n).1, names(2 * n + 1).1);
    for (socket, peer) in [(&mut sender, &from), (&mut receiver, &to)] {
        let text = format!(
            "{{\"action\":\"announce\",\"info_hash\":\"{swarm}\",\"peer_id\":\"{peer}\",\"left\":1,\"numwant\":0,\
             \"enxame\":{{\"v\":1,\"relay\":true}}}}"
        );
        socket.text(text.as_bytes());
        socket.expect("\"interval\"").await?;
    }
    let open = format!(
        "{{\"action\":\"relay-open\",\"info_hash\":\"{swarm}\",\"peer_id\":\"{from}\",\"to_peer_id\":\"{to}\"}}"
    );
    sender.text(open.as_bytes());
    let here = channel(&sender.expect("\"relay-opened\"").await?)?;
    let there = channel(&receiver.expect("\"relay-opened\"").await?)?;
    Ok(((sender, here), (receiver, there)))
}

fn channel(opened: &str) -> Result<ChannelId> {
    let (_, after) = opened.split_once("\"channel\":").context("no channel")?;
    Ok(ChannelId(after.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse()?))
}

async fn send((mut socket, channel): End, total: usize, frame: usize, credited: bool) -> Result<Socket> {
    let mut message = Vec::new();
    put_binary(&mut message, &[&data_header(channel), &vec![0; frame]]);
    let message = Arc::<[u8]>::from(message);
    let (mut sent, mut credit) = (0, if credited { RELAY_WINDOW as usize } else { usize::MAX });
    while sent < total {
        while sent < total && credit >= frame && socket.out.len() < AHEAD {
            socket.out.extend_from_slice(&message);
            (sent, credit) = (sent + frame, credit - frame);
        }
        if credit >= frame {
            socket.flush().await?;
            continue;
        }
        let is_open = socket.receive(|message, _| {
            let Received::Binary(bytes) = message else { bail!("not a credit: {message:?}") };
            let Frame::Credit { bytes, .. } = Frame::decode(Bytes::copy_from_slice(bytes))? else {
                bail!("not a credit");
            };
            credit += bytes as usize;
            Ok(())
        });
        if !is_open.await? {
            bail!("the server hung up");
        }
    }
    socket.flush().await?;
    Ok(socket)
}

async fn receive((mut socket, channel): End, total: usize, credited: bool) -> Result<Socket> {
    let (mut received, mut owed) = (0, 0);
    while received < total {
        let is_open = socket.receive(|message, out| {
            let Received::Binary(bytes) = message else { bail!("not data: {message:?}") };
            let payload = bytes.strip_prefix(&data_header(channel)).context("of another channel")?;
            received += payload.len();
            owed += payload.len();
            if credited && owed >= CREDIT_STEP {
                let credit = Frame::Credit { channel, bytes: u32::try_from(owed)? };
                put_binary(out, &[&credit.encode()]);
                owed = 0;
            }
            Ok(())
        });
        if !is_open.await? {
            bail!("the server hung up");
        }
    }
    Ok(socket)
}
