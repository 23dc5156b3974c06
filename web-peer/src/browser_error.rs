//! What a browser throws, as words.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// The error's name, such as `QuotaExceededError`; empty where it has none.
///
/// Not by type: which class an error has differs between browsers and versions (`QuotaExceededError` became a class
/// of its own), the names stay.
pub(crate) fn name(error: &JsValue) -> String {
    text(error, "name").unwrap_or_default()
}

/// `name: message`, or whatever there is of it.
pub(crate) fn sentence(error: &JsValue) -> String {
    match (text(error, "name"), text(error, "message")) {
        (Some(name), Some(message)) if !message.is_empty() => format!("{name}: {message}"),
        (Some(name), _) => name,
        (None, Some(message)) => message,
        (None, None) => error.as_string().unwrap_or_else(|| "unknown failure".into()),
    }
}

fn text(error: &JsValue, key: &str) -> Option<String> {
    if !error.is_object() {
        return None;
    }
    Reflect::get(error, &JsValue::from_str(key)).ok()?.as_string()
}
