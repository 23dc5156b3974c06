//! Where nodes of one process meet: for tests, and the shortest account of what a backend does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::seq::SliceRandom;
use shared::{InfoHash, PeerId};
use tokio_util::sync::CancellationToken;

use super::backend::{Ask, Backend, Counts, Distant, Draw, Entry, Hear, Lost, NodeId, Session, Told};
use crate::lock;

/// Where nodes of one process meet.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    nodes: HashMap<NodeId, Node>,
    peers: HashMap<(InfoHash, PeerId), HashMap<NodeId, (Entry, Instant)>>,
    completed: HashMap<InfoHash, u32>,
    is_away: bool,
    /// Messages that are to be lost.
    to_lose: usize,
    /// Only those this long or longer.
    longer: usize,
}

struct Node {
    until: Instant,
    hear: Hear,
    gone: CancellationToken,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Memory {
    /// Nobody can be reached from now on, and what was there is lost.
    pub fn interrupt(&self) {
        let mut shared = lock(&self.0);
        shared.nodes.values().for_each(|node| node.gone.cancel());
        *shared = Shared { is_away: true, ..Shared::default() };
    }

    /// Nodes can meet again.
    pub fn resume(&self) {
        lock(&self.0).is_away = false;
    }

    /// Loses the next message of at least so many bytes, without a word to anybody.
    pub fn lose_one(&self, bytes: usize) {
        let mut shared = lock(&self.0);
        (shared.to_lose, shared.longer) = (1, bytes);
    }
}

impl Shared {
    /// The peers of a swarm at these nodes.
    fn others(&self, swarm: InfoHash, nodes: &[NodeId]) -> Vec<Distant> {
        let now = Instant::now();
        let mut others = Vec::new();
        for ((_, peer), at) in self.peers.iter().filter(|((other, _), _)| *other == swarm) {
            let alive = at.iter().filter(|(node, (_, until))| nodes.contains(node) && *until > now);
            others.extend(alive.map(|(node, (entry, _))| Distant {
                node: *node,
                peer: *peer,
                entry: *entry,
            }));
        }
        others
    }

    fn counts(&self, swarm: InfoHash, nodes: &[NodeId]) -> Counts {
        let completed = self.completed.get(&swarm).copied().unwrap_or(0);
        let mut counts = Counts { completed, ..Counts::default() };
        for other in self.others(swarm, nodes) {
            counts.kinds[other.entry.kind()] += 1;
        }
        counts
    }

    fn draw(&self, swarm: InfoHash, nodes: &[NodeId], draw: Draw) -> Vec<Distant> {
        let mut drawn = self.others(swarm, nodes);
        drawn.retain(|other| draw.kinds[other.entry.kind()]);
        drawn.shuffle(&mut rand::rng());
        drawn.truncate(draw.count);
        drawn
    }

    fn answer(&mut self, me: NodeId, nodes: &[NodeId], ask: &Ask) -> Told {
        match *ask {
            Ask::Enter { swarm, peer, entry, completed, lifetime, draws } => {
                let now = Instant::now();
                let at = self.peers.entry((swarm, peer)).or_default();
                let is_known = at.get(&me).is_some_and(|(_, until)| *until > now);
                let mut superseded = None;
                if !is_known {
                    let holder = at.iter().find(|(node, (_, until))| nodes.contains(node) && *until > now);
                    if let Some((node, (held, _))) = holder {
                        if held.key.is_none() || held.key != entry.key {
                            return Told::Taken;
                        }
                        superseded = Some(*node);
                    }
                }
                if let Some(old) = superseded {
                    at.remove(&old);
                }
                at.insert(me, (entry, now + lifetime));
                if completed {
                    *self.completed.entry(swarm).or_default() += 1;
                }
                let drawn = draws.map(|draw| self.draw(swarm, nodes, draw));
                Told::Entered { counts: self.counts(swarm, nodes), drawn, superseded }
            }
            Ask::Leave { swarm, peer } => {
                if let Some(at) = self.peers.get_mut(&(swarm, peer)) {
                    at.remove(&me);
                    if at.is_empty() {
                        self.peers.remove(&(swarm, peer));
                    }
                }
                Told::Left
            }
            Ask::Count { swarm } => Told::Counted(self.counts(swarm, nodes)),
            Ask::Find { swarm, peer } => {
                Told::Found(self.others(swarm, nodes).into_iter().find(|other| other.peer == peer))
            }
        }
    }
}

/// A node's stay in memory.
#[derive(Debug)]
pub struct MemorySession {
    memory: Memory,
    me: NodeId,
    gone: CancellationToken,
}

impl MemorySession {
    fn check(&self) -> Result<(), Lost> {
        if self.gone.is_cancelled() { Err(Lost("the others are away".to_owned())) } else { Ok(()) }
    }
}

impl Backend for Memory {
    type Session = MemorySession;

    async fn join(&self, me: NodeId, hear: Hear) -> Result<MemorySession, Lost> {
        let mut shared = lock(&self.0);
        if shared.is_away {
            return Err(Lost("nobody is there".to_owned()));
        }
        let gone = CancellationToken::new();
        // Heard, but not alive before it says so.
        shared.nodes.insert(me, Node { until: Instant::now(), hear, gone: gone.clone() });
        Ok(MemorySession { memory: self.clone(), me, gone })
    }
}

impl Session for MemorySession {
    async fn live(&self, lifetime: Duration) -> Result<Vec<NodeId>, Lost> {
        self.check()?;
        let mut shared = lock(&self.memory.0);
        let now = Instant::now();
        if let Some(node) = shared.nodes.get_mut(&self.me) {
            node.until = now + lifetime;
        }
        let alive = shared.nodes.iter().filter(|(id, node)| **id != self.me && node.until > now);
        Ok(alive.map(|(id, _)| *id).collect())
    }

    async fn ask(&self, others: &[NodeId], asks: &[Ask]) -> Result<Vec<Told>, Lost> {
        self.check()?;
        let mut shared = lock(&self.memory.0);
        Ok(asks.iter().map(|ask| shared.answer(self.me, others, ask)).collect())
    }

    async fn tell(&self, messages: &[(NodeId, Bytes)]) -> Result<Vec<bool>, Lost> {
        self.check()?;
        let mut heard = Vec::with_capacity(messages.len());
        for (to, message) in messages {
            let hear = {
                let mut shared = lock(&self.memory.0);
                if shared.to_lose > 0 && message.len() >= shared.longer {
                    shared.to_lose -= 1;
                    heard.push(true);
                    continue;
                }
                shared.nodes.get(to).map(|node| Arc::clone(&node.hear))
            };
            if let Some(hear) = &hear {
                hear(message.clone());
            }
            heard.push(hear.is_some());
        }
        Ok(heard)
    }

    async fn lost(&self) -> Lost {
        self.gone.cancelled().await;
        Lost("the others are away".to_owned())
    }

    async fn bury(&self, node: NodeId) -> Result<(), Lost> {
        self.check()?;
        lock(&self.memory.0).nodes.remove(&node);
        Ok(())
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        // As a subscription ends with its connection.
        lock(&self.memory.0).nodes.remove(&self.me);
    }
}
