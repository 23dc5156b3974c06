//! One torrent of the list.

use engine::State;
use leptos::prelude::*;
use shared::InfoHash;

use super::alerts::alert_box;
use super::chooser::{Chooser, chooser};
use super::clipboard::{copy_button, copy_hash};
use super::files::files;
use super::journal::journal;
use super::options::options;
use super::parts::{Button, Flag, Text, button, icon, is_blank, sometimes, text};
use super::peers::peers;
use super::phrase::{self, Phrase, Value};
use super::piece_map::piece_map;
use super::preview::{self, preview};
use super::rate_chart::rate_chart;
use super::sharing::sharing;
use super::trackers::trackers;
use super::{Ui, figures};
use crate::command::{ChosenFile, Command};
use crate::picker::Choice;
use crate::snapshot::{TorrentView, Waiting};

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
        self.watch_boxed(Box::new(read))
    }

    /// The same, compiled once for each `T`.
    fn watch_boxed<T>(self, read: Box<dyn Fn(&TorrentView) -> T + Send + Sync>) -> Memo<T>
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

    /// A text about the torrent; empty for none.
    pub(super) fn text(self, write: impl Fn(&TorrentView) -> Option<String> + Send + Sync + 'static) -> Text {
        self.watch(move |view| write(view).unwrap_or_default()).into()
    }

    /// Whether something is so with the torrent.
    pub(super) fn flag(self, tell: impl Fn(&TorrentView) -> bool + Send + Sync + 'static) -> Flag {
        self.watch(tell).into()
    }

    /// What `read` says of the torrent at this moment.
    pub(super) fn read<T>(self, read: impl Fn(&TorrentView) -> T) -> Option<T> {
        self.ui
            .snapshot
            .with_untracked(|snapshot| snapshot.torrents.iter().find(|view| view.key == self.key).map(read))
    }

    /// Sends a command about the torrent, if it is still there and known by its hash.
    pub(super) fn order(self, command: impl Fn(InfoHash) -> Command) {
        let hash = self.read(|view| has_hash(view).then_some(view.torrent.info_hash));
        if let Some(hash) = hash.flatten() {
            self.ui.send(command(hash));
        }
    }

    /// Takes the torrent out of the list, by this command, or whatever it is if it has no hash yet. The focus goes with the row, so
    /// it moves on: to the list, or to where the next torrent is added.
    pub(super) fn take_out(self, command: fn(InfoHash) -> Command) {
        let others = self.ui.snapshot.with_untracked(|snapshot| snapshot.torrents.len() > 1);
        if others {
            super::frame::go_to_list();
        } else if let Some(field) = self.ui.add_field.get_untracked() {
            // Focus is a courtesy.
            let _ = field.focus();
        }
        match self.read(has_hash) {
            Some(true) => self.order(command),
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
    let known = row.flag(has_hash);
    let open = preview::Open::new(None);
    let hash = row.watch(|view| has_hash(view).then(|| view.torrent.info_hash.to_string()));
    let state = row.text(|view| Some(phrase::state_name(view.torrent.state).to_owned()));
    let words = row.text(move |view| Some(ui.say(&phrase::state(view))));
    let mark = row.text(|view| Some(mark(view).to_owned()));
    // What invites: the link while nobody has it from here, saving once it has come from others.
    let own = row.watch(|view| is_own(view).then(String::new));
    let name = row.text(move |view| {
        let name = view.torrent.name.clone();
        Some(if name.is_empty() { ui.word("list.unnamed") } else { name })
    });
    let size = row.text(move |view| {
        let total = view.torrent.bytes.total;
        (total > 0 || !view.files.is_empty()).then(|| ui.speech().bytes(total))
    });
    let count = row.text(move |view| {
        let count = view.files.len();
        (count > 1).then(|| ui.say(&Phrase::counted("files.count", count as u64)))
    });
    view! {
        <article
            class="card torrent"
            data-testid="torrent"
            data-info-hash=hash
            data-state=state
            data-own=own
            aria-label=name
            id=place(key)
            tabindex="-1"
        >
            <header class="torrent-top">
                <span class="mark" aria-hidden="true">
                    {icon(mark)}
                </span>
                <div class="torrent-name">
                    <h3 title=name>{name}</h3>
                    <p class="facts">
                        <span class="state" data-testid="state">
                            {words}
                        </span>
                        <span>{size}</span>
                        <span>{count}</span>
                    </p>
                </div>
                {controls(row)}
            </header>
            {progress(row, name)}
            {rates(row)}
            {waiting(row)}
            {trouble(row)}
            {sometimes(move || known.get().then(|| share(row, open)))}
            {preview(row, open)}
            <div class="folds">
                {files(row, open)} {peers(row)} {rate_chart(row)} {piece_map(row)}
                {sometimes(move || known.get().then(|| sharing(row)))} {trackers(row)}
                {sometimes(move || known.get().then(|| options(row)))} {journal(row)}
            </div>
        </article>
    }
    .into_any()
}

/// Where the row of the torrent with this key is, for the focus.
fn place(key: u32) -> String {
    format!("torrent-{key}")
}

/// Whether all of it was here from the start.
fn is_own(view: &TorrentView) -> bool {
    let pieces = view.torrent.pieces;
    view.torrent.bytes.downloaded == 0 && pieces.have == pieces.total
}

/// The icon of a state.
fn mark(view: &TorrentView) -> &'static str {
    match view.torrent.state {
        State::Hashing => "clock",
        State::Metadata | State::Downloading => "down",
        State::Seeding if view.wants_nothing() => "file",
        State::Seeding => "check",
        State::Paused => "pause",
        State::Error => "warning",
    }
}

