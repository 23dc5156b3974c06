//! What is served over plain HTTP.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::Page;

use crate::client::*;

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends a request with these header lines, and reads the reply to the end of the connection.
async fn request(tracker: &Tracker, method: &str, path: &str, headers: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(tracker.address).await.unwrap();
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned()));
    Reply { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
}

pub(crate) async fn get(tracker: &Tracker, path: &str, headers: &[&str]) -> Reply {
    request(tracker, "GET", path, headers).await
}

/// A folder with a page in it, beside a secret file.
fn folder() -> TempDir {
    let root = TempDir::new().unwrap();
    let page = root.path().join("page");
    std::fs::create_dir_all(page.join("locales")).unwrap();
    let long = "a line that repeats itself\n".repeat(200);
    for (name, content) in [
        ("index.html", long.as_str()),
        ("web-peer-0123456789abcdef.js", long.as_str()),
        ("web-peer-0123456789abcdef_bg.wasm", long.as_str()),
        ("locales/pt-BR.json", "{}"),
        ("icon.png", long.as_str()),
        (".hidden", "secret"),
        ("../secret.txt", "secret"),
    ] {
        std::fs::write(page.join(name), content).unwrap();
    }
    root
}

async fn serving(root: &Path) -> Tracker {
    let page = Page::from_folder(&root.join("page")).unwrap();
    Tracker::start_with(|settings| settings.page = page).await
}

#[tokio::test]
async fn files_come_with_their_types_and_only_hashed_ones_are_kept_for_good() {
    let root = folder();
    let tracker = serving(root.path()).await;
    for (path, content_type, cache) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/?lang=pt-BR", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/locales/pt-BR.json", "application/json", "no-cache"),
        ("/icon.png", "image/png", "no-cache"),
        (
            "/web-peer-0123456789abcdef.js",
            "text/javascript; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        ("/web-peer-0123456789abcdef_bg.wasm", "application/wasm", "public, max-age=31536000, immutable"),
    ] {
        let reply = get(&tracker, path, &[]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, content_type), "{path}");
        assert_eq!(reply.header("cache-control"), cache, "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"), "{path}");
        assert!(!policy.contains("'unsafe-"), "{path}");
    }
    tracker.stop().await;
}

#[tokio::test]
async fn a_known_version_is_not_sent_again_and_a_changed_file_is() {
    let root = folder();
    let tracker = serving(root.path()).await;
    let first = get(&tracker, "/", &[]).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let reply = get(&tracker, "/", &[&format!("If-None-Match: {known}")]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
        assert_eq!(reply.header("etag"), tag);
    }
    std::fs::write(root.path().join("page/index.html"), "built anew").unwrap();
    let reply = get(&tracker, "/", &[&format!("If-None-Match: {tag}")]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"built anew"[..]));
    tracker.stop().await;
}

#[tokio::test]
async fn files_are_compressed_for_those_who_take_it() {
    let root = folder();
    let tracker = serving(root.path()).await;
    let whole = std::fs::read(root.path().join("page/index.html")).unwrap();
    let mut tags = Vec::new();
    for (accept, encoding) in
        [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("identity", ""), ("br;q=0", "")]
    {
        let reply = get(&tracker, "/", &[&format!("Accept-Encoding: {accept}")]).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, encoding), "{accept}");
        assert_eq!(reply.header("vary"), "accept-encoding");
        let mut content = Vec::new();
        match encoding {
            "br" => brotli::Decompressor::new(&reply.body[..], 4096).read_to_end(&mut content).unwrap(),
            "gzip" => flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut content).unwrap(),
            _ => {
                content = reply.body.clone();
                0
            }
        };
        assert!(content == whole, "{accept}");
        tags.push(reply.header("etag").to_owned());
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has its own tag: {tags:?}");
    let picture = get(&tracker, "/icon.png", &["Accept-Encoding: br"]).await;
    assert_eq!(picture.header("content-encoding"), "");
    let tiny = get(&tracker, "/locales/pt-BR.json", &["Accept-Encoding: br"]).await;
    assert_eq!(tiny.header("content-encoding"), "");
    tracker.stop().await;
}

#[tokio::test]
async fn a_head_request_gets_the_headers_alone() {
    let root = folder();
    let tracker = serving(root.path()).await;
    let reply = request(&tracker, "HEAD", "/", &[]).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.header("content-length"), "5400");
    tracker.stop().await;
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served_nor_any_listing() {
    let root = folder();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root.path().join("secret.txt"), root.path().join("page/link.txt"))
            .unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("page/up")).unwrap();
    }
    let tracker = serving(root.path()).await;
    let paths = [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/locales/../../secret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "//secret.txt",
        "/.hidden",
        "/link.txt",
        "/up/secret.txt",
        "/locales",
        "/locales/",
        "/index.html%00.txt",
        "/nothing",
        "/index.html/",
    ];
    for path in paths {
        let reply = get(&tracker, path, &[]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("secret"), "{path}");
    }
    tracker.stop().await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let root = folder();
    let tracker = serving(root.path()).await;
    let reply = request(&tracker, "DELETE", "/", &[]).await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"));
    tracker.stop().await;
}

