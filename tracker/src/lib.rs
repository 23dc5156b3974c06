//! The tracker: introduces peers to each other, relays between them those who ask for it, and serves the page, all on
//! one port.
//!
//! A text message's path: [`server`] accepts → `http` upgrades → `socket` reads, parses and asks the `hub` →
//! [`registry`] and [`relay`] decide → the messages go into the `outbox` of each connection concerned → its `socket`
//! writes. A relay frame's path is shorter: `socket` reads → straight into the other connection's `outbox`, where its
//! credit is checked → the other `socket` writes.
//!
//! In reading order:
//! - [`signal`]: what clients say and are told, with session descriptions passed on as they came;
//! - [`registry`]: who is in which swarm, as a pure state machine: no IO, no clock, no randomness of its own;
//! - [`relay`]: which channels are open and what each direction may send, pure as well;
//! - [`limits`]: every bound on what clients cost, and its usual value;
//! - `meter`: how often one connection may do what costs others, and how much it may send;
//! - `outbox`: what waits for one connection, bounded, and what happens when it is full;
//! - `hub`: the state machines together, in shards with a lock each, turning decisions into messages;
//! - `socket`: one WebSocket connection as an actor;
//! - [`cluster`]: many trackers as one;
//! - `http` and [`page`]: everything else that comes over HTTP;
//! - [`address`], `door`, [`access`]: who a client is, whether there is room for it, and whether it may come in;
//! - [`server`]: the listener, and the orderly end;
//! - [`state`]: what outlives a restart;
//! - `metrics`: what is counted;
//! - [`settings`], [`listen`], [`tls`]: what can be chosen, and how the port is opened.

pub mod access;
pub mod address;
pub mod cluster;
mod door;
mod http;
mod hub;
pub mod limits;
pub mod listen;
mod memory;
mod meter;
mod metrics;
mod outbox;
pub mod page;
pub mod registry;
pub mod relay;
pub mod server;
pub mod settings;
pub mod signal;
mod socket;
pub mod state;
mod sum;
pub mod tls;

pub use page::Page;
pub use server::run;
pub use settings::Settings;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One client's connection. Numbered by the server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Locks, also after another thread panicked with the lock held: one connection's failure is not everybody's.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
