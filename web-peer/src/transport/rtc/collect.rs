//! Closed connections that the browser still counts.
//!
//! Chromium refuses the 501st connection of a page, and counts closed ones until their memory is collected, which a quiet
//! page may not do for minutes. Nothing asks a browser to collect; buffers that nobody uses make it do so, some tens of
//! milliseconds later on a quiet machine and seconds later on a busy one. So a connection that is refused for this reason
//! waits and is tried again.

use std::time::Duration;

use js_sys::{Array, Function, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::browser_error;

/// How often a connection is tried again.
pub(super) const MAX_TRIES: u32 = 40;

/// Between two tries. The pauses are what lets the browser's own tasks collect.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// Length of one buffer, in bytes: address space that no page of memory stands behind.
const BUFFER_BYTES: u32 = 64 << 20;

/// Buffers that are made before each try. On a quiet machine the first four are enough.
const BUFFERS: usize = 4;

/// Whether the browser refused a connection since it counts too many.
pub(super) fn is_too_many(error: &JsValue) -> bool {
    browser_error::name(error) == "UnknownError"
}

/// Makes the browser collect soon, if anything does.
pub(super) fn encourage() {
    // Not by its type: the constructor throws where there is no address space, and then nothing is lost.
    let Ok(class) = Reflect::get(&js_sys::global(), &"ArrayBuffer".into()) else { return };
    let length = Array::of1(&BUFFER_BYTES.into());
    for _ in 0..BUFFERS {
        if Reflect::construct(class.unchecked_ref::<Function>(), &length).is_err() {
            return;
        }
    }
}
