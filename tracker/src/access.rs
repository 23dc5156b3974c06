//! Who may come, and to what: lists of info-hashes, the origins of pages, and tokens.
//!
//! The lists and the tokens are files, read at the start and again when the owner asks (SIGHUP): what is new in them holds at
//! once. A file that cannot be read changes nothing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use percent_encoding::percent_decode_str;
use sha1::{Digest, Sha1};
use shared::InfoHash;
use tokio::sync::Notify;

/// Longest file of a list, in bytes: a million info-hashes with a word about each.
const MAX_LIST_BYTES: u64 = 128 * 1024 * 1024;

/// Shortest token, in bytes: what is shorter can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The name of the cookie that remembers a token.
pub(crate) const COOKIE: &str = "enxame-token";

/// Why the lists cannot be used. The sentences are for the person who wrote them.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A line is not what it should be.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Where the lists are. A file that is not named restricts nothing.
#[derive(Debug, Clone, Default)]
pub struct AccessFiles {
    /// Info-hashes that are served; no others are.
    pub allow: Option<PathBuf>,
    /// Info-hashes that are not served.
    pub deny: Option<PathBuf>,
    /// Tokens, one of which every client must show.
    pub tokens: Option<PathBuf>,
}

/// Who may come, and to what. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Access {
    files: Arc<AccessFiles>,
    origins: Arc<Vec<String>>,
    rules: Arc<RwLock<Arc<Rules>>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Rules {
    allow: Option<HashSet<InfoHash>>,
    deny: HashSet<InfoHash>,
    /// Digests: comparing them tells nothing about the tokens, however long it takes.
    tokens: Option<HashSet<[u8; 20]>>,
}

impl Access {
    /// Reads the lists. Pages may come from these `origins` (`https://example.org`, or `self` for where the request itself went);
    /// from any if there is none.
    ///
    /// # Errors
    /// [`AccessError`] when a list cannot be used.
    pub fn load(files: AccessFiles, origins: Vec<String>) -> Result<Self, AccessError> {
        let rules = Rules::read(&files)?;
        Ok(Self {
            files: Arc::new(files),
            origins: Arc::new(origins),
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            changed: Arc::default(),
        })
    }

