//! The page, driven by recorded snapshots instead of an engine: `cargo xtask shots` builds it into `target/recorded` and takes
//! its screenshots of it. `?state=NAME` shows `recorded/NAME.json`; `window.enxame.show(json)` shows another from then on;
//! `lang=` works as in the page. What the user wants is written to the console and not done.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::{Set, signal_local};
use wasm_bindgen::prelude::{Closure, JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_peer::recorded;

fn main() {
    console_error_panic_hook::set_once();
    spawn_local(async {
        if let Err(error) = show().await {
            web_sys::console::error_1(&error);
        }
    });
}

async fn show() -> Result<(), JsValue> {
    let window = web_sys::window().ok_or("this is no page")?;
    let query = web_sys::UrlSearchParams::new_with_str(&window.location().search()?)?;
    let state = query.get("state").unwrap_or_else(|| "empty".to_owned());
    let address = format!("recorded/{}.json", js_sys::encode_uri_component(&state));
    let response: web_sys::Response = JsFuture::from(window.fetch_with_str(&address)).await?.dyn_into()?;
    let json = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
    let first = recorded::read(&json).map_err(|error| error.to_string())?;
    let (snapshot, set_snapshot) = signal_local(first);
    web_peer::ui::mount(snapshot, |command| {
        web_sys::console::log_1(&JsValue::from_str(&format!("{command:?}")));
    });

    let shown = Rc::new(RefCell::new(json));
    let now = Rc::clone(&shown);
    let read = Closure::<dyn Fn() -> JsValue>::new(move || {
        js_sys::JSON::parse(&now.borrow()).unwrap_or(JsValue::NULL)
    });
    let show = Closure::<dyn Fn(String) -> Result<(), JsValue>>::new(move |json: String| {
        set_snapshot.set(recorded::read(&json).map_err(|error| error.to_string())?);
        *shown.borrow_mut() = json;
        Ok(())
    });
    // For the page's whole life.
    let enxame = js_sys::Object::new();
    js_sys::Reflect::set(&enxame, &"snapshot".into(), &read.into_js_value())?;
    js_sys::Reflect::set(&enxame, &"show".into(), &show.into_js_value())?;
    js_sys::Reflect::set(&window, &"enxame".into(), &enxame)?;
    Ok(())
}
