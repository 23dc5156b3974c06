//! Nodes meet in Redis, or in Valkey: version 7 or newer, for pub/sub by shards. One server, or a Redis Cluster.
//!
//! Keys, where `<swarm>` are the 40 digits of an info-hash and `<node>` the 16 of a node:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `enxame:{<swarm>}:<node>:<kind>` | hash | peers of one node by [kind](super::backend::Entry::kind): id to entry |
//! | `enxame:{<swarm>}:completed` | number | how often the torrent was completed |
//! | `enxame:nodes` | sorted set | nodes, scored with the time until which they live |
//!
//! What is known of one swarm shares a hash tag, so it lies on one server of a Redis Cluster, where a script may use all of it.
//! Each of our nodes listens to one shard channel, `enxame:node:<node>`. [`servers`] knows which server has what, [`scripts`] what is
//! asked there.

mod scripts;
mod servers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, ServerErrorKind, TlsCertificates, Value, cmd, from_redis_value,
};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;

use super::backend::{Ask, Backend, Hear, Lost, NodeId, Session, Told};
use scripts::{Call, Scripts, millis, told};
use servers::{Lane, Servers, connect, slot};

/// Time for a reply, and for a connection. Redis answers in less than a millisecond; one that needs so long is as good as
/// gone, and clients wait for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// All nodes.
const NODES: &str = "enxame:nodes";

/// A Redis to meet at: a server, or a Redis Cluster.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Any one of them knows the others.
    seeds: Vec<ConnectionInfo>,
}

impl Redis {
    /// That at this address: `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, or `redis+unix:///path`;
    /// or at several between commas, which are servers of one Redis Cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// A sentence for whoever wrote the address.
    pub fn new(urls: &str) -> Result<Self, Lost> {
        Self::with_authority(urls, None)
    }

    /// The same, where servers with TLS are believed if one of these certificates (PEM) vouches for them; without, those that the
    /// system knows.
    ///
    /// # Errors
    /// A sentence for whoever wrote the address.
    pub fn with_authority(urls: &str, authority: Option<&[u8]>) -> Result<Self, Lost> {
        // Without the address: it may hold a password.
        let wrong = |_: RedisError| {
            let like = "one is written like redis://10.0.0.5:6379, rediss://redis.example.org or redis+unix:///run/redis.sock";
            Lost(format!("this is no address of a Redis server; {like}"))
        };
        let vouches =
            |pem: &&[u8]| CertificateDer::pem_slice_iter(pem).next().is_some_and(|read| read.is_ok());
        if authority.is_some_and(|pem| !vouches(&pem)) {
            return Err(Lost("there is no certificate among what is to vouch for it".to_owned()));
        }
        let seed = |url: &str| {
            let mut info = url.trim().into_connection_info().map_err(wrong)?;
            if let Some(pem) = authority {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
                let client =
                    Client::build_with_tls(info, certificates).map_err(|error| Lost(error.to_string()))?;
                info = client.get_connection_info().clone();
            }
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok(info.set_redis_settings(settings))
        };
        Ok(Self { seeds: urls.split(',').map(seed).collect::<Result<_, _>>()? })
    }
}

/// A node's stay in Redis: two connections to each server, so that what is relayed does not hold up what is asked, and one that
/// listens.
#[derive(Debug)]
pub struct RedisSession {
    me: NodeId,
    servers: Servers,
    hearing: MultiplexedConnection,
    scripts: Scripts,
    gone: CancellationToken,
    has_lived: AtomicBool,
}

fn lost(error: RedisError) -> Lost {
    let text = error.to_string();
    drop(error);
    Lost(text)
}

fn nonsense() -> Lost {
    Lost("Redis gave an answer that our scripts do not give".to_owned())
}

fn channel(node: NodeId) -> String {
    format!("enxame:node:{node}")
}

impl Backend for Redis {
    type Session = RedisSession;

