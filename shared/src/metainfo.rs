//! The `.torrent` file ([`Metainfo`]) and the info dictionary in it ([`Info`]), whose hash names the torrent
//! (BEP 3, version 1).
//!
//! The info dictionary's bytes are kept exactly as they came, since the hash is over them. What they say is checked once,
//! in [`Info::from_bytes`]: whoever holds an [`Info`] may cut pieces and save files by it.
//!
//! - A name that is not UTF-8 is read with U+FFFD in place of what cannot be read, as other clients do: the torrent still
//!   downloads, and the hash is not touched. `name.utf-8` and `path.utf-8`, where they are, come first.
//! - Padding files (BEP 47) and symbolic links are part of the layout, but marked [`File::hidden`].
//! - Hybrid torrents (BEP 52) are read as version 1; those of version 2 alone are refused.

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::bencode::{BencodeError, Dict, Value, raw_entry};
use crate::geometry::{Geometry, GeometryError, PieceIndex};
use crate::ids::{ID_LEN, InfoHash};
use crate::limits::{
    MAX_COMMENT_BYTES, MAX_FILES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_PATH_PARTS,
    MAX_TORRENT_FILE_BYTES, MAX_TRACKER_URL_BYTES, MAX_TRACKERS,
};
use crate::order::sorted;

/// Length of a piece's SHA-1, in bytes.
const HASH_LEN: usize = ID_LEN;

/// Why bytes are no torrent that this program takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// More bytes than [`MAX_TORRENT_FILE_BYTES`], or [`MAX_METADATA_BYTES`] for the info dictionary.
    #[error("{0} bytes are too many for a torrent's description")]
    TooLong(usize),
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A field that every torrent has is not there, or is of the wrong kind, or is a number outside its range.
    #[error("the torrent's `{0}` is missing or wrong")]
    Field(&'static str),
    /// BitTorrent version 2 without the parts of version 1 (BEP 52).
    #[error("this torrent is of BitTorrent version 2 alone, which is not supported")]
    V2Only,
    /// A name or path that could leave the torrent's folder, or that no file system takes.
    #[error("the file name {0:?} is not safe")]
    UnsafeName(String),
    /// Two files of one path, or a file where another has its folder.
    #[error("two files want the place {0:?}")]
    Conflict(String),
    /// More files than [`MAX_FILES`].
    #[error("{0} files are more than {MAX_FILES}")]
    TooManyFiles(usize),
    /// No file at all.
    #[error("the torrent has no files")]
    NoFiles,
    /// Sizes outside their limits.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// `pieces` is not twenty bytes for each piece.
    #[error("{found} bytes of piece hashes, where the files need {expected}")]
    Pieces {
        /// Bytes that are there.
        found: usize,
        /// Bytes that there should be.
        expected: usize,
    },
}

/// One file's place in a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Parts of the path below the torrent's folder, the file's name last; at least one. Of a single-file torrent, its
    /// name. No part is empty, `.` or `..`, or has a separator or NUL in it.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// Where it begins in the torrent, in bytes.
    pub offset: u64,
    /// Padding, or a symbolic link (BEP 47): it takes part in the layout, but is neither shown nor saved.
    pub hidden: bool,
}

impl File {
    /// The path, its parts joined by `/`.
    pub fn display_path(&self) -> String {
        self.path.join("/")
    }
}

/// What [`Info::create`] is told about files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One file, named like the torrent, of this many bytes.
    Single(u64),
    /// A folder, named like the torrent; of each file in it the path's parts and the length in bytes.
    Folder(Vec<(Vec<String>, u64)>),
}

/// An info dictionary: what a torrent is, and the hashes to verify it by.
///
/// Invariant: the files lie one behind the other and make up `geometry.total()` bytes; there is one hash for each piece;
/// no path leaves the torrent's folder or is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    raw: Bytes,
    info_hash: InfoHash,
    name: String,
    folder: bool,
    files: Vec<File>,
    geometry: Geometry,
    /// Inside `raw`.
    pieces: Bytes,
    private: bool,
}

