//! A finished file goes to where the browser puts downloads.

use gloo_timers::callback::Timeout;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Blob, HtmlAnchorElement, Url};

/// Milliseconds that the blob's address stays good: the browser resolves it when the download begins, which a person
/// may first have to allow.
const ADDRESS_LIFE_MS: u32 = 10 * 60 * 1000;

/// Has the browser download this blob under this name, which may be in any script. The browser reads it piece by piece;
/// it is never in memory as a whole.
///
/// # Errors
/// What the browser threw.
pub fn download(blob: &Blob, name: &str) -> Result<(), JsValue> {
    let document = web_sys::window()
        .and_then(|window| window.document())
        .ok_or_else(|| JsValue::from_str("there is no document"))?;
    let anchor: HtmlAnchorElement = document.create_element("a")?.unchecked_into();
    let address = Url::create_object_url_with_blob(blob)?;
    anchor.set_href(&address);
    anchor.set_download(name);
    anchor.click();
    Timeout::new(ADDRESS_LIFE_MS, move || {
        // Only a malformed address is refused.
        drop(Url::revoke_object_url(&address));
    })
    .forget();
    Ok(())
}
