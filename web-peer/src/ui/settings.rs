//! What direct links are made with: the ICE servers, whose choice they are, and the user's own.

use leptos::prelude::*;
use shared::signal::parse_ice_servers;

use super::Ui;
use super::alerts::alert_box;
use super::parts::{Button, button, flag, icon, not, sometimes, text};
use super::phrase::{self, Phrase, Value};
use crate::command::Command;
use crate::snapshot::{IceChoice, Trouble};

/// Closed at first: who needs it looks for it.
pub(super) fn settings(ui: Ui) -> AnyView {
    let written = RwSignal::new(String::new());
    let wrong = RwSignal::new(None::<Trouble>);
    let blank = flag(move || written.with(|text| text.trim().is_empty()));
    let users = flag(move || ui.snapshot.with(|snapshot| snapshot.rtc.ice.chosen_by == IceChoice::User));
    let save = Button { disabled: blank, ..Button::new("ice-save", "check", ui.word("settings.save")) };
    let save = button(save, move || {
        let text = written.get_untracked().trim().to_owned();
        // The driver looks at it again; here it is said beside the field, where it can be mended.
        match parse_ice_servers(&text) {
            Ok(_) => {
                wrong.set(None);
                ui.send(Command::SetIce(Some(text)));
            }
            Err(error) => wrong.set(Some(Trouble::BadIceServers { detail: error.to_string() })),
        }
    });
    let reset =
        Button { disabled: not(users), ..Button::new("ice-reset", "relay", ui.word("settings.reset")) };
    let reset = button(reset, move || {
        wrong.set(None);
        ui.send(Command::SetIce(None));
    });
    let connections = text(move || {
        let (open, made) = ui.snapshot.with(|snapshot| (snapshot.rtc.open, snapshot.rtc.made));
        let phrase = Phrase::plain("settings.connections");
        ui.say(&phrase.with("open", Value::Count(open as u64)).with("made", Value::Count(made)))
    });
    view! {
        <details class="fold settings" data-testid="connection-settings">
            <summary>{icon("chevron")} <span>{ui.word("settings.title")}</span></summary>
            <div class="settings-body">
                <p>{ui.word("settings.about")}</p>
                {in_force(ui)}
                <label>
                    <span class="label">{ui.word("settings.label")}</span>
                    <textarea
                        rows="2"
                        data-testid="ice-input"
                        aria-describedby="ice-hint"
                        placeholder="stun:stun.example.org:3478"
                        autocomplete="off"
                        autocapitalize="off"
                        spellcheck="false"
                        on:input=move |event| written.set(event_target_value(&event))
                    ></textarea>
                </label>
                <p class="hint" id="ice-hint">{ui.word("settings.hint")}</p>
                {sometimes(move || wrong.get().map(|trouble| alert_box(ui, &trouble, None)))}
                <div class="buttons">{save} {reset}</div>
                <p class="hint">{connections}</p>
            </div>
        </details>
    }
    .into_any()
}

/// The servers that are used now. A change is heard, since it is the answer to what was saved.
fn in_force(ui: Ui) -> AnyView {
    let choice = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.rtc.ice.chosen_by));
    let name = text(move || {
        match choice.get() {
            IceChoice::User => "user",
            IceChoice::Tracker => "tracker",
            IceChoice::Usual => "usual",
        }
        .to_owned()
    });
    let heading = text(move || ui.word(phrase::ice_choice(choice.get())));
    let urls = text(move || {
        let urls = ui.snapshot.with(|snapshot| snapshot.rtc.ice.urls.join(", "));
        if urls.is_empty() { ui.word("settings.ice_none") } else { urls }
    });
    view! {
        <p class="in-force" data-testid="ice-in-force" data-chosen-by=name aria-live="polite">
            <span class="label">{heading}</span>
            " "
            <span class="addresses">{urls}</span>
        </p>
    }
    .into_any()
}
