//! Having what is here read and compared with its hashes again.

use engine::State;
use leptos::prelude::*;

use super::parts::{Button, button};
use super::phrase;
use super::torrent::Row;
use crate::command::Command;

/// The button, what it does, and what came of it.
pub(super) fn checking(row: Row) -> AnyView {
    let ui = row.ui;
    // It does nothing while it is at it, and before there is anything to read.
    let idle = row.flag(|view| !view.readable || view.torrent.state == State::Hashing);
    let shape = Button { idle, ..Button::new("check", "check", ui.word("checking.button")) };
    let found = row.text(move |view| phrase::checked(view).map(|phrase| ui.say(&phrase)));
    view! {
        <div class="checking">
            {button(shape, move || row.order(Command::Check))}
            <p class="hint">{ui.word("checking.hint")}</p>
            <p role="status" data-testid="checked">
                {found}
            </p>
        </div>
    }
    .into_any()
}
