//! ICE servers: the STUN and TURN servers that help two peers find a direct way.
//!
//! A tracker is told of them at its start and hands them to the pages; a page may be told of others. Either writes them
//! as [`parse_ice_servers`] reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ICE_SECRET_BYTES, MAX_ICE_SERVERS, MAX_ICE_URL_BYTES, MAX_ICE_URLS};

/// One entry of a list of ICE servers, as `RTCPeerConnection` takes it (`RTCIceServer` in the WebRTC specification).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its addresses, like `stun:stun.example.org:3478`; at least one. Read from a single string as well.
    #[serde(deserialize_with = "one_or_many")]
    pub urls: Vec<String>,
    /// For TURN, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN, which needs it. Never logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl IceServer {
    /// A server that needs no account.
    pub fn open(urls: Vec<String>) -> Self {
        Self { urls, username: None, credential: None }
    }
}

/// Without the credential.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &self.credential.as_ref().map(|_| "…"))
            .finish()
    }
}

/// Why a list of ICE servers was refused. The sentences are for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IceError {
    /// It begins like JSON and is none, or not of `RTCIceServer` objects.
    #[error("not a JSON list of ICE servers: {0}")]
    Json(String),
    /// An address that is none.
    #[error("{url:?} is no ICE server's address: {reason} (for example stun:stun.example.org:3478)")]
    Url {
        /// The address, its beginning if it is long.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// TURN servers are for those who have an account.
    #[error(
        "{0:?} needs a user name and a credential: \
         [{{\"urls\": \"turn:…\", \"username\": \"…\", \"credential\": \"…\"}}]"
    )]
    NoCredential(String),
    /// An entry without addresses, or with more than [`MAX_ICE_URLS`].
    #[error("an ICE server has {0} addresses, instead of 1 to {MAX_ICE_URLS}")]
    Urls(usize),
    /// A user name or a credential above [`MAX_ICE_SECRET_BYTES`].
    #[error("a user name or a credential is longer than {MAX_ICE_SECRET_BYTES} bytes")]
    LongSecret,
    /// More than [`MAX_ICE_SERVERS`].
    #[error("{0} ICE servers are more than {MAX_ICE_SERVERS}")]
    TooMany(usize),
}

/// Reads a list of ICE servers as people write it: addresses between commas (`stun:a.example:3478,stun:b.example`), or JSON,
/// a list of `RTCIceServer` objects. Empty text, `none` and `[]` are the empty list.
///
/// # Errors
/// [`IceError`].
pub fn parse_ice_servers(text: &str) -> Result<Vec<IceServer>, IceError> {
    let text = text.trim();
    let servers: Vec<IceServer> = if text.is_empty() || text == "none" {
        Vec::new()
    } else if text.starts_with(['[', '{']) {
        serde_json::from_str(text).map_err(|error| IceError::Json(error.to_string()))?
    } else {
        let server = |url: &str| IceServer::open(vec![url.trim().into()]);
        text.split(',').map(server).collect()
    };
    if servers.len() > MAX_ICE_SERVERS {
        return Err(IceError::TooMany(servers.len()));
    }
    servers.iter().try_for_each(IceServer::check)?;
    Ok(servers)
}

impl IceServer {
    /// Checks what `RTCPeerConnection` would throw at (WebRTC, section 4.4.1.6), and the limits.
    ///
    /// # Errors
    /// [`IceError`].
    pub fn check(&self) -> Result<(), IceError> {
        if self.urls.is_empty() || self.urls.len() > MAX_ICE_URLS {
            return Err(IceError::Urls(self.urls.len()));
        }
        if [&self.username, &self.credential]
            .into_iter()
            .flatten()
            .any(|text| text.len() > MAX_ICE_SECRET_BYTES)
        {
            return Err(IceError::LongSecret);
        }
        for url in &self.urls {
            let shown = || url.chars().take(80).collect::<String>();
            let is_turn = check_url(url).map_err(|reason| IceError::Url { url: shown(), reason })?;
            let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            if is_turn && !(has(&self.username) && has(&self.credential)) {
                return Err(IceError::NoCredential(shown()));
            }
        }
        Ok(())
    }
}

/// Checks an address (RFC 7064 for STUN, RFC 7065 for TURN), and tells whether it is TURN's.
fn check_url(url: &str) -> Result<bool, &'static str> {
    if url.len() > MAX_ICE_URL_BYTES {
        return Err("it is too long");
    }
    let (scheme, rest) = url.split_once(':').ok_or("it has no scheme")?;
    let is_turn = match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return Err("it begins neither with stun: or stuns: nor with turn: or turns:"),
    };
    if rest.starts_with("//") {
        return Err("no slashes come after the colon");
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    match query {
        None => {}
        Some("transport=udp" | "transport=tcp") if is_turn => {}
        Some(_) if is_turn => return Err("only ?transport=udp or ?transport=tcp can follow"),
        Some(_) => return Err("nothing can follow a STUN server's port"),
    }
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("the bracket is not closed")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "there is no IPv6 address in the brackets")?;
        match behind.strip_prefix(':') {
            None if behind.is_empty() => (host, None),
            None => return Err("only a port can follow the bracket"),
            Some(port) => (host, Some(port)),
        }
    } else {
        let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !host.bytes().all(fits) {
            return Err("the host has a character that no host has");
        }
        (host, port)
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|n: u16| n > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("its port is no number from 1 to 65535");
    }
    Ok(is_turn)
}

/// The servers that a page can use: what would make a browser refuse all of them is left out, and what is above the limit.
pub(super) fn usable<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<IceServer>>, D::Error> {
    let Some(values) = Option::<Vec<serde_json::Value>>::deserialize(deserializer)? else { return Ok(None) };
    let servers = values.into_iter().filter_map(|value| serde_json::from_value::<IceServer>(value).ok());
    Ok(Some(servers.filter(|server| server.check().is_ok()).take(MAX_ICE_SERVERS).collect()))
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(url) => vec![url],
        OneOrMany::Many(urls) => urls,
    })
}
