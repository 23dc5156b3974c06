//! Snapshots that were written down (`e2e/recorded/`), read again: what the page shows of them needs neither tracker nor peers.
//!
//! Nothing of this is in the page that users get: who reads them is a program of its own (`examples/recorded.rs`), so no
//! address makes the page show what is not so.

use engine::PieceState;
use serde::de::Error as _;
use serde_json::{Error, Value};

use crate::snapshot::{Snapshot, TorrentView};

/// Most pieces that one recorded torrent has.
const MOST_PIECES: usize = 1_000_000;

/// Reads a snapshot as `window.enxame.snapshot()` gives it. A torrent may have one field more, `map`: how it stands with its pieces, in
/// order, as runs of a count and a letter with spaces between (`h` here, `f` under way, `m` and a number missing, with so many peers
/// that have it): `9000h 12f 300m2`. Without it, as many pieces are here from the first on as the counts say.
///
/// # Errors
/// When it is not such JSON.
pub fn read(json: &str) -> Result<Snapshot, Error> {
    let mut value: Value = serde_json::from_str(json)?;
    let torrents = value.get_mut("torrents").and_then(Value::as_array_mut);
    let maps: Vec<Option<Value>> = torrents
        .into_iter()
        .flatten()
        .map(|torrent| torrent.as_object_mut().and_then(|torrent| torrent.remove("map")))
        .collect();
    let mut snapshot: Snapshot = serde_json::from_value(value)?;
    for (torrent, map) in snapshot.torrents.iter_mut().zip(maps) {
        torrent.piece_states = match map.as_ref().and_then(Value::as_str) {
            Some(map) => {
                pieces(map).ok_or_else(|| Error::custom(format!("this is no map of pieces: {map}")))?
            }
            None => from_counts(torrent),
        };
    }
    Ok(snapshot)
}

fn pieces(map: &str) -> Option<Vec<PieceState>> {
    let mut states = Vec::new();
    for run in map.split_whitespace() {
        let (count, kind) = run.split_at(run.find(|c: char| !c.is_ascii_digit())?);
        let state = match kind.split_at_checked(1)? {
            ("h", "") => PieceState::Have,
            ("f", "") => PieceState::InFlight,
            ("m", peers) => PieceState::Missing { peers: peers.parse().ok()? },
            _ => return None,
        };
        let count = count.parse().ok().filter(|count| states.len() + count <= MOST_PIECES)?;
        states.extend(std::iter::repeat_n(state, count));
    }
    Some(states)
}

fn from_counts(torrent: &TorrentView) -> Vec<PieceState> {
    let pieces = torrent.torrent.pieces;
    let state = |piece| if piece < pieces.have { PieceState::Have } else { PieceState::Missing { peers: 1 } };
    (0..pieces.total).take(MOST_PIECES).map(state).collect()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_recorded_snapshot_is_one_and_says_the_same_when_it_is_written_again() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/recorded");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            let name = file.display();
            let json = fs::read_to_string(&file).unwrap();
            let snapshot = read(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
            let again = serde_json::to_string(&snapshot).unwrap();
            let once_more = read(&again).unwrap();
            assert_eq!(serde_json::to_string(&once_more).unwrap(), again, "{name}");
        }
    }

    #[test]
    fn runs_of_pieces_are_read_and_anything_else_is_not() {
        let missing = PieceState::Missing { peers: 12 };
        assert_eq!(
            pieces("2h 1f 1m12"),
            Some(vec![PieceState::Have, PieceState::Have, PieceState::InFlight, missing])
        );
        assert_eq!(pieces(""), Some(Vec::new()));
        for wrong in ["h", "2", "2x", "2h3", "2m", "2m-1", "9999999h", "99999999999999999999999h", "2é"] {
            assert_eq!(pieces(wrong), None, "{wrong}");
        }
    }
}
