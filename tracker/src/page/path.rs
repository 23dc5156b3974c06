//! What the path of a request says about a file: its name inside the page, its type, how long it may be kept.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// The name, inside the page, of the file that this path of a URL means, its parts joined by `/`. `None` for paths that
/// could mean anything outside, hidden files, and names that no page has.
pub(super) fn asset_name(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    if decoded.is_empty() {
        return Some("index.html".to_owned());
    }
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(['\\', ':'])
            && !part.contains(char::is_control)
    };
    decoded.split('/').all(is_plain).then(|| decoded.into_owned())
}

/// The file of this name in the folder, unless a link leads out of it. `folder` must be canonical.
pub(super) fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name).canonicalize().ok()?;
    path.starts_with(folder).then_some(path)
}

/// The type of a file by its name.
pub(super) fn content_type(name: &str) -> &'static str {
    match extension(name) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "torrent" => "application/x-bittorrent",
        "txt" => "text/plain; charset=utf-8",
        _ => mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream"),
    }
}

/// Whether the name holds a digest of the content, as Trunk writes it (`web-peer-0123456789abcdef_bg.wasm`; without the zeros that
/// it may begin with): such a file never changes.
pub(super) fn is_hashed(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.split('.').next().unwrap_or(file);
    let stem = stem.strip_suffix("_bg").unwrap_or(stem);
    let digest = stem.rsplit('-').next().filter(|digest| *digest != stem);
    digest.is_some_and(|digest| {
        (12..=16).contains(&digest.len())
            && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

pub(super) fn extension(name: &str) -> &str {
    name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_names_and_the_root_is_the_index() {
        assert_eq!(asset_name("/").as_deref(), Some("index.html"));
        assert_eq!(asset_name("/locales/pt-BR.json").as_deref(), Some("locales/pt-BR.json"));
        assert_eq!(asset_name("/a%20b.svg").as_deref(), Some("a b.svg"));
        assert_eq!(asset_name("/%C3%A9.txt").as_deref(), Some("é.txt"));
    }

    #[test]
    fn paths_that_could_lead_elsewhere_are_no_names() {
        let paths = [
            "",
            "index.html",
            "//etc/passwd",
            "/../secret",
            "/a/../../secret",
            "/%2e%2e/secret",
            "/%2E./secret",
            "/a/%2e%2e%2fsecret",
            "/..%2fsecret",
            "/..%5csecret",
            "/a\\b",
            "/a%00.html",
            "/./a",
            "/a//b",
            "/a/",
            "/%2fetc/passwd",
            "/C:/secret",
            "/.git/config",
            "/%ff",
            "/a%0ab",
        ];
        for path in paths {
            assert_eq!(asset_name(path), None, "{path}");
        }
    }

    #[test]
    fn only_names_with_a_digest_are_kept_for_good() {
        for name in [
            "web-peer-0123456789abcdef.js",
            "web-peer-0123456789abcdef_bg.wasm",
            "a/style-00112233aabbccdd.css",
            "web-peer-123456789abcdef_bg.wasm",
            "a-123456789abc.js",
        ] {
            assert!(is_hashed(name), "{name}");
        }
        for name in [
            "index.html",
            "web-peer.js",
            "0123456789abcdef.js",
            "a-0123456789a.js",
            "snippets/x-0123456789abcdef/inline0.js",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }

    #[test]
    fn types_are_what_browsers_insist_on() {
        assert_eq!(content_type("a/b_bg.wasm"), "application/wasm");
        assert_eq!(content_type("a.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("site.webmanifest"), "application/manifest+json");
        assert_eq!(content_type("x.torrent"), "application/x-bittorrent");
        assert_eq!(content_type("favicon.ico"), "image/x-icon");
        assert_eq!(content_type("icon.png"), "image/png");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