    /// Reads the lists again.
    ///
    /// # Errors
    /// [`AccessError`]; the old ones hold on then.
    pub fn reload(&self) -> Result<(), AccessError> {
        let rules = Arc::new(Rules::read(&self.files)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.changed.notify_one();
        Ok(())
    }

    /// Whether this swarm is served.
    pub fn permits(&self, info_hash: &InfoHash) -> bool {
        let rules = self.rules();
        !rules.deny.contains(info_hash) && rules.allow.as_ref().is_none_or(|allow| allow.contains(info_hash))
    }

    /// Done when the lists were read again. One task only may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether a page of this origin, as the browser tells it, may connect to what it knows as `host`. Clients that are no
    /// browsers tell no origin, or any they like: tokens are against those.
    pub(crate) fn admits_origin(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin.filter(|_| !self.origins.is_empty()) else { return true };
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        self.origins.iter().any(|allowed| match allowed.as_str() {
            "self" => authority.zip(host).is_some_and(|(a, host)| a.eq_ignore_ascii_case(host)),
            allowed => allowed.trim_end_matches('/').eq_ignore_ascii_case(origin),
        })
    }

    /// Whether this token, if any, opens the door. Without tokens it is open.
    pub(crate) fn admits_token(&self, token: Option<&str>) -> bool {
        let rules = self.rules();
        let Some(tokens) = &rules.tokens else { return true };
        token.is_some_and(|token| tokens.contains(&digest(token)))
    }

    /// Whether clients must show tokens.
    pub(crate) fn is_private(&self) -> bool {
        self.files.tokens.is_some()
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The token in a request: in its query (`?token=`), its `Authorization: Bearer`, or the cookie.
pub(crate) fn token(
    query: Option<&str>,
    authorization: Option<&str>,
    cookies: Option<&str>,
) -> Option<String> {
    let in_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
    let in_query = in_query.and_then(|token| percent_decode_str(token).decode_utf8().ok());
    let bearer = || authorization?.strip_prefix("Bearer ").map(str::trim);
    let in_cookie =
        || cookies?.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    in_query.map(std::borrow::Cow::into_owned).or_else(|| bearer().or_else(in_cookie).map(str::to_owned))
}

fn digest(token: &str) -> [u8; 20] {
    Sha1::digest(token.as_bytes()).into()
}

impl Rules {
    fn read(files: &AccessFiles) -> Result<Self, AccessError> {
        let hash = |word: &str| word.parse::<InfoHash>().map_err(|_| "this is no info-hash of 40 digits");
        let token = |word: &str| {
            let usable = word.len() >= MIN_TOKEN_BYTES
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
            usable.then(|| digest(word)).ok_or("a token is at least 16 letters, digits or any of -._~")
        };
        Ok(Self {
            allow: files.allow.as_deref().map(|path| lines(path, hash)).transpose()?,
            deny: files.deny.as_deref().map(|path| lines(path, hash)).transpose()?.unwrap_or_default(),
            tokens: files.tokens.as_deref().map(|path| lines(path, token)).transpose()?,
        })
    }
}

/// The first word of each line that is neither empty nor a comment (`#`).
fn lines<T: Eq + std::hash::Hash>(
    path: &Path,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<HashSet<T>, AccessError> {
    let unreadable = |error| AccessError::Unreadable(path.to_owned(), error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_LIST_BYTES {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let words = text.lines().enumerate().filter_map(|(n, line)| {
        let line = line.split('#').next().unwrap_or_default();
        Some((n + 1, line.split_whitespace().next()?))
    });
    words
        .map(|(line, word)| {
            read(word).map_err(|problem| AccessError::Line { path: path.to_owned(), line, problem })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> InfoHash {
        InfoHash::new([n; 20])
    }

    #[test]
    fn lists_are_read_again_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (allow, deny) = (folder.path().join("allow"), folder.path().join("deny"));
        std::fs::write(&allow, format!("# ours\n\n{}  # a film\n{}\n", "01".repeat(20), "02".repeat(20)))
            .unwrap();
        std::fs::write(&deny, "02".repeat(20)).unwrap();
        let files = AccessFiles { allow: Some(allow.clone()), deny: Some(deny), tokens: None };
        let access = Access::load(files, Vec::new()).unwrap();
        let permitted = |access: &Access| [1, 2, 3].map(|n| access.permits(&hash(n)));
        assert_eq!(permitted(&access), [true, false, false]);
        std::fs::write(&allow, "03".repeat(20)).unwrap();
        access.reload().unwrap();
        assert_eq!(permitted(&access), [false, false, true]);
        std::fs::write(&allow, format!("{}\nnonsense\n", "01".repeat(20))).unwrap();
        let error = access.reload().unwrap_err().to_string();
        assert!(error.contains("allow, line 2: this is no info-hash"), "{error}");
        assert_eq!(permitted(&access), [false, false, true]);
        assert!(Access::default().permits(&hash(9)));
    }

    #[test]
    fn pages_of_other_origins_stay_out() {
        let origins = vec!["self".to_owned(), "https://example.org/".to_owned()];
        let access = Access::load(AccessFiles::default(), origins).unwrap();
        let admits = |origin| access.admits_origin(Some(origin), Some("tracker.example:8000"));
        assert!(admits("http://tracker.example:8000") && admits("https://Example.org"));
        assert!(
            !admits("http://tracker.example")
                && !admits("https://example.org.evil.example")
                && !admits("null")
        );
        assert!(access.admits_origin(None, None), "not a browser");
        assert!(Access::default().admits_origin(Some("https://anybody.example"), None));
    }

    #[test]
    fn a_token_is_found_wherever_clients_can_put_it() {
        let secret = "0123456789abcdef";
        assert_eq!(token(Some("a=b&token=0123456789%61bcdef"), None, None).as_deref(), Some(secret));
        assert_eq!(token(None, Some("Bearer 0123456789abcdef"), None).as_deref(), Some(secret));
        assert_eq!(token(None, None, Some("a=b; enxame-token=0123456789abcdef")).as_deref(), Some(secret));
        assert_eq!(token(Some("token"), Some("Basic x"), Some("enxame-tokens=x")), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, secret).unwrap();
        let files = AccessFiles { tokens: Some(path.clone()), ..AccessFiles::default() };
        let access = Access::load(files.clone(), Vec::new()).unwrap();
        assert!(access.admits_token(Some(secret)));
        assert!(!access.admits_token(Some("0123456789abcdeF")) && !access.admits_token(None));
        std::fs::write(&path, "short").unwrap();
        assert!(Access::load(files, Vec::new()).is_err());
    }
}
