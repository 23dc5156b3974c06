//! `press DIR`: writes `name.br` beside each file of the built page that becomes shorter by brotli at its highest effort. That
//! takes seconds, a tenth more than the tracker would save while a visitor waits; the tracker serves such a file if it holds what
//! the file beside it does (`tracker/src/page.rs`).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Effort of brotli: the highest.
const QUALITY: u32 = 11;
/// Brotli's window, as the logarithm of its bytes: 4 MiB, more than the page's longest file.
const WINDOW: u32 = 22;
/// Shortest file that is compressed, in bytes, as in the tracker.
const MIN_BYTES: u64 = 512;
/// What is text, or like it.
const EXTENSIONS: [&str; 6] = ["html", "js", "css", "wasm", "svg", "webmanifest"];

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("press DIR: which folder?")?;
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("cannot read the folder")?.path();
        let is_text = path.extension().is_some_and(|found| EXTENSIONS.iter().any(|text| found == *text));
        if is_text && path.metadata().is_ok_and(|found| found.is_file() && found.len() >= MIN_BYTES) {
            press(&path).with_context(|| format!("cannot compress {}", path.display()))?;
        }
    }
    Ok(())
}

fn press(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, QUALITY, WINDOW);
    writer.write_all(&bytes)?;
    let short = writer.into_inner();
    if short.len() < bytes.len() {
        let mut name = path.as_os_str().to_owned();
        name.push(".br");
        fs::write(name, short)?;
    }
    Ok(())
}
