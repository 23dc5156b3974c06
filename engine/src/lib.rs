//! When to send what: one torrent's session, without IO.
//!
//! No socket, file, clock, thread or randomness of its own: time and seed are arguments, so the same engine runs
//! in the page and in a native simulation with a virtual clock.
//!
//! In reading order, which is that of the data's path:
//! - `api`: what goes in and comes out ([`Action`], [`Notice`], [`TorrentSnapshot`]);
//! - [`Session`]: one torrent, put together from the rest;
//! - `swarm`: the peers that are linked, could be, or never will be again;
//! - `peer`: one remote: choke, interest, requests, what is to be said next;
//! - `metadata`: the info dictionary, fetched by its hash alone;
//! - `picker`: which piece to begin next;
//! - `pieces`: missing → in flight → verifying → had;
//! - `uploads`: blocks for others, read ahead from the store;
//! - `choker`: whom to serve;
//! - `rate`: bytes a second.

mod api;
mod choker;
mod metadata;
mod peer;
mod picker;
mod pieces;
mod rate;
mod session;
mod swarm;
mod uploads;

pub use api::*;
pub use session::{Content, Session, SessionConfig};
