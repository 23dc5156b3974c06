//! What starts a torrent: the card for dropping and choosing files, the form for a hash or a link, and, while the
//! list is empty, how it all works.

use leptos::ev::{Event, SubmitEvent};
use leptos::prelude::*;
use web_sys::HtmlInputElement;

use super::{Ui, gather, icon, phrase};
use crate::command::Command;

/// The card with the buttons that choose files or a folder.
pub(super) fn seed_card(ui: Ui) -> impl IntoView {
    let choose = move |event: Event| {
        let field = event_target::<HtmlInputElement>(&event);
        let files = field.files().map(|list| gather::from_list(&list)).unwrap_or_default();
        // So that choosing the same file again is a change again.
        field.set_value("");
        if !files.is_empty() {
            ui.send(Command::Seed(files));
        }
    };
    view! {
        <section class="card seed" aria-labelledby="seed-title">
            <div class="comb" aria-hidden="true">{icon("drop")}</div>
            <h2 id="seed-title">{ui.word("seed.title")}</h2>
            <p class="hint">{ui.word("seed.hint")}</p>
            <div class="buttons">
                <label class="button primary">
                    {icon("file")} <span>{ui.word("seed.files")}</span>
                    <input
                        type="file"
                        multiple
                        class="visually-hidden"
                        data-testid="file-input"
                        on:change=choose
                    />
                </label>
                <label class="button">
                    {icon("folder")} <span>{ui.word("seed.folder")}</span>
                    <input
                        type="file"
                        multiple
                        prop:webkitdirectory=true
                        class="visually-hidden"
                        data-testid="folder-input"
                        on:change=choose
                    />
                </label>
            </div>
        </section>
    }
}

/// The form that adds a download.
pub(super) fn add_form(ui: Ui) -> impl IntoView {
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
        ui.send(Command::Add(text.to_owned()));
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
        </form>
    }
}

/// How it works, in three steps.
pub(super) fn steps(ui: Ui) -> impl IntoView {
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
}
