//! What changes without the user: told to screen readers, and in short in the tab's title and icon.

use engine::State;
use leptos::prelude::*;
use shared::order::SortedMap;

use super::Ui;
use super::favicon::favicon;
use super::parts::text;
use super::phrase::{self, Phrase, Value};
use crate::snapshot::{Snapshot, TorrentView, TrackerState};

/// What was last seen: each torrent by its row, and the tracker.
struct Seen {
    torrents: SortedMap<u32, SeenTorrent>,
    tracker: TrackerState,
}

struct SeenTorrent {
    state: State,
    is_complete_in_part: bool,
    is_checked: bool,
    name: String,
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
            ui.say(&Phrase::plain("page.title_progress").with("percent", Value::Said(percent)))
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
    let torrent = |view: &TorrentView| SeenTorrent {
        state: view.torrent.state,
        is_complete_in_part: view.is_complete_in_part(),
        is_checked: view.checked.is_some(),
        name: view.torrent.name.clone(),
    };
    Seen {
        torrents: snapshot.torrents.iter().map(|view| (view.key, torrent(view))).collect(),
        tracker: snapshot.tracker.state,
    }
}

fn changes(before: &Seen, now: &Seen) -> Vec<Phrase> {
    let mut changes = Vec::new();
    for (key, torrent) in now.torrents.iter() {
        let SeenTorrent { state, is_complete_in_part, is_checked, name } = torrent;
        match before.torrents.get(key) {
            // Nothing came of one before while a check is under way.
            Some(earlier) if *is_checked && !earlier.is_checked => {
                changes.push(Phrase::plain("say.checked").text("name", name));
            }
            Some(earlier) => {
                changes.extend(phrase::transition(earlier.state, *state, *is_complete_in_part, name));
            }
            None if *state != State::Hashing && !name.is_empty() => {
                changes.push(Phrase::plain("say.added").text("name", name));
            }
            None => {}
        }
    }
    for (key, torrent) in before.torrents.iter() {
        if !now.torrents.contains_key(key) {
            changes.push(Phrase::plain("say.removed").text("name", &torrent.name));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: State, is_checked: bool) -> Seen {
        let torrent = SeenTorrent { state, is_complete_in_part: false, is_checked, name: "x".into() };
        Seen { torrents: [(1, torrent)].into_iter().collect(), tracker: TrackerState::Connected }
    }

    #[test]
    fn a_check_is_said_when_it_is_over_and_not_as_if_the_files_were_new() {
        let keys = |before: &Seen, now: &Seen| {
            changes(before, now).iter().map(|phrase| phrase.key).collect::<Vec<_>>()
        };
        let hashing = seen(State::Hashing, false);
        for state in [State::Seeding, State::Downloading, State::Paused] {
            assert_eq!(keys(&hashing, &seen(state, true)), ["say.checked"]);
            assert_eq!(keys(&seen(state, true), &hashing), ["say.checking"]);
            assert!(keys(&seen(state, true), &seen(state, true)).is_empty());
        }
        assert_eq!(keys(&hashing, &seen(State::Seeding, false)), ["say.hashed"]);
    }
}
