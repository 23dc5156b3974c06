//! What the user wants of one torrent beside its files: how fast, and in which order.

use leptos::prelude::*;

use super::checking::checking;
use super::limits::{Names, limit_fields};
use super::parts::{Button, button, icon, is_blank};
use super::phrase;
use super::torrent::Row;
use crate::command::Command;

/// Closed at first; its summary says what is not as usual.
pub(super) fn options(row: Row) -> AnyView {
    let ui = row.ui;
    let limits = row.watch(|view| view.limits);
    let names =
        Names { down: "torrent-limit-down", up: "torrent-limit-up", upload_off: "torrent-upload-off" };
    let fields = limit_fields(ui, names, limits, move |limits| {
        row.order(|hash| Command::SetTorrentLimits(hash, limits));
    });
    let sequential = row.flag(|view| view.sequential);
    // Of what is all here, the order does not matter any more.
    let all_here = row.flag(|view| {
        let pieces = view.torrent.pieces;
        pieces.total > 0 && pieces.have == pieces.total
    });
    let unusual = row.text(move |view| {
        let words: Vec<String> = phrase::unusual(view).map(|key| ui.word(key)).collect();
        Some(words.join(", "))
    });
    let nothing_kept = row.flag(|view| !view.can_be_unlisted());
    let unlist = Button {
        class: "quiet",
        hidden: nothing_kept,
        hint: ui.word("options.unlist_hint").into(),
        ..Button::new("remove-keep", "remove", ui.word("options.unlist"))
    };
    let unlist = button(unlist, move || row.take_out(Command::Unlist));
    let choose = move |event: leptos::ev::Event| {
        let checked = event_target_checked(&event);
        row.order(|hash| Command::SetSequential(hash, checked));
    };
    view! {
        <details class="fold options" data-testid="options">
            <summary>
                {icon("chevron")} <span>{ui.word("options.title")}</span>
                <span class="chosen" hidden=is_blank(unusual)>
                    {unusual}
                </span>
            </summary>
            <div class="settings-body">
                {fields} <label class="check" hidden=all_here>
                    <input
                        type="checkbox"
                        data-testid="sequential"
                        prop:checked=sequential
                        on:change=choose
                    />
                    <span>
                        {ui.word("options.sequential")}
                        <span class="hint">{ui.word("options.sequential_hint")}</span>
                    </span>
                </label>
                {checking(row)} <div class="buttons">{unlist}</div>
            </div>
        </details>
    }
    .into_any()
}
