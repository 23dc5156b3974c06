//! Nodes meet in Redis, or in Valkey: version 7 or newer, for pub/sub by shards.
//!
//! Keys, where `<swarm>` are the 40 digits of an info-hash and `<node>` the 16 of a node:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `enxame:{<swarm>}:<node>:<kind>` | hash | peers of one node by [kind](Entry::kind): id to entry |
//! | `enxame:{<swarm>}:completed` | number | how often the torrent was completed |
//! | `enxame:nodes` | sorted set | nodes, scored with the time until which they live |
//!
//! What is known of one swarm shares a hash tag, so it lies on one node of a Redis Cluster, where a script may use all of it.
//! Each of our nodes listens to one shard channel, `enxame:node:<node>`.

use std::fmt::Write;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisError, Script, Value, cmd, from_redis_value,
};
use bytes::Bytes;
use shared::{InfoHash, PeerId};
use tokio_util::sync::CancellationToken;

use super::backend::{Ask, Backend, Counts, Distant, Draw, Entry, Hear, KINDS, Lost, NodeId, Session, Told};

/// Time for a reply, and for a connection. Redis answers in less than a millisecond; one that needs so long is as good as
/// gone, and clients wait for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time for which a completed count is kept that nobody adds to.
const COMPLETED_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// All nodes.
const NODES: &str = "enxame:nodes";

/// A Redis server to meet at.
#[derive(Debug, Clone)]
pub struct Redis {
    client: Client,
}

impl Redis {
    /// That at this address: `redis://[user:password@]host[:port][/database]`, or `redis+unix:///path`. Nothing is sent yet.
    ///
    /// # Errors
    /// A sentence for whoever wrote the address.
    pub fn new(url: &str) -> Result<Self, Lost> {
        // Without the address: it may hold a password.
        let wrong = |_| {
            let like = "one is written like redis://10.0.0.5:6379 or redis+unix:///run/redis.sock";
            Lost(format!("this is no address of a Redis server; {like}, without TLS"))
        };
        if url.starts_with("rediss:") {
            return Err(wrong(()));
        }
        let wrong = |_: RedisError| wrong(());
        let info = url.into_connection_info().map_err(wrong)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(wrong)?;
        Ok(Self { client })
    }

    async fn connect(&self, config: AsyncConnectionConfig) -> Result<MultiplexedConnection, RedisError> {
        let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// The scripts, as they are asked for by name.
#[derive(Debug)]
struct Scripts {
    enter: Script,
    leave: Script,
    count: Script,
    find: Script,
    live: Script,
}

impl Scripts {
    const TEXTS: [&str; 5] = [
        include_str!("enter.lua"),
        include_str!("leave.lua"),
        include_str!("count.lua"),
        include_str!("find.lua"),
        include_str!("live.lua"),
    ];

    fn new() -> Self {
        let [enter, leave, count, find, live] = Self::TEXTS.map(Script::new);
        Self { enter, leave, count, find, live }
    }
}

/// A node's stay in Redis: three connections, so that what is relayed does not hold up what is asked.
#[derive(Debug)]
pub struct RedisSession {
    me: NodeId,
    asking: MultiplexedConnection,
    telling: MultiplexedConnection,
    hearing: MultiplexedConnection,
    scripts: Scripts,
    gone: CancellationToken,
    has_lived: std::sync::atomic::AtomicBool,
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
        let mut asking = self.connect(AsyncConnectionConfig::new()).await.map_err(lost)?;
        let telling = self.connect(AsyncConnectionConfig::new()).await.map_err(lost)?;
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
        let mut hearing = self.connect(config).await.map_err(lost)?;
        cmd("SSUBSCRIBE").arg(channel(me)).query_async::<Value>(&mut hearing).await.map_err(lost)?;
        let mut loading = Pipeline::new();
        for text in Scripts::TEXTS {
            loading.cmd("SCRIPT").arg("LOAD").arg(text).ignore();
        }
        loading.query_async::<()>(&mut asking).await.map_err(lost)?;
        let scripts = Scripts::new();
        let has_lived = std::sync::atomic::AtomicBool::new(false);
        Ok(RedisSession { me, asking, telling, hearing, scripts, gone, has_lived })
    }
}

/// A script's call, as it is put together.
struct Call {
    keys: Vec<String>,
    cmd: Cmd,
}

impl Call {
    fn new(script: &Script, keys: Vec<String>) -> Self {
        let mut cmd = cmd("EVALSHA");
        cmd.arg(script.get_hash()).arg(keys.len());
        for key in &keys {
            cmd.arg(key);
        }
        Self { keys, cmd }
    }

