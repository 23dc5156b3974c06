//! How much of the browser's storage is used, and whether the browser promised to keep it.

use js_sys::{Promise, Reflect};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::StorageManager;

use super::Ui;
use super::parts::{is_blank, text};
use super::phrase::{self, Phrase, Value};
use crate::snapshot::{Snapshot, StorageKind};

/// Bytes that are stored between two looks at what is used.
const STEP: u64 = 16 << 20;

/// What the browser says of the storage of this origin, that of other tabs included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    /// Bytes.
    used: u64,
    /// Bytes that there may be, at most.
    quota: u64,
}

/// A sentence in the footer, while there are downloads, or what is kept of some that are not in the list. As soon as there are, the browser is asked to keep them.
pub(super) fn storage(ui: Ui) -> AnyView {
    let used = RwSignal::new(None::<Use>);
    let kept = RwSignal::new(None::<bool>);
    let downloads = Memo::new(move |_| ui.snapshot.with(stored));
    Effect::new(move |before: Option<Stored>| {
        let now = downloads.get();
        let first = now.torrents > 0 && before.is_none_or(|before| before.torrents == 0);
        leptos::task::spawn_local(async move {
            let Some(manager) = manager() else { return };
            if first {
                let promised = ask(manager.persist()).await.and_then(|promised| promised.as_bool());
                kept.try_set(promised);
            }
            if let Some(found) = look(&manager).await {
                used.try_set(Some(found));
            }
        });
        now
    });
    let words = text(move || {
        let Some(Use { used, quota }) = used.get().filter(|_| downloads.get().torrents > 0) else {
            return String::new();
        };
        let phrase = Phrase::plain("storage.used").with("used", Value::Bytes(used));
        let used = ui.say(&phrase.with("quota", Value::Bytes(quota)));
        match kept.get() {
            Some(kept) => format!("{used} {}", ui.word(phrase::kept(kept))),
            None => used,
        }
    });
    view! {
        <p class="storage" data-testid="storage" hidden=is_blank(words)>
            {words}
        </p>
    }
    .into_any()
}

/// What makes it worth looking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    torrents: usize,
    steps: u64,
}

fn stored(snapshot: &Snapshot) -> Stored {
    let downloads = || snapshot.torrents.iter().filter(|view| !view.link.is_empty());
    let bytes: u64 = downloads().map(|view| view.torrent.bytes.verified).sum();
    let is_private = snapshot.storage.kind == StorageKind::Private;
    let torrents = if is_private { downloads().count() + snapshot.unlisted.len() } else { 0 };
    let kept: u64 = snapshot.unlisted.iter().filter_map(|kept| kept.bytes).sum();
    Stored { torrents, steps: (bytes + kept) / STEP }
}

/// Not there on plain http.
fn manager() -> Option<StorageManager> {
    let found = Reflect::get(&window().navigator(), &JsValue::from_str("storage")).ok()?;
    found.is_object().then(|| found.unchecked_into())
}

async fn ask(asked: Result<Promise, JsValue>) -> Option<JsValue> {
    JsFuture::from(asked.ok()?).await.ok()
}

async fn look(manager: &StorageManager) -> Option<Use> {
    let found = ask(manager.estimate()).await?;
    let number = |name: &str| Reflect::get(&found, &name.into()).ok()?.as_f64();
    Some(Use { used: number("usage")? as u64, quota: number("quota")? as u64 })
}