/// Pause or resume, and remove.
fn controls(row: Row) -> AnyView {
    let ui = row.ui;
    // Resuming is also the way out of an error.
    let stands = row.flag(|view| matches!(view.torrent.state, State::Paused | State::Error));
    let choose =
        move |standing: &'static str, moving: &'static str| if stands.get() { standing } else { moving };
    let toggle = Button {
        class: "quiet",
        // While its files are not here there is nothing to pause, and nothing to go on with.
        hidden: row.flag(|view| !has_hash(view) || view.needs_files()),
        ..Button::new(
            "pause",
            text(move || choose("play", "pause").to_owned()),
            text(move || ui.word(choose("action.resume", "action.pause"))),
        )
    };
    let remove = Button {
        class: "quiet",
        hint: ui.word("action.remove_hint").into(),
        ..Button::new("remove", "remove", ui.word("action.remove"))
    };
    let pause_or_resume = move || {
        if stands.get_untracked() {
            row.order(Command::Resume);
        } else {
            row.order(Command::Pause);
        }
    };
    view! {
        <div class="controls">
            {button(toggle, pause_or_resume)} {button(remove, move || row.take_out(Command::Remove))}
        </div>
    }
    .into_any()
}

/// Bytes of what is wanted: those that are here, and all.
fn wanted(view: &TorrentView) -> (u64, u64) {
    let wanted = view.wanted();
    (wanted.verified, wanted.total)
}

/// The bar with its percentage. Without the metadata there is no telling how far it is.
fn progress(row: Row, name: Text) -> AnyView {
    let ui = row.ui;
    let done = |view: &TorrentView| {
        let bytes = view.torrent.bytes;
        let untold = view.torrent.state == State::Metadata || (bytes.total == 0 && view.files.is_empty());
        let of = if view.wants_nothing() { (bytes.verified, bytes.total) } else { wanted(view) };
        (!untold).then_some(of)
    };
    let value =
        row.watch(move |view| done(view).map(|(done, total)| figures::share(done, total).to_string()));
    let label = text(move || ui.say(&Phrase::plain("torrent.progress").text("name", &name.get())));
    let percent = row.text(move |view| done(view).map(|(done, total)| ui.speech().percent(done, total)));
    view! {
        <div class="bar">
            <progress data-testid="progress" max="1" value=value aria-label=label></progress>
            <span class="percent" data-testid="percent">
                {percent}
            </span>
        </div>
    }
    .into_any()
}

