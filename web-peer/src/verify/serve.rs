//! The hashing worker: reads what it is given and hashes it, piece by piece.

use futures::future::join_all;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::protocol::{FromHasher, ToHasher};
use crate::buffers;
use crate::dedicated::{self, Message, Part};
use crate::digest::Hasher;

/// Runs the hashing worker.
pub fn serve() {
    let hasher = Hasher::here();
    dedicated::serve(move |request: ToHasher, parts: Vec<JsValue>| async move {
        let blobs: Vec<Blob> = parts.into_iter().filter_map(|part| part.dyn_into().ok()).collect();
        match hash_pieces(hasher, &blobs, request.len, request.piece_length).await {
            Ok(digests) => Message { body: FromHasher::Hashed, parts: vec![Part::copied(&digests)] },
            Err(index) => Message::bare(FromHasher::Unreadable { index }),
        }
    });
}

/// The digests of the pieces of these blobs, end to end, as `len` bytes in all.
///
/// # Errors
/// The index of the blob that cannot be read.
pub async fn hash_pieces(
    hasher: Hasher,
    blobs: &[Blob],
    len: u64,
    piece_length: u32,
) -> Result<Vec<u8>, usize> {
    let Some(bytes) = read_all(blobs).await.filter(|bytes| u64::from(bytes.length()) == len) else {
        return Err(first_unreadable(blobs).await);
    };
    let starts = (0..bytes.length()).step_by(piece_length as usize);
    let pieces =
        starts.map(|start| bytes.subarray(start, start.saturating_add(piece_length).min(bytes.length())));
    let pieces: Vec<Uint8Array> = pieces.collect();
    // All at once: the browser's hashing then never waits for this thread between two pieces.
    let digests = join_all(pieces.iter().map(|piece| hasher.sha1(piece))).await;
    buffers::let_go(bytes.length());
    Ok(digests.concat())
}

async fn read_all(blobs: &[Blob]) -> Option<Uint8Array> {
    match blobs {
        [one] => read(one).await,
        // One read of them together, since each has its fixed cost.
        many => {
            let parts: Array = many.iter().collect();
            read(&Blob::new_with_blob_sequence(&parts).ok()?).await
        }
    }
}

async fn read(blob: &Blob) -> Option<Uint8Array> {
    let buffer: JsValue = JsFuture::from(blob.array_buffer()).await.ok()?;
    Some(Uint8Array::new(buffer.dyn_ref::<ArrayBuffer>()?))
}

/// Which blob it was that could not be read; the last one if all can be by now.
async fn first_unreadable(blobs: &[Blob]) -> usize {
    for (index, blob) in blobs.iter().enumerate() {
        if read(blob).await.is_none_or(|bytes| f64::from(bytes.length()) != blob.size()) {
            return index;
        }
    }
    blobs.len().saturating_sub(1)
}
