//! Files to seed, and whether what was saved is the same.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::output_folder;

const CHUNK: usize = 1 << 20;

/// A folder on disk that goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// An empty folder under the output folder: on disk, where `/tmp` may be memory.
    pub fn new() -> Result<Self> {
        let parent = output_folder().join("e2e/scratch");
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let folder = TempDir::new_in(&parent).context("cannot make a temporary folder")?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of `bytes` random bytes, the same for the same seed. `name` may have folders in it.
    pub fn file(&self, name: &str, bytes: u64, seed: u64) -> Result<PathBuf> {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        write_random(&path, bytes, seed).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Replaces a file by `bytes` random bytes.
pub fn write_random(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut generator = fastrand::Rng::with_seed(seed);
    let mut file = File::create(path)?;
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        generator.fill(&mut chunk[..now]);
        file.write_all(&chunk[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    sha256_of(file).with_context(|| format!("cannot read {}", path.display()))
}

/// The SHA-256 of everything that a reader gives, in hexadecimal.
fn sha256_of(mut reader: impl io::Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk)? {
            0 => break,
            read => hasher.update(&chunk[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Every file below a folder as (path from the folder's parent with `/`, SHA-256), sorted.
pub fn digests_of_folder(folder: &Path) -> Result<Vec<(String, String)>> {
    let parent = folder.parent().context("the folder has no parent")?;
    let mut digests = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(parent)?.to_string_lossy().replace('\\', "/");
                digests.push((name, sha256(&path)?));
            }
        }
    }
    digests.sort();
    Ok(digests)
}

/// Every file inside a zip as (path with `/`, SHA-256), sorted.
pub fn digests_of_zip(path: &Path) -> Result<Vec<(String, String)>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut archive = zip::ZipArchive::new(file).context("what was saved is not a zip")?;
    let mut digests = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).context("the zip has a broken entry")?;
        if entry.is_file() {
            let name = entry.name().context("the zip has a name that is none")?.into_owned();
            digests.push((name, sha256_of(entry).context("the zip has a broken file")?));
        }
    }
    digests.sort();
    Ok(digests)
}
