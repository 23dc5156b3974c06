//! Compressed forms of files.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderMap};

use super::path::extension;

/// Shortest file that is compressed, in bytes: below, a packet is a packet.
const MIN_BYTES: usize = 512;

/// Effort of brotli, of 11, where `press` has not compressed the file beforehand: the highest takes seconds, which the first
/// visitor would wait for, to save a tenth.
const BROTLI_QUALITY: u32 = 9;

/// Brotli's window, as the logarithm of its bytes: 4 MiB, more than the page's longest file.
const BROTLI_WINDOW: u32 = 22;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Brotli,
    Gzip,
}

/// Which encodings a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Accepted {
    brotli: bool,
    gzip: bool,
}

impl Accepted {
    pub(super) fn takes(self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Identity => true,
            Encoding::Brotli => self.brotli,
            Encoding::Gzip => self.gzip,
        }
    }
}

/// Reads `Accept-Encoding` (RFC 9110, section 12.5.3), as far as it says which encodings are taken at all.
pub(super) fn accepted(request: &HeaderMap) -> Accepted {
    let items = || {
        request
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let word = parts.next().unwrap_or_default();
                let weight =
                    parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
                (word, weight > 0.0)
            })
    };
    let takes = |word: &str| {
        let named = |wanted: &str| items().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named(word).or_else(|| named("*")).is_some_and(|(_, taken)| taken)
    };
    Accepted { brotli: takes("br"), gzip: takes("gzip") }
}

/// Whether a file of this name and length becomes shorter: not if it is tiny, or compressed by its nature.
pub(super) fn is_worth_compressing(name: &str, length: usize) -> bool {
    let text =
        ["html", "js", "mjs", "css", "wasm", "json", "map", "webmanifest", "svg", "txt", "ico", "xml", "md"];
    length >= MIN_BYTES && text.contains(&extension(name))
}

/// The file in this encoding; `None` if that is not shorter.
pub(super) fn compress(encoding: Encoding, bytes: &[u8]) -> Option<Bytes> {
    let short = match encoding {
        Encoding::Identity => return None,
        Encoding::Brotli => {
            let mut writer =
                brotli::CompressorWriter::new(Vec::new(), 64 * 1024, BROTLI_QUALITY, BROTLI_WINDOW);
            writer.write_all(bytes).ok()?;
            writer.into_inner()
        }
        Encoding::Gzip => {
            let mut writer = GzEncoder::new(Vec::new(), Compression::best());
            writer.write_all(bytes).ok()?;
            writer.finish().ok()?
        }
    };
    (short.len() < bytes.len()).then(|| short.into())
}

/// Whether these are brotli's bytes of exactly that content.
pub(super) fn is_brotli_of(short: &[u8], content: &[u8]) -> bool {
    let mut unpacked = Vec::with_capacity(content.len() + 1);
    // One byte more than there should be is enough to know.
    let mut reader = brotli::Decompressor::new(short, 64 * 1024).take(content.len() as u64 + 1);
    reader.read_to_end(&mut unpacked).is_ok() && unpacked == content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        accepted(&headers)
    }

    #[test]
    fn what_a_client_refuses_it_does_not_get() {
        assert_eq!(accepting("gzip, deflate, br, zstd"), Accepted { brotli: true, gzip: true });
        assert_eq!(accepting("GZIP"), Accepted { brotli: false, gzip: true });
        assert_eq!(accepting("br;q=0, *"), Accepted { brotli: false, gzip: true });
        assert_eq!(accepting("*;q=0"), Accepted::default());
        assert_eq!(accepting("identity"), Accepted::default());
        assert_eq!(accepted(&HeaderMap::new()), Accepted::default());
    }

    #[test]
    fn compressed_forms_give_the_file_back() {
        let text = "the page is sent compressed; ".repeat(1000).into_bytes();
        let mut back = Vec::new();
        let short = compress(Encoding::Brotli, &text).unwrap();
        brotli::Decompressor::new(&short[..], 4096).read_to_end(&mut back).unwrap();
        assert!(short.len() < 1000 && back == text);
        back.clear();
        let short = compress(Encoding::Gzip, &text).unwrap();
        flate2::read::GzDecoder::new(&short[..]).read_to_end(&mut back).unwrap();
        assert!(short.len() < 1000 && back == text);
    }

    #[test]
    fn tiny_files_and_pictures_stay_as_they_are() {
        assert!(is_worth_compressing("a.wasm", 100_000));
        assert!(!is_worth_compressing("a.wasm", 10));
        assert!(!is_worth_compressing("a.png", 100_000));
        assert_eq!(compress(Encoding::Gzip, b"x"), None);
    }
}
