//! The trackers of one torrent: which can be reached, what they do, and what they know.

use leptos::prelude::*;

use super::Ui;
use super::parts::{each_once, icon, is_blank, key_of, list};
use super::phrase::{self, Phrase, Value};
use super::torrent::Row;
use crate::snapshot::{TorrentTrackerView, TrackerState};

/// Names a tracker's row.
fn key(tracker: &TorrentTrackerView) -> u64 {
    key_of(&tracker.url)
}

/// A summary and the list, closed at first; nothing while there is none.
pub(super) fn trackers(row: Row) -> AnyView {
    let ui = row.ui;
    let keys = row.watch(|view| each_once(view.trackers.iter().map(key)));
    let none = row.flag(|view| view.trackers.is_empty());
    let summary =
        row.text(move |view| Some(ui.say(&Phrase::counted("trackers.count", view.trackers.len() as u64))));
    let lost = row.text(move |view| {
        let lost = view.trackers.iter().filter(|tracker| tracker.state == TrackerState::Unreachable).count();
        let phrase = || Phrase::plain("trackers.lost").with("count", Value::Count(lost as u64));
        (lost > 0).then(|| ui.say(&phrase()))
    });
    view! {
        <details class="fold trackers" data-testid="trackers" hidden=none>
            <summary>
                {icon("chevron")} <span>{summary}</span> <span class="lost">{lost}</span>
            </summary>
            <ul>{list(keys, move |key| tracker_row(row, key))}</ul>
        </details>
    }
    .into_any()
}

fn tracker_row(row: Row, of: u64) -> AnyView {
    let ui = row.ui;
    let tracker = move |write: fn(Ui, &TorrentTrackerView) -> Option<String>| {
        row.text(move |view| {
            view.trackers.iter().find(|tracker| key(tracker) == of).and_then(|t| write(ui, t))
        })
    };
    let host = tracker(|_, tracker| Some(phrase::host(&tracker.url).to_owned()));
    let url = tracker(|_, tracker| Some(tracker.url.clone()));
    let state = tracker(|_, tracker| Some(phrase::tracker_name(tracker.state).to_owned()));
    let words = tracker(|ui, tracker| Some(ui.word(phrase::torrent_tracker(tracker.state))));
    let own = tracker(|ui, tracker| tracker.own.then(|| ui.word("trackers.own")));
    let is_own = Memo::new(move |_| own.with(|own| !own.is_empty()).then_some("true"));
    let kind = tracker(|ui, tracker| tracker.kind.map(|kind| ui.word(phrase::tracker_kind(kind))));
    // What it counted before it went out of reach says nothing of now.
    let counts =
        |tracker: &TorrentTrackerView| tracker.kind.is_some() && tracker.state == TrackerState::Connected;
    let counted = move |phrase: fn(&TorrentTrackerView) -> Phrase| {
        row.text(move |view| {
            let tracker = view.trackers.iter().find(|tracker| key(tracker) == of)?;
            counts(tracker).then(|| ui.say(&phrase(tracker)))
        })
    };
    let seeders = counted(|tracker| Phrase::counted("trackers.seeders", tracker.complete.into()));
    let leechers = counted(|tracker| Phrase::counted("trackers.leechers", tracker.incomplete.into()));
    let failure = tracker(|ui, tracker| {
        let failure = tracker.failure.as_deref()?;
        Some(ui.say(&Phrase::plain("trackers.failure").text("text", failure)))
    });
    view! {
        <li class="torrent-tracker" data-testid="torrent-tracker" data-state=state data-own=is_own>
            <span class="dot" aria-hidden="true"></span>
            <span class="host" title=url>
                {host}
            </span>
            <span class="facts">
                <span class="reach">{words}</span>
                <span>{own}</span>
                <span>{kind}</span>
                <span>{seeders}</span>
                <span>{leechers}</span>
            </span>
            <span class="failure" hidden=is_blank(failure)>
                {failure}
            </span>
        </li>
    }
    .into_any()
}
