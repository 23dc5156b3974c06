//! Leaving the page while others depend on it asks first.

use leptos::prelude::*;

use super::Ui;
use crate::snapshot::{Snapshot, StorageKind};

/// Listens for as long as the calling scope lives. The question itself is the browser's, in its own words.
pub(super) fn leaving(ui: Ui) {
    let listener = window_event_listener_untyped("beforeunload", move |event| {
        if ui.snapshot.with_untracked(somebody_depends) {
            event.prevent_default();
        }
    });
    on_cleanup(move || listener.remove());
}

/// Whether leaving now breaks something off: a peer wants what is here, a file is being hashed, or downloads are in memory.
fn somebody_depends(snapshot: &Snapshot) -> bool {
    let in_memory = snapshot.storage.kind == StorageKind::Memory;
    snapshot.torrents.iter().any(|view| {
        let torrent = &view.torrent;
        torrent.state == engine::State::Hashing
            || (!view.upload_off && torrent.peers.iter().any(|peer| peer.peer_interested))
            || (in_memory && torrent.bytes.downloaded > 0)
    })
}
