//! The scripts that Redis runs: how they are called, and what they answer.

use std::fmt::Write;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Script, ToRedisArgs, Value, cmd, from_redis_value};
use shared::{InfoHash, PeerId};

use super::servers::slot;
use crate::cluster::backend::{Ask, Counts, Distant, Draw, Entry, KINDS, NodeId, Told};

/// Time for which a completed count is kept that nobody adds to.
const COMPLETED_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// The scripts, as they are asked for by name.
#[derive(Debug)]
pub(super) struct Scripts {
    enter: Script,
    leave: Script,
    count: Script,
    find: Script,
    pub(super) live: Script,
}

impl Scripts {
    pub(super) const TEXTS: [&str; 5] = [
        include_str!("enter.lua"),
        include_str!("leave.lua"),
        include_str!("count.lua"),
        include_str!("find.lua"),
        include_str!("live.lua"),
    ];

    pub(super) fn new() -> Self {
        let [enter, leave, count, find, live] = Self::TEXTS.map(Script::new);
        Self { enter, leave, count, find, live }
    }
}

/// A script's call, as it is put together.
pub(super) struct Call {
    keys: Vec<String>,
    cmd: Cmd,
}

impl Call {
    pub(super) fn new(script: &Script, keys: Vec<String>) -> Self {
        let mut cmd = cmd("EVALSHA");
        cmd.arg(script.get_hash()).arg(keys.len());
        for key in &keys {
            cmd.arg(key);
        }
        Self { keys, cmd }
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }

    /// The slot of its keys, which all have the same; and what to say there.
    pub(super) fn finish(self) -> (u16, Cmd) {
        let slots = self.keys.iter().map(|key| slot(key.as_bytes()));
        debug_assert!(slots.clone().is_sorted_by(|a, b| a == b), "all keys of a script lie in one slot");
        // Without keys anybody may answer.
        (self.keys.first().map_or(0, |key| slot(key.as_bytes())), self.cmd)
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

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn mask(draw: &Draw) -> String {
    draw.kinds.iter().map(|wanted| if *wanted { '1' } else { '0' }).collect()
}

impl Scripts {
    /// What to say for a question of node `me`, and in which slot.
    pub(super) fn call(&self, me: NodeId, others: &[NodeId], ask: &Ask) -> (u16, Cmd) {
        let mut keys = Vec::with_capacity(KINDS * (others.len() + 1) + 1);
        let all = |swarm: &InfoHash, keys: &mut Vec<String>| {
            others.iter().for_each(|node| kinds(swarm, *node, keys));
        };
        let call = match ask {
            Ask::Enter { swarm, peer, entry, completed, lifetime, draws: [first, second] } => {
                kinds(swarm, me, &mut keys);
                keys.push(completed_key(swarm));
                all(swarm, &mut keys);
                Call::new(&self.enter, keys)
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
                kinds(swarm, me, &mut keys);
                Call::new(&self.leave, keys).arg(peer.as_bytes())
            }
            Ask::Count { swarm } => {
                keys.push(completed_key(swarm));
                all(swarm, &mut keys);
                Call::new(&self.count, keys)
            }
            Ask::Find { swarm, peer } => {
                all(swarm, &mut keys);
                Call::new(&self.find, keys).arg(peer.as_bytes())
            }
        };
        debug_assert!(call.keys.iter().all(|key| key.contains('{')), "every key has a hash tag");
        call.finish()
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
pub(super) fn told(others: &[NodeId], ask: &Ask, reply: Value) -> Option<Told> {
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
