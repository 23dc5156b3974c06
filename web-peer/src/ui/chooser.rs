//! What starts a torrent: the card for dropping and choosing files, the form for a hash or a link, and, while the
//! list is empty, how it all works.

use leptos::ev::{Event, MouseEvent, SubmitEvent};
use leptos::prelude::*;
use web_sys::HtmlInputElement;

use super::parts::icon;
use super::phrase::Phrase;
use super::seeding::seed_options;
use super::{Ui, gather, phrase};
use crate::command::Command;
use crate::handles;

/// The card with the buttons that choose files or a folder.
pub(super) fn seed_card(ui: Ui) -> AnyView {
    let choose = move |event: Event| {
        let field = event_target::<HtmlInputElement>(&event);
        let files = field.files().map(|list| gather::from_list(&list)).unwrap_or_default();
        // So that choosing the same file again is a change again.
        field.set_value("");
        if !files.is_empty() {
            ui.seed(files);
        }
    };
    let refused = StoredValue::new(false);
    // The same but for what may be chosen: `webkitdirectory` makes it folders.
    let chooser =
        |class: &'static str, icon_name: &'static str, word, test_id: &'static str, folders: bool| {
            view! {
                <label class=class>
                    {icon(icon_name)} <span>{ui.word(word)}</span>
                    <input
                        type="file"
                        multiple
                        prop:webkitdirectory=folders
                        class="visually-hidden"
                        data-testid=test_id
                        on:change=choose
                        on:click=move |event| pick(ui, &event, folders, refused)
                    />
                </label>
            }
        };
    view! {
        <section class="card seed" aria-labelledby="seed-title">
            <div class="comb" aria-hidden="true">
                {icon("drop")}
            </div>
            <h2 id="seed-title">{ui.word("seed.title")}</h2>
            <p class="hint">{ui.word("seed.hint")}</p>
            <div class="buttons">
                {chooser("button primary", "file", "seed.files", "file-input", false)}
                {chooser("button", "folder", "seed.folder", "folder-input", true)}
            </div>
            {seed_options(ui)}
        </section>
    }
    .into_any()
}

/// Where the browser has a window that gives handles, that one is opened and not the field's own: by them the files are found
/// again after a reload. If the browser refuses, from then on the field's own is.
fn pick(ui: Ui, event: &MouseEvent, folders: bool, refused: StoredValue<bool>) {
    if refused.get_value() || !handles::can_pick(folders) {
        return;
    }
    event.prevent_default();
    let field = event_target::<HtmlInputElement>(event);
    leptos::task::spawn_local(async move {
        match gather::picked(folders).await {
            Ok((files, complete)) => {
                if !complete {
                    ui.notice.set(Some(Phrase::plain("seed.folder_failed")));
                }
                if !files.is_empty() {
                    ui.seed(files);
                }
            }
            Err(_) => {
                refused.set_value(true);
                field.click();
            }
        }
    });
}

/// The form that adds a download.
pub(super) fn add_form(ui: Ui) -> AnyView {
    let choose_first = RwSignal::new(false);
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        let Some(field) = ui.add_field.get_untracked() else { return };
        let text = field.value();
        let text = text.trim();
        if text.is_empty() {
            // Focus is a courtesy.
            let _ = field.focus();
            return;
        }
        let add = if choose_first.get_untracked() { Command::AddToChoose } else { Command::Add };
        ui.send(add(text.to_owned()));
        if phrase::names_a_torrent(text) {
            field.set_value("");
        } else {
            // Left for correction; the driver says what is wrong with it.
            field.select();
        }
    };
    view! {
        <form class="card add" on:submit=submit aria-labelledby="add-title">
            <h2 id="add-title">{ui.word("add.title")}</h2>
            <div class="field">
                <input
                    type="text"
                    node_ref=ui.add_field
                    data-testid="add-input"
                    aria-label=ui.word("add.label")
                    placeholder=ui.word("add.placeholder")
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    enterkeyhint="go"
                />
                <button type="submit" class="button primary" data-testid="add-button">
                    {icon("down")} <span>{ui.word("add.button")}</span>
                </button>
            </div>
            <label class="check">
                <input
                    type="checkbox"
                    data-testid="add-choose"
                    on:change=move |event| choose_first.set(event_target_checked(&event))
                />
                <span>{ui.word("add.choose")}</span>
            </label>
        </form>
    }
    .into_any()
}

/// How it works, in three steps.
pub(super) fn steps(ui: Ui) -> AnyView {
    let step = |icon_name, title, text| {
        view! {
            <li>
                <span class="step-mark" aria-hidden="true">{icon(icon_name)}</span>
                <div>
                    <h3>{ui.word(title)}</h3>
                    <p>{ui.word(text)}</p>
                </div>
            </li>
        }
    };
    view! {
        <section class="steps" aria-labelledby="steps-title">
            <h2 id="steps-title">{ui.word("steps.title")}</h2>
            <ol>
                {step("file", "steps.first_title", "steps.first")}
                {step("link", "steps.second_title", "steps.second")}
                {step("peers", "steps.third_title", "steps.third")}
            </ol>
        </section>
    }
    .into_any()
}
