//! The engine among others: sessions over a simulated network with virtual time, one behaviour a module.
//!
//! `world` is the network, the tracker and the stores; `wire` is one session with a scripted peer at each of its links;
//! `signals` are such peers that carry offers and answers.
//! Every failure names the seed that repeats it.

#![expect(clippy::unwrap_used, reason = "helpers are part of the tests: what cannot go on fails")]

mod signals;
mod wire;
mod world;

mod bad_data;
mod blocks;
mod checking;
mod direct;
mod fast_set;
mod handover;
mod happenings;
mod hidden;
mod hostile_input;
mod introductions;
mod links;
mod metadata;
mod patience;
mod pausing;
mod recalling;
mod stores;
mod super_seeding;
mod transfer;
mod upload_only;
mod wanting;
mod weather;
mod withholding;
