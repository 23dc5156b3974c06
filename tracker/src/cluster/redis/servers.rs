//! The servers that a Redis consists of: one, or those of a Redis Cluster. Which of them keeps what, and what is said to them.
//!
//! A Redis Cluster has 16,384 slots; a key lies in one of them, and a slot at one server (the Redis Cluster specification, "Key
//! distribution model"). We read once which is where, and follow the `MOVED` that servers answer since. `ASK`, while a slot
//! moves, is of no use for scripts with several keys: what is asked then is not answered, and soon asked again. A server that is out of
//! reach is left alone until all of them can be reached again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    RedisError, ServerErrorKind, Value, cmd, from_redis_value,
};
use futures::future::join_all;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::scripts::Scripts;
use super::{Lost, PATIENCE, lost};
use crate::lock;

/// Slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// How often a command is sent on to another server. More than once means that slots move while we look.
const MAX_REDIRECTIONS: usize = 4;

/// Most servers that are known; Redis Cluster is made for a thousand.
const MAX_SERVERS: usize = 1000;

/// Time between two looks at whether all servers can be reached again.
const RETRY: Duration = Duration::from_secs(1);

/// The slot of a key: what stands between the first braces counts, if anything does.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    // CRC16-CCITT, in the form that XMODEM uses.
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    crc % SLOTS
}

/// A host and a port.
type Address = (String, u16);

/// What is asked does not wait behind what is relayed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    Asking,
    Telling,
}

/// The connections to one server.
#[derive(Debug)]
struct Link {
    asking: MultiplexedConnection,
    telling: MultiplexedConnection,
}

#[derive(Debug)]
struct Server {
    address: Address,
    /// `None` while it is out of reach.
    link: Option<Arc<Link>>,
}

/// Which server has which slots.
#[derive(Debug)]
struct Map {
    servers: Vec<Server>,
    /// The first slot of each range, ascending, with its last and its server.
    ranges: Vec<(u16, u16, Address)>,
    /// Slots that were found to be elsewhere.
    moved: HashMap<u16, Address>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Address> {
        self.moved.get(&slot).or_else(|| {
            let place = self.ranges.partition_point(|(first, ..)| *first <= slot).checked_sub(1)?;
            let (_, last, address) = &self.ranges[place];
            (slot <= *last).then_some(address)
        })
    }

    fn link(&self, address: &Address) -> Option<Option<Arc<Link>>> {
        let server = self.servers.iter().find(|server| server.address == *address)?;
        Some(server.link.clone())
    }

    /// A server was met, and is in reach if there is a link. Gives what leads to it: whoever met it at the same time may have been first.
    fn add(&mut self, address: &Address, link: Option<Arc<Link>>) -> Result<Option<Arc<Link>>, RedisError> {
        if let Some(known) = self.link(address) {
            return Ok(known);
        }
        if self.servers.len() >= MAX_SERVERS {
            return Err((ErrorKind::Client, "there are too many servers").into());
        }
        self.servers.push(Server { address: address.clone(), link: link.clone() });
        Ok(link)
    }
}

/// The servers, as long as a node stays.
#[derive(Debug)]
pub(super) struct Servers {
    /// One of them, as it was written down: the way to all others differs in host and port alone.
    like: ConnectionInfo,
    is_cluster: bool,
    map: Mutex<Map>,
    has_trouble: Notify,
    /// It was said that a server refuses something.
    has_warned: AtomicBool,
}

pub(super) async fn connect(
    info: &ConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Client::open(info.clone())?.get_multiplexed_async_connection_with_config(&config).await
}

async fn link(info: &ConnectionInfo) -> Result<Arc<Link>, RedisError> {
    let asking = connect(info, AsyncConnectionConfig::new()).await?;
    let telling = connect(info, AsyncConnectionConfig::new()).await?;
    let mut loading = Pipeline::new();
    for text in Scripts::TEXTS {
        loading.cmd("SCRIPT").arg("LOAD").arg(text).ignore();
    }
    loading.query_async::<()>(&mut asking.clone()).await?;
    Ok(Arc::new(Link { asking, telling }))
}

/// The same with another host and port.
fn at(like: &ConnectionInfo, (host, port): &Address) -> ConnectionInfo {
    let (host, port) = (host.clone(), *port);
    let address = match like.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}

