//! One torrent of the list.

use engine::State;
use leptos::prelude::*;
use shared::InfoHash;

use super::alerts::alert_box;
use super::clipboard::{copy_button, copy_hash};
use super::peers::peers;
use super::phrase::{self, Phrase, Value};
use super::{Ui, figures, icon};
use crate::command::Command;
use crate::snapshot::TorrentView;

/// Most files that are listed one by one. The rest is in “save all”.
const MAX_LISTED_FILES: usize = 500;

/// One row: finds its torrent in every new snapshot by its key.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) ui: Ui,
    key: u32,
}

impl Row {
    /// What `read` says of the torrent, now and after every change; when the torrent is gone, what it said last.
    pub(super) fn watch<T>(self, read: impl Fn(&TorrentView) -> T + Send + Sync + 'static) -> Memo<T>
    where
        T: Clone + Default + PartialEq + Send + Sync + 'static,
    {
        Memo::new(move |before: Option<&T>| {
            self.ui
                .snapshot
                .with(|snapshot| snapshot.torrents.iter().find(|view| view.key == self.key).map(&read))
                .or_else(|| before.cloned())
                .unwrap_or_default()
        })
    }

    /// What `read` says of the torrent at this moment.
    pub(super) fn read<T>(self, read: impl Fn(&TorrentView) -> T) -> Option<T> {
        self.ui
            .snapshot
            .with_untracked(|snapshot| snapshot.torrents.iter().find(|view| view.key == self.key).map(read))
    }

    /// Sends a command about the torrent, if it is still there and known by its hash.
    fn order(self, command: impl Fn(InfoHash) -> Command) {
        let hash = self.read(|view| has_hash(view).then_some(view.torrent.info_hash));
        if let Some(hash) = hash.flatten() {
            self.ui.send(command(hash));
        }
    }

    /// Takes the torrent out of the list, whether it has a hash yet or not.
    fn remove(self) {
        match self.read(has_hash) {
            Some(true) => self.order(Command::Remove),
            Some(false) => self.ui.send(Command::RemoveRow(self.key)),
            None => {}
        }
    }
}

/// Whether its info-hash is known: not while it is being hashed, nor when that failed.
fn has_hash(view: &TorrentView) -> bool {
    !view.link.is_empty()
}

/// The row of the torrent with this key.
pub(super) fn torrent_row(ui: Ui, key: u32) -> AnyView {
    let row = Row { ui, key };
    // `Option`, since a memo wants a default.
    let state = row.watch(|view| Some(view.torrent.state));
    let state = move || state.get().unwrap_or(State::Hashing);
    let known = row.watch(has_hash);
    let hash = row.watch(|view| has_hash(view).then(|| view.torrent.info_hash.to_string()));
    let name = row.watch(|view| view.torrent.name.clone());
    let name = Memo::new(move |_| {
        let name = name.get();
        if name.is_empty() { ui.word("list.unnamed") } else { name }
    });
    let title = move || name.get();
    let words = move || ui.say(&phrase::state(state()));
    view! {
        <article
            class="card torrent"
            data-testid="torrent"
            data-info-hash=move || hash.get()
            data-state=move || phrase::state_name(state())
            aria-label=title
        >
            <header class="torrent-top">
                <span class="mark" aria-hidden="true">
                    {move || icon(mark(state()))}
                </span>
                <div class="torrent-name">
                    <h3 title=title>{title}</h3>
                    <p class="facts">
                        <span class="state" data-testid="state">{words}</span>
                        {facts(row)}
                    </p>
                </div>
                {controls(row)}
            </header>
            {progress(row, name)}
            {rates(row)}
            {waiting(row)}
            {trouble(row)}
            {move || known.get().then(|| share(row))}
            {files(row)}
            {move || known.get().then(|| peers(row))}
        </article>
    }
    .into_any()
}

/// The icon of a state.
fn mark(state: State) -> &'static str {
    match state {
        State::Hashing => "clock",
        State::Metadata | State::Downloading => "down",
        State::Seeding => "check",
        State::Paused => "pause",
        State::Error => "warning",
    }
}

/// Size and count of files.
fn facts(row: Row) -> impl IntoView {
    let ui = row.ui;
    let total = row.watch(|view| view.torrent.bytes.total);
    let count = row.watch(|view| view.files.len());
    move || {
        let size = (total.get() > 0 || count.get() > 0).then(|| ui.speech().bytes(total.get()));
        let files = (count.get() > 1).then(|| ui.say(&Phrase::counted("files.count", count.get() as u64)));
        view! {
            {size.map(|size| view! { <span>{size}</span> })}
            {files.map(|files| view! { <span>{files}</span> })}
        }
    }
}