impl Info {
    /// Reads an info dictionary; it keeps `raw`.
    ///
    /// # Errors
    /// [`MetainfoError`].
    pub fn from_bytes(raw: Bytes) -> Result<Self, MetainfoError> {
        if raw.len() > MAX_METADATA_BYTES {
            return Err(MetainfoError::TooLong(raw.len()));
        }
        let value = Value::parse(&raw)?;
        let dict = value.as_dict().ok_or(MetainfoError::Field("info"))?;
        let Some(pieces) = dict.bytes("pieces") else {
            let is_v2 = dict.int("meta version").is_some_and(|version| version >= 2);
            return Err(if is_v2 { MetainfoError::V2Only } else { MetainfoError::Field("pieces") });
        };
        let name = text(dict, "name.utf-8", "name").ok_or(MetainfoError::Field("name"))?;
        check_part(&name)?;
        let folder = dict.get("files").is_some();
        let files = if folder {
            read_files(dict.list("files").ok_or(MetainfoError::Field("files"))?)?
        } else {
            vec![File { path: vec![name.clone()], length: length(dict)?, offset: 0, hidden: false }]
        };
        if files.iter().all(|file| file.hidden) {
            return Err(MetainfoError::NoFiles);
        }
        check_places(&files)?;
        let total = files.last().map_or(0, |last| last.offset.saturating_add(last.length));
        let piece_length = dict.int("piece length").and_then(|length| u64::try_from(length).ok());
        let geometry = Geometry::new(total, piece_length.ok_or(MetainfoError::Field("piece length"))?)?;
        let expected = geometry.piece_count() as usize * HASH_LEN;
        if pieces.len() != expected {
            return Err(MetainfoError::Pieces { found: pieces.len(), expected });
        }
        Ok(Self {
            info_hash: InfoHash::new(Sha1::digest(&raw).into()),
            name,
            folder,
            files,
            geometry,
            pieces: raw.slice_ref(pieces),
            private: dict.int("private") == Some(1),
            raw,
        })
    }

    /// Makes an info dictionary from files that were hashed here. `pieces` has the SHA-1 of each piece, in order. In names,
    /// what [`Info::from_bytes`] refuses is replaced by `_`, so that any file that a disk holds can be shared.
    ///
    /// # Errors
    /// [`MetainfoError`]: no files or too many, sizes outside their limits, hashes that do not fit them, two names that
    /// became the same.
    pub fn create(
        name: &str,
        layout: &Layout,
        piece_length: u32,
        pieces: &[[u8; HASH_LEN]],
        private: bool,
    ) -> Result<Self, MetainfoError> {
        let to_int =
            |length: u64| i64::try_from(length).map(Value::Int).map_err(|_| GeometryError::Total(length));
        let name = safe_part(name);
        let mut entries = vec![
            ("name", Value::from(name.as_str())),
            ("piece length", Value::from(piece_length)),
            ("pieces", Value::Bytes(pieces.as_flattened())),
        ];
        let paths: Vec<Vec<String>>;
        match layout {
            Layout::Single(length) => entries.push(("length", to_int(*length)?)),
            Layout::Folder(files) => {
                paths =
                    files.iter().map(|(path, _)| path.iter().map(|part| safe_part(part)).collect()).collect();
                let files = files.iter().zip(&paths).map(|((_, length), path)| {
                    let path = path.iter().map(|part| Value::from(part.as_str())).collect();
                    Ok(Value::dict([("length", to_int(*length)?), ("path", Value::List(path))]))
                });
                entries.push(("files", Value::List(files.collect::<Result<_, MetainfoError>>()?)));
            }
        }
        if private {
            entries.push(("private", Value::Int(1)));
        }
        Self::from_bytes(Value::dict(entries).encode().into())
    }

    /// The dictionary's bytes, exactly as they came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The torrent's name everywhere: SHA-1 of [`Info::raw`].
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// What people call it: the file's name, or the folder's. Safe as a part of a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a folder with files, even if it is only one, rather than a single file.
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// All files in the order in which their bytes follow each other, hidden ones too; at least one is not.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// How the torrent is cut.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The SHA-1 that this piece must have. The index must be of this torrent.
    pub fn piece_hash(&self, piece: PieceIndex) -> [u8; HASH_LEN] {
        self.pieces.as_chunks().0[piece.as_usize()]
    }

    /// The SHA-1 of each piece, in order.
    pub fn piece_hashes(&self) -> &[[u8; HASH_LEN]] {
        self.pieces.as_chunks().0
    }

    /// Whether peers may be found through the torrent's own trackers only (BEP 27).
    pub fn is_private(&self) -> bool {
        self.private
    }
}

