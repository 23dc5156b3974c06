//! The hashing worker's work, in a worker of a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use js_sys::{Array, Reflect, Uint8Array};
use sha1::{Digest as _, Sha1};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::digest::Hasher;
use web_peer::verify::hash_pieces;
use web_sys::{
    Blob, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetFileOptions, StorageManager,
};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const HASHERS: [Hasher; 2] = [Hasher::WebCrypto, Hasher::Crate];

fn blob_of(bytes: &[u8]) -> Blob {
    Blob::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(bytes))).unwrap()
}

#[wasm_bindgen_test]
fn the_browsers_own_is_used_where_there_is_one() {
    assert_eq!(Hasher::here(), Hasher::WebCrypto);
}

#[wasm_bindgen_test]
async fn both_ways_of_hashing_agree_with_the_crate_over_the_ends_of_files() {
    let data: Vec<u8> = (0..400_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let blobs = [&data[..1], &data[1..150_000], &data[150_000..150_000], &data[150_000..]].map(blob_of);
    for piece_length in [65_536, 400_000, 1 << 24] {
        let expected: Vec<u8> =
            data.chunks(piece_length as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        for hasher in HASHERS {
            let found = hash_pieces(hasher, &blobs, data.len() as u64, piece_length).await;
            assert_eq!(found.as_ref(), Ok(&expected), "{hasher:?} {piece_length}");
        }
    }
}

#[wasm_bindgen_test]
async fn a_file_with_other_bytes_than_it_should_have_is_named() {
    let blobs = [blob_of(b"123"), blob_of(b"456")];
    for hasher in HASHERS {
        assert_eq!(hash_pieces(hasher, &blobs, 7, 16_384).await, Err(1));
    }
}

#[wasm_bindgen_test]
async fn a_file_that_vanished_is_named() {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap();
    let storage: StorageManager = Reflect::get(&navigator, &"storage".into()).unwrap().unchecked_into();
    let root: FileSystemDirectoryHandle =
        JsFuture::from(storage.get_directory()).await.unwrap().unchecked_into();
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let handle = JsFuture::from(root.get_file_handle_with_options("to-vanish", &options)).await.unwrap();
    let handle: FileSystemFileHandle = handle.unchecked_into();
    let access: web_sys::FileSystemSyncAccessHandle =
        JsFuture::from(handle.create_sync_access_handle()).await.unwrap().unchecked_into();
    access.write_with_js_u8_array(&Uint8Array::new_with_length(1000)).unwrap();
    access.close();
    let file: Blob = JsFuture::from(handle.get_file()).await.unwrap().unchecked_into();
    let blobs = [blob_of(b"here"), file, blob_of(b"here too")];
    assert!(hash_pieces(Hasher::here(), &blobs, 1012, 16_384).await.is_ok());
    let _: JsValue = JsFuture::from(root.remove_entry("to-vanish")).await.unwrap();
    assert_eq!(hash_pieces(Hasher::here(), &blobs, 1012, 16_384).await, Err(1));
}