/// Pause or resume, and remove.
fn controls(row: Row) -> impl IntoView {
    let ui = row.ui;
    // Resuming is also the way out of an error.
    let stands = row.watch(|view| matches!(view.torrent.state, State::Paused | State::Error));
    let known = row.watch(has_hash);
    let toggle = move |_| {
        if stands.get_untracked() {
            row.order(Command::Resume);
        } else {
            row.order(Command::Pause);
        }
    };
    let toggle_word = move || ui.word(if stands.get() { "action.resume" } else { "action.pause" });
    view! {
        <div class="controls">
            <button
                type="button"
                class="button quiet"
                data-testid="pause"
                hidden=move || !known.get()
                on:click=toggle
            >
                {move || icon(if stands.get() { "play" } else { "pause" })} <span>{toggle_word}</span>
            </button>
            <button
                type="button"
                class="button quiet"
                data-testid="remove"
                title=ui.word("action.remove_hint")
                on:click=move |_| row.remove()
            >
                {icon("remove")} <span>{ui.word("action.remove")}</span>
            </button>
        </div>
    }
}

/// The bar with its percentage. Without the metadata there is no telling how far it is.
fn progress(row: Row, name: Memo<String>) -> impl IntoView {
    let ui = row.ui;
    let done = row.watch(|view| {
        let bytes = view.torrent.bytes;
        (view.torrent.state != State::Metadata && !(bytes.total == 0 && view.files.is_empty()))
            .then_some((bytes.verified, bytes.total))
    });
    let value = move || done.get().map(|(done, total)| figures::share(done, total));
    let label = move || ui.say(&Phrase::plain("torrent.progress").text("name", &name.get()));
    let percent = move || done.get().map(|(done, total)| ui.speech().percent(done, total));
    view! {
        <div class="bar">
            <progress data-testid="progress" max="1" value=value aria-label=label></progress>
            <span class="percent" data-testid="percent">{percent}</span>
        </div>
    }
}

/// Done of total, rates, time left.
fn rates(row: Row) -> impl IntoView {
    let ui = row.ui;
    // Text first, so that what is written the same is not written again.
    let text = move |write: fn(Ui, &TorrentView) -> Option<String>| {
        let text = row.watch(move |view| write(ui, view));
        move || text.get()
    };
    let done = text(|ui, view| {
        let bytes = view.torrent.bytes;
        (bytes.total > 0 && bytes.verified < bytes.total).then(|| {
            ui.say(
                &Phrase::plain("torrent.done_of")
                    .with("done", Value::Bytes(bytes.verified))
                    .with("total", Value::Bytes(bytes.total)),
            )
        })
    });
    let pieces = text(|ui, view| {
        let pieces = view.torrent.pieces;
        (pieces.total > 0 && !matches!(view.torrent.state, State::Hashing | State::Metadata)).then(|| {
            ui.say(
                &Phrase::plain("torrent.pieces")
                    .with("have", Value::Count(pieces.have.into()))
                    .with("total", Value::Count(pieces.total.into())),
            )
        })
    });
    let down = text(|ui, view| {
        (view.torrent.state == State::Downloading).then(|| ui.speech().rate(view.torrent.rates.down))
    });
    let up = text(|ui, view| {
        let rate = view.torrent.rates.up;
        (view.torrent.state == State::Downloading || (view.torrent.state == State::Seeding && rate >= 1.0))
            .then(|| ui.speech().rate(rate))
    });
    let left = text(|ui, view| {
        let time =
            view.seconds_left.map(|seconds| ui.speech().duration(seconds)).filter(|time| !time.is_empty())?;
        let moving = matches!(view.torrent.state, State::Downloading | State::Hashing);
        moving.then(|| ui.say(&Phrase::plain("torrent.left").text("time", &time)))
    });
    let sent = text(|ui, view| {
        let uploaded = view.torrent.bytes.uploaded;
        (uploaded > 0)
            .then(|| ui.say(&Phrase::plain("torrent.uploaded").with("size", Value::Bytes(uploaded))))
    });
    let plain = |class: &'static str, text: &dyn Fn() -> Option<String>| {
        text().map(|text| view! { <span class=class>{text}</span> })
    };
    let arrow = move |name: &'static str, label: &'static str, text: &dyn Fn() -> Option<String>| {
        text().map(|text| {
            view! {
                <span class=name title=ui.word(label)>
                    {icon(name)} <span class="visually-hidden">{ui.word(label)} ": "</span> {text}
                </span>
            }
        })
    };
    view! {
        <p class="figures">
            {move || arrow("down", "torrent.down", &down)} {move || arrow("up", "torrent.up", &up)}
            {move || plain("left", &left)} {move || plain("of", &done)} {move || plain("pieces", &pieces)}
            {move || plain("sent", &sent)}
        </p>
    }
}

