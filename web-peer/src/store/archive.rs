//! All files of a torrent as one zip: the archive's own bytes (headers, directory) are made here, and between them go the
//! files' bytes as they are in the store. Files are stored, not compressed: what people share is compressed already.
//!
//! The `zip` crate writes the archive, from beginning to end and never back, so that it can be sent while it is made: what
//! is only known behind a file's bytes, its CRC-32, stands behind them (APPNOTE 4.3.9, the data descriptor). The crate is
//! given every byte of every file, and a sink that keeps what the crate itself writes, and of the files only where they go.

use std::cell::RefCell;
use std::io::{Error, Result, Write};
use std::rc::Rc;

use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

/// A file of this many bytes or more needs the fields of Zip64.
const ZIP64_FROM: u64 = u32::MAX as u64;

/// A run of bytes in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// The archive's own.
    Own(Vec<u8>),
    /// So many bytes of files, going on where the run of files before it ended.
    Files(u64),
}

/// Writes an archive: `begin`, then all of that file's bytes through `content`, for every file; then `finish`.
pub(super) struct Archive {
    zip: ZipWriter<StreamWriter<Sink>>,
    made: Rc<RefCell<Made>>,
}

impl Archive {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        let made = Rc::<RefCell<Made>>::default();
        Self { zip: ZipWriter::new_stream(Sink(made.clone())), made }
    }

    /// Goes on to this file, with so many bytes. Its path has `/` between the parts.
    pub(super) fn begin(&mut self, path: &str, len: u64) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(len >= ZIP64_FROM);
        self.zip.start_file(path, options).map_err(Error::from)
    }

    /// The next bytes of the present file.
    pub(super) fn content(&mut self, bytes: &[u8]) -> Result<()> {
        self.made.borrow_mut().content = true;
        let written = self.zip.write_all(bytes);
        self.made.borrow_mut().content = false;
        written
    }

    /// What was made since this was asked last, in order.
    pub(super) fn take(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.made.borrow_mut().runs)
    }

    /// What is left, the directory at the end included.
    pub(super) fn finish(self) -> Result<Vec<Run>> {
        self.zip.finish().map_err(Error::from)?;
        Ok(std::mem::take(&mut self.made.borrow_mut().runs))
    }
}

/// What was made and not taken. Invariant: no run is empty, and two that follow each other are not of the same kind.
#[derive(Default)]
struct Made {
    runs: Vec<Run>,
    /// Whether what is written now are a file's bytes.
    content: bool,
}

/// Where the `zip` crate writes to.
struct Sink(Rc<RefCell<Made>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut made = self.0.borrow_mut();
        let Made { runs, content } = &mut *made;
        match (runs.last_mut(), *content) {
            _ if bytes.is_empty() => {}
            (Some(Run::Files(len)), true) => *len += bytes.len() as u64,
            (Some(Run::Own(own)), false) => own.extend_from_slice(bytes),
            (_, true) => runs.push(Run::Files(bytes.len() as u64)),
            (_, false) => runs.push(Run::Own(bytes.to_vec())),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    /// The archive, put together as the store does it.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Archive::new();
        let mut runs = Vec::new();
        for (path, bytes) in files {
            archive.begin(path, bytes.len() as u64).unwrap();
            for chunk in bytes.chunks(7) {
                archive.content(chunk).unwrap();
                runs.extend(archive.take());
            }
        }
        let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let mut rest = all.as_slice();
        let mut out = Vec::new();
        runs.extend(archive.finish().unwrap());
        for run in runs {
            match run {
                Run::Own(own) => out.extend(own),
                Run::Files(len) => {
                    let (now, later) = rest.split_at(len as usize);
                    out.extend_from_slice(now);
                    rest = later;
                }
            }
        }
        assert!(rest.is_empty());
        out
    }

    #[test]
    fn what_goes_in_comes_out_with_names_in_any_script() {
        let files: [(&str, &[u8]); 4] = [
            ("pasta/música.txt", b"hello, hello, hello"),
            ("pasta/空", b""),
            ("b/ã/c", &[7; 1000]),
            ("z", b"z"),
        ];
        let mut zip = zip::ZipArchive::new(Cursor::new(archive(&files))).unwrap();
        assert_eq!(zip.len(), files.len());
        for (index, (path, bytes)) in files.iter().enumerate() {
            let mut file = zip.by_index(index).unwrap();
            assert_eq!(file.name().unwrap(), *path);
            assert_eq!(file.compression(), CompressionMethod::Stored);
            let mut found = Vec::new();
            // Reading to the end compares the CRC-32.
            file.read_to_end(&mut found).unwrap();
            assert_eq!(found, *bytes);
        }
    }

    #[test]
    fn an_archive_of_nothing_can_be_read() {
        assert_eq!(zip::ZipArchive::new(Cursor::new(archive(&[]))).unwrap().len(), 0);
    }

    #[test]
    fn a_file_of_4_gib_gets_the_fields_of_zip64() {
        let mut archive = Archive::new();
        // The sink and not the crate is under test here, so the bytes need not be written out: the longest file that
        // is quick to hash is announced as a large one.
        archive.begin("large", ZIP64_FROM).unwrap();
        archive.content(b"not so large").unwrap();
        let runs = archive.finish().unwrap();
        let Run::Own(header) = &runs[0] else { panic!("no header") };
        // APPNOTE 4.3.9.2 and 4.5.3: version 4.5 needed, and an extra field 0001 of 16 bytes.
        assert_eq!(header[4..6], [45, 0]);
        assert!(header.windows(4).any(|field| field == [1, 0, 16, 0]));
    }

    #[test]
    fn the_same_path_twice_is_refused() {
        let mut archive = Archive::new();
        archive.begin("a", 0).unwrap();
        assert!(archive.begin("a", 0).is_err());
    }
}
