//! Closed connections that the browser still counts.
//!
//! Chromium refuses the 501st connection of a page, and counts closed ones until their memory is collected, which a quiet
//! page may not do for minutes. It can be made to do so ([`buffers::encourage_collecting`]), some tens of milliseconds later on
//! a quiet machine and seconds later on a busy one. So a connection that is refused for this reason waits and is tried again.

use std::time::Duration;

use wasm_bindgen::JsValue;

use crate::{browser_error, buffers};

/// How often a connection is tried again.
pub(super) const MAX_TRIES: u32 = 40;

/// Between two tries. The pauses are what lets the browser's own tasks collect.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// How urgently the browser is asked to collect before each try; enough for a quiet machine to do so at the first.
const URGENCY: usize = 4;

/// Whether the browser refused a connection since it counts too many.
pub(super) fn is_too_many(error: &JsValue) -> bool {
    browser_error::name(error) == "UnknownError"
}

/// Makes the browser collect soon, if anything does.
pub(super) fn encourage() {
    buffers::encourage_collecting(URGENCY);
}
