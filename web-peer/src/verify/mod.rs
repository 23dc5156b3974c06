//! Hashes chosen files in dedicated workers, so that the page never stands still.
//!
//! The page cuts the files into jobs (`jobs`); each worker (`serve`) reads its jobs' bytes itself, as slices of the
//! files, and answers with the pieces' digests. Nothing is read in the page, and no byte passes between threads.
//!
//! Most of the work is the browser's reading. Headless Chromium 156 on two shared, busy cores, a file of 1 GiB in the page
//! cache, processor time of all of the browser's processes a MiB: reading alone 2.0 ms, whether through
//! `Blob.arrayBuffer` or `FileReaderSync`, and 2.6 ms through `Blob.stream`; with SHA-1 by WebCrypto 2.4 ms, by the
//! `sha1` crate in WebAssembly 3.8 ms. So two cores with nothing else to do reach some 830 and 520 MiB/s, and WebCrypto
//! is used wherever there is a secure context. `cargo xtask bench` measures what a user waits for.

mod jobs;
mod protocol;
mod serve;

use std::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::stream;
use js_sys::ArrayBuffer;
use shared::Geometry;
use wasm_bindgen::JsValue;
use web_sys::{Blob, File};

use self::jobs::{Job, jobs};
use self::protocol::{FromHasher, ToHasher};
use crate::buffers;
use crate::dedicated::{Dedicated, Message, Part, WorkerGone, part};

pub use self::serve::{hash_pieces, serve};

/// The name of a hashing worker's role.
pub const ROLE: &str = "hash";

/// Most workers: two keep a disk and the browser's own threads busy, which read and, with WebCrypto, hash.
const MAX_WORKERS: usize = 2;

/// Jobs that a worker has at a time: one is read while the other is hashed.
const JOBS_AT_ONCE: usize = 2;

/// Digest of one piece.
pub type Digest = [u8; 20];

/// Why files could not be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// A file is gone or was changed since it was chosen; by its place in the list.
    #[error("file {file} is gone or was changed since it was chosen")]
    Unreadable {
        /// Its place in the list.
        file: usize,
    },
    /// The files' lengths do not add up to the geometry's total.
    #[error("the files' lengths do not add up")]
    Lengths,
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerGone),
}

/// The hashing workers. Clones are handles to the same ones. They start with the first use and then stay: what they
/// hold when idle is little, and a script that was loaded once need not be reachable again.
#[derive(Clone, Default)]
pub struct HashPool {
    workers: Rc<RefCell<Vec<Rc<Dedicated>>>>,
}

impl HashPool {
    /// Without workers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the workers, and those anew that failed.
    pub fn warm(&self) {
        let mut workers = self.workers.borrow_mut();
        workers.retain(|worker| worker.gone().is_none());
        while workers.len() < worker_count() {
            workers.push(Rc::new(Dedicated::start(ROLE)));
        }
    }

    /// The digests of all pieces of these files, end to end. `progress` is told how many bytes are done, several times
    /// a second.
    ///
    /// # Errors
    /// [`HashError`].
    pub async fn hash(
        &self,
        files: &[File],
        geometry: Geometry,
        progress: impl Fn(u64),
    ) -> Result<Vec<Digest>, HashError> {
        let lengths: Vec<u64> = files.iter().map(|file| file.size() as u64).collect();
        if lengths.iter().try_fold(0, |sum: u64, length| sum.checked_add(*length)) != Some(geometry.total()) {
            return Err(HashError::Lengths);
        }
        self.warm();
        let workers = self.workers.borrow().clone();
        let queue = jobs(&lengths, geometry);
        let queue = RefCell::new(queue.iter());
        // Each lane takes the next job as soon as it is free, so that no worker waits for another.
        let lanes = workers.iter().flat_map(|worker| std::iter::repeat_n(worker, JOBS_AT_ONCE));
        let done = stream::select_all(lanes.map(|worker| {
            let next = || queue.borrow_mut().next();
            Box::pin(stream::unfold((), move |()| async move {
                let job = next()?;
                Some((
                    run(worker, files, job, geometry.piece_length()).await.map(|digests| (job, digests)),
                    (),
                ))
            }))
        }));
        let mut done = done.fuse();
        let mut bytes = 0;
        let mut digests = vec![[0; 20]; geometry.piece_count() as usize];
        while let Some(result) = done.next().await {
            let (job, found) = result?;
            let first = job.first_piece as usize;
            let pieces = found.as_chunks().0;
            let place = digests.get_mut(first..first + pieces.len());
            place.ok_or(HashError::Lengths)?.copy_from_slice(pieces);
            bytes += job.len;
            progress(bytes);
        }
        Ok(digests)
    }
}

fn worker_count() -> usize {
    let processors = web_sys::window().map_or(1.0, |window| window.navigator().hardware_concurrency());
    (processors as usize).clamp(1, MAX_WORKERS)
}

async fn run(
    worker: &Dedicated,
    files: &[File],
    job: &Job,
    piece_length: u32,
) -> Result<bytes::Bytes, HashError> {
    let mut parts = Vec::new();
    for span in &job.spans {
        let file: &Blob = files.get(span.file).ok_or(HashError::Lengths)?;
        let slice = file
            .slice_with_f64_and_f64(span.bytes.start as f64, span.bytes.end as f64)
            .map_err(|_| HashError::Unreadable { file: span.file })?;
        parts.push(Part::Shared(slice.into()));
    }
    let request = ToHasher { piece_length, len: job.len };
    let reply: Message<FromHasher, JsValue> = worker.request(&request, parts).await?;
    let buffer: Option<ArrayBuffer> = part(&reply.parts, 0);
    let unreadable =
        |span: usize| HashError::Unreadable { file: job.spans.get(span).map_or(0, |span| span.file) };
    match (reply.body, buffer) {
        (FromHasher::Hashed, Some(digests)) => Ok(buffers::copied(&digests)),
        (FromHasher::Hashed, None) => Err(HashError::Lengths),
        (FromHasher::Unreadable { index }, _) => Err(unreadable(index)),
    }
}