/// Its host and port; of a socket in the file system, what no other has.
fn address_of(info: &ConnectionInfo) -> Address {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
        _ => (String::new(), 0),
    }
}

/// The host that a server names, asked at the host `asked`: the same one, if it names none. `None` for `?`: it is to be known by a
/// name that nobody gave it (`cluster-preferred-endpoint-type hostname` without `cluster-announce-hostname`).
fn host_of(named: &str, asked: &str) -> Option<String> {
    match named {
        "" => Some(asked.to_owned()),
        "?" => None,
        named => Some(named.to_owned()),
    }
}

/// Numbers of 16 bits; others are not cut to them.
fn read_u16(value: Value) -> Option<u16> {
    i64::from_redis_value(value).ok()?.try_into().ok()
}

/// Reads the answer to `CLUSTER SLOTS`: for each range of slots its first and last, and its servers, the one that writes first,
/// each as host (none where it is the one that was asked), port, and more.
///
/// # Errors
/// What is wrong with it.
fn read_slots(reply: Value, asked: &str) -> Result<Vec<(u16, u16, Address)>, &'static str> {
    const NONSENSE: &str = "CLUSTER SLOTS tells no slots";
    let ranges: Vec<Vec<Value>> = from_redis_value(reply).map_err(|_| NONSENSE)?;
    let mut read = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (first, last, host, port) = read_range(range).ok_or(NONSENSE)?;
        let host = host_of(&host, asked)
            .ok_or("a server of the Redis Cluster lacks its cluster-announce-hostname")?;
        read.push((first, last, (host, port)));
    }
    read.sort_unstable();
    let is_right = !read.is_empty() && read.iter().all(|(first, last, _)| first <= last && *last < SLOTS);
    if is_right { Ok(read) } else { Err(NONSENSE) }
}

fn read_range(range: Vec<Value>) -> Option<(u16, u16, String, u16)> {
    let mut parts = range.into_iter();
    let (first, last) = (read_u16(parts.next()?)?, read_u16(parts.next()?)?);
    let server: Vec<Value> = from_redis_value(parts.next()?).ok()?;
    let mut server = server.into_iter();
    let host = Option::<String>::from_redis_value(server.next()?).ok()?.unwrap_or_default();
    Some((first, last, host, read_u16(server.next()?)?))
}

/// Whether a server that was asked for the slots says with this that it is in no Redis Cluster. One that may not be asked, or
/// is not ready, has not said so.
fn is_alone(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("cluster support disabled"))
}

/// Whether nothing more is to be had of the server that answered so, or did not answer: it has lost our scripts, no slot is served or
/// this one not for writing. Else it refuses one command, and goes on.
fn is_out_of_reach(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::NoScript | ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown
        ),
        // A server's word that the library does not know, like `OOM`.
        ErrorKind::Extension => false,
        _ => true,
    }
}

/// Where the slot is now, if that is why a server refused a command.
fn moved_to(error: &RedisError, by: &Address) -> Option<Address> {
    if !matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved)) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some((host_of(host, &by.0)?, port.parse().ok()?))
}

