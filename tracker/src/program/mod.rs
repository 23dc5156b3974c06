//! The command line around the library: its options and where they come from, its log, its signals.

pub(crate) mod file;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod quantity;
pub(crate) mod signals;
