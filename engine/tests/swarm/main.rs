//! Large swarms: real sessions over lines that all of a node's links share, with virtual time; one theme a module.
//!
//! `traffic` are the lines and links; `world` the nodes, the tracker and the clock; `scenario` builds swarms and measures
//! them. What is here is small enough for any build; `cargo xtask bench sim` runs up to a thousand.

#![expect(clippy::unwrap_used, reason = "helpers are part of the tests: what cannot go on fails")]

mod agenda;
mod cost;
mod parcel;
mod scenario;
mod traffic;
mod world;

mod crowd;
mod favours;
mod hidden;
mod limited;
mod order;
mod outages;
mod relay;
mod replay;
mod unfair;
