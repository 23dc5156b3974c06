//! The built page: from a folder, or embedded in the program.
//!
//! What is served lies inside the folder or the program, whatever a path says (`path`); it comes with its type, with
//! an `ETag`, and compressed where that helps (`encoding`). Files are read and compressed outside the reactor, once.

mod encoding;
mod path;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use rust_embed::RustEmbed;
use sha1::{Digest, Sha1};

use crate::http::{Reply, plain, with_type};
use crate::lock;
use encoding::Encoding;

/// Longest file that is served, in bytes; a page's files are far below.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of files kept in memory; beyond, they are read anew.
const MAX_CACHE_BYTES: usize = 256 * 1024 * 1024;

/// What to type to get a page, shown where there is none.
pub const HOW_TO_BUILD: &str =
    "`cargo xtask run` builds it and starts the tracker; by hand it is `trunk build --release`";

/// The files that Trunk built. Release builds hold them; debug builds read them from `dist/` at every request.
#[derive(RustEmbed)]
#[folder = "../dist"]
#[allow_missing = true]
struct Embedded;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The folder cannot be opened.
    #[error("the page folder {path} cannot be opened: {source}")]
    Folder {
        /// The folder as given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The path leads to something else.
    #[error("the page folder {0} is not a folder")]
    NotAFolder(PathBuf),
}

/// The built page.
#[derive(Debug)]
pub struct Page {
    source: Source,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Clone)]
enum Source {
    /// Canonical.
    Folder(PathBuf),
    Embedded,
}

#[derive(Debug, Default)]
struct Cache {
    assets: HashMap<String, Arc<Asset>>,
    bytes: usize,
}

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    File { length: u64, modified: Option<SystemTime> },
    Digest([u8; 32]),
}

/// One file, with its compressed forms as they are asked for.
#[derive(Debug)]
struct Asset {
    version: Version,
    bytes: Bytes,
    digest: String,
    brotli: OnceLock<Option<Bytes>>,
    gzip: OnceLock<Option<Bytes>>,
}

impl Page {
    /// The page in this folder. Its files may change while it is served.
    ///
    /// # Errors
    /// [`PageError`] when it cannot be opened, or is no folder.
    pub fn from_folder(path: &Path) -> Result<Self, PageError> {
        let folder =
            path.canonicalize().map_err(|source| PageError::Folder { path: path.to_owned(), source })?;
        if !folder.is_dir() {
            return Err(PageError::NotAFolder(path.to_owned()));
        }
        Ok(Self { source: Source::Folder(folder), cache: Arc::default() })
    }

    /// The page that was built when the tracker was (in debug builds: that lies in `dist/` now).
    pub fn embedded() -> Self {
        Self { source: Source::Embedded, cache: Arc::default() }
    }

    /// Whether there is a page at all.
    pub fn is_built(&self) -> bool {
        match &self.source {
            Source::Folder(folder) => folder.join("index.html").is_file(),
            Source::Embedded => Embedded::get("index.html").is_some(),
        }
    }

    /// Answers a GET or a HEAD (whose body the HTTP layer leaves out).
    pub(crate) async fn respond(&self, request_path: &str, request: &HeaderMap) -> Reply {
        let Some(name) = path::asset_name(request_path) else { return not_found() };
        let encodings = encoding::accepted(request);
        let (source, cache) = (self.source.clone(), Arc::clone(&self.cache));
        let wanted = name.clone();
        let found = tokio::task::spawn_blocking(move || {
            let asset = cached(&source, &cache, &wanted)?;
            let (encoding, body) = asset.best(&wanted, encodings);
            Some((asset, encoding, body))
        });
        match found.await {
            Ok(Some((asset, encoding, body))) => asset_reply(&name, &asset, encoding, body, request),
            Ok(None) if name == "index.html" => not_built(),
            Ok(None) => not_found(),
            Err(error) => {
                tracing::error!(%error, "reading a file of the page failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be read.\n")
            }
        }
    }
}

impl Asset {
    fn new(version: Version, bytes: Bytes) -> Self {
        let digest = Sha1::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { version, bytes, digest, brotli: OnceLock::new(), gzip: OnceLock::new() }
    }

