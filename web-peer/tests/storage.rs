//! The storage worker's work, in a worker of a real browser, on its real private file system.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use std::cell::RefCell;
use std::io::{Cursor, Read as _};

use js_sys::{Array, ArrayBuffer, Promise, Reflect, Uint8Array};
use sha1::{Digest as _, Sha1};
use shared::InfoHash;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::store::shelf::{Doubt, Entry, Lengths, Shelf};
use web_peer::store::{LoadError, StoreError, Verdict};
use web_sys::{
    Blob, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemSyncAccessHandle, StorageManager,
};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const PIECE: u32 = 65_536;

/// Bytes that differ from each other and from those of another `salt`.
fn bytes(salt: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ salt).collect()
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

/// A hash that no other test uses.
fn hash(test: &str) -> InfoHash {
    InfoHash::new(sha1(test.as_bytes()))
}

fn lengths(total: usize) -> Lengths {
    Lengths { total: total as u64, piece: PIECE }
}

/// Stores all pieces of `data` but those in `without`.
async fn fill(shelf: &Shelf, hash: InfoHash, data: &[u8], without: &[u32]) {
    for (piece, bytes) in data.chunks(PIECE as usize).enumerate() {
        if !without.contains(&(piece as u32)) {
            let verdict = put(shelf, hash, piece as u32, bytes).await;
            assert_eq!(verdict, Verdict::Stored);
        }
    }
}

async fn put(shelf: &Shelf, hash: InfoHash, piece: u32, bytes: &[u8]) -> Verdict {
    let offset = u64::from(piece) * u64::from(PIECE);
    shelf.store(hash, piece, offset, &Uint8Array::from(bytes), sha1(bytes)).await
}

/// Whether each piece is found to be that of `data`.
async fn check_all(shelf: &Shelf, hash: InfoHash, data: &[u8]) -> Vec<Result<bool, LoadError>> {
    let mut found = Vec::new();
    for (piece, bytes) in data.chunks(PIECE as usize).enumerate() {
        let place = (piece as u32, piece as u64 * u64::from(PIECE), bytes.len() as u32);
        found.push(shelf.check(hash, place, sha1(bytes)).await);
    }
    found
}

fn load(shelf: &Shelf, hash: InfoHash, offset: u64, len: u32) -> Result<Uint8Array, LoadError> {
    let into = Uint8Array::new_with_length(len);
    shelf.load(hash, offset, &into).map(|()| into)
}

async fn content(blob: &Blob) -> Vec<u8> {
    let buffer = JsFuture::from(blob.array_buffer()).await.unwrap();
    Uint8Array::new(&buffer.unchecked_into::<ArrayBuffer>()).to_vec()
}

async fn done<T: wasm_bindgen::JsCast>(promise: Promise) -> T {
    JsFuture::from(promise).await.unwrap().unchecked_into()
}

/// The root of the private file system.
async fn root() -> FileSystemDirectoryHandle {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap();
    let storage: StorageManager = Reflect::get(&navigator, &"storage".into()).unwrap().unchecked_into();
    done(storage.get_directory()).await
}

async fn folder(parent: &FileSystemDirectoryHandle, name: &str) -> FileSystemDirectoryHandle {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    done(parent.get_directory_handle_with_options(name, &options)).await
}

async fn exists(parent: &FileSystemDirectoryHandle, name: &str) -> bool {
    JsFuture::from(parent.get_directory_handle(name)).await.is_ok()
}

/// A file outside of the store, which can change and vanish like a user's.
async fn own_file(name: &str, bytes: &[u8]) -> FileSystemFileHandle {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let handle: FileSystemFileHandle = done(root().await.get_file_handle_with_options(name, &options)).await;
    let access: FileSystemSyncAccessHandle = done(handle.create_sync_access_handle()).await;
    access.truncate_with_u32(0).unwrap();
    assert_eq!(access.write_with_js_u8_array(&Uint8Array::from(bytes)).unwrap(), bytes.len() as f64);
    access.flush().unwrap();
    access.close();
    handle
}

fn blob_of(bytes: &[u8]) -> Blob {
    Blob::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(bytes))).unwrap()
}