#[tokio::test]
async fn without_a_page_the_visitor_reads_how_to_build_it_and_the_socket_works() {
    let root = folder();
    std::fs::remove_file(root.path().join("page/index.html")).unwrap();
    let tracker = serving(root.path()).await;
    let reply = get(&tracker, "/", &[]).await;
    let body = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 503);
    assert!(body.contains("cargo xtask run") && body.contains("trunk build"), "{body}");
    tracker.join(1).await.quiet().await;
    tracker.stop().await;
}

#[tokio::test]
async fn a_page_folder_that_is_not_there_is_an_error_with_its_name() {
    let root = folder();
    let missing = Page::from_folder(&root.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere"), "{missing}");
    let file = Page::from_folder(&root.path().join("page/index.html")).unwrap_err().to_string();
    assert!(file.contains("is not a folder"), "{file}");
}

#[tokio::test]
async fn health_and_stats_are_json() {
    let tracker = Tracker::start().await;
    let health = get(&tracker, "/health", &[]).await;
    assert_eq!((health.status, health.header("content-type")), (200, "application/json"));
    assert_eq!(health.body, br#"{"status":"ready"}"#);

    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, b"hello").await;
    b.read_data(at_b.channel, 5, false).await;
    let stats: serde_json::Value = serde_json::from_slice(&get(&tracker, "/stats", &[]).await.body).unwrap();
    for (field, value) in [
        ("connections", 2),
        ("swarms", 1),
        ("peers", 2),
        ("leechers", 2),
        ("relayChannels", 1),
        ("relayedBytes", 5),
    ] {
        assert_eq!(stats[field], value, "{field} in {stats}");
    }
    // In: two announces and a wish for a channel. Out: two replies, and the channel's opening to each side. Relay frames
    // are none, and a message that is not understood is one as well.
    assert_eq!(stats["messages"], serde_json::json!({"in": 3, "out": 4}));
    a.send_text("?").await;
    a.failed().await;
    let stats: serde_json::Value = serde_json::from_slice(&get(&tracker, "/stats", &[]).await.body).unwrap();
    assert_eq!(stats["messages"], serde_json::json!({"in": 4, "out": 5}));
    tracker.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let tracker = Tracker::start().await;
    let upgrade = ["Upgrade: websocket"];
    assert_eq!(get(&tracker, "/ws", &upgrade).await.status, 400);
    let old =
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: x"];
    let reply = get(&tracker, "/ws", &old).await;
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, "13"));
    let no_key = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    assert_eq!(get(&tracker, "/ws", &no_key).await.status, 400);
    tracker.stop().await;
}

/// What `press` wrote beside a file is what is sent, as long as the file is what it was.
#[tokio::test]
async fn what_was_compressed_beforehand_is_sent_unless_the_file_has_changed() {
    let root = folder();
    let page = root.path().join("page");
    let name = "web-peer-0123456789abcdef.js";
    let content = std::fs::read(page.join(name)).unwrap();
    let mut pressed = Vec::new();
    // Of an effort that the tracker does not take, so that it can be told.
    let mut writer = brotli::CompressorWriter::new(&mut pressed, 4096, 1, 20);
    std::io::Write::write_all(&mut writer, &content).unwrap();
    drop(writer);
    std::fs::write(page.join(format!("{name}.br")), &pressed).unwrap();
    std::fs::write(page.join("index.html.br"), &pressed[..pressed.len() - 1]).unwrap();
    let tracker = serving(root.path()).await;

    let reply = get(&tracker, &format!("/{name}"), &["Accept-Encoding: br"]).await;
    assert_eq!((reply.header("content-encoding"), reply.body == pressed), ("br", true));
    let broken = get(&tracker, "/", &["Accept-Encoding: br"]).await;
    let mut unpacked = Vec::new();
    brotli::Decompressor::new(&broken.body[..], 4096).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, std::fs::read(page.join("index.html")).unwrap());

    let changed = "something else that repeats itself\n".repeat(100);
    std::fs::write(page.join(name), &changed).unwrap();
    let reply = get(&tracker, &format!("/{name}"), &["Accept-Encoding: br"]).await;
    let mut unpacked = String::new();
    brotli::Decompressor::new(&reply.body[..], 4096).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, changed);
    tracker.stop().await;
}
