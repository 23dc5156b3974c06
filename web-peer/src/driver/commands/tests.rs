//! What becomes of commands in a peer without sockets and without a store.
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use shared::metainfo::{Info, Layout};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

use super::super::visits::tests::peer;
use super::*;

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn what_is_pasted_and_torrent_files_are_added_after_all_that_are_there() {
    let mut peer = peer();
    // As if all came within one millisecond: the clock has not reached the one that is there.
    let latest = clock::since_1970() + 1_000_000;
    peer.torrents[0].added = latest;
    peer.command(Time::default(), Command::Add("aa".repeat(20)));
    peer.command(Time::default(), Command::Add(format!("magnet:?xt=urn:btih:{}", "bb".repeat(20))));
    let info = Info::create("file.bin", &Layout::Single(1), 65_536, &[[0; 20]], false).unwrap();
    peer.torrent_file(Time::default(), "a.torrent".into(), Ok(Metainfo::new(info).to_bytes().into()));
    let added: Vec<u64> = peer.torrents.iter().map(|torrent| torrent.added).collect();
    assert_eq!(added, [latest, latest + 1, latest + 2, latest + 3]);
}