/// Which server has which slots, as the server at this address says; `None` if it is in no Redis Cluster.
async fn ask_for_slots(info: &ConnectionInfo) -> Result<Option<Vec<(u16, u16, Address)>>, RedisError> {
    let mut asking = connect(info, AsyncConnectionConfig::new()).await?;
    match cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut asking).await {
        Ok(reply) => {
            let (host, _) = address_of(info);
            let wrong = |sentence| RedisError::from((ErrorKind::Parse, sentence));
            Ok(Some(read_slots(reply, &host).map_err(wrong)?))
        }
        Err(error) if is_alone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Servers {
    /// Finds all of them by way of the first of `seeds` that answers.
    pub(super) async fn find(seeds: &[ConnectionInfo]) -> Result<Self, Lost> {
        let mut failed = Vec::new();
        for seed in seeds {
            match ask_for_slots(seed).await {
                Ok(Some(ranges)) => return Ok(Self::of_cluster(seed.clone(), ranges).await),
                Ok(None) => return Self::alone(seed.clone()).await.map_err(lost),
                // Without what else is in the address: it may be a password.
                Err(error) => failed.push(format!("{}: {error}", seed.addr())),
            }
        }
        Err(Lost(failed.join("; ")))
    }

    async fn alone(like: ConnectionInfo) -> Result<Self, RedisError> {
        let address = address_of(&like);
        let server = Server { address: address.clone(), link: Some(link(&like).await?) };
        let map = Map { servers: vec![server], ranges: vec![(0, SLOTS - 1, address)], moved: HashMap::new() };
        Ok(Self {
            like,
            is_cluster: false,
            map: Mutex::new(map),
            has_trouble: Notify::new(),
            has_warned: AtomicBool::new(false),
        })
    }

    async fn of_cluster(like: ConnectionInfo, ranges: Vec<(u16, u16, Address)>) -> Self {
        let mut addresses: Vec<Address> = ranges.iter().map(|(.., address)| address.clone()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let links =
            join_all(addresses.iter().map(async |address| link(&at(&like, address)).await.ok())).await;
        let has_trouble = Notify::new();
        if links.iter().any(Option::is_none) {
            has_trouble.notify_one();
        }
        let servers = addresses.into_iter().zip(links).map(|(address, link)| Server { address, link });
        let map = Map { servers: servers.collect(), ranges, moved: HashMap::new() };
        Self { like, is_cluster: true, map: Mutex::new(map), has_trouble, has_warned: AtomicBool::new(false) }
    }

    /// Whether one that is out of reach leaves others.
    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// How to reach the one that has this key.
    pub(super) fn of_key(&self, key: &str) -> Option<ConnectionInfo> {
        if !self.is_cluster {
            return Some(self.like.clone());
        }
        let map = lock(&self.map);
        map.owner(slot(key.as_bytes())).map(|address| at(&self.like, address))
    }

    /// Says commands, each to the server that has its slot, in order as far as they go to the same one. Gives what each was answered.
    pub(super) async fn say(&self, lane: Lane, commands: Vec<(u16, Cmd)>) -> Vec<Result<Value, RedisError>> {
        let away = || Err((ErrorKind::Io, "the server that keeps it is out of reach").into());
        let mut replies: Vec<Result<Value, RedisError>> = commands.iter().map(|_| away()).collect();
        let mut places: Vec<usize> = (0..commands.len()).collect();
        let mut commands: Vec<(u16, Option<Cmd>)> =
            commands.into_iter().map(|(slot, command)| (slot, Some(command))).collect();
        for _ in 0..=MAX_REDIRECTIONS {
            let mut batches: HashMap<Address, (Vec<usize>, Pipeline)> = HashMap::new();
            for place in places.drain(..) {
                let (slot, command) = &mut commands[place];
                let Some(owner) = lock(&self.map).owner(*slot).cloned() else { continue };
                // Only in a cluster can it come back.
                let command = if self.is_cluster { command.clone() } else { command.take() };
                let (places, pipeline) = batches.entry(owner).or_default();
                places.push(place);
                pipeline.add_command(command.unwrap_or_default());
            }
            let said = batches.into_iter().map(async |(address, (places, pipeline))| {
                let answers = self.batch(lane, &address, pipeline, places.len()).await;
                (address, places, answers)
            });
            for (address, sent, answers) in join_all(said).await {
                for (place, answer) in sent.into_iter().zip(answers) {
                    match answer.and_then(Value::extract_error) {
                        Err(error) if self.has_moved(&error, commands[place].0, &address) => {
                            places.push(place);
                        }
                        reply => replies[place] = reply,
                    }
                }
            }
            // What goes to the same server stays in order.
            places.sort_unstable();
            if places.is_empty() {
                break;
            }
        }
        replies
    }

    /// Says commands to one server. Gives as many answers.
    async fn batch(
        &self,
        lane: Lane,
        address: &Address,
        mut pipeline: Pipeline,
        count: usize,
    ) -> Vec<Result<Value, RedisError>> {
        let answers = async {
            let link = self.link(address).await?;
            let mut connection = match lane {
                Lane::Asking => link.asking.clone(),
                Lane::Telling => link.telling.clone(),
            };
            let answers: Vec<Value> = pipeline.ignore_errors().query_async(&mut connection).await?;
            if answers.len() != count {
                return Err(RedisError::from((
                    ErrorKind::Parse,
                    "there are more answers, or less, than questions",
                )));
            }
            Ok(answers)
        };
        match answers.await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => {
                self.lose(address);
                (0..count).map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn link(&self, address: &Address) -> Result<Arc<Link>, RedisError> {
        let known = lock(&self.map).link(address);
        match known {
            Some(Some(link)) => Ok(link),
            Some(None) => Err((ErrorKind::Io, "the server is out of reach").into()),
            None => {
                // Somebody was sent on to it.
                let made = link(&at(&self.like, address)).await;
                let kept = lock(&self.map).add(address, made.as_ref().ok().cloned())?;
                kept.ok_or_else(|| {
                    made.err().unwrap_or_else(|| (ErrorKind::Io, "the server is out of reach").into())
                })
            }
        }
    }

    /// Whether a command was refused since its slot is at another server, which is known now. What else is refused is not answered, and
    /// has the server count as out of reach only if it is.
    fn has_moved(&self, error: &RedisError, slot: u16, by: &Address) -> bool {
        if let Some(target) = moved_to(error, by).filter(|_| self.is_cluster) {
            lock(&self.map).moved.insert(slot, target);
            return true;
        }
        // A slot that is on its way is no news.
        let is_usual =
            matches!(error.kind(), ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::Ask));
        if is_out_of_reach(error) {
            self.lose(by);
        } else if self.is_cluster && !is_usual && !self.has_warned.swap(true, Ordering::Relaxed) {
            let (host, port) = by;
            tracing::warn!(host, port, %error, "a server refuses what it is asked: nodes serve alone what it is about");
        }
        false
    }

    fn lose(&self, address: &Address) {
        let mut map = lock(&self.map);
        let Some(server) = map.servers.iter_mut().find(|server| server.address == *address) else { return };
        if server.link.take().is_some() && self.is_cluster {
            let (host, port) = address;
            tracing::warn!(
                host,
                port,
                "a server is out of reach: each node serves alone the swarms that it keeps"
            );
        }
        drop(map);
        self.has_trouble.notify_one();
    }

    /// Waits until a server was out of reach, and all of them can be reached again: what it kept may be lost. A single one does not
    /// come back.
    pub(super) async fn recovered(&self) {
        if !self.is_cluster {
            return std::future::pending().await;
        }
        // One of which nothing is asked is missed as well.
        while timeout(RETRY, self.has_trouble.notified()).await.is_err() {
            self.look().await;
        }
        loop {
            tokio::time::sleep(RETRY).await;
            let known: Vec<Address> =
                lock(&self.map).servers.iter().map(|server| server.address.clone()).collect();
            for address in known {
                if let Ok(Some(ranges)) = ask_for_slots(&at(&self.like, &address)).await {
                    if self.can_all_be_reached(&ranges).await {
                        return;
                    }
                    break;
                }
            }
        }
    }

    async fn look(&self) {
        let servers: Vec<(Address, Arc<Link>)> = {
            let map = lock(&self.map);
            let known = map.servers.iter().map(|server| (server.address.clone(), server.link.clone()));
            known.filter_map(|(address, link)| Some((address, link?))).collect()
        };
        join_all(servers.into_iter().map(async |(address, link)| {
            let answer = cmd("PING").query_async::<Value>(&mut link.asking.clone()).await;
            if answer.is_err_and(|error| is_out_of_reach(&error)) {
                self.lose(&address);
            }
        }))
        .await;
    }

    async fn can_all_be_reached(&self, ranges: &[(u16, u16, Address)]) -> bool {
        let slots: usize = ranges.iter().map(|(first, last, _)| usize::from(last - first) + 1).sum();
        let mut addresses: Vec<&Address> = ranges.iter().map(|(.., address)| address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let ready = join_all(addresses.into_iter().map(async |address| {
            let Ok(mut asking) = connect(&at(&self.like, address), AsyncConnectionConfig::new()).await else {
                return false;
            };
            let info = cmd("CLUSTER").arg("INFO").query_async::<String>(&mut asking).await;
            info.is_ok_and(|info| info.contains("cluster_state:ok"))
        }));
        slots == usize::from(SLOTS) && ready.await.into_iter().all(|ready| ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_in_the_slot_that_redis_says() {
        // The specification's own example, and what `CLUSTER KEYSLOT` of Redis 7 says.
        for (key, expected) in [("123456789", 12_739), ("foo", 12_182), ("", 0), ("{}foo", slot(b"{}foo"))] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"a{foo}{bar}"), slot(b"foo"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_ne!(slot(b"{}foo"), slot(b"{}bar"), "nothing between the braces");
    }

    #[test]
    fn slots_are_read_with_their_servers_and_nothing_else_is() {
        let int = Value::Int;
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let server =
            |host: Value, port| Value::Array(vec![host, int(port), text("id"), Value::Array(Vec::new())]);
        let range = |first, last, server| Value::Array(vec![int(first), int(last), server]);
        let reply = Value::Array(vec![
            range(8192, 16_383, server(text("b"), 2)),
            range(0, 8191, server(Value::Nil, 1)),
        ]);
        let read = read_slots(reply, "a").unwrap();
        assert_eq!(read, [(0, 8191, ("a".to_owned(), 1)), (8192, 16_383, ("b".to_owned(), 2))]);
        let map = Map { servers: Vec::new(), ranges: read, moved: HashMap::from([(5, ("c".to_owned(), 3))]) };
        let owner = |slot| map.owner(slot).map(|(host, _)| host.as_str());
        assert_eq!(
            [0, 5, 8191, 8192, 16_383].map(owner),
            [Some("a"), Some("c"), Some("a"), Some("b"), Some("b")]
        );
        for wrong in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![int(1)]),
            Value::Array(vec![range(0, 16_384, server(text("a"), 1))]),
            Value::Array(vec![range(2, 1, server(text("a"), 1))]),
            Value::Array(vec![range(0, 1, server(text("a"), 65_536))]),
            Value::Array(vec![range(0, 1, Value::Array(Vec::new()))]),
        ] {
            assert!(read_slots(wrong, "a").is_err());
        }
        // It is to be known by a name, and has none: nobody says where it is.
        let nameless = Value::Array(vec![range(0, 16_383, server(text("?"), 1))]);
        assert!(read_slots(nameless, "a").is_err_and(|error| error.contains("cluster-announce-hostname")));
    }

    fn refusal(text: &str) -> RedisError {
        let reply = ::redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        reply.extract_error().unwrap_err()
    }

    #[test]
    fn a_slot_is_followed_to_where_it_is_said_to_be_and_to_nowhere() {
        let by = ("a".to_owned(), 1);
        let moved = |text: &str| moved_to(&refusal(text), &by);
        assert_eq!(moved("MOVED 5 10.0.0.2:6379"), Some(("10.0.0.2".to_owned(), 6379)));
        assert_eq!(moved("MOVED 5 ::1:6379"), Some(("::1".to_owned(), 6379)));
        assert_eq!(moved("MOVED 5 :6380"), Some(("a".to_owned(), 6380)));
        for wrong in ["MOVED 5 ?:6379", "MOVED 5 b", "MOVED 5 b:65536", "MOVED", "ASK 5 b:6379", "ERR"] {
            assert_eq!(moved(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_server_that_refuses_one_command_is_still_there() {
        for text in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "BUSY Redis is busy running a script.",
            "LOADING Redis is loading the dataset in memory",
            "NOPERM User default has no permissions to run the 'evalsha' command",
            "ERR value is not an integer or out of range",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "MOVED 5 ?:6379",
        ] {
            assert!(!is_out_of_reach(&refusal(text)), "{text}");
        }
        for text in [
            "NOSCRIPT No matching script.",
            "READONLY You can't write against a read only replica.",
            "CLUSTERDOWN Hash slot not served",
        ] {
            assert!(is_out_of_reach(&refusal(text)), "{text}");
        }
        assert!(is_out_of_reach(&(ErrorKind::Io, "it is gone").into()));
    }

    #[test]
    fn only_who_says_that_it_is_in_no_cluster_is_alone() {
        assert!(is_alone(&refusal("ERR This instance has cluster support disabled")));
        for text in
            ["NOPERM User default has no permissions", "LOADING Redis is loading", "ERR unknown command"]
        {
            assert!(!is_alone(&refusal(text)), "{text}");
        }
    }

    #[test]
    fn a_server_that_two_meet_at_the_same_time_is_one() {
        let mut map = Map { servers: Vec::new(), ranges: Vec::new(), moved: HashMap::new() };
        for _ in 0..2 {
            assert!(map.add(&("a".to_owned(), 1), None).unwrap().is_none());
        }
        assert_eq!(map.servers.len(), 1);
    }
}
