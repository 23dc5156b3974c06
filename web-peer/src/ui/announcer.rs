//! What changes without the user: told to screen readers, and in short in the tab's title and icon.

use engine::State;
use leptos::prelude::*;
use shared::order::SortedMap;

use super::Ui;
use super::favicon::favicon;
use super::parts::text;
use super::phrase::{self, Phrase};
use crate::snapshot::{Snapshot, TrackerState};

/// What was last seen: by row each torrent's state, whether it is complete in part, and its name; and the tracker.
struct Seen {
    torrents: SortedMap<u32, (State, bool, String)>,
    tracker: TrackerState,
}

/// A region that only screen readers see, and the title.
pub(super) fn announcer(ui: Ui) -> AnyView {
    let spoken = ui.spoken;
    Effect::new(move |before: Option<Seen>| {
        let (now, changes) = ui.snapshot.with(|snapshot| {
            let now = see(snapshot);
            let changes = before.map(|before| changes(&before, &now)).unwrap_or_default();
            (now, changes)
        });
        if !changes.is_empty() {
            let sentences: Vec<String> = changes.iter().map(|phrase| ui.say(phrase)).collect();
            spoken.set(sentences.join(" "));
        }
        now
    });

    // Whole ones: every change of the title is work for the whole browser.
    let downloaded = Memo::new(move |_| ui.snapshot.with(percent_downloaded));
    let title = text(move || match downloaded.get() {
        Some(percent) => {
            let percent = ui.speech().percent(percent, 100);
            ui.say(&Phrase::plain("page.title_progress").text("percent", &percent))
        }
        None => "Enxame".to_owned(),
    });
    Effect::new(move |_| document().set_title(&title.get()));
    favicon(downloaded);

    view! {
        <p class="visually-hidden" role="status" aria-live="polite">
            {spoken}
        </p>
    }
    .into_any()
}

fn see(snapshot: &Snapshot) -> Seen {
    let torrents = snapshot.torrents.iter();
    Seen {
        torrents: torrents
            .map(|view| {
                (view.key, (view.torrent.state, view.is_complete_in_part(), view.torrent.name.clone()))
            })
            .collect(),
        tracker: snapshot.tracker.state,
    }
}

fn changes(before: &Seen, now: &Seen) -> Vec<Phrase> {
    let mut changes = Vec::new();
    for (key, (state, in_part, name)) in now.torrents.iter() {
        match before.torrents.get(key) {
            Some((earlier, ..)) => changes.extend(phrase::transition(*earlier, *state, *in_part, name)),
            None if *state != State::Hashing && !name.is_empty() => {
                changes.push(Phrase::plain("say.added").text("name", name));
            }
            None => {}
        }
    }
    for (key, (_, _, name)) in before.torrents.iter() {
        if !now.torrents.contains_key(key) {
            changes.push(Phrase::plain("say.removed").text("name", name));
        }
    }
    let tracker = match (before.tracker, now.tracker) {
        (TrackerState::Connected, TrackerState::Unreachable) => Some("say.tracker_lost"),
        (TrackerState::Unreachable, TrackerState::Connected) => Some("say.tracker_back"),
        _ => None,
    };
    changes.extend(tracker.map(Phrase::plain));
    changes
}

/// How much is here of all that is being downloaded, in whole percent; `None` when nothing is.
fn percent_downloaded(snapshot: &Snapshot) -> Option<u64> {
    let downloads = snapshot.torrents.iter().filter(|view| view.torrent.state == State::Downloading);
    let sizes = downloads.map(|view| (view.wanted().verified, view.wanted().total));
    let (done, total) =
        sizes.reduce(|(done, total), next| (done.saturating_add(next.0), total.saturating_add(next.1)))?;
    Some((u128::from(done) * 100 / u128::from(total.max(1))).min(100) as u64)
}
