//! What may be said of files before they are seeded: name, comment, piece length, trackers. Nothing of it has to be.

use leptos::prelude::*;

use super::Ui;
use super::parts::{icon, is_blank, text};
use super::phrase::{self, Phrase};
use crate::command::{ChosenFile, Command, SeedOptions};
use crate::kept;

/// Where the browser keeps the trackers, as they were written.
const KEY: &str = "enxame.trackers";

/// The piece lengths that may be chosen, in bytes.
const PIECE_LENGTHS: [u32; 5] = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Most characters of a name and of a comment.
const MOST_NAME: u32 = 200;
const MOST_COMMENT: u32 = 1000;

/// What is written in the fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    name: String,
    comment: String,
    piece_length: Option<u32>,
    trackers: String,
}

impl Written {
    /// With what outlives the tab.
    pub(super) fn kept() -> Self {
        Self { trackers: kept::get(KEY).unwrap_or_default(), ..Self::default() }
    }
}

impl Ui {
    /// Has these seeded, as the fields say. Name and comment are for these alone.
    pub(super) fn seed(self, files: Vec<ChosenFile>) {
        let Written { name, comment, piece_length, trackers } = self.seeding.get_untracked();
        let trackers = phrase::trackers_in(&trackers).0;
        self.seeding.update(|written| {
            written.name.clear();
            written.comment.clear();
        });
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let comment = Some(comment.trim().to_owned()).filter(|comment| !comment.is_empty());
        self.send(Command::Seed(files, SeedOptions { name, comment, piece_length, trackers }));
    }
}

/// The fields, closed at first.
pub(super) fn seed_options(ui: Ui) -> AnyView {
    let written = ui.seeding;
    let field = move |word, test_id, most: u32, part: fn(&mut Written) -> &mut String| {
        let value = text(move || part(&mut written.get()).clone());
        view! {
            <label>
                <span class="label">{ui.word(word)}</span>
                <input
                    type="text"
                    data-testid=test_id
                    maxlength=most.to_string()
                    autocomplete="off"
                    prop:value=value
                    on:input=move |event| {
                        written.update(|written| *part(written) = event_target_value(&event));
                    }
                />
            </label>
        }
    };
    let kept = written.get_untracked().piece_length;
    let length = |bytes: u32| {
        view! {
            <option value=bytes.to_string() selected=kept == Some(bytes)>
                {ui.speech().bytes(bytes.into())}
            </option>
        }
    };
    let choose_length = move |event: leptos::ev::Event| {
        written.update(|written| written.piece_length = event_target_value(&event).parse().ok());
    };
    let trackers = text(move || written.with(|written| written.trackers.clone()));
    let write_trackers = move |event: leptos::ev::Event| {
        let text = event_target_value(&event);
        kept::set(KEY, Some(text.as_str()).filter(|text| !text.trim().is_empty()));
        written.update(|written| written.trackers = text);
    };
    let wrong = text(move || {
        let refused = written.with(|written| phrase::trackers_in(&written.trackers).1);
        let phrase = refused.map(|refused| Phrase::plain("seed.wrong_tracker").text("text", &refused));
        phrase.map(|phrase| ui.say(&phrase)).unwrap_or_default()
    });
    view! {
        <details class="fold options" data-testid="seed-options">
            <summary>{icon("chevron")} <span>{ui.word("seed.options")}</span></summary>
            <div class="settings-body">
                <p class="hint">{ui.word("seed.options_hint")}</p>
                {field("seed.name", "seed-name", MOST_NAME, |written| &mut written.name)}
                {field("seed.comment", "seed-comment", MOST_COMMENT, |written| &mut written.comment)}
                <label>
                    <span class="label">{ui.word("seed.piece_length")}</span>
                    <select data-testid="seed-piece-length" on:change=choose_length>
                        <option value="">{ui.word("seed.piece_length_auto")}</option>
                        {PIECE_LENGTHS.map(length).into_iter().collect_view()}
                    </select>
                </label>
                <label>
                    <span class="label">{ui.word("seed.trackers")}</span>
                    <textarea
                        rows="2"
                        data-testid="seed-trackers"
                        aria-describedby="seed-trackers-hint"
                        placeholder="wss://tracker.example.org"
                        autocomplete="off"
                        autocapitalize="off"
                        spellcheck="false"
                        prop:value=trackers
                        on:input=write_trackers
                    ></textarea>
                </label>
                <p class="hint" id="seed-trackers-hint">{ui.word("seed.trackers_hint")}</p>
                <p class="wrong" role="alert" hidden=is_blank(wrong)>{wrong}</p>
            </div>
        </details>
    }
    .into_any()
}
