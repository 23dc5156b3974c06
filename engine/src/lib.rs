//! When to send what: one torrent's session, without IO.
//!
//! No socket, file, clock, thread or randomness of its own: time and seed are arguments, so the same engine runs
//! in the page and in a native simulation with a virtual clock.
//!
//! Nothing in the data's path waits for a timer, where links tell when their buffers are empty: blocks are asked for, sent,
//! and handed from one link to another when something arrives, or room is reported, or the store answers. Deadlines only
//! end what hangs, repeat what failed, let HAVEs wait for company, look after slots, keep to limits, and tell what of a
//! buffer that says nothing (a relay's, when less than a block was sent) must be gone by now. So a hidden tab, whose timers
//! browsers slow down to one a second or a minute, transfers like a visible one; the simulation's `hidden` tests hold it to
//! that, and the page's driver has a worker keep its deadlines while it is hidden.
//!
//! In reading order, which is that of the data's path:
//! - `api`: what goes in and comes out ([`Action`], [`Notice`], [`TorrentSnapshot`]);
//! - [`Session`]: one torrent, put together from the rest;
//! - `links`: the links that are open, and what is asked about all of them all the time;
//! - `swarm`: the peers that are linked, could be, or never will be again;
//! - `direct`: links from peer to peer that could be, are being made, or broke;
//! - `introductions`: what it takes to carry offers and answers for others;
//! - `peer`: one remote: choke, interest, requests, what is to be said next;
//! - `metadata`: the info dictionary, fetched by its hash alone;
//! - `picker`: which piece to begin next;
//! - `pieces`: missing → in flight → verifying → had;
//! - `uploads`: blocks for others, read ahead from the store;
//! - `choker`: whom to serve;
//! - `fast_set`: what may be asked for by whom it does not serve yet;
//! - `super_seeding`: what a swarm's first seeder shows to whom;
//! - `limits`: how fast one may go;
//! - `rate`: bytes a second.

mod api;
mod choker;
mod direct;
mod fast_set;
mod introductions;
mod limits;
mod links;
mod metadata;
mod peer;
mod picker;
mod pieces;
mod rate;
mod session;
mod super_seeding;
mod swarm;
mod uploads;

pub use api::*;
pub use limits::{Limit, Limits};
pub use session::{Content, Session, SessionConfig};
