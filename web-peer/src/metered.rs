//! Whether the connection is paid for by the byte, or the user wants to spare it, as far as the browser says: most tell nothing.

use js_sys::{Function, Reflect};
use wasm_bindgen::prelude::*;

/// Whether what is sent should be held back: the user asked sites to save data, or the device is on a mobile network
/// (Network Information API: `saveData`, `type`).
pub fn is_metered() -> bool {
    let Some(connection) = connection() else { return false };
    let field = |name: &str| Reflect::get(&connection, &name.into()).ok();
    let saves = field("saveData").is_some_and(|saves| saves == JsValue::TRUE);
    saves || field("type").and_then(|kind| kind.as_string()).as_deref() == Some("cellular")
}

/// Calls this whenever that may have changed, for as long as the page lives.
pub fn watch(changed: impl Fn() + 'static) {
    let Some(connection) = connection() else { return };
    let listen = Reflect::get(&connection, &"addEventListener".into()).ok();
    let Some(listen) = listen.and_then(|listen| listen.dyn_into::<Function>().ok()) else { return };
    let listener = Closure::<dyn Fn()>::new(changed).into_js_value();
    // Without it the state of the page's start stays.
    drop(listen.call2(&connection, &"change".into(), &listener));
}

fn connection() -> Option<JsValue> {
    let navigator = web_sys::window()?.navigator();
    Reflect::get(&navigator, &"connection".into()).ok().filter(JsValue::is_object)
}
