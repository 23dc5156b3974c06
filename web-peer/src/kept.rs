//! A few words that the browser keeps for this page, over reloads and for all tabs (`localStorage`). A browser that keeps nothing
//! forgets them with the tab.

use web_sys::Storage;

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

/// What is kept under this name.
pub(crate) fn get(key: &str) -> Option<String> {
    storage()?.get_item(key).ok()?
}

/// Keeps this under the name, or nothing any more.
pub(crate) fn set(key: &str, value: Option<&str>) {
    if let Some(storage) = storage() {
        // Refused by a browser that keeps nothing, or no more.
        let _ = match value {
            Some(value) => storage.set_item(key, value),
            None => storage.remove_item(key),
        };
    }
}
