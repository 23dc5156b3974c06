//! The page that people see. It reads the snapshot, which the driver sets several times a second, and sends
//! commands; it holds no state of its own but what is on the screen (a field's text, whether a list is open).
//!
//! - `phrase`, `figures`: which sentence and which unit, decided without a browser;
//! - `catalogue`, `speech`: the sentences in the page's language, with numbers as `Intl` writes them;
//! - `frame`: header, footer and what is between them; `chooser`, `seeding`, `invitation`: what starts a torrent; `torrent`, `files`,
//!   `rate_chart`, `piece_map`, `peers`, `trackers`, `journal`, `options`: the list; `preview`: a file played or shown; `sharing`, `qr`:
//!   ways to pass a torrent on; `notes`: what its `.torrent` file says; `checking`: comparing it with its hashes again; `unlisted`: what is
//!   kept of those that were removed; `settings`: what direct links are made with; `limits`: how fast it may go; `storage`: what is used of the
//!   browser's; `theme`: light or dark; `leaving`: what is asked before the page is left; `alerts`, `announcer`: what went wrong, and
//!   what screen readers hear; `favicon`: how far all downloads are, in the tab's icon; `notifier`: what is said when one is complete;
//! - `parts`: texts, buttons, drawings and lists, of which all of it is made;
//! - `gestures`, `gather`, `clipboard`: dropping, pasting, reading dropped folders, copying.
//!
//! Rows are keyed and every text is a memo of its own, so that a new snapshot changes the characters that differ and
//! nothing else: focus, selection, open lists and automation stay where they are.

mod alerts;
mod announcer;
mod catalogue;
mod checking;
mod chooser;
mod clipboard;
mod favicon;
mod figures;
mod files;
mod frame;
mod gather;
mod gestures;
mod invitation;
mod journal;
mod leaving;
mod limits;
mod notes;
mod notifier;
mod options;
mod parts;
mod peers;
mod phrase;
mod piece_map;
mod preview;
mod qr;
mod rate_chart;
mod seeding;
mod settings;
mod sharing;
mod speech;
mod storage;
mod theme;
mod torrent;
mod trackers;
mod unlisted;

use std::rc::Rc;

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

use self::catalogue::Language;
use self::phrase::Phrase;
use self::speech::Speech;
use crate::command::Command;
use crate::snapshot::Snapshot;

/// Shows the snapshot in the page's `#app` (or in the body, where there is none), from now on, and passes what the
/// user wants to `send`.
pub fn mount(snapshot: ReadSignal<Snapshot, LocalStorage>, send: impl Fn(Command) + Clone + 'static) {
    let document = document();
    let place = document.get_element_by_id("app").and_then(|element| element.dyn_into().ok());
    let Some(place) = place.or_else(|| document.body()) else { return };
    // What stood there until now is for those whose browser cannot run this.
    place.set_inner_html("");
    let send: Rc<dyn Fn(Command)> = Rc::new(send);
    mount_to(place, move || {
        let send = StoredValue::new_local(send);
        let language = RwSignal::new(preferred_language());
        // Outlives the language: what reads a dropped folder may still be at it when that is changed.
        let written = RwSignal::new(seeding::Written::kept());
        move || frame::frame(Ui::new(snapshot, send, written, language)).into_any()
    })
    .forget();
}

/// What every part of the page has at hand.
#[derive(Clone, Copy)]
struct Ui {
    snapshot: ReadSignal<Snapshot, LocalStorage>,
    send: StoredValue<Rc<dyn Fn(Command)>, LocalStorage>,
    speech: StoredValue<Rc<Speech>, LocalStorage>,
    language: RwSignal<Language>,
    /// What went wrong in the page itself, until dismissed.
    notice: RwSignal<Option<Phrase>>,
    /// What screen readers hear next.
    spoken: RwSignal<String>,
    /// What is said of files before they are seeded.
    seeding: RwSignal<seeding::Written>,
    /// The field for a hash, a magnet or a link.
    add_field: NodeRef<leptos::html::Input>,
}

impl Ui {
    /// In the language of this moment; changing it makes another.
    fn new(
        snapshot: ReadSignal<Snapshot, LocalStorage>,
        send: StoredValue<Rc<dyn Fn(Command)>, LocalStorage>,
        seeding: RwSignal<seeding::Written>,
        switch: RwSignal<Language>,
    ) -> Self {
        let language = switch.get();
        if let Some(root) = document().document_element() {
            // A known attribute of an element that exists: cannot fail.
            let _ = root.set_attribute("lang", language.tag());
        }
        Self {
            snapshot,
            send,
            speech: StoredValue::new_local(Rc::new(Speech::new(language))),
            language: switch,
            notice: RwSignal::new(None),
            spoken: RwSignal::new(String::new()),
            seeding,
            add_field: NodeRef::new(),
        }
    }

    fn send(self, command: Command) {
        // Taken out first: what the driver does with the command may reach this very page.
        let send = self.send.get_value();
        send(command);
    }

    fn speech(self) -> Rc<Speech> {
        self.speech.get_value()
    }

    /// A sentence with nothing to fill in.
    fn word(self, key: &'static str) -> String {
        self.speech().word(key)
    }

    fn say(self, phrase: &Phrase) -> String {
        self.speech().say(phrase)
    }
}

/// `lang=` in the address, then the browser's languages in the user's order.
fn preferred_language() -> Language {
    let window = window();
    let asked = window.location().search().ok().and_then(|search| {
        web_sys::UrlSearchParams::new_with_str(&search).ok().and_then(|query| query.get("lang"))
    });
    let preferred: Vec<String> =
        window.navigator().languages().iter().filter_map(|tag| tag.as_string()).collect();
    Language::choose(asked.as_deref(), preferred.iter().map(String::as_str))
}

/// Puts the language into the address without loading the page anew, which would end its transfers.
fn remember_language(language: Language) {
    let window = window();
    let Ok(address) = window.location().href() else { return };
    let Ok(address) = web_sys::Url::new(&address) else { return };
    address.search_params().set("lang", language.tag());
    if let Ok(history) = window.history() {
        // Browsers may refuse when it is called too often; the page is in the right language all the same.
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&address.href()));
    }
}
