//! What starts a torrent: the card for dropping and choosing files, the form for a hash or a link, and, while the
//! list is empty, how it all works.

use std::rc::Rc;

use leptos::ev::{Event, MouseEvent, SubmitEvent};
use leptos::prelude::*;
use web_sys::HtmlInputElement;

use super::parts::{icon, sometimes};
use super::phrase::Phrase;
use super::seeding::seed_options;
use super::{Ui, gather, phrase};
use crate::command::{ChosenFile, Command};
use crate::picker::Choice;

/// The card with the buttons that choose files or a folder.
pub(super) fn seed_card(ui: Ui) -> AnyView {
    let files = Chooser {
        class: "button primary",
        icon: "file",
        word: "seed.files",
        test_id: "file-input",
        folder: false,
    };
    let folder = Chooser {
        class: "button",
        icon: "folder",
        word: "seed.folder",
        test_id: "folder-input",
        folder: true,
    };
    view! {
        <section class="card seed" aria-labelledby="seed-title">
            <div class="comb" aria-hidden="true">
                {icon("drop")}
            </div>
            <h2 id="seed-title">{ui.word("seed.title")}</h2>
            <p class="hint">{ui.word("seed.hint")}</p>
            <div class="buttons">
                {chooser(ui, files, move |files| ui.seed(files))}
                {chooser(ui, folder, move |files| ui.seed(files))}
            </div>
            {seed_options(ui)}
        </section>
    }
    .into_any()
}

/// What a button that chooses files looks like.
#[derive(Clone, Copy)]
pub(super) struct Chooser {
    pub(super) class: &'static str,
    /// A name in the sprite.
    pub(super) icon: &'static str,
    /// What it says.
    pub(super) word: &'static str,
    /// Of its field, for automation.
    pub(super) test_id: &'static str,
    /// A folder, not files.
    pub(super) folder: bool,
}

/// Who gets what was chosen.
type Take = Rc<dyn Fn(Vec<ChosenFile>)>;

/// A button that chooses files or a folder, and has `take` get them.
///
/// Where the browser has a window that gives handles, that one is opened and not the field's own: by them the files are found
/// again after a reload. If the browser throws, from then on the field's own is. That window keeps some folders to itself (the
/// home folder, downloads, the system's) and does not say so to the page: whoever closes it is offered the field's own beside.
pub(super) fn chooser(ui: Ui, shape: Chooser, take: impl Fn(Vec<ChosenFile>) + 'static) -> AnyView {
    boxed_chooser(ui, shape, Rc::new(take))
}

fn boxed_chooser(ui: Ui, shape: Chooser, take: Take) -> AnyView {
    let Chooser { class, icon: icon_name, word, test_id, folder } = shape;
    let take = StoredValue::new_local(take);
    let refused = StoredValue::new(false);
    let closed = RwSignal::new(false);
    let choose = move |event: Event| {
        let field = event_target::<HtmlInputElement>(&event);
        let files = field.files().map(|list| gather::from_list(&list)).unwrap_or_default();
        // So that choosing the same file again is a change again.
        field.set_value("");
        if !files.is_empty() {
            take.get_value()(files);
        }
    };
    let click = move |event: MouseEvent| {
        let choice = if folder { Choice::Folder } else { Choice::Files };
        if !refused.get_value() && choice.is_offered() {
            event.prevent_default();
            leptos::task::spawn_local(pick(
                ui,
                choice,
                event_target(&event),
                take.get_value(),
                refused,
                closed,
            ));
        }
    };
    let field = move |test_id: &'static str, opens_window: bool| {
        view! {
            <input
                type="file"
                multiple
                prop:webkitdirectory=folder
                class="visually-hidden"
                data-testid=test_id
                on:change=choose
                on:click=move |event| {
                    if opens_window {
                        click(event);
                    }
                }
            />
        }
        .into_any()
    };
    let other_way = move || {
        view! {
            <p class="hint other-way">
                {ui.word("seed.other_way")} " "
                <label class="button quiet">
                    <span>{ui.word("seed.folder")}</span>
                    {field("folder-other-way", false)}
                </label>
            </p>
        }
        .into_any()
    };
    view! {
        <label class=class>{icon(icon_name)} <span>{ui.word(word)}</span> {field(test_id, true)}</label>
        {sometimes(move || (folder && closed.get()).then(other_way))}
    }
    .into_any()
}

async fn pick(
    ui: Ui,
    choice: Choice,
    field: HtmlInputElement,
    take: Take,
    refused: StoredValue<bool>,
    closed: RwSignal<bool>,
) {
    match gather::picked(choice).await {
        Ok(Some((files, complete))) => {
            if !complete {
                ui.notice.set(Some(Phrase::plain("seed.folder_failed")));
            }
            if !files.is_empty() {
                take(files);
            }
        }
        Ok(None) => closed.set(true),
        Err(_) => {
            refused.set_value(true);
            field.click();
        }
    }
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
