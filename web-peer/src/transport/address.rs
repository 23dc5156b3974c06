//! Trackers' addresses: which of those that a torrent names a page can use, and which of those that its own tracker sends it to.

use shared::signal::check_relay_url;
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

/// Whether a page whose tracker is at `own` may go to `named` for a relay channel, when that tracker says so: to an address for such, with
/// TLS if `own` has it, since browsers refuse others to pages of https.
pub fn is_node(named: &str, own: &str) -> bool {
    check_relay_url(named).is_ok_and(|is_secure| is_secure || own.starts_with("ws:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_only_to_bare_websocket_addresses_that_are_as_safe_as_its_own() {
        for (own, named) in [
            ("ws://a/ws", "ws://10.0.0.5:8000/ws"),
            ("ws://a/ws", "wss://b.example"),
            ("wss://a/ws", "wss://[2001:db8::1]/"),
        ] {
            assert!(is_node(named, own), "{named}");
        }
        for named in ["ws://b.example/", "http://b.example/", "wss://b.example/?token=x", ""] {
            assert!(!is_node(named, "wss://a/ws"), "{named:?}");
        }
    }
}
