//! Buttons that copy.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlDocument, HtmlTextAreaElement};

use super::Ui;
use super::parts::{Button, Text, button, text};

/// How long a button says that it has copied.
const FEEDBACK: Duration = Duration::from_millis(1_800);

/// How long the live region says nothing, so that what it says next is new.
const SILENCE: Duration = Duration::from_millis(50);

/// A button that copies what `text` gives. Where copying is blocked, `blocked` receives the text instead, to show it.
pub(super) fn copy_button(
    ui: Ui,
    (test_id, icon, label): (&'static str, &'static str, &'static str),
    what: Text,
    blocked: RwSignal<Option<String>>,
) -> AnyView {
    let copied = RwSignal::new(false);
    let choose = move |after: &'static str, before: &'static str| if copied.get() { after } else { before };
    let shape = Button::new(
        test_id,
        text(move || choose("check", icon).to_owned()),
        text(move || ui.word(choose("action.copied", label))),
    );
    button(shape, move || copy(ui, what, copied, blocked))
}

/// The hash itself as a button that copies it. Its text is the hash alone, whatever it has done.
pub(super) fn copy_hash(ui: Ui, hash: Text, blocked: RwSignal<Option<String>>) -> AnyView {
    let copied = RwSignal::new(false);
    view! {
        <button
            type="button"
            class="hash"
            class:done=copied
            data-testid="info-hash"
            data-feedback=ui.word("action.copied")
            title=ui.word("torrent.hash_copy")
            on:click=move |_| copy(ui, hash, copied, blocked)
        >
            {hash}
        </button>
    }
    .into_any()
}

fn copy(ui: Ui, text: Text, copied: RwSignal<bool>, blocked: RwSignal<Option<String>>) {
    let text = text.get_untracked();
    leptos::task::spawn_local(async move {
        // The row may be gone by the time the browser answers, hence `try_`.
        if write(&text).await {
            blocked.try_set(None);
            copied.try_set(true);
            // A button whose words change is not heard everywhere. Taken away for a moment, so that the same is said again.
            ui.spoken.try_set(String::new());
            let say = move || {
                ui.spoken.try_set(ui.word("action.copied"));
            };
            set_timeout(say, SILENCE);
            let back = move || {
                copied.try_set(false);
            };
            set_timeout(back, FEEDBACK);
        } else {
            blocked.try_set(Some(text));
        }
    });
}

/// Puts the text into the clipboard, and says whether that worked.
async fn write(text: &str) -> bool {
    let window = window();
    // On plain http, as in a local network, there is no `navigator.clipboard`.
    if window.is_secure_context() {
        let written = JsFuture::from(window.navigator().clipboard().write_text(text)).await;
        if written.is_ok() {
            return true;
        }
    }
    write_by_selection(text).unwrap_or(false)
}

/// The old way: a field that is selected and copied by command.
fn write_by_selection(text: &str) -> Result<bool, JsValue> {
    let document = document();
    let Some(body) = document.body() else { return Ok(false) };
    let focused =
        document.active_element().and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    let field: HtmlTextAreaElement = document.create_element("textarea")?.unchecked_into();
    field.set_value(text);
    field.set_class_name("visually-hidden");
    body.append_child(&field)?;
    field.select();
    let copied = document.unchecked_ref::<HtmlDocument>().exec_command("copy");
    field.remove();
    if let Some(focused) = focused {
        focused.focus()?;
    }
    copied
}
