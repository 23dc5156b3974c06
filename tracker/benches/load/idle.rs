//! What a connection that does nothing costs in memory, and what an open relay channel does.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::announces::{connect, names};
use crate::machine;
use crate::servers::Server;
use crate::socket::{Received, Socket, put_text};

/// Connections that are warmed up with: what is made once is made by them.
const FIRST: usize = 64;

/// Relay channels are opened between so many clients, from each to so many.
const RELAYING: usize = 1000;
const CHANNELS: usize = 10;

/// Time after which nothing goes on any more.
const REST: Duration = Duration::from_secs(2);

/// Bytes for each of so many connections that have announced themselves once, without offers.
pub(crate) async fn connection(server: &Server, clients: usize) -> Result<f64> {
    let mut sockets = connect(server.address, FIRST).await?;
    announce_all(&mut sockets, 0, "").await?;
    tokio::time::sleep(REST).await;
    let before = machine::memory(server.process())?;
    let mut more = connect(server.address, clients).await?;
    announce_all(&mut more, FIRST, "").await?;
    tokio::time::sleep(REST).await;
    let after = machine::memory(server.process())?;
    sockets.into_iter().chain(more).for_each(Socket::reset);
    Ok((after as f64 - before as f64) / clients as f64)
}

/// Bytes for each relay channel that is open and carries nothing: this tracker's alone.
pub(crate) async fn channel(server: &Server) -> Result<f64> {
    let mut sockets = connect(server.address, RELAYING).await?;
    announce_all(&mut sockets, 0, ",\"enxame\":{\"v\":1,\"relay\":true}").await?;
    tokio::time::sleep(REST).await;
    let before = machine::memory(server.process())?;
    for (n, socket) in sockets.iter_mut().enumerate() {
        // The next ones of its swarm.
        let (swarm, peer) = names(n);
        for next in 1..=CHANNELS {
            let to = n - n % 50 + (n + next) % 50;
            let (_, to) = names(to);
            let text = format!(
                "{{\"action\":\"relay-open\",\"info_hash\":\"{swarm}\",\"peer_id\":\"{peer}\",\"to_peer_id\":\"{to}\"}}"
            );
            put_text(&mut socket.out, text.as_bytes());
        }
        socket.flush().await?;
    }
    for socket in &mut sockets {
        // Half of them it asked for, half others did.
        let mut opened = 0;
        while opened < 2 * CHANNELS {
            let is_open = socket.receive(|message, _| match message {
                Received::Text(text) if text.contains("\"relay-opened\"") => {
                    opened += 1;
                    Ok(())
                }
                other => bail!("not opened: {other:?}"),
            });
            if !is_open.await? {
                bail!("the server hung up");
            }
        }
    }
    tokio::time::sleep(REST).await;
    let after = machine::memory(server.process())?;
    sockets.into_iter().for_each(Socket::reset);
    Ok((after as f64 - before as f64) / (RELAYING * CHANNELS) as f64)
}

/// Has each announce itself, and waits for all replies.
async fn announce_all(sockets: &mut [Socket], first: usize, extension: &str) -> Result<()> {
    for (n, socket) in sockets.iter_mut().enumerate() {
        let (swarm, peer) = names(first + n);
        let text = format!(
            "{{\"numwant\":0,\"uploaded\":0,\"downloaded\":0,\"left\":1,\"event\":\"started\",\"action\":\"announce\",\
             \"info_hash\":\"{swarm}\",\"peer_id\":\"{peer}\",\"offers\":[]{extension}}}"
        );
        put_text(&mut socket.out, text.as_bytes());
        socket.flush().await.context("cannot announce")?;
    }
    for socket in sockets {
        socket.expect("\"interval\"").await?;
    }
    Ok(())
}