/// A `.torrent` file: an info dictionary, and where to find peers. Web seeds are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metainfo {
    /// What the torrent is.
    pub info: Info,
    /// The one tracker of BEP 3.
    pub announce: Option<String>,
    /// Tiers of trackers (BEP 12), at most [`MAX_TRACKERS`] addresses in all; no tier is empty.
    pub announce_list: Vec<Vec<String>>,
    /// What its maker had to say.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970, by its maker's clock; some programs write milliseconds.
    pub creation_date: Option<i64>,
}

impl Metainfo {
    /// A file with this info dictionary and nothing else.
    pub fn new(info: Info) -> Self {
        Self {
            info,
            announce: None,
            announce_list: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// Reads a `.torrent` file. Bytes behind it are ignored, as other clients do, and so are optional fields of the
    /// wrong kind.
    ///
    /// # Errors
    /// [`MetainfoError`].
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, MetainfoError> {
        if bytes.len() > MAX_TORRENT_FILE_BYTES {
            return Err(MetainfoError::TooLong(bytes.len()));
        }
        let (value, _) = Value::parse_prefix(bytes)?;
        let dict = value.as_dict().ok_or(MetainfoError::Field("info"))?;
        let raw = raw_entry(bytes, "info").ok_or(MetainfoError::Field("info"))?;
        Ok(Self {
            announce: dict.get("announce").and_then(tracker),
            announce_list: tiers(dict.list("announce-list").unwrap_or_default()),
            comment: text(dict, "comment.utf-8", "comment").map(shorten),
            created_by: text(dict, "created by.utf-8", "created by").map(shorten),
            creation_date: dict.int("creation date"),
            info: Info::from_bytes(bytes.slice_ref(raw))?,
        })
    }

    /// Writes the `.torrent` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tiers: Vec<Value<'_>> = self
            .announce_list
            .iter()
            .map(|tier| Value::List(tier.iter().map(|url| Value::from(url.as_str())).collect()))
            .collect();
        let entries = [
            ("announce", self.announce.as_deref().map(Value::from)),
            ("announce-list", (!tiers.is_empty()).then_some(Value::List(tiers))),
            ("comment", self.comment.as_deref().map(Value::from)),
            ("created by", self.created_by.as_deref().map(Value::from)),
            ("creation date", self.creation_date.map(Value::Int)),
        ];
        // The info dictionary goes in as it is, so the outermost dictionary is put together by hand: the keys above are
        // sorted, and all come before `info`.
        let mut bytes = vec![b'd'];
        for (key, value) in entries {
            if let Some(value) = value {
                bytes.extend(Value::from(key).encode());
                bytes.extend(value.encode());
            }
        }
        bytes.extend(Value::from("info").encode());
        bytes.extend_from_slice(self.info.raw());
        bytes.push(b'e');
        bytes
    }

    /// Every tracker once: those of the tiers in order, or the only one (BEP 12: tiers, where there are some, count
    /// alone).
    pub fn trackers(&self) -> Vec<&str> {
        let mut trackers = Vec::new();
        for tracker in self.announce_list.iter().flatten() {
            if !trackers.contains(&tracker.as_str()) {
                trackers.push(tracker);
            }
        }
        if trackers.is_empty() {
            trackers.extend(self.announce.as_deref());
        }
        trackers
    }
}

/// A good piece length for this many bytes: 64 KiB, doubled until there are at most [`AIMED_PIECES`] pieces, but no more
/// than 16 MiB.
pub const fn choose_piece_length(total: u64) -> u32 {
    let mut length = SHORTEST_PIECE;
    while length < LONGEST_PIECE && total.div_ceil(length as u64) > AIMED_PIECES {
        length *= 2;
    }
    length
}

/// Pieces at which the length doubles: 40 kB of hashes, which come within a round trip or two, and still a fine enough
/// grain for peers to have different ones.
pub const AIMED_PIECES: u64 = 2_000;
/// Bytes in the shortest piece we make: four blocks.
const SHORTEST_PIECE: u32 = 64 * 1024;
/// Bytes in the longest piece we make; it is in memory while it is fetched and verified.
const LONGEST_PIECE: u32 = 16 * 1024 * 1024;

/// The text of the first of these keys that is UTF-8, else the last one's with U+FFFD in it.
fn text(dict: &Dict<'_>, utf8_key: &str, key: &str) -> Option<String> {
    let utf8 = dict.bytes(utf8_key).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(Into::into);
    utf8.or_else(|| dict.bytes(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// The `length` of a file, from zero up.
fn length(dict: &Dict<'_>) -> Result<u64, MetainfoError> {
    dict.int("length").and_then(|length| u64::try_from(length).ok()).ok_or(MetainfoError::Field("length"))
}

/// The value of `files`.
fn read_files(list: &[Value<'_>]) -> Result<Vec<File>, MetainfoError> {
    if list.len() > MAX_FILES {
        return Err(MetainfoError::TooManyFiles(list.len()));
    }
    let mut offset = 0_u64;
    let mut files = Vec::with_capacity(list.len());
    for entry in list {
        let dict = entry.as_dict().ok_or(MetainfoError::Field("files"))?;
        let length = length(dict)?;
        let hidden = dict
            .bytes("attr")
            .is_some_and(|attributes| attributes.contains(&b'p') || attributes.contains(&b'l'));
        files.push(File { path: read_path(dict)?, length, offset, hidden });
        offset = offset.checked_add(length).ok_or(GeometryError::Total(u64::MAX))?;
    }
    Ok(files)
}

/// The `path` of one file.
fn read_path(dict: &Dict<'_>) -> Result<Vec<String>, MetainfoError> {
    let utf8 = dict.list("path.utf-8").and_then(|parts| {
        let part = |part: &Value<'_>| Some(std::str::from_utf8(part.as_bytes()?).ok()?.to_owned());
        parts.iter().map(part).collect::<Option<Vec<_>>>()
    });
    let lossy = || {
        let part = |part: &Value<'_>| Some(String::from_utf8_lossy(part.as_bytes()?).into_owned());
        dict.list("path")?.iter().map(part).collect()
    };
    let path = utf8.or_else(lossy).ok_or(MetainfoError::Field("path"))?;
    if path.is_empty() {
        return Err(MetainfoError::Field("path"));
    }
    let bytes = path.iter().map(|part| part.len() + 1).sum::<usize>() - 1;
    if path.len() > MAX_PATH_PARTS || bytes > MAX_PATH_BYTES {
        return Err(unsafe_name(&path.join("/")));
    }
    path.iter().try_for_each(|part| check_part(part))?;
    Ok(path)
}

/// Whether this may be a part of a path. Drive letters and reserved names of single systems pass: whoever saves knows the
/// system.
fn check_part(part: &str) -> Result<(), MetainfoError> {
    let bad = matches!(part, "" | "." | "..") || part.contains(FORBIDDEN) || part.len() > MAX_NAME_BYTES;
    if bad { Err(unsafe_name(part)) } else { Ok(()) }
}

/// Separators of Unix and Windows, and the end of a C string.
const FORBIDDEN: [char; 3] = ['/', '\\', '\0'];

/// A part of a path as a torrent has it: the nearest name without what [`Info::from_bytes`] refuses.
pub fn safe_part(part: &str) -> String {
    let mut safe = part.replace(FORBIDDEN, "_");
    safe.truncate(safe.floor_char_boundary(MAX_NAME_BYTES));
    if matches!(safe.as_str(), "" | "." | "..") { "_".into() } else { safe }
}

fn unsafe_name(name: &str) -> MetainfoError {
    MetainfoError::UnsafeName(name.chars().take(64).collect())
}

/// Whether every file has a place of its own.
fn check_places(files: &[File]) -> Result<(), MetainfoError> {
    let paths: Vec<&[String]> = files.iter().filter(|file| !file.hidden).map(|file| &file.path[..]).collect();
    // Sorted part by part, whatever lies at or below a path comes right behind it.
    let paths = sorted(paths);
    match paths.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
        Some(pair) => Err(MetainfoError::Conflict(pair[0].join("/").chars().take(64).collect())),
        None => Ok(()),
    }
}

/// A tracker's address, if it is one that is kept.
fn tracker(value: &Value<'_>) -> Option<String> {
    let url = std::str::from_utf8(value.as_bytes()?).ok()?.trim();
    (1..=MAX_TRACKER_URL_BYTES).contains(&url.len()).then(|| url.to_owned())
}

/// The value of `announce-list`; a lone address where a tier should be is a tier of one.
fn tiers(list: &[Value<'_>]) -> Vec<Vec<String>> {
    let mut room = MAX_TRACKERS;
    let tiers = list.iter().map(|tier| {
        let urls = tier.as_list().unwrap_or(std::slice::from_ref(tier));
        let tier: Vec<_> = urls.iter().filter_map(tracker).take(room).collect();
        room -= tier.len();
        tier
    });
    tiers.filter(|tier| !tier.is_empty()).collect()
}

fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_COMMENT_BYTES));
    text
}
