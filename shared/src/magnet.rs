//! Magnet links (BEP 9, BEP 53), and what people paste: a hash, a magnet, or a link to the page with either behind `#`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::BASE32;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ids::InfoHash;
use crate::limits::{
    MAX_MAGNET_BYTES, MAX_NAME_BYTES, MAX_SELECT_RANGES, MAX_TRACKER_URL_BYTES, MAX_TRACKERS,
};

/// Why a text names no torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// Longer than [`MAX_MAGNET_BYTES`].
    #[error("a text of {0} bytes is too long for a magnet link")]
    TooLong(usize),
    /// Neither a hash, nor a magnet link, nor a link with either behind `#`.
    #[error("this is no info-hash, magnet link or link to a torrent")]
    NotAMagnet,
    /// A magnet link without `xt=urn:btih:`.
    #[error("this magnet link has no BitTorrent info-hash")]
    NoHash,
    /// A hash of another length, or with other characters, than forty hexadecimal or thirty-two base32 digits.
    #[error("the info-hash in this magnet link is neither 40 hexadecimal nor 32 base32 digits")]
    BadHash,
    /// A hash of BitTorrent version 2 alone (BEP 52).
    #[error("this magnet link is of BitTorrent version 2 alone, which is not supported")]
    V2Only,
}

/// A magnet link. Addresses of peers and web seeds (`x.pe`, `ws`, `xs`, `as`) are ignored: a browser cannot dial the
/// first, and the others are not supported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Magnet {
    /// `xt`: the torrent.
    pub info_hash: InfoHash,
    /// `dn`: what to call it until its metadata is there; at most [`MAX_NAME_BYTES`] bytes, not a path to be trusted.
    pub display_name: Option<String>,
    /// `xl`: its length in bytes, as somebody says.
    pub exact_length: Option<u64>,
    /// `tr`: its trackers, each once, at most [`MAX_TRACKERS`].
    pub trackers: Vec<String>,
    /// `so`: the files to fetch (BEP 53), by their place in the list; empty for all.
    pub select_only: Vec<RangeInclusive<u32>>,
}

impl Magnet {
    /// The link with the hash alone.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            display_name: None,
            exact_length: None,
            trackers: Vec::new(),
            select_only: Vec::new(),
        }
    }

    /// Whether the file at this place in the list is to be fetched.
    pub fn selects(&self, file: u32) -> bool {
        self.select_only.is_empty() || self.select_only.iter().any(|range| range.contains(&file))
    }

    /// Names these trackers, too, behind those that it names already; each once, and no more than [`MAX_TRACKERS`] in all.
    pub fn add_trackers(&mut self, urls: impl IntoIterator<Item = String>) {
        for url in urls {
            if self.trackers.len() < MAX_TRACKERS && !self.trackers.contains(&url) {
                self.trackers.push(url);
            }
        }
    }

    /// Takes in one parameter; unknown ones and those that make no sense are ignored.
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "dn" if self.display_name.is_none() => {
                // Many programs write a space as `+` here, as in forms.
                let mut name = decode(&value.replace('+', " "));
                name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
                self.display_name = Some(name).filter(|name| !name.is_empty());
            }
            "xl" if self.exact_length.is_none() => self.exact_length = value.parse().ok(),
            "tr" => {
                let url = decode(value).trim().to_owned();
                if (1..=MAX_TRACKER_URL_BYTES).contains(&url.len()) {
                    self.add_trackers([url]);
                }
            }
            "so" => {
                let room = MAX_SELECT_RANGES - self.select_only.len();
                self.select_only.extend(decode(value).split(',').filter_map(range).take(room));
            }
            _ => {}
        }
    }
}

/// `3` or `3-7`.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Without the prefix, whatever the case of its letters.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Forty hexadecimal or thirty-two base32 digits.
fn parse_hash(text: &str) -> Option<InfoHash> {
    match text.len() {
        40 => text.parse().ok(),
        32 => {
            let bytes = BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
            Some(InfoHash::new(bytes.try_into().ok()?))
        }
        _ => None,
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Self, MagnetError> {
        if text.len() > MAX_MAGNET_BYTES {
            return Err(MagnetError::TooLong(text.len()));
        }
        let query = strip_prefix(text, "magnet:").ok_or(MagnetError::NotAMagnet)?;
        let parameters = || {
            query.trim_start_matches('?').split('&').filter_map(|parameter| {
                let (key, value) = parameter.split_once('=')?;
                // `tr.1=…&tr.2=…`, as some programs number them.
                let numbered =
                    key.split_once('.').filter(|(_, n)| n.bytes().all(|digit| digit.is_ascii_digit()));
                Some((numbered.map_or(key, |(key, _)| key), value))
            })
        };
        let mut missing = MagnetError::NoHash;
        let mut info_hash = None;
        for (_, value) in parameters().filter(|(key, _)| key.eq_ignore_ascii_case("xt")) {
            let topic = decode(value);
            if let Some(hash) = strip_prefix(&topic, "urn:btih:") {
                info_hash = info_hash.or(parse_hash(hash));
                missing = MagnetError::BadHash;
            } else if strip_prefix(&topic, "urn:btmh:").is_some() && missing == MagnetError::NoHash {
                missing = MagnetError::V2Only;
            }
        }
        let mut magnet = Self::new(info_hash.ok_or(missing)?);
        parameters().for_each(|(key, value)| magnet.take(&key.to_ascii_lowercase(), value));
        Ok(magnet)
    }
}

/// Reads what a person pastes: a hash (forty hexadecimal or thirty-two base32 digits), a magnet link, or any address with
/// one of these behind its `#`, percent-encoded or not; white space around it is ignored.
///
/// # Errors
/// [`MagnetError`]; [`MagnetError::NotAMagnet`] for any other text.
pub fn parse_pasted(text: &str) -> Result<Magnet, MagnetError> {
    let text = text.trim();
    if text.len() > MAX_MAGNET_BYTES {
        return Err(MagnetError::TooLong(text.len()));
    }
    match parse_bare(text) {
        Err(MagnetError::NotAMagnet) => {
            let (_, fragment) = text.split_once('#').ok_or(MagnetError::NotAMagnet)?;
            match parse_bare(fragment) {
                Err(MagnetError::NotAMagnet) => parse_bare(decode(fragment).trim()),
                magnet => magnet,
            }
        }
        magnet => magnet,
    }
}

/// A hash or a magnet link, nothing around it.
fn parse_bare(text: &str) -> Result<Magnet, MagnetError> {
    parse_hash(text).map_or_else(|| text.parse(), |hash| Ok(Magnet::new(hash)))
}

/// RFC 3986's unreserved characters stay.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The link, its hash in hexadecimal.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        if let Some(name) = &self.display_name {
            write!(f, "&dn={}", utf8_percent_encode(name, ENCODED))?;
        }
        if let Some(length) = self.exact_length {
            write!(f, "&xl={length}")?;
        }
        for tracker in &self.trackers {
            write!(f, "&tr={}", utf8_percent_encode(tracker, ENCODED))?;
        }
        for (n, range) in self.select_only.iter().enumerate() {
            f.write_str(if n == 0 { "&so=" } else { "," })?;
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}
