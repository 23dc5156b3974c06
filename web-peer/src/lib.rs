//! The browser around the engine.

pub mod command;
pub mod snapshot;
