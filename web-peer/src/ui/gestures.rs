//! What works anywhere on the page: dropping files, folders and links, and pasting files, hashes and links.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{DataTransfer, DragEvent, HtmlElement};

use super::Ui;
use super::gather::{Drop, carries_files, from_list};
use super::parts::icon;
use super::phrase::{self, Phrase};
use crate::command::Command;

/// Listens on the window for as long as the calling scope lives; what it returns shows that dropping here works.
pub(super) fn gestures(ui: Ui) -> impl IntoView {
    let dragging = RwSignal::new(false);
    let set_dragging = move |now: bool| {
        if dragging.get_untracked() != now {
            dragging.set(now);
        }
    };

    let listeners = [
        window_event_listener(ev::dragover, move |event| {
            if let Some(transfer) = transfer_for_us(&event) {
                // Without this the browser would open the file in the page's place.
                event.prevent_default();
                transfer.set_drop_effect("copy");
                set_dragging(true);
            }
        }),
        // Between two elements of the page it is a leaving too, but one with a place to go to.
        window_event_listener(ev::dragleave, move |event| {
            if event.related_target().is_none() {
                set_dragging(false);
            }
        }),
        window_event_listener(ev::drop, move |event| {
            set_dragging(false);
            if let Some(transfer) = transfer_for_us(&event) {
                event.prevent_default();
                take_drop(ui, &transfer);
            }
        }),
        window_event_listener(ev::paste, move |event| {
            if is_field(event.target()) {
                return;
            }
            if let Some(transfer) = event.clipboard_data().filter(|transfer| take_paste(ui, transfer)) {
                let _ = transfer;
                event.prevent_default();
            }
        }),
    ];
    on_cleanup(move || listeners.into_iter().for_each(|listener| listener.remove()));

    view! {
        <div class="drop-veil" class:shown=move || dragging.get() aria-hidden="true">
            <div class="drop-veil-card">
                {icon("drop")} <strong>{ui.word("seed.drop")}</strong> <span>{ui.word("seed.drop_hint")}</span>
            </div>
        </div>
    }
}

/// What a drag carries, when it is for the page: files wherever they are dropped, and text unless over a field.
fn transfer_for_us(event: &DragEvent) -> Option<DataTransfer> {
    event.data_transfer().filter(|transfer| carries_files(transfer) || !is_field(event.target()))
}

fn is_field(target: Option<web_sys::EventTarget>) -> bool {
    target.and_then(|target| target.dyn_into::<HtmlElement>().ok()).is_some_and(|element| {
        matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT")
            || element.is_content_editable()
    })
}

fn take_drop(ui: Ui, transfer: &DataTransfer) {
    let dropped = Drop::of(transfer);
    if dropped.is_empty() {
        take_text(ui, transfer);
        return;
    }
    leptos::task::spawn_local(async move {
        let (files, complete) = dropped.files().await;
        if !complete {
            ui.notice.set(Some(Phrase::plain("seed.folder_failed")));
        }
        // An empty folder goes too: the driver has the words for it.
        if complete || !files.is_empty() {
            ui.seed(files);
        }
    });
}

/// Whether there was something in it.
fn take_paste(ui: Ui, transfer: &DataTransfer) -> bool {
    match transfer.files().filter(|files| files.length() > 0) {
        Some(files) => {
            ui.seed(from_list(&files));
            true
        }
        None => take_text(ui, transfer),
    }
}

/// What names a torrent is added at once; other text goes into the field, for the user to look at.
fn take_text(ui: Ui, transfer: &DataTransfer) -> bool {
    let text = transfer.get_data("text/plain").unwrap_or_default();
    let text = text.trim();
    if text.is_empty() {
        return false;
    }
    if phrase::names_a_torrent(text) {
        ui.send(Command::Add(text.to_owned()));
    } else if let Some(field) = ui.add_field.get_untracked() {
        field.set_value(text);
        // Focus is a courtesy.
        let _ = field.focus();
    }
    true
}