    /// The same with what `press` made of it beforehand, if that is the same: a file may have been changed since.
    fn with_pressed(mut self, pressed: Option<Bytes>) -> Self {
        let pressed = pressed.filter(|short| encoding::is_brotli_of(short, &self.bytes));
        if pressed.is_some() {
            self.brotli = OnceLock::from(pressed);
        }
        self
    }

    /// The shortest form that the client takes. Compresses at the first time.
    fn best(&self, name: &str, accepted: encoding::Accepted) -> (Encoding, Bytes) {
        if encoding::is_worth_compressing(name, self.bytes.len()) {
            for (encoding, slot) in [(Encoding::Brotli, &self.brotli), (Encoding::Gzip, &self.gzip)] {
                if accepted.takes(encoding)
                    && let Some(short) = slot.get_or_init(|| encoding::compress(encoding, &self.bytes))
                {
                    return (encoding, short.clone());
                }
            }
        }
        (Encoding::Identity, self.bytes.clone())
    }
}

/// The file, from the cache if it is still the same.
fn cached(source: &Source, cache: &Mutex<Cache>, name: &str) -> Option<Arc<Asset>> {
    let known = lock(cache).assets.get(name).cloned();
    let asset = match source {
        Source::Folder(folder) => {
            let path = path::inside(folder, name)?;
            let metadata = path.metadata().ok().filter(|found| found.is_file())?;
            if metadata.len() > MAX_FILE_BYTES {
                tracing::warn!(name, "a file of the page is too long to be served");
                return None;
            }
            let version = Version::File { length: metadata.len(), modified: metadata.modified().ok() };
            if let Some(known) = known.filter(|known| known.version == version) {
                return Some(known);
            }
            // Beside the file, and so inside the folder, unless it is a link: what it leads to is compared.
            let pressed = || std::fs::read(format!("{}.br", path.display())).ok().map(Bytes::from);
            Asset::new(version, std::fs::read(&path).ok()?.into()).with_pressed(pressed())
        }
        Source::Embedded => {
            let file = Embedded::get(name)?;
            let version = Version::Digest(file.metadata.sha256_hash());
            if let Some(known) = known.filter(|known| known.version == version) {
                return Some(known);
            }
            let pressed = Embedded::get(&format!("{name}.br"));
            Asset::new(version, bytes_of(file.data)).with_pressed(pressed.map(|file| bytes_of(file.data)))
        }
    };
    let asset = Arc::new(asset);
    lock(cache).insert(name, Arc::clone(&asset));
    Some(asset)
}

fn bytes_of(data: std::borrow::Cow<'static, [u8]>) -> Bytes {
    match data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    }
}

impl Cache {
    fn insert(&mut self, name: &str, asset: Arc<Asset>) {
        let bytes = asset.bytes.len();
        if self.bytes + bytes > MAX_CACHE_BYTES {
            self.assets.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        if let Some(old) = self.assets.insert(name.to_owned(), asset) {
            self.bytes -= old.bytes.len();
        }
    }
}

fn asset_reply(name: &str, asset: &Asset, encoding: Encoding, body: Bytes, request: &HeaderMap) -> Reply {
    // Each form has a tag of its own: they are different bytes.
    let tag = match encoding {
        Encoding::Identity => format!("\"{}\"", asset.digest),
        Encoding::Brotli => format!("\"{}-br\"", asset.digest),
        Encoding::Gzip => format!("\"{}-gz\"", asset.digest),
    };
    let unchanged = matches_tag(request, &tag);
    let mut reply = Response::new(if unchanged { Full::default() } else { Full::new(body) });
    if unchanged {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = reply.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    let caching = if path::is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if unchanged {
        return reply;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(path::content_type(name)));
    match encoding {
        Encoding::Identity => {}
        Encoding::Brotli => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        }
        Encoding::Gzip => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    reply
}

/// Whether `If-None-Match` names this tag (RFC 9110, section 13.1.2: compared weakly).
fn matches_tag(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn not_found() -> Reply {
    plain(StatusCode::NOT_FOUND, "There is nothing here.\n")
}

fn not_built() -> Reply {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Enxame</title>\n\
         <h1>The tracker is running</h1>\n<p>The page has not been built yet: {}.</p>\n",
        HOW_TO_BUILD.split('`').enumerate().fold(String::new(), |text, (part, words)| {
            text + &if part % 2 == 1 { format!("<code>{words}</code>") } else { words.to_owned() }
        })
    );
    with_type(StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=utf-8", page.into())
}
