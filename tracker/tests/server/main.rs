//! The tracker over real sockets, on ports that the system chooses. One behaviour a module:
//! - `signalling`: announces, offers, answers, scrapes, whose peer id it is;
//! - `relaying`: channels, credits, who waits for whom, who hears of whose end;
//! - `hostile`: what is malformed, oversized or unknown, and clients that do not answer;
//! - `page`: everything over plain HTTP;
//! - `ending`: how a tracker goes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;
mod ending;
mod hostile;
mod page;
mod relaying;
mod signalling;
