//! The files of one torrent: how much of each is here, and how much it is wanted.

use engine::Priority;
use leptos::prelude::*;

use super::figures;
use super::parts::{Button, Flag, button, flag, icon, is_blank, sometimes, text};
use super::phrase::{self, Phrase, Value};
use super::preview;
use super::torrent::Row;
use crate::command::Command;
use crate::snapshot::FileView;

/// Most files that are listed one by one. The rest is in “save all”.
const MAX_LISTED: usize = 500;

/// The list, closed at first but where files are to be chosen; a single file needs none. `shown` is the file that is played or
/// shown.
pub(super) fn files(row: Row, shown: preview::Open) -> impl IntoView {
    let ui = row.ui;
    // The files of a torrent never change once they are known.
    let several = row.flag(|view| view.files.len() > 1);
    let chosen = row.text(move |view| {
        let (chosen, of) = (view.wanted().files, view.files.len());
        let phrase = || {
            Phrase::plain("files.chosen")
                .with("count", Value::Count(chosen as u64))
                .with("total", Value::Count(of as u64))
        };
        (chosen < of).then(|| ui.say(&phrase()))
    });
    // What is here cannot be skipped any more.
    let all_here = row.flag(|view| view.torrent.pieces.have == view.torrent.pieces.total);
    sometimes(move || {
        if !several.get() {
            return None;
        }
        let (count, listed, open) = row.read(|view| {
            let listed: Vec<FileView> = view.files.iter().take(MAX_LISTED).cloned().collect();
            (view.files.len(), listed, view.wants_nothing())
        })?;
        let more = count.saturating_sub(listed.len());
        let more =
            (more > 0).then(|| ui.say(&Phrase::plain("files.more").with("count", Value::Count(more as u64))));
        let choose = |test_id, icon_name, word, priority| {
            let shape = Button { class: "quiet", ..Button::new(test_id, icon_name, ui.word(word)) };
            button(shape, move || row.order(|hash| Command::SetPriorities(hash, priority)))
        };
        let rows = listed
            .into_iter()
            .enumerate()
            .map(|(place, file)| file_row(row, (place, &file), shown, all_here));
        let files = view! {
            <details class="fold files" data-testid="files" open=open>
                <summary>
                    {icon("chevron")} <span>{ui.say(&Phrase::counted("files.count", count as u64))}</span>
                    <span class="chosen" data-testid="files-chosen" hidden=is_blank(chosen)>
                        {chosen}
                    </span>
                </summary>
                <div class="buttons" hidden=all_here>
                    {choose("files-all", "check", "files.all", Priority::Normal)}
                    {choose("files-none", "close", "files.none", Priority::Skip)}
                </div>
                <ul>{rows.collect_view()}</ul>
                <p class="hint">{more}</p>
            </details>
        };
        Some(files.into_any())
    })
}

fn file_row(row: Row, (place, file): (usize, &FileView), shown: preview::Open, all_here: Flag) -> AnyView {
    let ui = row.ui;
    let length = file.length;
    let state = row.watch(move |view| view.files.get(place).map(|file| (file.verified, file.priority)));
    let verified = move || state.get().map_or(0, |(verified, _)| verified);
    let priority = move || state.get().map(|(_, priority)| priority).unwrap_or_default();
    let wait = flag(move || verified() < length);
    let percent = text(move || ui.speech().percent(verified(), length));
    let value = text(move || figures::share(verified(), length).to_string());
    let name = text(move || phrase::priority_name(priority()).to_owned());
    let label = ui.say(&Phrase::plain("action.save_file").text("name", &file.path));
    let save = Button {
        class: "icon-only quiet",
        disabled: wait,
        hint: label.clone().into(),
        ..Button::new("save-file", "save", label)
    };
    let option = |of: Priority| {
        view! {
            <option value=phrase::priority_name(of) prop:selected=move || priority() == of>
                {ui.word(phrase::priority(of))}
            </option>
        }
    };
    let choose = move |event: leptos::ev::Event| {
        if let Some(chosen) = phrase::priority_of(&event_target_value(&event)) {
            row.order(|hash| Command::SetPriority(hash, place, chosen));
        }
    };
    let progress = ui.say(&Phrase::plain("torrent.progress").text("name", &file.path));
    view! {
        <li class="file" data-testid="file" data-priority=name>
            <span class="path">{file.path.to_string()}</span>
            <span class="size">{ui.speech().bytes(length)}</span>
            <progress data-testid="file-progress" max="1" value=value aria-label=progress></progress>
            <span class="percent">{percent}</span>
            <select
                data-testid="file-priority"
                aria-label=ui.say(&Phrase::plain("files.priority").text("name", &file.path))
                hidden=all_here
                on:change=choose
            >
                {option(Priority::Skip)}
                {option(Priority::Normal)}
                {option(Priority::High)}
            </select>
            {preview::open_button(ui, &file.path, place, shown, "icon-only quiet")}
            {button(save, move || row.order(|hash| Command::SaveFile(hash, place)))}
        </li>
    }
    .into_any()
}
