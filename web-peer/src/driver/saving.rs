//! Files leave the store: one as it is, or all that were wanted as one zip, or into a folder that the user chooses.

use std::sync::Arc;

use engine::Session;
use shared::InfoHash;
use shared::metainfo::{Info, Metainfo};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::commands::CLIENT;
use super::peer::Peer;
use super::{Event, files};
use crate::browser_error;
use crate::save::{self, Folder};
use crate::snapshot::{Notes, SavingView};
use crate::store::{Store, StoreError};

impl Peer {
    /// One file, by its place in the list; or all that are to be saved: as one zip, or the only one as it is.
    pub(super) fn save(&mut self, hash: InfoHash, file: Option<usize>) {
        let Some(Saveable { key, store, info, files }) = self.saveable(hash) else { return };
        let (events, base) = (self.events.clone(), self.streaming.view.base.clone());
        spawn_local(async move {
            // The list shows what is not hidden.
            let mut shown = info.files().iter().enumerate().filter(|(_, file)| !file.hidden);
            let only = if info.is_folder() { file } else { Some(0) };
            let saved = match (only.map(|place| shown.nth(place)), base) {
                (Some(Some((index, file))), _) => {
                    let name = file.path.last().map_or(info.name(), String::as_str);
                    store.file_blob(hash, index).await.and_then(|blob| thrown(save::download(&blob, name)))
                }
                (Some(None), _) => return,
                (None, _) if files.is_empty() => return,
                // The name is in the response.
                (None, Some(base)) => thrown(save::navigate(&format!("{base}{hash}/zip/{hash}.zip"))),
                (None, None) => {
                    let name = format!("{}.zip", info.name());
                    store.zip_blob(hash, &files).await.and_then(|blob| thrown(save::download(&blob, &name)))
                }
            };
            if let Err(error) = saved {
                let _ = events.unbounded_send(Event::SaveFailed { key, error });
            }
        });
    }

    /// All files that are to be saved, into a folder of the user's choice, in a folder with the torrent's name.
    pub(super) fn save_into(&mut self, hash: InfoHash) {
        let Some(Saveable { key, store, info, files }) = self.saveable(hash) else { return };
        if files.is_empty() {
            return;
        }
        let events = self.events.clone();
        spawn_local(async move {
            let tell = |saving| {
                let _ = events.unbounded_send(Event::Saved { key, saving });
            };
            if let Err(error) = save_all(&store, hash, (&info, &files), tell).await {
                let _ = events.unbounded_send(Event::SaveFailed { key, error });
            }
        });
    }

    /// The torrent's metainfo file, with the trackers that its magnet names.
    pub(super) fn save_torrent_file(&mut self, hash: InfoHash) {
        let own = self.settings.tracker.clone();
        let Some(torrent) = self.by_hash(hash) else { return };
        let Some(info) = torrent.session().and_then(Session::info).cloned() else { return };
        let (key, Notes { comment, created_by, creation_date }) = (torrent.key, torrent.notes.clone());
        let trackers = torrent.magnet_with(hash, &own).trackers;
        let name = format!("{}.torrent", info.name());
        let metainfo = Metainfo {
            announce: trackers.first().cloned(),
            // A tier each (BEP 12), since programs with tiers ask only one of a tier.
            announce_list: trackers.into_iter().map(|tracker| vec![tracker]).collect(),
            // Who made it is said by whoever did; of what was made here, or came without a file, that is us.
            created_by: created_by.or_else(|| Some(CLIENT.to_owned())),
            creation_date,
            comment,
            ..Metainfo::new(Info::clone(&info))
        };
        let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(metainfo.to_bytes().as_slice()));
        let options = web_sys::BlobPropertyBag::new();
        options.set_type("application/x-bittorrent");
        let saved = web_sys::Blob::new_with_u8_array_sequence_and_options(&parts, &options)
            .and_then(|blob| save::download(&blob, &name));
        if let Err(error) = thrown(saved) {
            let _ = self.events.unbounded_send(Event::SaveFailed { key, error });
        }
    }

    fn saveable(&mut self, hash: InfoHash) -> Option<Saveable> {
        let store = self.store.clone()?;
        let torrent = self.by_hash(hash)?;
        let (key, session) = (torrent.key, torrent.session()?);
        Some(Saveable { key, store, info: session.info().cloned()?, files: files::to_save(session) })
    }
}

/// A torrent of which something can be saved.
struct Saveable {
    key: u32,
    store: Store,
    info: Arc<Info>,
    /// Those that go with all of it, as indices of [`Info::files`].
    files: Vec<usize>,
}

async fn save_all(
    store: &Store,
    hash: InfoHash,
    (info, files): (&Info, &[usize]),
    tell: impl Fn(SavingView),
) -> Result<(), StoreError> {
    let Some(chosen) = thrown(Folder::choose().await)? else { return Ok(()) };
    let root = thrown(chosen.fresh(info.name()).await)?;
    let chosen = files.iter().filter_map(|index| Some((*index, info.files().get(*index)?)));
    let total = files.len();
    tell(SavingView { done: 0, total });
    for (done, (index, file)) in chosen.enumerate() {
        let blob = store.file_blob(hash, index).await?;
        let (name, folders) = match file.path.split_last() {
            Some((name, folders)) => (name.as_str(), folders),
            None => (info.name(), &[][..]),
        };
        thrown(root.write(folders, name, &blob).await)?;
        tell(SavingView { done: done + 1, total });
    }
    Ok(())
}

fn thrown<T>(result: Result<T, JsValue>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Browser(browser_error::sentence(&error)))
}
