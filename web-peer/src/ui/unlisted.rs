//! What is kept of torrents that were taken out of the list: how much that is, and the ways back and out.

use leptos::prelude::*;
use shared::InfoHash;

use super::Ui;
use super::parts::{Button, button, each_once, icon, key_of, list, text};
use super::phrase::{Phrase, Value};
use crate::command::Command;
use crate::snapshot::UnlistedView;

/// Names the row of one.
fn key(kept: &UnlistedView) -> u64 {
    key_of(&kept.info_hash)
}

/// A summary and the list, closed at first; nothing while there is none.
pub(super) fn unlisted(ui: Ui) -> AnyView {
    let keys = Memo::new(move |_| ui.snapshot.with(|snapshot| each_once(snapshot.unlisted.iter().map(key))));
    let none = Signal::derive(move || keys.with(Vec::is_empty));
    let summary = text(move || {
        let bytes = ui.snapshot.with(|snapshot| snapshot.unlisted.iter().filter_map(|kept| kept.bytes).sum());
        let phrase = Phrase::counted("unlisted.title", keys.with(Vec::len) as u64);
        ui.say(&phrase.with("bytes", Value::Bytes(bytes)))
    });
    view! {
        <details class="fold settings" data-testid="unlisted" hidden=none>
            <summary>{icon("chevron")} <span>{summary}</span></summary>
            <div class="settings-body">
                <p>{ui.word("unlisted.about")}</p>
                <ul class="unlisted">{list(keys, move |key| unlisted_row(ui, key))}</ul>
            </div>
        </details>
    }
    .into_any()
}

fn unlisted_row(ui: Ui, of: u64) -> AnyView {
    // What it is does not change while it is here.
    let kept =
        ui.snapshot.with_untracked(|snapshot| snapshot.unlisted.iter().find(|kept| key(kept) == of).cloned());
    let Some(kept) = kept else { return ().into_any() };
    let name = if kept.name.is_empty() { kept.info_hash.clone() } else { kept.name };
    let hash: Option<InfoHash> = kept.info_hash.parse().ok();
    let send = move |command: fn(InfoHash) -> Command| {
        // The row goes, and the focus with it.
        super::frame::go_to_list();
        if let Some(hash) = hash {
            ui.send(command(hash));
        }
    };
    let spoken = |key| ui.say(&Phrase::plain(key).text("name", &name));
    let relist = Button {
        class: "quiet",
        hint: spoken("unlisted.relist_one").into(),
        ..Button::new("relist", "play", ui.word("unlisted.relist"))
    };
    let delete = Button {
        class: "quiet",
        hint: spoken("unlisted.delete_one").into(),
        ..Button::new("delete-data", "remove", ui.word("unlisted.delete"))
    };
    view! {
        <li data-testid="unlisted-torrent" data-info-hash=kept.info_hash>
            <span class="path">{name.clone()}</span>
            <span class="size">{kept.bytes.map(|bytes| ui.speech().bytes(bytes))}</span>
            {button(relist, move || send(Command::Relist))}
            {button(delete, move || send(Command::DeleteUnlisted))}
        </li>
    }
    .into_any()
}