fn waiting(row: Row) -> impl IntoView {
    let phrase = row.watch(phrase::waiting);
    move || {
        phrase.get().map(|phrase| {
            view! {
                <p class="waiting" data-testid="waiting">
                    {icon("clock")} <span>{row.ui.say(&phrase)}</span>
                </p>
            }
        })
    }
}

fn trouble(row: Row) -> impl IntoView {
    let trouble = row.watch(|view| view.trouble.clone());
    move || trouble.get().map(|trouble| alert_box(row.ui, &trouble, None::<fn()>))
}

/// What is passed on (hash, link, magnet) and what is taken home (save).
fn share(row: Row) -> impl IntoView {
    let ui = row.ui;
    let hash = row.watch(|view| view.torrent.info_hash.to_string());
    let link = row.watch(|view| view.link.clone());
    let magnet = row.watch(|view| view.magnet.clone());
    let can_save = row.watch(TorrentView::can_save);
    let several = row.watch(|view| view.files.len() > 1);
    let blocked = RwSignal::new(None::<String>);
    let save_word = move || ui.word(if several.get() { "action.save_all" } else { "action.save" });
    let save_hint = move || (!can_save.get()).then(|| ui.word("action.save_wait"));
    view! {
        <div class="share">
            <p class="hash-line">
                <span class="label">{ui.word("torrent.hash")}</span>
                {copy_hash(ui, hash, blocked)}
            </p>
            <div class="buttons">
                <button
                    type="button"
                    class="button primary"
                    data-testid="save"
                    disabled=move || !can_save.get()
                    title=save_hint
                    on:click=move |_| row.order(Command::Save)
                >
                    {icon("save")} <span>{save_word}</span>
                </button>
                {copy_button(ui, ("copy-link", "link", "action.copy_link"), link, blocked)}
                {copy_button(ui, ("copy-magnet", "magnet", "action.copy_magnet"), magnet, blocked)}
            </div>
            {move || blocked.get().map(|text| by_hand(ui, text))}
        </div>
    }
}

/// What could not be copied, ready to be copied by hand.
fn by_hand(ui: Ui, text: String) -> impl IntoView {
    let select =
        move |event: leptos::ev::FocusEvent| event_target::<web_sys::HtmlInputElement>(&event).select();
    view! {
        <label class="by-hand" role="alert">
            <span>{ui.word("action.copy_failed")}</span>
            <input type="text" readonly value=text on:focus=select />
        </label>
    }
}

/// The list of files, closed at first; a single file needs none.
fn files(row: Row) -> impl IntoView {
    let ui = row.ui;
    // The files of a torrent never change once they are known.
    let count = row.watch(|view| view.files.len());
    let can_save = row.watch(TorrentView::can_save);
    move || {
        let count = count.get();
        if count < 2 {
            return None;
        }
        let listed = row.read(|view| {
            let files = view.files.iter().take(MAX_LISTED_FILES);
            files.map(|file| (file.path.clone(), file.length)).collect::<Vec<_>>()
        })?;
        let more = count.saturating_sub(listed.len());
        let file = |(place, (path, length)): (usize, (String, u64))| {
            let label = ui.say(&Phrase::plain("action.save_file").text("name", &path));
            view! {
                <li>
                    <span class="path">{path}</span>
                    <span class="size">{ui.speech().bytes(length)}</span>
                    <button
                        type="button"
                        class="button icon-only quiet"
                        data-testid="save-file"
                        aria-label=label.clone()
                        title=label
                        disabled=move || !can_save.get()
                        on:click=move |_| row.order(|hash| Command::SaveFile(hash, place))
                    >
                        {icon("save")}
                    </button>
                </li>
            }
        };
        let more =
            (more > 0).then(|| ui.say(&Phrase::plain("files.more").with("count", Value::Count(more as u64))));
        Some(view! {
            <details class="fold files" data-testid="files">
                <summary>{icon("chevron")} <span>{ui.say(&Phrase::counted("files.count", count as u64))}</span></summary>
                <ul>{listed.into_iter().enumerate().map(file).collect_view()}</ul>
                {more.map(|more| view! { <p class="hint">{more}</p> })}
            </details>
        })
    }
}
