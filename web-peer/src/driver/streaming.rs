//! Responses that are being given through the service worker: what is there is read from the store, what is missing is asked
//! of the engine with deadlines, and the response waits for it.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use engine::{Priority, Session, Time};
use js_sys::{ArrayBuffer, Uint8Array};
use shared::metainfo::Info;
use shared::order::SortedMap;
use wasm_bindgen_futures::spawn_local;

use super::peer::Peer;
use super::torrent::{Torrent, by_key};
use super::{Event, files};
use crate::snapshot::{StreamingState, StreamingView, Trouble};
use crate::store::{LoadError, StoreError, Zip};
use crate::stream::{Head, Outlet, Request, Service, StreamEvent, Subject};

/// Bytes sent at a time. Each response has one such chunk in memory, at most.
const CHUNK: u64 = 256 * 1024;
/// Bytes ahead of what is being read that have a deadline: some seconds of a film.
const AHEAD: u64 = 8 << 20;
/// Bytes that are needed at once: what a player wants before it begins.
const AT_ONCE: u64 = 1 << 20;
/// When they are due.
const SOON: Duration = Duration::from_secs(1);
/// When the others ahead are due.
const LATER: Duration = Duration::from_secs(10);
/// Responses at a time, at most: a player has one or two, and what goes beyond is refused.
const MOST_STREAMS: usize = 64;

/// All responses that are open.
pub(super) struct Streaming {
    /// Kept for as long as the page lives.
    service: Option<Service>,
    pub(super) view: StreamingView,
    open: SortedMap<u64, Stream>,
}

/// One response.
struct Stream {
    outlet: Outlet,
    /// Of which torrent.
    key: u32,
    source: Source,
    /// Whether the next chunk is wanted.
    pulled: bool,
    /// Whether the store has been asked for it.
    loading: bool,
}

enum Source {
    File {
        /// What has not been sent, as bytes of the torrent.
        left: Range<u64>,
        /// Up to here there are deadlines.
        due: u64,
    },
    Zip(Zip),
}

/// What the store says to a pull.
pub(crate) enum Chunk {
    /// Bytes of a file.
    File(Result<Bytes, LoadError>),
    /// Bytes of a zip, or its end.
    Zip(Result<Option<ArrayBuffer>, StoreError>),
}

impl Streaming {
    pub(super) fn new() -> Self {
        Self { service: None, view: StreamingView::default(), open: SortedMap::new() }
    }

    fn sleep_or_wake(&mut self) {
        if let Some(service) = &mut self.service {
            service.keep_awake(!self.open.is_empty());
        }
    }
}

impl Peer {
    /// Starts the service worker, where there can be one.
    pub(super) fn start_streaming(&mut self) {
        let events = self.events.clone();
        self.streaming.service = Service::start(Rc::new(move |event| {
            let _ = events.unbounded_send(Event::Stream(event));
        }));
    }

    pub(super) fn stream_event(&mut self, now: Time, event: StreamEvent) {
        match event {
            StreamEvent::Ready(base) => {
                self.streaming.view = StreamingView { state: StreamingState::Ready, base: Some(base) };
            }
            StreamEvent::Unavailable => {
                self.streaming.view = StreamingView { state: StreamingState::Unavailable, base: None };
            }
            StreamEvent::Open(number, request, outlet) => self.stream(now, number, &request, outlet),
            StreamEvent::Pull(number) => {
                if let Some(stream) = self.streaming.open.get_mut(&number) {
                    stream.pulled = true;
                }
            }
            StreamEvent::Cancel(number) => self.end_stream(now, number, true),
        }
    }

    /// Begins a response. What cannot be given breaks off with its outlet.
    fn stream(&mut self, now: Time, number: u64, request: &Request, outlet: Outlet) {
        if self.streaming.open.len() >= MOST_STREAMS {
            return;
        }
        // Of files that are to come back nothing is here, and nobody else is asked for it.
        let Some(torrent) = self.by_hash(request.info_hash).filter(|torrent| torrent.returning.is_none())
        else {
            return;
        };
        let key = torrent.key;
        let Some(session) = torrent.session() else { return };
        let Some(info) = session.info().cloned() else { return };
        match request.subject {
            Subject::File(place) => {
                let shown = info.files().iter().enumerate().filter(|(_, file)| !file.hidden);
                let Some((index, file)) = shown.into_iter().nth(place) else { return };
                // Who opens a file wants it, whatever was said before.
                if session.file_priority(index) == Some(Priority::Skip) {
                    self.set_priorities(now, request.info_hash, Some(place), Priority::Normal);
                }
                let (head, part) = request.answer(&file.display_path(), file.length);
                outlet.begin(&head);
                let left = file.offset + part.start..file.offset + part.end;
                let source = Source::File { due: left.start, left };
                self.open_stream(now, number, Stream { outlet, key, source, pulled: false, loading: false });
            }
            Subject::Zip => {
                let files = files::to_save(session);
                self.stream_zip(key, number, &info, files, outlet);
            }
        }
    }

    fn stream_zip(&self, key: u32, number: u64, info: &Info, files: Vec<usize>, outlet: Outlet) {
        let (Some(store), events) = (self.store.clone(), self.events.clone()) else { return };
        if files.is_empty() {
            return;
        }
        let (hash, name) = (info.info_hash(), format!("{}.zip", info.name()));
        spawn_local(async move {
            let _ = events.unbounded_send(match store.zip(hash, &files).await {
                Ok(zip) => Event::ZipBegun { key, number, zip, outlet, name },
                Err(error) => Event::SaveFailed { key, error },
            });
        });
    }

