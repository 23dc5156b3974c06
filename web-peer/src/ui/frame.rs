//! The page's frame: header, what starts a torrent, the list, footer.

use leptos::prelude::*;

use super::alerts::alerts;
use super::announcer::announcer;
use super::chooser::{add_form, seed_card, steps};
use super::gestures::gestures;
use super::phrase::{self, Phrase, Value};
use super::torrent::torrent_row;
use super::{Ui, icon, logo, remember_language};
use crate::snapshot::{StorageKind, TrackerState};

/// Everything that is seen.
pub(super) fn frame(ui: Ui) -> impl IntoView {
    // Newest first: what was just added is what people look for.
    let keys = Memo::new(move |_| {
        ui.snapshot.with(|snapshot| {
            let mut keys: Vec<u32> = Vec::with_capacity(snapshot.torrents.len());
            for view in snapshot.torrents.iter().rev() {
                if !keys.contains(&view.key) {
                    keys.push(view.key);
                }
            }
            keys
        })
    });
    let empty = Memo::new(move |_| keys.with(Vec::is_empty));
    view! {
        <div class="page" class:empty=move || empty.get()>
            <a class="skip" href="#torrents" on:click=skip_to_list>{ui.word("page.skip")}</a>
            {header(ui)}
            <main>
                {memory_warning(ui)} {alerts(ui)}
                <div class="columns">
                    <div class="start">{seed_card(ui)} {add_form(ui)}</div>
                    <div class="rest">
                        {move || empty.get().then(|| steps(ui))}
                        <section
                            class="list"
                            id="torrents"
                            tabindex="-1"
                            aria-labelledby="list-title"
                            hidden=move || empty.get()
                        >
                            <h2 id="list-title" class="visually-hidden">{ui.word("list.title")}</h2>
                            <For each=move || keys.get() key=|key| *key children=move |key| torrent_row(ui, key) />
                        </section>
                    </div>
                </div>
            </main>
            {footer(ui)} {announcer(ui)} {gestures(ui)}
        </div>
    }
}

/// By hand: the address's fragment names torrents, so a link with `#torrents` must not be followed.
fn skip_to_list(event: leptos::ev::MouseEvent) {
    event.prevent_default();
    let list = document().get_element_by_id("torrents");
    if let Some(list) =
        list.and_then(|list| wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlElement>(list).ok())
    {
        // Focus is a courtesy.
        let _ = list.focus();
    }
}

fn header(ui: Ui) -> impl IntoView {
    let state = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.tracker.state));
    let url = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.tracker.url.clone()));
    let name = move || match state.get() {
        TrackerState::Connecting => "connecting",
        TrackerState::Connected => "connected",
        TrackerState::Unreachable => "unreachable",
    };
    view! {
        <header class="top">
            <div class="brand">
                {logo()}
                <h1>"Enxame"</h1>
                <span class="tagline">{ui.word("page.tagline")}</span>
            </div>
            <p class="tracker" data-testid="tracker" data-state=name title=move || url.get()>
                <span class="dot" aria-hidden="true"></span>
                <span>{move || ui.say(&phrase::tracker(state.get()))}</span>
            </p>
        </header>
    }
}

/// Downloads in memory are gone with the tab: that has to be said before, not after.
fn memory_warning(ui: Ui) -> impl IntoView {
    let storage = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.storage));
    move || {
        let storage = storage.get();
        (storage.kind == StorageKind::Memory).then(|| {
            let limit = storage
                .limit
                .map(|limit| ui.say(&Phrase::plain("memory.limit").with("limit", Value::Bytes(limit))));
            view! {
                <p class="notice" data-testid="memory-warning">
                    {icon("warning")} <span>{ui.word("memory.warning")} " " {limit}</span>
                </p>
            }
        })
    }
}

fn footer(ui: Ui) -> impl IntoView {
    let kind = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.storage.kind));
    let other = ui.speech().language().other();
    let switch = move |_| {
        remember_language(other);
        ui.language.set(other);
    };
    view! {
        <footer class="bottom">
            <p>
                {ui.word("page.foot_open_tab")} " "
                {move || phrase::storage(kind.get()).map(|phrase| ui.say(&phrase))}
            </p>
            <button
                type="button"
                class="button quiet"
                data-testid="language"
                lang=other.tag()
                title=ui.word("page.language_hint")
                on:click=switch
            >
                {icon("globe")} <span>{ui.word("page.language")}</span>
            </button>
        </footer>
    }
}
