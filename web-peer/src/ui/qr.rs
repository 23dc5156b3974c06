//! A text as a QR code, drawn as one path.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of light around the code, without which scanners do not find it (ISO/IEC 18004).
const QUIET_ZONE: i32 = 4;

/// A code as a drawing, one unit a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    /// Width and height, with the quiet zone.
    pub(super) size: i32,
    /// What is dark, as an SVG path: one rectangle for each run in a row.
    pub(super) path: String,
}

/// The code of a text; `None` for one that is longer than a code can be (2,331 bytes).
pub(super) fn encode(text: &str) -> Option<Code> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let length = (x..code.size()).take_while(|x| code.get_module(*x, y)).count() as i32;
            if length > 0 {
                // Writing to a string cannot fail.
                let _ = write!(path, "M{} {}h{length}v1h-{length}z", x + QUIET_ZONE, y + QUIET_ZONE);
            }
            x += length.max(1);
        }
    }
    Some(Code { size: code.size() + 2 * QUIET_ZONE, path })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod tests {
    use super::*;

    /// Four pixels a module, as a scanner sees the path.
    const SCALE: usize = 4;

    /// What a scanner reads from the drawing.
    fn scan(code: &Code) -> String {
        let width = code.size as usize;
        let mut dark = vec![false; width * width];
        for run in code.path.split('M').skip(1) {
            let (place, rest) = run.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
            let start = y.parse::<usize>().unwrap() * width + x.parse::<usize>().unwrap();
            dark[start..start + length].fill(true);
        }
        let at = |x: usize, y: usize| if dark[y / SCALE * width + x / SCALE] { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, width * SCALE, at);
        let found = image.detect_grids();
        assert_eq!(found.len(), 1, "one code is found");
        found[0].decode().unwrap().1
    }

    #[test]
    fn a_scanner_reads_what_was_encoded() {
        let long = format!("magnet:?xt=urn:btih:{}&dn={}", "0123456789".repeat(4), "%C3%A9".repeat(150));
        for text in ["http://localhost:8000/#0123456789abcdef0123456789abcdef01234567", "a", &long] {
            assert_eq!(scan(&encode(text).unwrap()), text);
        }
    }

    #[test]
    fn what_is_too_long_has_no_code() {
        assert_eq!(encode(&"é".repeat(2_000)), None);
    }
}
