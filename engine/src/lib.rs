//! When to send what: one torrent's session, without IO.
//!
//! No socket, file, clock, thread or randomness of its own: time and seed are arguments, so the same engine runs
//! in the page and in a native simulation with a virtual clock.

mod api;

pub use api::*;
