//! The browser's clock, for moments that people are told of or that outlast the page. How long something takes is told by the
//! driver's clock, which nobody sets.

/// Whole milliseconds since 1970.
pub(crate) fn since_1970() -> u64 {
    js_sys::Date::now() as u64
}
