//! The storage worker: takes messages, has the [`Shelf`] do what they say, answers.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Blob;

use super::protocol::{FromStorage, StoreError, ToStorage};
use super::shelf::{Doubt, Shelf};
use crate::dedicated::{self, Message, Part, part};

type Answer = Message<FromStorage, Part>;

/// Runs the storage worker.
pub fn serve() {
    let shelf: Rc<OnceCell<Shelf>> = Rc::default();
    dedicated::serve(move |request: ToStorage, parts: Vec<JsValue>| {
        let shelf = shelf.clone();
        async move {
            if let ToStorage::Open { preferred } = &request {
                let new = Shelf::open(preferred.as_deref()).await;
                return open(shelf.get_or_init(|| new)).await;
            }
            // Nothing is waited for between here and the shelf's own line, so requests join that as they came.
            match shelf.get() {
                Some(shelf) => answer(shelf, request, &parts).await.unwrap_or_else(failed),
                None => failed(StoreError::NotOpen),
            }
        }
    });
}

fn failed(error: StoreError) -> Answer {
    Message::bare(FromStorage::Failed(error))
}

async fn open(shelf: &Shelf) -> Answer {
    let mut remembered = Vec::new();
    let mut parts = Vec::new();
    for found in shelf.found().await {
        remembered.push(found.info_hash);
        parts.push(Part::copied(&found.record));
        parts.push(Part::copied(found.info.as_deref().unwrap_or_default()));
        parts.push(Part::copied(&found.have));
    }
    let folder = shelf.folder().map(str::to_owned);
    Message { body: FromStorage::Opened { folder, limit: shelf.limit(), remembered }, parts }
}

async fn answer(shelf: &Shelf, request: ToStorage, parts: &[JsValue]) -> Result<Answer, StoreError> {
    let incomplete = || StoreError::Browser("a message without what belongs to it".into());
    Ok(match request {
        ToStorage::Open { .. } => Message::bare(FromStorage::Done),
        ToStorage::Remember { info_hash } => {
            let bytes =
                |index| part(parts, index).map(|buffer: ArrayBuffer| Uint8Array::new(&buffer).to_vec());
            let record = bytes(0).ok_or_else(incomplete)?;
            shelf.remember(info_hash, &record, bytes(1).as_deref()).await?;
            Message::bare(FromStorage::Done)
        }
        ToStorage::Create { info_hash, lengths } => {
            let have = shelf.create(info_hash, lengths).await?;
            Message { body: FromStorage::Have, parts: vec![Part::copied(have.as_bytes())] }
        }
        ToStorage::Attach { info_hash, names, unverified } => {
            let first = usize::from(unverified.is_some());
            let files = names.into_iter().enumerate();
            let files: Vec<_> = files.map_while(|(i, name)| Some((name, part(parts, first + i)?))).collect();
            if first + files.len() != parts.len() {
                return Err(incomplete());
            }
            let doubt = match unverified {
                Some(piece_length) => {
                    let hashes: ArrayBuffer = part(parts, 0).ok_or_else(incomplete)?;
                    Some(Doubt::new(piece_length, &Uint8Array::new(&hashes).to_vec()))
                }
                None => None,
            };
            shelf.attach(info_hash, files, doubt).await;
            Message::bare(FromStorage::Done)
        }
        ToStorage::Store { info_hash, piece, offset, expected } => {
            let buffer: ArrayBuffer = part(parts, 0).ok_or_else(incomplete)?;
            let bytes = Uint8Array::new(&buffer);
            let verdict = shelf.store(info_hash, piece, offset, &bytes, expected).await;
            Message { body: FromStorage::Verdict(verdict), parts: vec![Part::Moved(buffer)] }
        }
        ToStorage::Load { info_hash, offset } => {
            let buffer: ArrayBuffer = part(parts, 0).ok_or_else(incomplete)?;
            match shelf.load(info_hash, offset, &Uint8Array::new(&buffer)) {
                Ok(()) => Message { body: FromStorage::Loaded, parts: vec![Part::Moved(buffer)] },
                Err(error) => Message::bare(FromStorage::LoadFailed(error)),
            }
        }
        ToStorage::Check { info_hash, piece, offset, len, expected } => {
            match shelf.check(info_hash, (piece, offset, len), expected).await {
                Ok(is_right) => Message::bare(FromStorage::Checked(is_right)),
                Err(error) => Message::bare(FromStorage::LoadFailed(error)),
            }
        }
        ToStorage::Blob { info_hash, offset, len } => blob(shelf.blob(info_hash, offset, len).await?),
        ToStorage::Zip { info_hash, entries } => blob(shelf.zip(info_hash, &entries).await?),
        ToStorage::ZipBegin { zip, info_hash, entries } => {
            shelf.zip_begin(zip, info_hash, entries)?;
            Message::bare(FromStorage::Done)
        }
        ToStorage::ZipNext { zip } => {
            let bytes = shelf.zip_next(zip)?;
            Message { body: FromStorage::Loaded, parts: vec![Part::copied(&bytes)] }
        }
        ToStorage::ZipEnd { zip } => {
            shelf.zip_end(zip);
            Message::bare(FromStorage::Done)
        }
        ToStorage::Remove { info_hash } => {
            shelf.remove(info_hash).await?;
            Message::bare(FromStorage::Done)
        }
    })
}

fn blob(blob: Blob) -> Answer {
    Message { body: FromStorage::Blob, parts: vec![Part::Shared(blob.into())] }
}