async fn private() -> Shelf {
    let shelf = Shelf::open(None).await;
    assert!(shelf.folder().is_some(), "tests run where there is a private file system");
    assert_eq!(shelf.limit(), None);
    shelf
}

#[wasm_bindgen_test]
async fn verified_pieces_are_there_after_the_worker_ended() {
    let hash = hash("verified pieces");
    let data = bytes(1, PIECE as usize * 3 + 77);
    let shelf = private().await;
    let id = shelf.folder().unwrap().to_owned();
    shelf.remember(hash, b"{}", None).await.unwrap();
    assert_eq!(shelf.create(hash, lengths(data.len())).await.unwrap().to_vec(), [false; 4]);
    fill(&shelf, hash, &data, &[1]).await;
    drop(shelf);

    let shelf = Shelf::open(Some(&id)).await;
    assert_eq!(shelf.folder(), Some(id.as_str()));
    let have = shelf.create(hash, lengths(data.len())).await.unwrap();
    assert_eq!(have.to_vec(), [true, false, true, true]);
    let at = PIECE as usize * 2 + 50;
    let read = load(&shelf, hash, at as u64, PIECE).unwrap().to_vec();
    assert_eq!(read, data[at..at + PIECE as usize]);
    // Opening again what is open changes nothing.
    assert_eq!(shelf.create(hash, lengths(data.len())).await.unwrap(), have);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_piece_with_a_wrong_hash_is_thrown_away() {
    let hash = hash("wrong hash");
    let data = bytes(2, 1000);
    let shelf = private().await;
    shelf.create(hash, lengths(data.len())).await.unwrap();
    let verdict = shelf.store(hash, 0, 0, &Uint8Array::from(data.as_slice()), [0; 20]).await;
    assert_eq!(verdict, Verdict::HashMismatch);
    assert_eq!(load(&shelf, hash, 0, 10).unwrap_err(), LoadError::Missing);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn bytes_that_are_not_all_there_are_not_read() {
    let hash = hash("not all there");
    let data = bytes(3, PIECE as usize * 2 + 10);
    let shelf = private().await;
    shelf.create(hash, lengths(data.len())).await.unwrap();
    fill(&shelf, hash, &data, &[1]).await;
    assert!(load(&shelf, hash, 0, PIECE).is_ok());
    for (offset, len) in [(1, PIECE), (u64::from(PIECE), 1), (u64::from(PIECE) * 2, 11), (u64::MAX, 1)] {
        assert_eq!(load(&shelf, hash, offset, len).unwrap_err(), LoadError::Missing, "{offset} {len}");
    }
    assert_eq!(shelf.blob(hash, 0, data.len() as u64).await.unwrap_err(), StoreError::NotOpen);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_piece_is_noted_on_disk_only_after_its_bytes_are() {
    let hash = hash("noted after");
    let data = bytes(4, PIECE as usize * 2);
    let shelf = private().await;
    let root = folder(&root().await, "enxame").await;
    let store = folder(&root, shelf.folder().unwrap()).await;
    shelf.create(hash, lengths(data.len())).await.unwrap();
    let noted = async || {
        let torrent = folder(&store, &hash.to_string()).await;
        let handle: FileSystemFileHandle = done(torrent.get_file_handle("have")).await;
        content(&done::<Blob>(handle.get_file()).await).await
    };
    assert_eq!(put(&shelf, hash, 0, &data[..PIECE as usize]).await, Verdict::Stored);
    // Served at once, but after a crash now it would be fetched again.
    assert!(load(&shelf, hash, 0, PIECE).is_ok());
    assert!(noted().await.is_empty());
    // The last piece is a reason to note all.
    assert_eq!(put(&shelf, hash, 1, &data[PIECE as usize..]).await, Verdict::Stored);
    assert_eq!(noted().await, [0xc0]);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn data_of_another_length_is_not_trusted() {
    let hash = hash("another length");
    let data = bytes(5, PIECE as usize * 2);
    let shelf = private().await;
    let id = shelf.folder().unwrap().to_owned();
    shelf.remember(hash, b"{}", None).await.unwrap();
    shelf.create(hash, lengths(data.len())).await.unwrap();
    fill(&shelf, hash, &data, &[]).await;
    drop(shelf);
    let shelf = Shelf::open(Some(&id)).await;
    let have = shelf.create(hash, lengths(data.len() - 1)).await.unwrap();
    assert_eq!(have.to_vec(), [false, false]);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn what_was_remembered_is_found_again() {
    let shelf = private().await;
    let id = shelf.folder().unwrap().to_owned();
    let info = b"d6:lengthi100e4:name1:x12:piece lengthi65536e6:pieces20:aaaaaaaaaaaaaaaaaaaae".as_slice();
    let known = InfoHash::new(sha1(info));
    let unknown = hash("without metadata");
    let wrong = hash("with the metadata of another");
    shelf.remember(known, "música – 音楽, a longer record".as_bytes(), Some(info)).await.unwrap();
    shelf.remember(unknown, b"unknown", None).await.unwrap();
    shelf.remember(wrong, b"wrong", Some(info)).await.unwrap();
    // A change of what is remembered.
    shelf.remember(known, b"changed", Some(info)).await.unwrap();
    drop(shelf);

    let shelf = Shelf::open(Some(&id)).await;
    let found = shelf.found().await;
    let mut found: Vec<_> =
        found.iter().map(|found| (found.info_hash, found.record.as_slice(), found.info.as_deref())).collect();
    found.sort_by_key(|found| found.1);
    assert_eq!(
        found,
        [
            (known, b"changed".as_slice(), Some(info)),
            (unknown, b"unknown".as_slice(), None),
            (wrong, b"wrong".as_slice(), None)
        ]
    );
    for hash in [known, unknown, wrong] {
        shelf.remove(hash).await.unwrap();
    }
    assert!(shelf.found().await.is_empty());
}

#[wasm_bindgen_test]
async fn a_folder_that_is_none_of_ours_is_deleted() {
    let shelf = private().await;
    let root = folder(&root().await, "enxame").await;
    let store = folder(&root, shelf.folder().unwrap()).await;
    folder(&store, "nonsense").await;
    assert!(shelf.found().await.is_empty());
    assert!(!exists(&store, "nonsense").await);
}

#[wasm_bindgen_test]
async fn two_tabs_never_share_a_folder_and_a_new_one_adopts_what_a_closed_one_left() {
    let hash = hash("adopted");
    let first = private().await;
    let id = first.folder().unwrap().to_owned();
    first.remember(hash, b"{}", None).await.unwrap();
    // A new tab, and a duplicate, which asks for its original's folder.
    let second = private().await;
    assert_ne!(second.folder(), Some(id.as_str()));
    let duplicate = Shelf::open(Some(&id)).await;
    assert_ne!(duplicate.folder(), Some(id.as_str()));
    assert_ne!(duplicate.folder(), second.folder());

    let empty = second.folder().unwrap().to_owned();
    drop((first, second));
    let third = private().await;
    assert_eq!(third.folder(), Some(id.as_str()));
    assert_eq!(third.found().await.len(), 1);
    // An empty folder that nobody holds was deleted on the way.
    assert!(!exists(&folder(&root().await, "enxame").await, &empty).await);
    third.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_name_that_no_folder_of_ours_has_is_not_taken_from_the_session() {
    for name in ["", "..", "a/b", "é"] {
        let shelf = Shelf::open(Some(name)).await;
        assert!(shelf.folder().is_some_and(|folder| folder != name), "{name}");
    }
}

#[wasm_bindgen_test]
async fn a_torrent_that_the_browser_has_no_room_for_is_refused_before_anything_is_downloaded() {
    let hash = hash("no room");
    let shelf = private().await;
    let huge = Lengths { total: 8 << 40, piece: 64 << 20 };
    assert_eq!(shelf.create(hash, huge).await.unwrap_err(), StoreError::Full);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_torrent_of_no_bytes_is_complete_and_an_empty_file() {
    let hash = hash("empty");
    for shelf in [private().await, Shelf::in_memory(10)] {
        assert!(shelf.create(hash, lengths(0)).await.unwrap().is_complete());
        assert_eq!(shelf.blob(hash, 0, 0).await.unwrap().size(), 0.0);
        shelf.remove(hash).await.unwrap();
    }
    let shelf = Shelf::in_memory(0);
    shelf.attach(hash, vec![("empty".into(), blob_of(b""))], None).await;
    assert_eq!(shelf.blob(hash, 0, 0).await.unwrap().size(), 0.0);
}

#[wasm_bindgen_test]
async fn memory_takes_what_it_says_and_no_more() {
    let data = bytes(6, PIECE as usize * 2 + 5);
    let limit = data.len() as u64 + 10;
    let shelf = Shelf::in_memory(limit);
    assert_eq!((shelf.folder(), shelf.limit()), (None, Some(limit)));
    let (kept, refused) = (hash("kept in memory"), hash("refused by memory"));
    assert_eq!(shelf.create(kept, lengths(data.len())).await.unwrap().to_vec(), [false; 3]);
    fill(&shelf, kept, &data, &[]).await;
    let total = data.len() as u64 + 11;
    assert_eq!(
        shelf.create(refused, lengths(11)).await.unwrap_err(),
        StoreError::TooLargeForMemory { total, limit }
    );
    assert_eq!(shelf.create(kept, lengths(data.len())).await.unwrap().to_vec(), [true; 3]);
    let across = load(&shelf, kept, u64::from(PIECE) - 3, 6).unwrap().to_vec();
    assert_eq!(across, data[PIECE as usize - 3..PIECE as usize + 3]);
    assert_eq!(load(&shelf, kept, data.len() as u64 - 5, 5).unwrap().to_vec(), data[data.len() - 5..]);
    assert_eq!(content(&shelf.blob(kept, 7, limit - 20).await.unwrap()).await, data[7..data.len() - 3]);
    assert_eq!(load(&shelf, kept, data.len() as u64, 1).unwrap_err(), LoadError::Missing);
    shelf.remove(kept).await.unwrap();
    assert!(shelf.create(refused, lengths(11)).await.is_ok());
}

#[wasm_bindgen_test]
async fn seeded_files_are_read_where_they_lie_also_over_their_ends() {
    let hash = hash("seeded");
    let data = bytes(7, 1_300_000);
    let shelf = Shelf::in_memory(0);
    let cuts = [0, 10, 10, 700_000, 1_300_000];
    let files = cuts.windows(2).map(|cut| (format!("from {}", cut[0]), blob_of(&data[cut[0]..cut[1]])));
    shelf.attach(hash, files.collect(), None).await;
    for (offset, len) in [(0, 16_384), (5, 10), (699_999, 2), (524_287, 2), (1_299_990, 10), (0, 1_300_000)] {
        let read = load(&shelf, hash, offset as u64, len as u32).unwrap().to_vec();
        assert_eq!(read, data[offset..offset + len], "{offset} {len}");
    }
    assert_eq!(load(&shelf, hash, 1_299_990, 11).unwrap_err(), LoadError::Missing);
    assert_eq!(content(&shelf.blob(hash, 5, 800_000).await.unwrap()).await, data[5..800_005]);
}

#[wasm_bindgen_test]
async fn of_files_that_were_not_read_yet_no_piece_is_given_before_its_hash_was_found_right() {
    let hash = hash("in doubt");
    let data = bytes(12, PIECE as usize * 3 + 10);
    let mut hashes: Vec<u8> = data.chunks(PIECE as usize).flat_map(sha1).collect();
    // The file that the second piece begins in has other bytes than it had.
    hashes[20] ^= 1;
    let cuts = [0, 100, PIECE as usize * 3 - 5, data.len()];
    let files = || {
        let files = cuts.windows(2).map(|cut| (format!("from {}", cut[0]), blob_of(&data[cut[0]..cut[1]])));
        files.collect::<Vec<_>>()
    };
    let shelf = Shelf::in_memory(0);
    shelf.attach(hash, files(), Some(Doubt::new(PIECE, &hashes))).await;
    let altered = LoadError::Altered { file: "from 100".into() };
    for (offset, len) in [(PIECE, 5), (PIECE * 2 - 1, 1), (PIECE - 1, 2)] {
        assert_eq!(load(&shelf, hash, u64::from(offset), len).unwrap_err(), altered, "{offset} {len}");
    }
    for (offset, len) in [(0, PIECE as usize), (PIECE as usize * 2, 7), (PIECE as usize * 3 - 9, 19)] {
        let read = load(&shelf, hash, offset as u64, len as u32).unwrap().to_vec();
        assert_eq!(read, data[offset..offset + len], "{offset} {len}");
    }
    assert_eq!(load(&shelf, hash, data.len() as u64 - 1, 2).unwrap_err(), LoadError::Missing);
    // Fewer hashes than pieces: what has none is never given.
    shelf.attach(hash, files(), Some(Doubt::new(PIECE, &hashes[..20]))).await;
    assert!(load(&shelf, hash, 5, 100).is_ok());
    assert_eq!(load(&shelf, hash, u64::from(PIECE) * 2, 1).unwrap_err(), LoadError::Missing);
}

#[wasm_bindgen_test]
async fn a_check_finds_what_is_spoiled_on_disk_and_what_is_right_though_it_was_not_noted() {
    let hash = hash("checked");
    let data = bytes(14, PIECE as usize * 3 + 77);
    let shelf = private().await;
    let id = shelf.folder().unwrap().to_owned();
    shelf.remember(hash, b"{}", None).await.unwrap();
    shelf.create(hash, lengths(data.len())).await.unwrap();
    fill(&shelf, hash, &data, &[2]).await;
    drop(shelf);
    // The second piece is spoiled, the third is there after all.
    let store = folder(&folder(&root().await, "enxame").await, &id).await;
    let torrent = folder(&store, &hash.to_string()).await;
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let handle: FileSystemFileHandle = done(torrent.get_file_handle_with_options("data", &options)).await;
    let mut spoiled = data.clone();
    spoiled[PIECE as usize + 5] ^= 1;
    let access: FileSystemSyncAccessHandle = done(handle.create_sync_access_handle()).await;
    access.write_with_js_u8_array(&Uint8Array::from(spoiled.as_slice())).unwrap();
    access.close();

    let shelf = Shelf::open(Some(&id)).await;
    let have = shelf.create(hash, lengths(data.len())).await.unwrap();
    assert_eq!(have.to_vec(), [true, true, false, true]);
    assert_eq!(check_all(&shelf, hash, &data).await, [Ok(true), Ok(false), Ok(true), Ok(true)]);
    let at = PIECE as usize * 2;
    assert_eq!(load(&shelf, hash, at as u64, PIECE).unwrap().to_vec(), data[at..at + PIECE as usize]);
    assert_eq!(load(&shelf, hash, u64::from(PIECE), 1).unwrap_err(), LoadError::Missing);
    drop(shelf);
    // So it was noted; and what is fetched again is there again.
    let shelf = Shelf::open(Some(&id)).await;
    let have = shelf.create(hash, lengths(data.len())).await.unwrap();
    assert_eq!(have.to_vec(), [true, false, true, true]);
    fill(&shelf, hash, &data, &[0, 2, 3]).await;
    assert_eq!(check_all(&shelf, hash, &data).await, [const { Ok(true) }; 4]);
    shelf.remove(hash).await.unwrap();
    let piece = (0, 0, PIECE);
    assert_eq!(shelf.check(hash, piece, [0; 20]).await.unwrap_err(), LoadError::Missing);
}

#[wasm_bindgen_test]
async fn a_piece_that_the_file_is_too_short_for_is_not_right() {
    let hash = hash("too short");
    let data = bytes(15, PIECE as usize * 2 + 77);
    let shelf = private().await;
    shelf.create(hash, lengths(data.len())).await.unwrap();
    fill(&shelf, hash, &data, &[]).await;
    let longer = bytes(15, data.len() + 10);
    let piece = (2, u64::from(PIECE) * 2, 87);
    assert_eq!(shelf.check(hash, piece, sha1(&longer[PIECE as usize * 2..])).await, Ok(false));
    assert_eq!(check_all(&shelf, hash, &data).await, [const { Ok(true) }; 3]);
    shelf.remove(hash).await.unwrap();
}

#[wasm_bindgen_test]
async fn a_check_in_memory_forgets_what_is_not_right() {
    let hash = hash("checked in memory");
    let data = bytes(16, PIECE as usize * 2 + 77);
    let shelf = Shelf::in_memory(1 << 20);
    shelf.create(hash, lengths(data.len())).await.unwrap();
    fill(&shelf, hash, &data, &[0]).await;
    // Read once, so that some of it is at hand.
    assert!(load(&shelf, hash, u64::from(PIECE), 100).is_ok());
    assert_eq!(check_all(&shelf, hash, &data).await, [Ok(false), Ok(true), Ok(true)]);
    let piece = (1, u64::from(PIECE), PIECE);
    assert_eq!(shelf.check(hash, piece, [0; 20]).await, Ok(false));
    assert_eq!(load(&shelf, hash, u64::from(PIECE), 100).unwrap_err(), LoadError::Missing);
    assert_eq!(shelf.create(hash, lengths(data.len())).await.unwrap().to_vec(), [false, false, true]);
}

#[wasm_bindgen_test]
async fn a_check_of_seeded_files_names_the_one_that_has_other_bytes() {
    let hash = hash("checked where they lie");
    let data = bytes(17, PIECE as usize * 2 + 77);
    let mut hashes: Vec<u8> = data.chunks(PIECE as usize).flat_map(sha1).collect();
    let shelf = Shelf::in_memory(0);
    let files = || vec![("one".into(), blob_of(&data[..100])), ("two".into(), blob_of(&data[100..]))];
    shelf.attach(hash, files(), Some(Doubt::new(PIECE, &hashes))).await;
    assert_eq!(check_all(&shelf, hash, &data).await, [const { Ok(true) }; 3]);
    let mut other = data.clone();
    other[PIECE as usize * 2] ^= 1;
    let altered = LoadError::Altered { file: "two".into() };
    assert_eq!(check_all(&shelf, hash, &other).await, [Ok(true), Ok(true), Err(altered.clone())]);
    // What was found right is not in doubt any more.
    hashes[0] ^= 1;
    shelf.attach(hash, files(), Some(Doubt::new(PIECE, &hashes))).await;
    assert_eq!(load(&shelf, hash, 50, 1).unwrap_err(), LoadError::Altered { file: "one".into() });
    assert_eq!(check_all(&shelf, hash, &data).await[0], Ok(true));
    assert!(load(&shelf, hash, 50, 1).is_ok());
}

#[wasm_bindgen_test]
async fn a_seeded_file_that_changed_or_vanished_is_named() {
    let hash = hash("changed");
    let shelf = Shelf::in_memory(0);
    for (name, vanish) in [("changed.bin", false), ("vanished.bin", true)] {
        let handle = own_file(name, &bytes(8, 100_000)).await;
        let file: File = done(handle.get_file()).await;
        shelf.attach(hash, vec![("other".into(), blob_of(b"12345")), (name.into(), file.into())], None).await;
        assert!(shelf.blob(hash, 0, 100_005).await.is_ok());
        if vanish {
            done::<JsValue>(root().await.remove_entry(name)).await;
        } else {
            own_file(name, &bytes(9, 100_007)).await;
        }
        assert_eq!(load(&shelf, hash, 5, 100).unwrap_err(), LoadError::Changed { file: name.into() });
        let blob = shelf.blob(hash, 0, 100_005).await;
        assert_eq!(blob.unwrap_err(), StoreError::Changed(name.into()));
    }
}

#[wasm_bindgen_test]
async fn what_was_downloaded_can_be_saved_one_by_one_and_as_a_zip() {
    let hash = hash("saved");
    let data = bytes(10, PIECE as usize * 2 + 1234);
    let entry = |path: &str, offset: usize, len: usize| Entry {
        path: path.into(),
        offset: offset as u64,
        len: len as u64,
    };
    let entries = [
        entry("pasta/ação.bin", 0, 70_000),
        entry("pasta/vazio", 70_000, 0),
        // Bytes between files, such as padding, are left out.
        entry("pasta/音.bin", 70_100, data.len() - 70_100),
    ];
    for shelf in [private().await, Shelf::in_memory(1 << 20)] {
        shelf.create(hash, lengths(data.len())).await.unwrap();
        fill(&shelf, hash, &data, &[]).await;
        let one = shelf.blob(hash, 70_100, 1000).await.unwrap();
        assert_eq!(content(&one).await, data[70_100..71_100]);
        let zip = content(&shelf.zip(hash, &entries).await.unwrap()).await;
        shelf.zip_begin(7, hash, entries.to_vec()).unwrap();
        let mut streamed = Vec::new();
        while let Some(next) = Some(shelf.zip_next(7).unwrap()).filter(|next| !next.is_empty()) {
            streamed.extend(next);
        }
        assert_eq!(streamed, zip, "made while it is read it is the same");
        shelf.zip_end(7);
        assert_eq!(shelf.zip_next(7).unwrap_err(), StoreError::NotOpen);
        let mut zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        assert_eq!(zip.len(), entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let mut file = zip.by_index(index).unwrap();
            assert_eq!(file.name().unwrap(), entry.path);
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            assert_eq!(found, data[entry.offset as usize..(entry.offset + entry.len) as usize]);
        }
        shelf.zip_begin(8, hash, entries.to_vec()).unwrap();
        shelf.remove(hash).await.unwrap();
        assert_eq!(shelf.zip_next(8).unwrap_err(), StoreError::NotOpen);
        assert_eq!(shelf.zip(hash, &entries).await.unwrap_err(), StoreError::NotOpen);
        assert_eq!(shelf.zip_begin(9, hash, entries.to_vec()).unwrap_err(), StoreError::NotOpen);
    }
}

#[wasm_bindgen_test]
async fn a_zip_of_some_files_needs_no_bytes_but_theirs() {
    let hash = hash("saved in part");
    let piece = PIECE as usize;
    let data = bytes(11, piece * 4);
    let entry = |path: &str, offset: usize, len: usize| Entry {
        path: path.into(),
        offset: offset as u64,
        len: len as u64,
    };
    // Of four pieces the second and the third are missing; the empty file lies in one of them.
    let entries = [
        entry("pasta/a.bin", 0, piece - 100),
        entry("pasta/vazio", piece + 50, 0),
        entry("pasta/b.bin", piece * 3 + 10, 1000),
    ];
    for shelf in [private().await, Shelf::in_memory(1 << 20)] {
        shelf.create(hash, lengths(data.len())).await.unwrap();
        fill(&shelf, hash, &data, &[1, 2]).await;
        let zip = content(&shelf.zip(hash, &entries).await.unwrap()).await;
        shelf.zip_begin(3, hash, entries.to_vec()).unwrap();
        let mut streamed = Vec::new();
        while let Some(next) = Some(shelf.zip_next(3).unwrap()).filter(|next| !next.is_empty()) {
            streamed.extend(next);
        }
        assert_eq!(streamed, zip, "made while it is read it is the same");
        let mut zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        assert_eq!(zip.len(), entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let mut found = Vec::new();
            zip.by_index(index).unwrap().read_to_end(&mut found).unwrap();
            assert_eq!(found, data[entry.offset as usize..(entry.offset + entry.len) as usize]);
        }
        assert!(content(&shelf.blob(hash, entries[1].offset, 0).await.unwrap()).await.is_empty());
        // What is missing is not made up.
        let missing = [entry("c", piece, 10)];
        assert_eq!(shelf.zip(hash, &missing).await.unwrap_err(), StoreError::NotOpen);
        shelf.zip_begin(4, hash, missing.to_vec()).unwrap();
        assert_eq!(shelf.zip_next(4).unwrap_err(), StoreError::NotOpen);
    }
}

#[wasm_bindgen_test]
async fn a_removed_torrent_leaves_nothing() {
    let hash = hash("removed");
    let shelf = private().await;
    let store = folder(&folder(&root().await, "enxame").await, shelf.folder().unwrap()).await;
    shelf.remember(hash, b"{}", None).await.unwrap();
    shelf.create(hash, lengths(100)).await.unwrap();
    assert!(exists(&store, &hash.to_string()).await);
    shelf.remove(hash).await.unwrap();
    assert!(!exists(&store, &hash.to_string()).await);
    assert_eq!(load(&shelf, hash, 0, 1).unwrap_err(), LoadError::Missing);
    assert_eq!(put(&shelf, hash, 0, b"late").await, Verdict::Failed(StoreError::NotOpen));
    // Of one that was never there nothing is left either.
    shelf.remove(hash).await.unwrap();
}

/// Keeps many torrents' records, removes them and opens them, all at once, where each asks for the next thing as soon as the last is
/// done. What a tab with active torrents does all the time.
#[wasm_bindgen_test]
async fn what_is_asked_for_first_is_done_first_however_many_ask() {
    const ROUNDS: u32 = 5;
    let shelf = private().await;
    let id = shelf.folder().unwrap().to_owned();
    let (asked, done) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let record = |torrent: u32, round: u32| format!("{torrent} {round}");
    let torrents: Vec<_> = (0..6).map(|torrent| hash(&format!("one of many {torrent}"))).collect();
    let (shelf, asked, done, record) = (&shelf, &asked, &done, &record);
    let busy = torrents.iter().zip(0..).map(|(hash, torrent)| async move {
        for round in 0..ROUNDS {
            for step in 0..3 {
                asked.borrow_mut().push((torrent, round, step));
                match step {
                    0 => shelf.create(*hash, lengths(10)).await.map(drop),
                    1 => shelf.remove(*hash).await,
                    _ => shelf.remember(*hash, record(torrent, round).as_bytes(), None).await,
                }
                .unwrap();
                done.borrow_mut().push((torrent, round, step));
            }
        }
    });
    futures::future::join_all(busy).await;
    assert_eq!(done.borrow().len(), torrents.len() * ROUNDS as usize * 3);
    assert_eq!(*done.borrow(), *asked.borrow());
    let mut found: Vec<_> = shelf.found().await.into_iter().map(|found| found.record).collect();
    found.sort();
    let last: Vec<_> = (0..6).map(|torrent| record(torrent, ROUNDS - 1).into_bytes()).collect();
    assert_eq!(found, last, "in {id}");
    for hash in &torrents {
        shelf.remove(*hash).await.unwrap();
    }
}

#[wasm_bindgen_test]
async fn what_is_asked_last_of_a_torrent_holds() {
    let (hash, others) = (hash("asked last"), [hash("asked before"), hash("asked first")]);
    let shelf = private().await;
    let data = bytes(18, 100);
    // Two of other torrents come first; when the first is done, the last word on this one comes.
    let crowd = async |before: &mut (dyn Future<Output = ()> + Unpin),
                       last: &mut (dyn Future<Output = ()> + Unpin)| {
        let first = Box::pin(async { shelf.remember(others[1], b"{}", None).await.unwrap() });
        let second = async { shelf.remember(others[0], b"{}", None).await.unwrap() };
        let after = async {
            first.await;
            last.await;
        };
        futures::join!(after, second, before);
    };
    let remember = |record: &'static [u8]| {
        let shelf = &shelf;
        Box::pin(async move { shelf.remember(hash, record, None).await.unwrap() })
    };
    crowd(&mut remember(b"listed"), &mut remember(b"unlisted")).await;
    let records: Vec<_> = shelf.found().await.into_iter().filter(|found| found.info_hash == hash).collect();
    assert_eq!(records[0].record, b"unlisted");

    let remove = || Box::pin(async { shelf.remove(hash).await.unwrap() });
    crowd(&mut remove(), &mut Box::pin(async { drop(shelf.create(hash, lengths(100)).await.unwrap()) }))
        .await;
    assert_eq!(put(&shelf, hash, 0, &data).await, Verdict::Stored, "added again after it was removed");
    let files = vec![("own".into(), blob_of(&data))];
    crowd(&mut remove(), &mut Box::pin(shelf.attach(hash, files, None))).await;
    assert_eq!(load(&shelf, hash, 0, 100).unwrap().to_vec(), data, "seeded after it was removed");
    for hash in [hash, others[0], others[1]] {
        shelf.remove(hash).await.unwrap();
    }
}
