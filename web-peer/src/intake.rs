//! Chosen files become a torrent: put in order, hashed by the workers, described by an info dictionary.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use js_sys::Promise;
use sha1::{Digest as _, Sha1};
use shared::metainfo::{Info, Layout, MetainfoError, choose_piece_length, safe_part};
use shared::order::sorted;
use shared::{Geometry, InfoHash};
use wasm_bindgen::JsValue;
use web_sys::File;

use crate::command::{ChosenFile, SeedOptions};
use crate::verify::{HashError, HashPool};

/// What a `.torrent` file's name ends with.
const TORRENT_ENDING: &str = ".torrent";

/// Most pieces in a torrent whose piece length was chosen: 4 MB of hashes, which every peer has to fetch first.
const MOST_PIECES: u32 = 200_000;

/// Shortest piece that may be chosen, in bytes: a block.
const SHORTEST_PIECE: u32 = 16 * 1024;

/// A torrent made here.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The bencoded info dictionary.
    pub info: Bytes,
    /// Its SHA-1.
    pub info_hash: InfoHash,
    /// The files in the torrent's order, for `Store::attach`.
    pub files: Vec<File>,
}

/// Why files cannot be seeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// There are none.
    #[error("there are no files")]
    Nothing,
    /// A file is gone or was changed since it was chosen.
    #[error("{name} is gone or was changed since it was chosen")]
    Unreadable {
        /// Its name.
        name: String,
    },
    /// They make no torrent: too large, too many.
    #[error(transparent)]
    NoTorrent(#[from] MetainfoError),
    /// Hashing failed otherwise.
    #[error("{0}")]
    Failed(String),
}

/// What one torrent will be made of, or come from.
#[derive(Debug, Clone)]
pub enum Group {
    /// A `.torrent` file, to be added as a download.
    Torrent(File),
    /// Files to seed as one torrent: one chosen by itself, or all of one folder.
    Files {
        /// The file's name, or the folder's.
        name: String,
        /// All of them; at least one.
        files: Vec<ChosenFile>,
    },
}

/// Sorts what was chosen into torrents: a file chosen by itself is one, a folder is one, a `.torrent` file chosen by
/// itself is not seeded but added. In a folder it is a file like any other. In the order in which they were chosen.
///
/// Two folders from different places may have the same name: a path that is there already begins another torrent.
pub fn group(files: Vec<ChosenFile>) -> Vec<Group> {
    let groups = arrange(files).into_iter().filter_map(|mut files| {
        let first = files.first()?;
        let name = first.path.first()?.clone();
        if first.path.len() == 1 && name.to_lowercase().ends_with(TORRENT_ENDING) {
            return files.pop().map(|file| Group::Torrent(file.file));
        }
        Some(Group::Files { name, files })
    });
    groups.collect()
}

/// What arranging files needs to know of one.
pub trait Placed {
    /// Path parts from the chosen folder down, the file's own name last.
    fn path(&self) -> &[String];
}

impl Placed for ChosenFile {
    fn path(&self) -> &[String] {
        &self.path
    }
}

/// The files of one torrent each, as [`group`] says.
fn arrange<T: Placed>(files: Vec<T>) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    // For each folder's name the last group of that name, and the paths in it.
    let mut folders: HashMap<String, (usize, HashSet<Vec<String>>)> = HashMap::new();
    for file in files {
        match file.path() {
            [] => {}
            [_] => groups.push(vec![file]),
            [folder, path @ ..] => {
                let (last, paths) = folders.entry(folder.clone()).or_insert((groups.len(), HashSet::new()));
                let twin = !paths.insert(path.to_vec());
                if twin {
                    *last = groups.len();
                    *paths = HashSet::from([path.to_vec()]);
                }
                match groups.get_mut(*last) {
                    Some(files) => files.push(file),
                    None => groups.push(vec![file]),
                }
            }
        }
    }
    groups
}