    pub(super) fn zip_begun(
        &mut self,
        now: Time,
        key: u32,
        number: u64,
        zip: Zip,
        outlet: Outlet,
        name: &str,
    ) {
        outlet.begin(&Head::of_zip(name));
        self.open_stream(
            now,
            number,
            Stream { outlet, key, source: Source::Zip(zip), pulled: false, loading: false },
        );
    }

    fn open_stream(&mut self, now: Time, number: u64, stream: Stream) {
        let key = stream.key;
        self.streaming.open.insert(number, stream);
        self.streaming.sleep_or_wake();
        self.hurry_streams(now, key);
    }

    /// Ends a response; what only it needed has no deadline any more.
    fn end_stream(&mut self, now: Time, number: u64, cancelled: bool) {
        let Some(stream) = self.streaming.open.remove(&number) else { return };
        self.streaming.sleep_or_wake();
        let key = stream.key;
        if !cancelled {
            stream.outlet.end();
        }
        for other in self.streaming.open.values_mut().filter(|other| other.key == key) {
            if let Source::File { left, due } = &mut other.source {
                *due = left.start;
            }
        }
        if let Some(session) = self.session(key) {
            session.clear_deadlines();
        }
        self.hurry_streams(now, key);
    }

    /// Sees to it that what the torrent's responses will need next has a deadline.
    fn hurry_streams(&mut self, now: Time, key: u32) {
        let Some(torrent) = self.torrents.iter_mut().find(|torrent| torrent.key == key) else { return };
        let Some(session) = torrent.session_mut() else { return };
        for stream in self.streaming.open.values_mut().filter(|stream| stream.key == key) {
            let Source::File { left, due } = &mut stream.source else { continue };
            let until = left.end.min(left.start + AHEAD);
            // Half of it is left: a deadline for every chunk would be work for nothing.
            if *due >= until || *due > left.start + AHEAD / 2 {
                continue;
            }
            let from = (*due).max(left.start);
            let now_needed = from..until.min(left.start + AT_ONCE);
            session.set_deadline(now, now_needed.end.max(from)..until, now + LATER);
            if !now_needed.is_empty() {
                session.set_deadline(now, now_needed, now + SOON);
            }
            *due = until;
        }
    }

    /// Has the store read what is wanted and there, and ends what can give no more. Called after everything that happens.
    pub(super) fn advance_streams(&mut self, now: Time) {
        if self.streaming.open.is_empty() {
            return;
        }
        let mut ended = Vec::new();
        for (number, stream) in self.streaming.open.iter_mut() {
            let number = *number;
            let torrent = by_key(&self.torrents, stream.key);
            let session = torrent.filter(|torrent| !torrent.halted).and_then(Torrent::session);
            let (Some(session), Some(store)) = (session, self.store.clone()) else {
                ended.push((number, true));
                continue;
            };
            if !stream.pulled || stream.loading {
                continue;
            }
            let events = self.events.clone();
            match &stream.source {
                Source::File { left, .. } if left.is_empty() => ended.push((number, false)),
                Source::File { left, .. } => {
                    let len = there(session, left.start..left.end.min(left.start + CHUNK));
                    if len == 0 {
                        continue;
                    }
                    stream.loading = true;
                    let reading = store.load(session.info_hash(), left.start, len);
                    spawn_local(async move {
                        let chunk = Chunk::File(reading.await);
                        let _ = events.unbounded_send(Event::Chunk { number, chunk });
                    });
                }
                Source::Zip(zip) => {
                    stream.loading = true;
                    let reading = zip.next();
                    spawn_local(async move {
                        let chunk = Chunk::Zip(reading.await);
                        let _ = events.unbounded_send(Event::Chunk { number, chunk });
                    });
                }
            }
        }
        for (number, broken) in ended {
            self.end_stream(now, number, broken);
        }
    }

    /// The store answers a pull.
    pub(super) fn stream_chunk(&mut self, now: Time, number: u64, chunk: Chunk) {
        let Some(stream) = self.streaming.open.get_mut(&number) else { return };
        stream.loading = false;
        let key = stream.key;
        match (chunk, &mut stream.source) {
            (Chunk::File(Ok(bytes)), Source::File { left, .. }) => {
                left.start += bytes.len() as u64;
                stream.pulled = false;
                stream.outlet.chunk(&Uint8Array::from(bytes.as_ref()).buffer());
                self.hurry_streams(now, key);
            }
            (Chunk::Zip(Ok(Some(buffer))), Source::Zip(_)) => {
                stream.pulled = false;
                stream.outlet.chunk(&buffer);
            }
            (Chunk::Zip(Ok(None)), Source::Zip(_)) => self.end_stream(now, number, false),
            (chunk, _) => {
                let trouble = match chunk {
                    Chunk::File(Err(LoadError::Altered { file })) => {
                        self.altered(now, key, file);
                        None
                    }
                    Chunk::File(Err(error)) => Some(Trouble::from(error)),
                    Chunk::Zip(Err(error)) => Some(Trouble::SaveFailed { detail: error.to_string() }),
                    _ => None,
                };
                if let (Some(torrent), Some(trouble)) = (self.torrent(key), trouble) {
                    torrent.trouble = Some(trouble);
                }
                self.end_stream(now, number, true);
            }
        }
    }
}

/// How many of these bytes are there, from the first on.
fn there(session: &Session, bytes: Range<u64>) -> u32 {
    let (Some(have), Some(info)) = (session.have(), session.info()) else { return 0 };
    let geometry = info.geometry();
    let length = u64::from(geometry.piece_length());
    let mut end = bytes.start;
    while end < bytes.end {
        let piece = u32::try_from(end / length).ok().and_then(|index| geometry.piece(index));
        if !piece.is_some_and(|piece| have.has(piece)) {
            break;
        }
        end = (end / length + 1) * length;
    }
    // At most a chunk.
    (end.min(bytes.end) - bytes.start) as u32
}