/// Rates, time left, how much of it is here and how much was sent.
fn rates(row: Row) -> AnyView {
    let ui = row.ui;
    let down = row.text(move |view| {
        (view.torrent.state == State::Downloading).then(|| ui.speech().rate(view.torrent.rates.down))
    });
    let up = row.text(move |view| {
        let rate = view.torrent.rates.up;
        (view.torrent.state == State::Downloading || (view.torrent.state == State::Seeding && rate >= 1.0))
            .then(|| ui.speech().rate(rate))
    });
    let left = row.text(move |view| {
        let moving = matches!(view.torrent.state, State::Downloading | State::Hashing);
        let time = view.seconds_left.map(|seconds| ui.speech().duration(seconds)).unwrap_or_default();
        (moving && !time.is_empty())
            .then(|| ui.say(&Phrase::plain("torrent.left").with("time", Value::Said(time))))
    });
    let done = row.text(move |view| {
        let (verified, total) = wanted(view);
        let phrase = || {
            Phrase::plain("torrent.done_of")
                .with("done", Value::Bytes(verified))
                .with("total", Value::Bytes(total))
        };
        (total > 0 && verified < total).then(|| ui.say(&phrase()))
    });
    let pieces = row.text(move |view| phrase::pieces(view).map(|phrase| ui.say(&phrase)));
    let sent = row.text(move |view| {
        let uploaded = view.all_time.uploaded;
        let phrase = || Phrase::plain("torrent.uploaded").with("size", Value::Bytes(uploaded));
        (uploaded > 0).then(|| ui.say(&phrase()))
    });
    let ratio = row.text(move |view| {
        let phrase = Phrase::plain("torrent.ratio").with("ratio", Value::Ratio(view.share_ratio()?));
        Some(ui.say(&phrase))
    });
    let ratio_hint = ui.word("torrent.ratio_hint");
    view! {
        <p class="figures">
            {rate(ui, "down", down)} {rate(ui, "up", up)} <span class="left">{left}</span>
            <span class="of">{done}</span> <span class="pieces">{pieces}</span> <span class="sent">{sent}</span>
            <span class="ratio" data-testid="ratio" title=ratio_hint>
                {ratio}
            </span>
        </p>
    }
    .into_any()
}

/// One rate with its arrow, `down` or `up`.
pub(super) fn rate(ui: Ui, way: &'static str, rate: Text) -> AnyView {
    let label = ui.word(if way == "down" { "torrent.down" } else { "torrent.up" });
    let spoken = format!("{label}: ");
    view! {
        <span class=format!("rate {way}") title=label hidden=is_blank(rate)>
            {icon(way)}
            <span class="visually-hidden">{spoken}</span>
            {rate}
        </span>
    }
    .into_any()
}

fn waiting(row: Row) -> impl IntoView {
    let asks = row.flag(|view| view.waiting == Some(Waiting::Permission));
    let lacks = row.flag(|view| view.waiting == Some(Waiting::Files));
    let phrase = row.text(move |view| phrase::waiting(view).map(|phrase| row.ui.say(&phrase)));
    let blank = is_blank(phrase);
    sometimes(move || {
        (!blank.get()).then(|| {
            view! {
                <p class="waiting" data-testid="waiting">
                    {icon("clock")} <span>{phrase}</span>
                </p>
                {sometimes(move || asks.get().then(|| allow(row)))}
                {sometimes(move || lacks.get().then(|| choose_again(row)))}
            }
            .into_any()
        })
    })
}

/// Has the browser ask the user whether this page may read their files again.
fn allow(row: Row) -> AnyView {
    let shape =
        Button { class: "primary", ..Button::new("allow-files", "file", row.ui.word("action.allow_files")) };
    let press = move || row.order(Command::AllowFiles);
    view! { <div class="buttons">{button(shape, press)}</div> }.into_any()
}

