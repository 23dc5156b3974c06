//! The program as its owner runs it: ended, killed, started again, told to read its files anew, while clients use it.
//! - `restart`: a restart under load loses no transfer;
//! - `state`: what outlives a crash, whenever it comes;
//! - `reload`: a hangup has it read its certificate and its lists again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "helpers of tests are tests")]

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the library, which use more of it")]
mod client;
mod program;
mod reload;
mod restart;
mod state;
