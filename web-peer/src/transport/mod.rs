//! How bytes reach other peers. [`socket`] is the connection to a tracker; [`relay`] are the channels inside
//! it; [`rtc`] are direct connections.
//!
//! Nothing here knows the engine's decisions, the store or the page: the driver moves bytes between them.

pub mod address;
pub mod backoff;
pub mod relay;
pub mod rtc;
pub mod socket;
