//! One file of a torrent, played or shown in the page while it is being downloaded.

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::Ui;
use super::parts::{Button, Text, button, flag, icon, sometimes};
use super::phrase::Phrase;
use super::torrent::Row;
use crate::command::Command;
use crate::media::{self, Kind};
use crate::snapshot::{FileView, StreamingState, TorrentView};

/// Bytes of a text that are shown, at most: the browser lays all of it out at once.
const MAX_TEXT: u64 = 256 * 1024;

/// Which file is open, by its place in the list.
pub(super) type Open = RwSignal<Option<usize>>;

/// A button that opens this file, if the page can play or show it.
pub(super) fn open_button(
    ui: Ui,
    path: &str,
    place: usize,
    open: Open,
    class: &'static str,
) -> Option<AnyView> {
    let kind = media::kind(path)?;
    let plays = matches!(kind, Kind::Video | Kind::Audio);
    let (drawing, key) = if plays { ("play", "preview.play") } else { ("eye", "preview.view") };
    let label = ui.say(&Phrase::plain(key).text("name", path));
    let shape = Button {
        class,
        hint: label.clone().into(),
        ..Button::new("preview", drawing, short(ui, class, label, plays))
    };
    Some(button(shape, move || open.update(|open| *open = (*open != Some(place)).then_some(place))))
}

/// An icon alone says the whole; beside others of the same torrent one word is enough.
fn short(ui: Ui, class: &str, label: String, plays: bool) -> String {
    match (class.contains("icon-only"), plays) {
        (true, _) => label,
        (false, true) => ui.word("preview.play_short"),
        (false, false) => ui.word("preview.view_short"),
    }
}

/// The same for a torrent of one file, once its name is known.
pub(super) fn open_only(row: Row, open: Open) -> impl IntoView {
    let only = row.watch(|view| match view.files.as_slice() {
        // While the page has to be given its files again there is nothing to show.
        [file] if !view.needs_files() => file.path.clone(),
        _ => String::new(),
    });
    sometimes(move || open_button(row.ui, &only.get(), 0, open, ""))
}

/// What is open.
pub(super) fn preview(row: Row, open: Open) -> impl IntoView {
    let ui = row.ui;
    let state = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.streaming.state));
    sometimes(move || {
        let place = open.get()?;
        let (path, address) =
            row.read(|view| Some((view.files.get(place)?.path.clone(), address(ui, view, place))))??;
        let kind = media::kind(&path)?;
        let close = Button {
            class: "icon-only quiet",
            ..Button::new("preview-close", "close", ui.word("preview.close"))
        };
        let shown = match (state.get(), address) {
            (StreamingState::Unavailable, _) => unavailable(row, place),
            (StreamingState::Ready, Some(address)) => show(ui, kind, &address, &path),
            _ => sentence(ui, "preview.starting"),
        };
        let view = view! {
            <section class="preview" data-testid="preview-panel" aria-label=path>
                <header>
                    <h4>{path.clone()}</h4>
                    {button(close, move || open.set(None))}
                </header>
                {shown}
            </section>
        };
        Some(view.into_any())
    })
}

/// The file's address, from which the service worker answers.
fn address(ui: Ui, view: &TorrentView, place: usize) -> Option<String> {
    let base = ui.snapshot.with_untracked(|snapshot| snapshot.streaming.base.clone())?;
    let path = &view.files.get(place)?.path;
    let name = js_sys::encode_uri_component(path.rsplit('/').next().unwrap_or(path));
    Some(format!("{base}{}/{place}/{name}", view.torrent.info_hash))
}

fn sentence(ui: Ui, key: &'static str) -> AnyView {
    view! { <p class="hint" data-testid="preview-says">{ui.word(key)}</p> }.into_any()
}

/// Without a service worker there is only saving.
fn unavailable(row: Row, place: usize) -> AnyView {
    let wait = row.flag(move |view| !view.files.get(place).is_some_and(FileView::is_complete));
    let save = Button { disabled: wait, ..Button::new("preview-save", "save", row.ui.word("action.save")) };
    let press = move || row.order(|hash| Command::SaveFile(hash, place));
    view! { <div>{sentence(row.ui, "preview.unavailable")} {button(save, press)}</div> }.into_any()
}

fn show(ui: Ui, kind: Kind, address: &str, path: &str) -> AnyView {
    let (address, path) = (address.to_owned(), path.to_owned());
    let broken = RwSignal::new(false);
    let fails = move |_| broken.set(true);
    let shown = match kind {
        Kind::Video => view! {
            <video src=address controls autoplay playsinline data-testid="player" aria-label=path on:error=fails></video>
        }
        .into_any(),
        Kind::Audio => view! {
            <audio src=address controls autoplay data-testid="player" aria-label=path on:error=fails></audio>
        }
        .into_any(),
        Kind::Image => view! { <img src=address alt=path data-testid="picture" on:error=fails /> }.into_any(),
        Kind::Pdf => view! { <iframe src=address title=path data-testid="document"></iframe> }.into_any(),
        Kind::Text => text_of(ui, address, broken),
    };
    let failed = sometimes(move || broken.get().then(|| sentence(ui, "preview.failed")));
    view! { <div class="preview-body" class:broken=broken>{shown} {failed}</div> }.into_any()
}

/// A text's beginning, as text: nothing in it is looked at.
fn text_of(ui: Ui, address: String, broken: RwSignal<bool>) -> AnyView {
    let read = RwSignal::new(None::<(String, bool)>);
    // Who closes it wants the bytes no more.
    let fetching = web_sys::AbortController::new().ok();
    let signal = fetching.as_ref().map(web_sys::AbortController::signal);
    let fetching = StoredValue::new_local(fetching);
    on_cleanup(move || {
        fetching.try_with_value(|fetching| fetching.as_ref().map(web_sys::AbortController::abort));
    });
    spawn_local(async move {
        match fetch(&address, signal.as_ref()).await {
            Some(found) => {
                let _ = read.try_set(Some(found));
            }
            None => {
                let _ = broken.try_set(true);
            }
        }
    });
    let words: Text = Memo::new(move |_| read.get().map(|(words, _)| words).unwrap_or_default()).into();
    let cut = flag(move || read.with(|read| read.as_ref().is_some_and(|(_, cut)| *cut)));
    let waiting = flag(move || read.with(Option::is_none) && !broken.get());
    view! {
        <div>
            {sometimes(move || waiting.get().then(|| sentence(ui, "preview.reading")))}
            <pre tabindex="0" data-testid="text" hidden=waiting>{words}</pre>
            {sometimes(move || cut.get().then(|| view! { <p class="hint">{icon("warning")} <span>{ui.word("preview.cut")}</span></p> }.into_any()))}
        </div>
    }
    .into_any()
}

/// The first bytes at this address, and whether there are more.
async fn fetch(address: &str, signal: Option<&web_sys::AbortSignal>) -> Option<(String, bool)> {
    let (headers, init) = (web_sys::Headers::new().ok()?, web_sys::RequestInit::new());
    headers.set("range", &format!("bytes=0-{}", MAX_TEXT - 1)).ok()?;
    init.set_headers(&headers);
    init.set_signal(signal);
    let response = JsFuture::from(window().fetch_with_str_and_init(address, &init)).await.ok()?;
    let response: web_sys::Response = response.dyn_into().ok()?;
    if response.status() == 416 {
        // An empty file has no first byte.
        return Some((String::new(), false));
    }
    let total = response.headers().get("content-range").ok()??;
    let total: u64 = total.rsplit('/').next()?.parse().ok()?;
    let words = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
    Some((words, total > MAX_TEXT))
}
