//! SHA-1 of bytes that JavaScript holds, for both kinds of worker.
//!
//! Two ways: WebCrypto, which works on a thread of the browser's own, but only exists where the page has a secure
//! context (https or localhost), and the `sha1` crate, which works everywhere. [`verify`](crate::verify) has
//! the measurement.

use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use sha1::{Digest as _, Sha1};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Crypto, SubtleCrypto};

/// Bytes of a SHA-1 digest.
pub(crate) const DIGEST_LEN: usize = 20;

/// Bytes that are copied into WebAssembly's memory at a time: little enough to stay in a processor's cache.
const CHUNK: u32 = 64 * 1024;

/// How to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Hasher {
    /// The browser's own.
    WebCrypto,
    /// The `sha1` crate.
    Crate,
}

impl Hasher {
    /// The faster one of those there are here.
    pub fn here() -> Self {
        if subtle().is_some() { Self::WebCrypto } else { Self::Crate }
    }

    /// The digest of these bytes.
    pub async fn sha1(self, data: &Uint8Array) -> [u8; DIGEST_LEN] {
        match self {
            Self::WebCrypto => match in_browser(data).await {
                Some(digest) => digest,
                None => in_wasm(data),
            },
            Self::Crate => in_wasm(data),
        }
    }
}

fn subtle() -> Option<SubtleCrypto> {
    let crypto: Crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?.dyn_into().ok()?;
    // Not `crypto.subtle()`, whose type says that it is always there.
    Reflect::get(&crypto, &"subtle".into()).ok()?.dyn_into().ok()
}

async fn in_browser(data: &Uint8Array) -> Option<[u8; DIGEST_LEN]> {
    let promise = subtle()?.digest_with_str_and_js_u8_array("SHA-1", data).ok()?;
    let digest: JsValue = JsFuture::from(promise).await.ok()?;
    Uint8Array::new(digest.dyn_ref::<ArrayBuffer>()?).to_vec().try_into().ok()
}

/// The same at once, on this thread, whatever the browser has.
pub(crate) fn in_wasm(data: &Uint8Array) -> [u8; DIGEST_LEN] {
    let mut chunk = vec![0; CHUNK.min(data.length()) as usize];
    let mut sha1 = Sha1::new();
    let mut at = 0;
    while at < data.length() {
        let end = data.length().min(at + CHUNK);
        let part = &mut chunk[..(end - at) as usize];
        data.subarray(at, end).copy_to(part);
        sha1.update(part);
        at = end;
    }
    sha1.finalize().into()
}
