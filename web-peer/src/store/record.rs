//! What is remembered of a torrent beside its bytes.

use bytes::Bytes;
use engine::Priority;
use serde::{Deserialize, Serialize};
use shared::{Geometry, InfoHash};

use crate::snapshot::{AllTime, Notes, RateLimits};

/// What a tab remembers of a torrent, for itself after a reload and for the tab that comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which torrent.
    #[serde(with = "hex")]
    pub info_hash: InfoHash,
    /// The bencoded info dictionary, once it is known. Kept in a file of its own.
    #[serde(skip)]
    pub info: Option<Bytes>,
    /// The link it was added with, or one that says the same: trackers, name.
    pub magnet: String,
    /// What it is called; empty when nobody has said.
    pub name: String,
    /// Whether the user stopped it.
    pub paused: bool,
    /// Milliseconds since 1970 when it was added: the list's order.
    #[serde(default)]
    pub added: u64,
    /// What the user wants of it.
    #[serde(default)]
    pub wishes: Wishes,
    /// What its `.torrent` file says about it.
    #[serde(default)]
    pub comment: Option<String>,
    /// The program that made that file.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When that was, as it says.
    #[serde(default)]
    pub creation_date: Option<i64>,
    /// What was received and sent of it, since it was added.
    #[serde(default)]
    pub all_time: AllTime,
    /// Where its bytes are the user's own files and nothing of them is in the store: which.
    #[serde(default)]
    pub seeded: Option<Seeded>,
    /// Whether the user took it out of the list, keeping its data.
    #[serde(default)]
    pub unlisted: bool,
}

impl Record {
    /// What its `.torrent` file says about it.
    pub fn notes(&self) -> Notes {
        let Self { comment, created_by, creation_date, .. } = self;
        Notes { comment: comment.clone(), created_by: created_by.clone(), creation_date: *creation_date }
    }
}

/// The user's own files, as they were when their hashes were last found right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeded {
    /// What was chosen is called: the file's name, or the folder's.
    pub name: String,
    /// Lengths and times of all of them, in so many digits that no two ever have the same; told apart, and not read.
    pub stamp: String,
}

/// What the user wants of a torrent, apart from pausing it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// How fast it may go.
    pub limits: RateLimits,
    /// Whether pieces are fetched in order.
    pub sequential: bool,
    /// How much files are wanted, by their place in the metadata; those that are not here are wanted as usual.
    pub priorities: Vec<(usize, Priority)>,
    /// Once the metadata is known, no file is wanted before the user has chosen it.
    pub choose_first: bool,
}

/// A torrent that the predecessor of this tab left: itself before a reload, or a tab that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What was remembered. If `info` is there, its hash is right.
    pub record: Record,
    /// Which pieces are there, verified when they were stored; empty where `info` is not known, and where the bytes are the
    /// user's own files.
    pub have: Vec<bool>,
}

/// A record as it is written, in JSON: with the torrent's lengths, so that one sees at a glance what the folder has.
/// Only the page reads and writes it; to the worker it is bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) record: Record,
    /// Once the info dictionary is known.
    pub(super) lengths: Option<Lengths>,
}

/// A torrent's lengths, in bytes, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// In all.
    pub total: u64,
    /// Of a piece.
    pub piece: u32,
}

impl Lengths {
    pub(super) fn geometry(self) -> Option<Geometry> {
        Geometry::new(self.total, u64::from(self.piece)).ok()
    }
}

impl From<Geometry> for Lengths {
    fn from(geometry: Geometry) -> Self {
        Self { total: geometry.total(), piece: geometry.piece_length() }
    }
}

/// Reads the first value in `record.json`. What stands behind it is the rest of a longer one, which a crash kept from
/// being cut off.
pub(super) fn read(bytes: &[u8]) -> Option<Written> {
    serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok()
}

/// An info-hash as forty hexadecimal digits, as people who look into the folder expect it.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer};
    use shared::InfoHash;

    pub(crate) fn serialize<S: Serializer>(hash: &InfoHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InfoHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Written {
        let record = Record {
            info_hash: InfoHash::new([0xab; 20]),
            info: None,
            magnet: "magnet:?xt=urn:btih:abababababababababababababababababababab".into(),
            name: "música – 音楽".into(),
            paused: true,
            added: 7,
            wishes: Wishes {
                limits: RateLimits { up: Some(1), down: None, upload_off: true },
                sequential: true,
                priorities: vec![(3, Priority::Skip), (70_000, Priority::High)],
                choose_first: false,
            },
            comment: Some("ç".into()),
            created_by: Some("feito à mão".into()),
            creation_date: Some(-1),
            all_time: AllTime { downloaded: u64::MAX, uploaded: 7 },
            seeded: Some(Seeded { name: "música".into(), stamp: "00ff".into() }),
            unlisted: true,
        };
        Written { record, lengths: Some(Lengths { total: 100, piece: 64 }) }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let json = serde_json::to_vec(&written()).unwrap();
        assert_eq!(read(&json), Some(written()));
    }

    #[test]
    fn a_record_of_an_earlier_version_wants_everything() {
        let mut json = serde_json::to_value(written()).unwrap();
        for field in ["wishes", "seeded", "created_by", "creation_date", "all_time", "unlisted"] {
            json["record"].as_object_mut().unwrap().remove(field);
        }
        let found = read(json.to_string().as_bytes()).unwrap().record;
        assert_eq!((&found.wishes, &found.seeded, found.unlisted), (&Wishes::default(), &None, false));
        let comment = Some("ç".to_owned());
        assert_eq!(found.notes(), Notes { comment, created_by: None, creation_date: None });
        assert_eq!(found.all_time, AllTime::default());
        json["record"]["wishes"] =
            serde_json::json!({ "sequential": true, "limits": { "up": 5, "down": null } });
        let wishes = read(json.to_string().as_bytes()).unwrap().record.wishes;
        assert!(wishes.sequential && !wishes.limits.upload_off && wishes.limits.up == Some(5));
    }

    #[test]
    fn the_rest_of_a_longer_record_does_not_matter_but_half_a_record_is_none() {
        let mut json = serde_json::to_vec(&written()).unwrap();
        json.extend_from_slice(b"\"}}");
        assert_eq!(read(&json), Some(written()));
        assert_eq!(read(&json[..40]), None);
        assert_eq!(read(b""), None);
    }
}
