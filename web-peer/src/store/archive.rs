//! All files of a torrent as one zip, without a copy of their bytes: the archive's own bytes (headers, directory) are
//! made here, and between them go slices of the store. Files are stored, not compressed: what people share is
//! compressed already, and only so can the slices be used as they are.
//!
//! The `zip` crate writes the archive. It is given every byte of every file, for the CRC-32 in the headers, and a sink
//! that keeps what the crate itself writes, and of the files only where they go.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};
use std::rc::Rc;

use zip::write::SimpleFileOptions;
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
    zip: ZipWriter<Sink>,
    content: Rc<Cell<bool>>,
}

impl Archive {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        let content = Rc::new(Cell::new(false));
        let sink = Sink { runs: Vec::new(), at: 0, end: 0, content: content.clone() };
        Self { zip: ZipWriter::new(sink), content }
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
        self.content.set(true);
        let written = self.zip.write_all(bytes);
        self.content.set(false);
        written
    }

    /// The whole archive.
    pub(super) fn finish(self) -> Result<Vec<Run>> {
        let sink = self.zip.finish().map_err(Error::from)?;
        Ok(sink.runs.into_iter().map(|(_, run)| run).collect())
    }
}

/// Where the `zip` crate writes to.
///
/// Invariant: the runs lie end to end from 0 to `end`, each with the place where it begins; no run is empty.
struct Sink {
    runs: Vec<(u64, Run)>,
    at: u64,
    end: u64,
    /// Whether what is written now are a file's bytes.
    content: Rc<Cell<bool>>,
}

impl Sink {
    fn append(&mut self, bytes: &[u8]) {
        let start = self.end;
        match (self.runs.last_mut(), self.content.get()) {
            (Some((_, Run::Files(len))), true) => *len += bytes.len() as u64,
            (Some((_, Run::Own(own))), false) => own.extend_from_slice(bytes),
            (_, true) => self.runs.push((start, Run::Files(bytes.len() as u64))),
            (_, false) => self.runs.push((start, Run::Own(bytes.to_vec()))),
        }
        self.end += bytes.len() as u64;
        self.at = self.end;
    }

    /// The crate goes back to a file's header when it knows its CRC-32. Never into a file's bytes.
    fn amend(&mut self, bytes: &[u8]) -> Result<usize> {
        let index = self.runs.partition_point(|(start, _)| *start <= self.at).checked_sub(1);
        let run = index.and_then(|index| self.runs.get_mut(index));
        let Some((start, Run::Own(own))) = run.filter(|_| !self.content.get()) else {
            return Err(Error::new(ErrorKind::Unsupported, "a file's bytes are not kept"));
        };
        // Inside this run, so it fits.
        let from = (self.at - *start) as usize;
        let len = bytes.len().min(own.len() - from);
        own[from..from + len].copy_from_slice(&bytes[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            Ok(0)
        } else if self.at == self.end {
            self.append(bytes);
            Ok(bytes.len())
        } else {
            self.amend(bytes)
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at
            .filter(|at| *at <= self.end)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "outside of the archive"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    /// The archive, put together as the store does it.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Archive::new();
        for (path, bytes) in files {
            archive.begin(path, bytes.len() as u64).unwrap();
            for chunk in bytes.chunks(7) {
                archive.content(chunk).unwrap();
            }
        }
        let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let mut rest = all.as_slice();
        let mut out = Vec::new();
        for run in archive.finish().unwrap() {
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
