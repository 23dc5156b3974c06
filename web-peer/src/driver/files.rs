//! The files of a torrent as the user sees them: how much of each is here, and how much it is wanted.

use std::cell::OnceCell;
use std::sync::Arc;

use engine::{Priority, Session};
use shared::Geometry;
use shared::metainfo::{File, Info};
use shared::wire::Bitfield;

use crate::snapshot::FileView;

/// A torrent's paths as the user sees them, of hidden files, too: put together once, since files never change, and are shown several
/// times a second.
#[derive(Debug, Default)]
pub(super) struct Paths(OnceCell<Vec<Arc<str>>>);

impl Paths {
    fn of(&self, info: &Info) -> &[Arc<str>] {
        self.0.get_or_init(|| info.files().iter().map(|file| file.display_path().into()).collect())
    }
}

/// Its files but the hidden ones, in order; none before the metadata is known.
pub(super) fn views(session: &Session, paths: &Paths) -> Vec<FileView> {
    let (Some(info), Some(have)) = (session.info(), session.have()) else { return Vec::new() };
    let geometry = info.geometry();
    let files = info.files().iter().zip(paths.of(info)).enumerate();
    let view = |(index, (file, path)): (usize, (&File, &Arc<str>))| FileView {
        path: Arc::clone(path),
        length: file.length,
        verified: verified(file, &geometry, have),
        priority: session.file_priority(index).unwrap_or_default(),
    };
    files.filter(|(_, (file, _))| !file.hidden).map(view).collect()
}

/// The files that are saved when all are, as indices of [`Info::files`](shared::metainfo::Info::files): those that are
/// wanted and here; once the whole torrent is here, every one that is not hidden.
pub(super) fn to_save(session: &Session) -> Vec<usize> {
    let (Some(info), Some(have)) = (session.info(), session.have()) else { return Vec::new() };
    let priority = |index| session.file_priority(index).unwrap_or_default();
    chosen(info.files(), &info.geometry(), have, priority)
}

fn chosen(
    files: &[File],
    geometry: &Geometry,
    have: &Bitfield,
    priority: impl Fn(usize) -> Priority,
) -> Vec<usize> {
    let is_chosen = |index: usize, file: &File| {
        let is_here = verified(file, geometry, have) == file.length;
        !file.hidden && is_here && (have.is_all() || priority(index) != Priority::Skip)
    };
    files.iter().enumerate().filter(|(index, file)| is_chosen(*index, file)).map(|(index, _)| index).collect()
}

/// Bytes of a file in pieces that are there.
fn verified(file: &File, geometry: &Geometry, have: &Bitfield) -> u64 {
    if have.is_all() || file.length == 0 {
        return file.length;
    }
    if have.is_none() {
        return 0;
    }
    let (length, end) = (u64::from(geometry.piece_length()), file.offset + file.length);
    let of_piece = |index: u64| {
        let piece = geometry.piece(u32::try_from(index).ok()?).filter(|piece| have.has(*piece))?;
        let start = geometry.piece_offset(piece);
        Some(end.min(start + length) - file.offset.max(start))
    };
    (file.offset / length..=(end - 1) / length).filter_map(of_piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 65_536;

    fn file(offset: u64, length: u64) -> File {
        File { path: vec!["a".into()], length, offset, hidden: false }
    }

    #[test]
    fn a_file_has_the_bytes_of_the_pieces_it_lies_in() {
        let geometry = Geometry::new(3 * PIECE + 10, PIECE).unwrap();
        let mut have = Bitfield::none(4);
        assert_eq!(verified(&file(0, 5), &geometry, &have), 0);
        assert_eq!(verified(&file(5, 0), &geometry, &have), 0);
        for index in [1, 3] {
            have.insert(geometry.piece(index).unwrap());
        }
        // Ends, middles and beginnings of pieces; the last piece is short.
        assert_eq!(verified(&file(PIECE - 3, 3), &geometry, &have), 0);
        assert_eq!(verified(&file(PIECE - 3, 5), &geometry, &have), 2);
        assert_eq!(verified(&file(PIECE + 7, 5), &geometry, &have), 5);
        assert_eq!(verified(&file(PIECE + 7, 2 * PIECE - 4), &geometry, &have), PIECE - 7 + 3);
        assert_eq!(verified(&file(3 * PIECE, 10), &geometry, &have), 10);
        assert_eq!(verified(&file(0, 3 * PIECE + 10), &geometry, &have), PIECE + 10);
    }

    #[test]
    fn all_that_is_saved_is_wanted_and_here() {
        let geometry = Geometry::new(3 * PIECE, PIECE).unwrap();
        let padding = File { hidden: true, ..file(PIECE - 10, 10) };
        // Here and wanted, padding, here and skipped, missing and wanted, empty and wanted.
        let files =
            [file(0, PIECE - 10), padding, file(PIECE, PIECE), file(2 * PIECE, PIECE), file(3 * PIECE, 0)];
        let mut have = Bitfield::none(3);
        have.insert(geometry.piece(0).unwrap());
        have.insert(geometry.piece(1).unwrap());
        let priority = |index| if index == 2 { Priority::Skip } else { Priority::Normal };
        assert_eq!(chosen(&files, &geometry, &have, priority), [0, 4]);
        have.insert(geometry.piece(2).unwrap());
        assert_eq!(
            chosen(&files, &geometry, &have, priority),
            [0, 2, 3, 4],
            "nothing is missing, so all is saved"
        );
        assert!(chosen(&files, &geometry, &Bitfield::none(3), |_| Priority::Skip).is_empty());
    }
}