/// This torrent's files among those that were chosen, in its order, by their places alone: whether they have its bytes is
/// another question. What else was chosen with them is left out.
///
/// # Errors
/// The path of the first file that is not there.
pub fn places<T: Placed>(info: &Info, files: Vec<T>) -> Result<Vec<T>, String> {
    // A folder may have any name by now; of a single file it is the torrent's or was made so.
    let place = |path: &[String]| -> Vec<String> {
        if info.is_folder() { path.iter().skip(1).map(|part| safe_part(part)).collect() } else { Vec::new() }
    };
    let mut chosen: HashMap<Vec<String>, T> =
        files.into_iter().map(|file| (place(file.path()), file)).collect();
    let find = |file: &shared::metainfo::File| {
        let path = if info.is_folder() { &file.path[..] } else { &[] };
        chosen.remove(path).ok_or_else(|| file.display_path())
    };
    info.files().iter().map(find).collect()
}

/// What becomes the handle of these files, if all of them have the same.
pub fn source(files: &[ChosenFile]) -> Option<Promise> {
    let first = files.first()?.source.clone()?;
    let is_first = |source: &Promise| AsRef::<JsValue>::as_ref(source) == AsRef::<JsValue>::as_ref(&first);
    files.iter().all(|file| file.source.as_ref().is_some_and(is_first)).then_some(first)
}

/// What tells files that were changed from the same ones: a digest of all lengths and times, in order.
pub fn stamp(files: &[File]) -> String {
    stamp_of(files.iter().map(|file| (file.size(), file.last_modified())))
}

fn stamp_of(files: impl Iterator<Item = (f64, f64)>) -> String {
    let mut sha1 = Sha1::new();
    for (size, modified) in files {
        sha1.update(size.to_le_bytes());
        sha1.update(modified.to_le_bytes());
    }
    InfoHash::new(sha1.finalize().into()).to_string()
}

/// Makes a torrent of these files: one by itself, or all of one folder, which their paths begin with. `progress` is told
/// how many bytes are hashed, and how many there are, several times a second.
///
/// The files are put in order by their paths, so that the same folder is the same torrent wherever it is chosen.
///
/// # Errors
/// [`IntakeError`].
pub async fn intake(
    files: Vec<ChosenFile>,
    options: &SeedOptions,
    pool: &HashPool,
    progress: impl Fn(u64, u64),
) -> Result<Intake, IntakeError> {
    let order = sorted(files.iter().enumerate().map(|(place, file)| (&file.path, place)).collect());
    let files: Vec<ChosenFile> = order.into_iter().map(|(_, place)| files[place].clone()).collect();
    let lengths: Vec<u64> = files.iter().map(|file| file.file.size() as u64).collect();
    let total = lengths.iter().fold(0, |sum: u64, length| sum.saturating_add(*length));
    let (name, layout) = describe(&files, &lengths).ok_or(IntakeError::Nothing)?;
    let name = options.name.clone().unwrap_or(name);
    let piece_length = piece_length(total, options.piece_length);
    let geometry = Geometry::new(total, u64::from(piece_length)).map_err(MetainfoError::from)?;
    let files: Vec<File> = files.into_iter().map(|file| file.file).collect();
    let digests = pool.hash(&files, geometry, |done| progress(done, total)).await;
    let digests = digests.map_err(|error| match error {
        HashError::Unreadable { file } => {
            IntakeError::Unreadable { name: files.get(file).map(File::name).unwrap_or_default() }
        }
        error => IntakeError::Failed(error.to_string()),
    })?;
    let info = Info::create(&name, &layout, piece_length, &digests, false)?;
    Ok(Intake { info: info.raw().clone(), info_hash: info.info_hash(), files })
}

/// The one that was asked for, unless that makes more pieces than are worth their hashes.
fn piece_length(total: u64, asked: Option<u32>) -> u32 {
    let fits = |length: &u32| {
        length.is_power_of_two()
            && *length >= SHORTEST_PIECE
            && Geometry::new(total, u64::from(*length))
                .is_ok_and(|geometry| geometry.piece_count() <= MOST_PIECES)
    };
    asked.filter(fits).unwrap_or_else(|| choose_piece_length(total))
}

