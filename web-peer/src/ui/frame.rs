//! The page's frame: header, what starts a torrent, the list, footer.

use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::alerts::alerts;
use super::announcer::announcer;
use super::chooser::{add_form, seed_card, steps};
use super::gestures::gestures;
use super::invitation::invitations;
use super::leaving::leaving;
use super::limits::limits;
use super::notifier::notifier;
use super::parts::{Button, Text, button, each_once, flag, icon, list, logo, sometimes, text};
use super::phrase::{self, Phrase, Value};
use super::settings::settings;
use super::storage::storage;
use super::theme::theme;
use super::torrent::torrent_row;
use super::unlisted::unlisted;
use super::{Ui, remember_language};
use crate::snapshot::StorageKind;

/// Everything that is seen.
pub(super) fn frame(ui: Ui) -> AnyView {
    // Newest first: what was just added is what people look for.
    let keys = Memo::new(move |_| {
        ui.snapshot.with(|snapshot| each_once(snapshot.torrents.iter().rev().map(|view| view.key.into())))
    });
    let empty = flag(move || keys.with(Vec::is_empty));
    let row = move |key: u64| u32::try_from(key).map(|key| torrent_row(ui, key)).into_any();
    // By hand: the address's fragment names torrents, so a link with `#torrents` must not be followed.
    let skip_to_list = |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        go_to_list();
    };
    leaving(ui);
    view! {
        <div class="page" class:empty=empty>
            <a class="skip" href="#torrents" on:click=skip_to_list>
                {ui.word("page.skip")}
            </a>
            {header(ui)}
            <main id="main" tabindex="-1">
                {offline(ui)} {memory_warning(ui)} {closed_ways(ui)} {metered(ui)} {alerts(ui)} {invitations(ui)} <div class="columns">
                    <div class="start">{seed_card(ui)} {add_form(ui)}</div>
                    <div class="rest">
                        {sometimes(move || empty.get().then(|| steps(ui)))}
                        <section
                            class="list"
                            id="torrents"
                            tabindex="-1"
                            aria-labelledby="list-title"
                            hidden=empty
                        >
                            <h2 id="list-title" class="visually-hidden">
                                {ui.word("list.title")}
                            </h2>
                            {list(keys, row)}
                        </section>
                    </div>
                </div>
            </main>
            {footer(ui)}
            {announcer(ui)}
            {gestures(ui)}
        </div>
    }
    .into_any()
}

/// Puts the focus on the list.
pub(super) fn go_to_list() {
    go_to("torrents");
}

/// Puts the focus at the beginning of what is between header and footer.
pub(super) fn go_to_main() {
    go_to("main");
}

/// Puts the focus on the element with this id.
pub(super) fn go_to(id: &str) {
    let place = document().get_element_by_id(id);
    if let Some(place) = place.and_then(|place| place.dyn_into::<web_sys::HtmlElement>().ok()) {
        // Focus is a courtesy.
        let _ = place.focus();
    }
}

fn header(ui: Ui) -> AnyView {
    let tracker = move || ui.snapshot.with(|snapshot| snapshot.tracker.state);
    let url = text(move || ui.snapshot.with(|snapshot| snapshot.tracker.url.clone()));
    let state = text(move || phrase::tracker_name(tracker()).to_owned());
    let words = text(move || ui.say(&phrase::tracker(tracker())));
    view! {
        <header class="top">
            <div class="brand">
                {logo()} <h1>"Enxame"</h1> <span class="tagline">{ui.word("page.tagline")}</span>
            </div>
            <p class="tracker" data-testid="tracker" data-state=state title=url>
                <span class="dot" aria-hidden="true"></span>
                <span>{words}</span>
            </p>
        </header>
    }
    .into_any()
}

/// Downloads in memory are gone with the tab: that has to be said before, not after.
fn memory_warning(ui: Ui) -> impl IntoView {
    let words = text(move || {
        let storage = ui.snapshot.with(|snapshot| snapshot.storage);
        if storage.kind != StorageKind::Memory {
            return String::new();
        }
        let warning = ui.word("memory.warning");
        match storage.limit {
            Some(limit) => {
                let limit = ui.say(&Phrase::plain("memory.limit").with("limit", Value::Bytes(limit)));
                format!("{warning} {limit}")
            }
            None => warning,
        }
    });
    notice("memory-warning", "warning", words)
}

/// Without a network the page opens all the same, since the service worker keeps it: what can be done then is said.
fn offline(ui: Ui) -> impl IntoView {
    let online = RwSignal::new(window().navigator().on_line());
    let listen = move |event: &'static str, now: bool| {
        let handle = window_event_listener_untyped(event, move |_| online.set(now));
        on_cleanup(move || handle.remove());
    };
    listen("online", true);
    listen("offline", false);
    notice(
        "offline",
        "globe",
        text(move || if online.get() { String::new() } else { ui.word("page.offline") }),
    )
}

/// Ways to reach peers that are closed: without this, rates and rows that differ from what others see would be a riddle.
fn closed_ways(ui: Ui) -> impl IntoView {
    let words = text(move || {
        let ways = ui.snapshot.with(|snapshot| phrase::ways(&snapshot.rtc));
        ways.map(|key| ui.word(key)).unwrap_or_default()
    });
    notice("transport-notice", "relay", words)
}

/// On a connection that is paid for by the byte less is sent than elsewhere: without this, nobody would know why.
fn metered(ui: Ui) -> impl IntoView {
    let polite = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.polite_upload));
    let words = text(move || {
        let rate = polite.get().map(|rate| ui.speech().rate(rate as f64));
        rate.map(|rate| ui.say(&Phrase::plain("limits.metered").with("rate", Value::Said(rate))))
            .unwrap_or_default()
    });
    notice("metered", "globe", words)
}

/// A sentence above everything else, while there is one.
fn notice(test_id: &'static str, icon_name: &'static str, words: Text) -> impl IntoView {
    sometimes(move || {
        let words = words.get();
        let notice = || {
            view! {
                <p class="notice" data-testid=test_id>
                    {icon(icon_name)} <span>{words.clone()}</span>
                </p>
            }
            .into_any()
        };
        (!words.is_empty()).then(notice)
    })
}

fn footer(ui: Ui) -> AnyView {
    let kept = text(move || {
        let kind = ui.snapshot.with(|snapshot| snapshot.storage.kind);
        phrase::storage(kind).map(|phrase| ui.say(&phrase)).unwrap_or_default()
    });
    let other = ui.speech().language().other();
    let switch = Button {
        class: "quiet",
        hint: ui.word("page.language_hint").into(),
        ..Button::new("language", "globe", ui.word("page.language"))
    };
    let switch = button(switch, move || {
        remember_language(other);
        ui.language.set(other);
    });
    view! {
        <footer class="bottom">
            <p>{ui.word("page.foot_open_tab")} " " {kept}</p>
            {theme(ui)} <div lang=other.tag()>{switch}</div>
            {storage(ui)} {unlisted(ui)} {notifier(ui)} {limits(ui)} {settings(ui)}
        </footer>
    }
    .into_any()
}
