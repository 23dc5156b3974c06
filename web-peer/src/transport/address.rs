//! Trackers' addresses: which of those that a torrent names a page can use.

use web_sys::Url;

/// Those of `named` that are WebSocket addresses, written as the browser writes them, each once, but for other names of
/// `own`: a tracker takes one address as well as another.
pub fn usable(named: &[String], own: &str) -> Vec<String> {
    let own = Url::new(own).map(|url| url.host()).unwrap_or_default();
    let mut usable = Vec::new();
    for address in named {
        let Ok(url) = Url::new(address) else { continue };
        let href = url.href();
        let is_socket = matches!(url.protocol().as_str(), "ws:" | "wss:");
        if is_socket && url.host() != own && !usable.contains(&href) {
            usable.push(href);
        }
    }
    usable
}
