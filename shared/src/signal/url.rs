//! Where a relay channel at another tracker of a cluster is to be had.

use crate::limits::MAX_RELAY_URL_BYTES;

/// Checks such an address: `ws://` or `wss://`, a host, maybe a port and a path, at most [`MAX_RELAY_URL_BYTES`], and nothing in
/// it but where it is. Who goes there writes the ticket behind it. Gives whether it is one with TLS.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn check_relay_url(url: &str) -> Result<bool, &'static str> {
    if url.len() > MAX_RELAY_URL_BYTES {
        return Err("it is too long");
    }
    let (is_secure, rest) = match url.split_once("://") {
        Some(("ws", rest)) => (false, rest),
        Some(("wss", rest)) => (true, rest),
        _ => return Err("it begins neither with ws:// nor with wss://"),
    };
    if rest.contains('@') {
        return Err("it has a user name or a password");
    }
    // What is behind a `#` is not sent at all.
    if rest.contains(['?', '#']) {
        return Err("nothing can follow the path");
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("it has characters that no address has");
    }
    let place = rest.split_once('/').map_or(rest, |(place, _)| place);
    let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, port)) => (Host::V6(host), port),
        None => {
            let end = place.find(':').unwrap_or(place.len());
            (Host::Name(&place[..end]), &place[end..])
        }
    };
    if !host.is_one() {
        return Err("it has no host");
    }
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err("its port is no number from 1 to 65535");
    }
    Ok(is_secure)
}

enum Host<'a> {
    /// A name, or an address of IPv4.
    Name(&'a str),
    /// What stands between brackets.
    V6(&'a str),
}

impl Host<'_> {
    /// By its letters: whether there is such a host is found out by going there.
    fn is_one(&self) -> bool {
        let (host, fits): (_, fn(u8) -> bool) = match self {
            Self::Name(name) => (name, |byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
            Self::V6(address) => (address, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        };
        !host.is_empty() && host.bytes().all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_websocket_address_is_taken_and_nothing_else() {
        for (url, is_secure) in [
            ("ws://10.0.0.5:8000", false),
            ("ws://localhost/ws", false),
            ("wss://a.example/ws", true),
            ("wss://node_1.xn--bcher-kva.example:65535/a//b:c", true),
            ("wss://[2001:db8::1]:443/", true),
            ("wss://[::ffff:10.0.0.5]", true),
        ] {
            assert_eq!(check_relay_url(url), Ok(is_secure), "{url}");
        }
        let long = format!("wss://{}.example/", "a".repeat(MAX_RELAY_URL_BYTES));
        for wrong in [
            "",
            "a.example",
            "https://a.example",
            "WSS://a.example",
            "javascript:alert(1)",
            "wss://",
            "wss:///ws",
            "wss://:80/",
            "wss://[]/",
            "wss://[::1/",
            "wss://[a.example]/",
            "wss://[::1]443/",
            "wss://::1/",
            "wss://a:/",
            "wss://a:0/",
            "wss://a:+80/",
            "wss://a:80x/",
            "wss://a:65536/",
            "wss://a:80:80/",
            "wss://me@a.example/",
            "wss://me:secret@a.example/",
            "wss://a/?token=x",
            "wss://a/#x",
            "wss://a b/",
            "wss://a/b c",
            "wss://a\\b",
            "wss://b\u{e9}/",
            "wss://a%2f/",
            &long,
        ] {
            assert!(check_relay_url(wrong).is_err(), "{wrong:?}");
        }
    }
}
