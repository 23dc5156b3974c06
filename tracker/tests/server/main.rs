//! The tracker over real sockets, on ports that the system chooses. One behaviour a module:
//! - `signalling`: announces, offers, answers, scrapes, whose peer id it is;
//! - `relaying`: channels, credits, who waits for whom, who hears of whose end;
//! - `hostile`: what is malformed, oversized or unknown, and clients that do not answer;
//! - `websocket`: the protocol under the messages, in the groups of the Autobahn test suite;
//! - `bounds`: what clients may cost, and what is said to those who want more;
//! - `access`: lists, origins, tokens, proxies;
//! - `page`: everything over plain HTTP;
//! - `tls`: the same inside TLS;
//! - `telling`: what the tracker tells about itself;
//! - `restarting`: how it is replaced;
//! - `ending`: how it goes.
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "helpers of tests are tests")]

mod access;
mod bounds;
mod client;
mod ending;
mod frame;
mod hostile;
mod page;
mod relaying;
mod restarting;
mod signalling;
mod slow_http;
mod telling;
mod tls;
mod websocket;