    fn arg(mut self, arg: impl ::redis::ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }
}

/// Where this node's peers of a swarm are, by kind.
fn kinds(swarm: &InfoHash, node: NodeId, keys: &mut Vec<String>) {
    for kind in 0..KINDS {
        let mut key = String::with_capacity(72);
        // Writing to a string does not fail.
        let _ = write!(key, "enxame:{{{swarm}}}:{node}:{kind}");
        keys.push(key);
    }
}

fn completed_key(swarm: &InfoHash) -> String {
    format!("enxame:{{{swarm}}}:completed")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn mask(draw: &Draw) -> String {
    draw.kinds.iter().map(|wanted| if *wanted { '1' } else { '0' }).collect()
}

impl RedisSession {
    fn call(&self, others: &[NodeId], ask: &Ask) -> Cmd {
        let mut keys = Vec::with_capacity(KINDS * (others.len() + 1) + 1);
        let all = |swarm: &InfoHash, keys: &mut Vec<String>| {
            others.iter().for_each(|node| kinds(swarm, *node, keys));
        };
        let call = match ask {
            Ask::Enter { swarm, peer, entry, completed, lifetime, draws: [first, second] } => {
                kinds(swarm, self.me, &mut keys);
                keys.push(completed_key(swarm));
                all(swarm, &mut keys);
                Call::new(&self.scripts.enter, keys)
                    .arg(peer.as_bytes())
                    .arg(entry.encode())
                    .arg(entry.kind() + 1)
                    .arg(millis(*lifetime))
                    .arg(u8::from(*completed))
                    .arg(millis(COMPLETED_LIFETIME))
                    // Lua's generator takes 31 bits.
                    .arg(rand::random::<u32>() >> 1)
                    .arg(mask(first))
                    .arg(first.count)
                    .arg(mask(second))
                    .arg(second.count)
            }
            Ask::Leave { swarm, peer } => {
                kinds(swarm, self.me, &mut keys);
                Call::new(&self.scripts.leave, keys).arg(peer.as_bytes())
            }
            Ask::Count { swarm } => {
                keys.push(completed_key(swarm));
                all(swarm, &mut keys);
                Call::new(&self.scripts.count, keys)
            }
            Ask::Find { swarm, peer } => {
                all(swarm, &mut keys);
                Call::new(&self.scripts.find, keys).arg(peer.as_bytes())
            }
        };
        debug_assert!(call.keys.iter().all(|key| key.contains('{')), "every key has a hash tag");
        call.cmd
    }
}

/// The node of this number, as a script counts.
fn numbered(others: &[NodeId], number: usize) -> Option<NodeId> {
    others.get(number.checked_sub(1)?).copied()
}

fn drawn(others: &[NodeId], flat: Value) -> Option<Vec<Distant>> {
    let items: Vec<Value> = from_redis_value(flat).ok()?;
    let mut drawn = Vec::with_capacity(items.len() / 3);
    let mut items = items.into_iter();
    while let (Some(number), Some(peer), Some(entry)) = (items.next(), items.next(), items.next()) {
        let node = numbered(others, from_redis_value(number).ok()?)?;
        let peer: [u8; 20] = Vec::<u8>::from_redis_value(peer).ok()?.try_into().ok()?;
        let entry = Entry::decode(&Vec::<u8>::from_redis_value(entry).ok()?)?;
        drawn.push(Distant { node, peer: PeerId::new(peer), entry });
    }
    Some(drawn)
}

fn counts(numbers: impl Iterator<Item = Value>) -> Option<Counts> {
    let numbers: Vec<u32> = numbers.map(|number| from_redis_value(number).ok()).collect::<Option<_>>()?;
    let [completed, kinds @ ..] = &numbers[..] else { return None };
    Some(Counts { completed: *completed, kinds: kinds.try_into().ok()? })
}

/// What a script's reply says; `None` if no script of ours says so.
fn told(others: &[NodeId], ask: &Ask, reply: Value) -> Option<Told> {
    match ask {
        Ask::Leave { .. } => Some(Told::Left),
        Ask::Enter { .. } => {
            let items: Vec<Value> = from_redis_value(reply).ok()?;
            if items.len() == 1 {
                return Some(Told::Taken);
            }
            let mut items = items.into_iter();
            let superseded: usize = from_redis_value(items.next()?).ok()?;
            let counts = counts(items.by_ref().take(1 + KINDS))?;
            let drawn = [drawn(others, items.next()?)?, drawn(others, items.next()?)?];
            Some(Told::Entered { counts, drawn, superseded: numbered(others, superseded) })
        }
        Ask::Count { .. } => {
            let items: Vec<Value> = from_redis_value(reply).ok()?;
            Some(Told::Counted(counts(items.into_iter())?))
        }
        Ask::Find { peer, .. } => {
            let items: Vec<Value> = from_redis_value(reply).ok()?;
            let Ok([number, entry]) = <[Value; 2]>::try_from(items) else { return Some(Told::Found(None)) };
            let node = numbered(others, from_redis_value(number).ok()?)?;
            let entry = Entry::decode(&Vec::<u8>::from_redis_value(entry).ok()?)?;
            Some(Told::Found(Some(Distant { node, peer: *peer, entry })))
        }
    }
}

impl Session for RedisSession {
    async fn live(&self, lifetime: Duration) -> Result<Vec<NodeId>, Lost> {
        // A connection that only listens does not notice that nobody is there any more.
        cmd("PING").query_async::<Value>(&mut self.hearing.clone()).await.map_err(lost)?;
        let has_lived = self.has_lived.swap(true, std::sync::atomic::Ordering::Relaxed);
        let call = Call::new(&self.scripts.live, vec![NODES.to_owned()])
            .arg(self.me.to_string())
            .arg(millis(lifetime))
            .arg(u8::from(has_lived));
        let reply: Value = call.cmd.query_async(&mut self.asking.clone()).await.map_err(lost)?;
        if let Value::Int(_) = reply {
            return Err(Lost("the others took this node for dead".to_owned()));
        }
        let names: Vec<String> = from_redis_value(reply).map_err(|_| nonsense())?;
        let ids = names.iter().filter_map(|name| u64::from_str_radix(name, 16).ok().map(NodeId));
        Ok(ids.filter(|id| *id != self.me).collect())
    }

    async fn ask(&self, others: &[NodeId], asks: &[Ask]) -> Result<Vec<Told>, Lost> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(asks.len());
        for ask in asks {
            pipeline.add_command(self.call(others, ask));
        }
        let replies: Vec<Value> = pipeline.query_async(&mut self.asking.clone()).await.map_err(lost)?;
        if replies.len() != asks.len() {
            return Err(nonsense());
        }
        let told = asks.iter().zip(replies).map(|(ask, reply)| told(others, ask, reply));
        told.collect::<Option<_>>().ok_or_else(nonsense)
    }

    async fn tell(&self, messages: &[(NodeId, Bytes)]) -> Result<Vec<bool>, Lost> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(messages.len());
        for (to, message) in messages {
            pipeline.cmd("SPUBLISH").arg(channel(*to)).arg(&message[..]);
        }
        let heard: Vec<i64> = pipeline.query_async(&mut self.telling.clone()).await.map_err(lost)?;
        Ok(heard.iter().map(|listeners| *listeners > 0).collect())
    }

    async fn lost(&self) -> Lost {
        self.gone.cancelled().await;
        Lost("the connection that listens broke".to_owned())
    }

    async fn bury(&self, node: NodeId) -> Result<(), Lost> {
        let mut burying = cmd("ZREM");
        burying.arg(NODES).arg(node.to_string()).exec_async(&mut self.asking.clone()).await.map_err(lost)
    }
}
