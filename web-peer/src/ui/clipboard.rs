//! Buttons that copy.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlDocument, HtmlTextAreaElement};

use super::{Ui, icon};

/// How long a button says that it has copied.
const FEEDBACK: Duration = Duration::from_millis(1_800);

/// How a button stands.
#[derive(Clone, Copy, PartialEq)]
enum Copying {
    Ready,
    Copied,
}

/// A button that copies what `text` gives. Where copying is blocked, `blocked` receives the text instead, to show it.
pub(super) fn copy_button(
    ui: Ui,
    (test_id, icon_name, label): (&'static str, &'static str, &'static str),
    text: Memo<String>,
    blocked: RwSignal<Option<String>>,
) -> impl IntoView {
    let (state, click) = copying(text, blocked);
    let label = move || {
        ui.word(match state.get() {
            Copying::Ready => label,
            Copying::Copied => "action.copied",
        })
    };
    view! {
        <button
            type="button"
            class="button"
            class:done=move || state.get() == Copying::Copied
            data-testid=test_id
            on:click=move |_| click()
        >
            {move || if state.get() == Copying::Copied { icon("check") } else { icon(icon_name) }}
            <span aria-live="polite">{label}</span>
        </button>
    }
}

/// The hash itself as a button that copies it. Its text is the hash alone, whatever it has done.
pub(super) fn copy_hash(ui: Ui, hash: Memo<String>, blocked: RwSignal<Option<String>>) -> impl IntoView {
    let (state, click) = copying(hash, blocked);
    view! {
        <button
            type="button"
            class="hash"
            class:done=move || state.get() == Copying::Copied
            data-testid="info-hash"
            data-feedback=ui.word("action.copied")
            title=ui.word("torrent.hash_copy")
            on:click=move |_| click()
        >
            {move || hash.get()}
        </button>
    }
}

fn copying(text: Memo<String>, blocked: RwSignal<Option<String>>) -> (RwSignal<Copying>, impl Fn() + Copy) {
    let state = RwSignal::new(Copying::Ready);
    let click = move || {
        let text = text.get_untracked();
        leptos::task::spawn_local(async move {
            // The row may be gone by the time the browser answers, hence `try_`.
            if write(&text).await {
                blocked.try_set(None);
                state.try_set(Copying::Copied);
                set_timeout(
                    move || {
                        state.try_set(Copying::Ready);
                    },
                    FEEDBACK,
                );
            } else {
                blocked.try_set(Some(text));
            }
        });
    };
    (state, click)
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