/// Has the user choose the torrent's own files once more, or the folder that they are in.
fn choose_again(row: Row) -> AnyView {
    // A torrent of one file may be a folder, too: then that has its name above the file's.
    let in_folder = row.read(|view| view.in_folder).unwrap_or_default();
    let shape = if in_folder {
        Chooser {
            class: "button primary",
            icon: "folder",
            word: "seed.folder",
            test_id: "folder-again",
            folder: true,
        }
    } else {
        Chooser {
            class: "button primary",
            icon: "file",
            word: "action.choose_again",
            test_id: "file-again",
            folder: false,
        }
    };
    let take = move |files: Vec<ChosenFile>| {
        let files = std::cell::Cell::new(files);
        // The focus would go with the field.
        super::frame::go_to(&place(row.key));
        row.order(|hash| Command::ChooseAgain(hash, files.take()));
    };
    view! { <div class="buttons">{chooser(row.ui, shape, take)}</div> }.into_any()
}

fn trouble(row: Row) -> impl IntoView {
    let trouble = row.watch(|view| view.trouble.clone());
    sometimes(move || trouble.get().map(|trouble| alert_box(row.ui, &trouble, None)))
}

/// What is passed on (hash, link, magnet) and what is taken home (save).
fn share(row: Row, open: preview::Open) -> AnyView {
    let ui = row.ui;
    let hash = row.text(|view| Some(view.torrent.info_hash.to_string()));
    let link = row.text(|view| Some(view.link.clone()));
    let magnet = row.text(|view| Some(view.magnet.clone()));
    let wait = row.flag(|view| !view.can_save());
    let blocked = RwSignal::new(None::<String>);
    let save = Button {
        class: "save",
        disabled: wait,
        hint: text(move || if wait.get() { ui.word("action.save_wait") } else { String::new() }),
        ..Button::new(
            "save",
            "save",
            row.text(move |view| {
                Some(ui.word(if view.files.len() > 1 { "action.save_all" } else { "action.save" }))
            }),
        )
    };
    view! {
        <div class="share">
            <p class="hash-line">
                <span class="label">{ui.word("torrent.hash")}</span>
                {copy_hash(ui, hash, blocked)}
            </p>
            <div class="buttons">
                {preview::open_only(row, open)}
                {button(save, move || row.order(Command::Save))}
                {save_into(row)}
                {copy_button(ui, ("copy-link", "link", "action.copy_link"), link, blocked)}
                {copy_button(ui, ("copy-magnet", "magnet", "action.copy_magnet"), magnet, blocked)}
            </div>
            {sometimes(move || blocked.get().map(|text| by_hand(ui, text)))}
        </div>
    }
    .into_any()
}

/// Saving a folder as a folder, where the browser lets the user choose one; how far that is.
fn save_into(row: Row) -> AnyView {
    let ui = row.ui;
    let hidden = row.flag(|view| view.files.len() < 2 || !Choice::Target.is_offered());
    let wait = row.flag(|view| !view.can_save());
    let shape =
        Button { hidden, disabled: wait, ..Button::new("save-into", "folder", ui.word("action.save_into")) };
    let far = row.text(move |view| {
        let saving = view.saving?;
        let key = if saving.done < saving.total { "saving.under_way" } else { "saving.done" };
        let phrase = Phrase::plain(key).with("done", Value::Count(saving.done as u64));
        Some(ui.say(&phrase.with("total", Value::Count(saving.total as u64))))
    });
    view! {
        {button(shape, move || row.order(Command::SaveInto))}
        <span class="saving" role="status" data-testid="saving">
            {far}
        </span>
    }
    .into_any()
}

/// What could not be copied, ready to be copied by hand.
fn by_hand(ui: Ui, text: String) -> AnyView {
    let select =
        move |event: leptos::ev::FocusEvent| event_target::<web_sys::HtmlInputElement>(&event).select();
    view! {
        <label class="by-hand" role="alert">
            <span>{ui.word("action.copy_failed")}</span>
            <input type="text" readonly value=text on:focus=select />
        </label>
    }
    .into_any()
}
