//! The files of a torrent as the user sees them: how much of each is here, and how much it is wanted.

use engine::Session;
use shared::Geometry;
use shared::metainfo::File;
use shared::wire::Bitfield;

use crate::snapshot::FileView;

/// Its files but the hidden ones, in order; none before the metadata is known.
pub(super) fn views(session: &Session) -> Vec<FileView> {
    let (Some(info), Some(have)) = (session.info(), session.have()) else { return Vec::new() };
    let geometry = info.geometry();
    let files = info.files().iter().enumerate().filter(|(_, file)| !file.hidden);
    let view = |(index, file): (usize, &File)| FileView {
        path: file.display_path(),
        length: file.length,
        verified: verified(file, &geometry, have),
        priority: session.file_priority(index).unwrap_or_default(),
    };
    files.map(view).collect()
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
}
