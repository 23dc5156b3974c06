//! What the service worker was asked for, and what the answer begins with.

use std::ops::Range;

use shared::InfoHash;

use super::range::{self, Asked};
use crate::media;

/// Longest path or header that is looked at, in characters: names in a path are percent-encoded.
const MAX_TEXT: usize = 8192;

/// What the response is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// This file, by its place in the list that the page shows.
    File(usize),
    /// All files as one zip.
    Zip,
}

/// One request to the address `stream/<client>/<info-hash>/<file or "zip">/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of which torrent.
    pub info_hash: InfoHash,
    /// What of it.
    pub subject: Subject,
    /// The `Range` header.
    pub range: Option<String>,
}

impl Request {
    /// Reads what stands behind the client in the address. The name is for people and for the file that is saved, and says
    /// nothing here.
    pub fn parse(path: &str, range: Option<String>) -> Option<Self> {
        if path.len() > MAX_TEXT || range.as_ref().is_some_and(|range| range.len() > MAX_TEXT) {
            return None;
        }
        let mut parts = path.split('/');
        let info_hash = parts.next()?.parse().ok()?;
        let subject = match parts.next()? {
            "zip" => Subject::Zip,
            place => Subject::File(place.parse().ok()?),
        };
        Some(Self { info_hash, subject, range })
    }

    /// The answer's head, and which of the file's bytes follow it, for a file with this path and of so many bytes.
    pub fn answer(&self, path: &str, length: u64) -> (Head, Range<u64>) {
        let (status, part) = match range::parse(self.range.as_deref(), length) {
            Asked::All => (200, 0..length),
            Asked::Part(part) => (206, part),
            Asked::Unsatisfiable => (416, 0..0),
        };
        let mut head = Head::new(status, media::content_type(path));
        head.add("accept-ranges", "bytes");
        head.add("content-length", &(part.end - part.start).to_string());
        match status {
            206 => head.add("content-range", &format!("bytes {}-{}/{length}", part.start, part.end - 1)),
            416 => head.add("content-range", &format!("bytes */{length}")),
            _ => {}
        }
        (head, part)
    }
}

/// Status and headers of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(&'static str, String)>,
}

impl Head {
    /// With what every response here has: it is kept nowhere, is of no other type than it says, and whatever is in it runs
    /// nothing and loads nothing, since it stands under the page's own address.
    pub fn new(status: u16, content_type: &str) -> Self {
        let mut head = Self { status, headers: Vec::new() };
        head.add("content-type", content_type);
        head.add("cache-control", "no-store");
        head.add("x-content-type-options", "nosniff");
        // The browser's PDF viewer does not open in a sandbox, and is one itself.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
        if content_type != "application/pdf" {
            head.add("content-security-policy", policy);
        }
        head
    }

    /// The head of a zip with this name, which is saved and not shown. How long it will be is not known.
    pub fn of_zip(name: &str) -> Self {
        let mut head = Self::new(200, "application/zip");
        head.add("content-disposition", &attachment(name));
        head
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }
}

/// The value of `Content-Disposition` (RFC 6266) that saves under this name, which is in UTF-8 (RFC 8187, section 3.2.1).
fn attachment(name: &str) -> String {
    let mut value = "attachment; filename*=UTF-8''".to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
        head.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_address_names_a_torrent_and_a_file_or_all() {
        let info_hash = HASH.parse().unwrap();
        let file = Request::parse(&format!("{HASH}/12/a%20b.mp4"), Some("bytes=0-".into()));
        assert_eq!(
            file,
            Some(Request { info_hash, subject: Subject::File(12), range: Some("bytes=0-".into()) })
        );
        let zip = Request::parse(&format!("{HASH}/zip/a.zip"), None);
        assert_eq!(zip, Some(Request { info_hash, subject: Subject::Zip, range: None }));
        for path in
            ["", "/", HASH, &format!("{HASH}/-1/a"), &format!("{HASH}/x/a"), &format!("{}/0/a", &HASH[1..])]
        {
            assert_eq!(Request::parse(path, None), None, "{path}");
        }
        assert_eq!(Request::parse(&format!("{HASH}/0/{}", "a".repeat(MAX_TEXT)), None), None);
        assert_eq!(Request::parse(&format!("{HASH}/0/a"), Some("b".repeat(MAX_TEXT + 1))), None);
    }

    #[test]
    fn a_part_is_answered_as_a_part_with_its_place() {
        let request = |range: Option<&str>| {
            Request::parse(&format!("{HASH}/0/a"), range.map(Into::into)).unwrap().answer("a/b.webm", 1000)
        };
        let (head, part) = request(None);
        assert_eq!((head.status, part), (200, 0..1000));
        assert_eq!(header(&head, "content-type"), Some("video/webm"));
        assert_eq!(header(&head, "content-length"), Some("1000"));
        let (head, part) = request(Some("bytes=900-"));
        assert_eq!((head.status, part), (206, 900..1000));
        assert_eq!(header(&head, "content-length"), Some("100"));
        assert_eq!(header(&head, "content-range"), Some("bytes 900-999/1000"));
        let (head, part) = request(Some("bytes=1000-"));
        assert_eq!((head.status, part), (416, 0..0));
        assert_eq!(header(&head, "content-range"), Some("bytes */1000"));
    }

    #[test]
    fn what_comes_from_a_torrent_runs_nothing() {
        for path in ["a.svg", "a.html", "a.txt", "a.bin", "a.mp4"] {
            let head = Head::new(200, media::content_type(path));
            assert!(
                header(&head, "content-security-policy").is_some_and(|policy| policy.ends_with("sandbox"))
            );
            assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"));
        }
    }

    #[test]
    fn a_zip_is_saved_under_its_name_in_any_script() {
        let head = Head::of_zip("férias \"数据\"\r\n.zip");
        let expected = "attachment; filename*=UTF-8''f%C3%A9rias%20%22%E6%95%B0%E6%8D%AE%22%0D%0A.zip";
        assert_eq!(header(&head, "content-disposition"), Some(expected));
    }
}