    async fn join(&self, me: NodeId, hear: Hear) -> Result<RedisSession, Lost> {
        let servers = Servers::find(&self.seeds).await?;
        let gone = CancellationToken::new();
        let broken = gone.clone();
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            match push.kind {
                PushKind::SMessage => {
                    if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1) {
                        hear(Bytes::from(message));
                    }
                }
                // A shard channel that moves to another server is unsubscribed by the one that had it.
                PushKind::Disconnection | PushKind::SUnsubscribe => broken.cancel(),
                _ => {}
            }
            Ok::<(), ()>(())
        });
        let ours = channel(me);
        let there =
            servers.of_key(&ours).ok_or_else(|| Lost("no server has this node's channel".to_owned()))?;
        let mut hearing = connect(&there, config).await.map_err(lost)?;
        cmd("SSUBSCRIBE").arg(&ours).query_async::<Value>(&mut hearing).await.map_err(lost)?;
        let (scripts, has_lived) = (Scripts::new(), AtomicBool::new(false));
        Ok(RedisSession { me, servers, hearing, scripts, gone, has_lived })
    }
}

impl RedisSession {
    /// Says one thing.
    async fn say(&self, command: (u16, ::redis::Cmd)) -> Result<Value, Lost> {
        let replies = self.servers.say(Lane::Asking, vec![command]).await;
        replies.into_iter().next().ok_or_else(nonsense)?.map_err(lost)
    }

    /// What an answer that failed means: nothing is known, or, where there is but one server, all is lost.
    fn away<T>(&self, error: RedisError, away: T) -> Result<T, Lost> {
        let is_wrong = matches!(error.kind(), ErrorKind::Server(ServerErrorKind::CrossSlot));
        if self.servers.is_cluster() && !is_wrong { Ok(away) } else { Err(lost(error)) }
    }
}

impl Session for RedisSession {
    async fn live(&self, lifetime: Duration) -> Result<Vec<NodeId>, Lost> {
        // A connection that only listens does not notice that nobody is there any more.
        cmd("PING").query_async::<Value>(&mut self.hearing.clone()).await.map_err(lost)?;
        let has_lived = self.has_lived.swap(true, Ordering::Relaxed);
        let call = Call::new(&self.scripts.live, vec![NODES.to_owned()])
            .arg(self.me.to_string())
            .arg(millis(lifetime))
            .arg(u8::from(has_lived));
        let reply = self.say(call.finish()).await?;
        if let Value::Int(_) = reply {
            return Err(Lost("the others took this node for dead".to_owned()));
        }
        let names: Vec<String> = from_redis_value(reply).map_err(|_| nonsense())?;
        let ids = names.iter().filter_map(|name| u64::from_str_radix(name, 16).ok().map(NodeId));
        Ok(ids.filter(|id| *id != self.me).collect())
    }

    async fn ask(&self, others: &[NodeId], asks: &[Ask]) -> Result<Vec<Told>, Lost> {
        let calls = asks.iter().map(|ask| self.scripts.call(self.me, others, ask)).collect();
        let replies = self.servers.say(Lane::Asking, calls).await;
        let told = asks.iter().zip(replies).map(|(ask, reply)| match reply {
            Ok(reply) => told(others, ask, reply).ok_or_else(nonsense),
            Err(error) => self.away(error, Told::Away),
        });
        told.collect()
    }

    async fn tell(&self, messages: &[(NodeId, Bytes)]) -> Result<Vec<bool>, Lost> {
        let told = messages.iter().map(|(to, message)| {
            let channel = channel(*to);
            let mut telling = cmd("SPUBLISH");
            telling.arg(&channel).arg(&message[..]);
            (slot(channel.as_bytes()), telling)
        });
        let heard =
            self.servers.say(Lane::Telling, told.collect()).await.into_iter().map(|reply| match reply {
                Ok(Value::Int(listeners)) => Ok(listeners > 0),
                Ok(_) => Err(nonsense()),
                Err(error) => self.away(error, false),
            });
        heard.collect()
    }

    async fn lost(&self) -> Lost {
        tokio::select! {
            () = self.gone.cancelled() => Lost("the connection that listens broke".to_owned()),
            () = self.servers.recovered() => {
                Lost("all servers can be reached again, and are told everything anew".to_owned())
            }
        }
    }

    async fn bury(&self, node: NodeId) -> Result<(), Lost> {
        let mut burying = cmd("ZREM");
        burying.arg(NODES).arg(node.to_string());
        self.say((slot(NODES.as_bytes()), burying)).await.map(drop)
    }
}