/// The torrent's name, and where its files go. `None` if there are none.
fn describe<T: Placed>(files: &[T], lengths: &[u64]) -> Option<(String, Layout)> {
    let name = files.first()?.path().first()?.clone();
    if let ([file], [length]) = (files, lengths)
        && file.path().len() == 1
    {
        return Some((name, Layout::Single(*length)));
    }
    let below = files.iter().zip(lengths).map(|(file, length)| (file.path()[1..].to_vec(), *length));
    Some((name, Layout::Folder(below.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct At(Vec<String>);

    impl Placed for At {
        fn path(&self) -> &[String] {
            &self.0
        }
    }

    fn at(path: &str) -> At {
        At(path.split('/').map(str::to_owned).collect())
    }

    fn arranged(paths: &[&str]) -> Vec<Vec<At>> {
        arrange(paths.iter().map(|path| at(path)).collect())
    }

    #[test]
    fn files_chosen_by_themselves_are_a_torrent_each() {
        assert_eq!(arranged(&["a", "b"]), [vec![at("a")], vec![at("b")]]);
    }

    #[test]
    fn a_folder_is_one_torrent_however_its_files_come() {
        assert_eq!(
            arranged(&["d/a", "x", "d/e/b", "f/a"]),
            [vec![at("d/a"), at("d/e/b")], vec![at("x")], vec![at("f/a")]]
        );
    }

    #[test]
    fn two_folders_of_the_same_name_are_two_torrents() {
        assert_eq!(arranged(&["d/b", "d/a", "d/a", "d/b"]), [[at("d/b"), at("d/a")], [at("d/a"), at("d/b")]]);
    }

    fn made_of(paths: &[&str]) -> Info {
        let files: Vec<At> = paths.iter().map(|path| at(path)).collect();
        let (name, layout) = describe(&files, &vec![0; files.len()]).unwrap();
        Info::create(&name, &layout, 65_536, &[], false).unwrap()
    }

    #[test]
    fn files_that_come_back_are_put_in_the_torrents_order_and_what_is_missing_is_named() {
        let info = made_of(&["d/a", "d/b\\c", "d/e/f"]);
        let back = ["d/e/f", "d/new", "d/b\\c", "d/a"].map(at).to_vec();
        assert_eq!(places(&info, back), Ok(["d/a", "d/b\\c", "d/e/f"].map(at).to_vec()));
        assert_eq!(places(&info, vec![at("renamed/a"), at("renamed/e/f")]), Err("b_c".to_owned()));
        assert_eq!(places(&made_of(&["x"]), vec![at("y")]), Ok(vec![at("y")]));
        assert_eq!(places(&made_of(&["x"]), Vec::<At>::new()), Err("x".to_owned()));
    }

    #[test]
    fn a_piece_length_is_as_asked_unless_that_makes_too_many_pieces() {
        assert_eq!(piece_length(1 << 20, None), choose_piece_length(1 << 20));
        assert_eq!(piece_length(1 << 20, Some(256 << 10)), 256 << 10);
        let huge = u64::from(MOST_PIECES) * (64 << 10);
        assert_eq!(piece_length(huge, Some(64 << 10)), 64 << 10);
        assert_eq!(piece_length(huge + 1, Some(64 << 10)), choose_piece_length(huge + 1));
        assert_eq!(piece_length(0, Some(3)), choose_piece_length(0));
    }

    #[test]
    fn a_stamp_tells_lengths_times_and_their_order_apart() {
        let stamps = [
            vec![],
            vec![(1.0, 2.0)],
            vec![(2.0, 1.0)],
            vec![(1.0, 2.0), (3.0, 4.0)],
            vec![(3.0, 4.0), (1.0, 2.0)],
        ];
        let stamps: HashSet<String> = stamps.map(|files| stamp_of(files.into_iter())).into();
        assert_eq!(stamps.len(), 5);
    }

    #[test]
    fn a_file_without_a_path_is_left_out() {
        assert!(arrange(vec![At(Vec::new())]).is_empty());
    }

    #[test]
    fn a_file_keeps_its_name_and_a_folder_its_paths() {
        assert_eq!(describe(&[at("ção.txt")], &[3]), Some(("ção.txt".into(), Layout::Single(3))));
        let below = vec![(vec!["a".into()], 1), (vec!["e".into(), "b".into()], 2)];
        assert_eq!(describe(&[at("d/a"), at("d/e/b")], &[1, 2]), Some(("d".into(), Layout::Folder(below))));
        // A folder with one file stays a folder.
        let below = vec![(vec!["a".into()], 0)];
        assert_eq!(describe(&[at("d/a")], &[0]), Some(("d".into(), Layout::Folder(below))));
        assert_eq!(describe::<At>(&[], &[]), None);
    }
}
