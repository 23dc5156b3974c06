//! What happened to a torrent, line by line, in plain words. Which words is decided without a browser.

use leptos::prelude::*;
use web_sys::HtmlDetailsElement;

use super::parts::{icon, list};
use super::phrase::{self, Phrase, Value};
use super::torrent::Row;
use crate::clock;
use crate::journal::{Entry, Happening, Journal};
use crate::snapshot::Trouble;

/// Age in milliseconds from which a line's time has its day.
const WITH_DAY: u64 = 12 * 60 * 60 * 1000;

/// What this is called in a sentence.
fn words(what: &Happening) -> Phrase {
    let key = match what {
        Happening::Hashed => "journal.hashed",
        Happening::Checked => "journal.checked",
        Happening::Back { .. } => "journal.back",
        Happening::Described => "journal.described",
        Happening::FirstPiece => "journal.first_piece",
        Happening::Complete { .. } => "journal.complete",
        Happening::Paused => "journal.paused",
        Happening::Resumed => "journal.resumed",
        Happening::FilesBack => "journal.files_back",
        Happening::FilesNeeded => "journal.files_needed",
        Happening::Alone => "journal.alone",
        Happening::Relayed { .. } => "journal.relayed",
        Happening::Direct { .. } => "journal.direct",
        Happening::Introduced { .. } => "journal.introduced",
        Happening::Linked { .. } => "journal.linked",
        Happening::WentDirect { .. } => "journal.went_direct",
        Happening::FellBack { .. } => "journal.fell_back",
        Happening::NotDirect { .. } => "journal.not_direct",
        Happening::Left { .. } => "journal.left",
        Happening::LeftComplete { .. } => "journal.left_complete",
        Happening::ManyLeft { .. } => "journal.many_left",
        Happening::Choked { .. } => "journal.choked",
        Happening::Unchoked { .. } => "journal.unchoked",
        Happening::Snubbed { .. } => "journal.snubbed",
        Happening::Banned { .. } => "journal.banned",
        Happening::TrackerFound { .. } => "journal.tracker_found",
        Happening::TrackerLost { .. } => "journal.tracker_lost",
        Happening::TrackerRefused { .. } => "journal.tracker_refused",
        Happening::Spread => "journal.spread",
        Happening::SuperSeeding => "peers.super_seeding",
        Happening::BadPiece { piece } => {
            return phrase::trouble(&Trouble::HashMismatch { peer: String::new(), piece: *piece });
        }
        Happening::Failed { trouble } => return phrase::trouble(trouble),
    };
    let phrase = Phrase::plain(key);
    match what {
        Happening::Back { bytes } => phrase.with("bytes", Value::Bytes(*bytes)),
        Happening::Complete { seconds } => phrase.with("time", Value::Seconds(*seconds)),
        Happening::Linked { count } | Happening::ManyLeft { count } => {
            phrase.with("count", Value::Count(*count))
        }
        Happening::WentDirect { who, seconds } => {
            phrase.with("who", Value::Who(who.clone())).with("time", Value::Seconds(*seconds))
        }
        Happening::NotDirect { who, why } => {
            phrase.with("who", Value::Who(who.clone())).with("why", Value::Word(phrase::why_relayed(*why)))
        }
        // Pieces are numbered from zero on the wire, from one for people.
        Happening::Banned { who, piece } => {
            phrase.with("who", Value::Who(who.clone())).with("piece", Value::Count(u64::from(*piece) + 1))
        }
        Happening::Relayed { who }
        | Happening::Direct { who }
        | Happening::Introduced { who }
        | Happening::FellBack { who }
        | Happening::Left { who }
        | Happening::LeftComplete { who }
        | Happening::Choked { who }
        | Happening::Unchoked { who }
        | Happening::Snubbed { who } => phrase.with("who", Value::Who(who.clone())),
        Happening::TrackerFound { url } | Happening::TrackerLost { url } => {
            phrase.text("host", phrase::host(url))
        }
        Happening::TrackerRefused { url, text } => phrase.text("host", phrase::host(url)).text("text", text),
        _ => phrase,
    }
}

/// Closed at first; while it is closed, nothing of it is there.
pub(super) fn journal(row: Row) -> AnyView {
    let ui = row.ui;
    let open = RwSignal::new(false);
    let empty = row.flag(|view| view.journal.is_empty());
    let shown = row.watch(move |view| if open.get() { view.journal.clone() } else { Journal::default() });
    // The newest first.
    let numbers = Memo::new(move |_| {
        shown.with(|shown| shown.entries().iter().rev().map(|entry| u64::from(entry.number)).collect())
    });
    let line = move |number: u64| {
        let found = shown.with_untracked(|shown| {
            shown.entries().iter().find(|entry| u64::from(entry.number) == number).cloned()
        });
        found.map(|entry| line(row, &entry)).into_any()
    };
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<HtmlDetailsElement>(&event).open());
    view! {
        <details class="fold journal" data-testid="journal" hidden=empty on:toggle=toggle>
            <summary>{icon("chevron")} <span>{ui.word("journal.title")}</span></summary>
            <p class="hint">{ui.word("journal.hint")}</p>
            <ol tabindex="0" aria-label=ui.word("journal.title")>
                {list(numbers, line)}
            </ol>
        </details>
    }
    .into_any()
}

/// A line never changes: what happens again is another line.
fn line(row: Row, entry: &Entry) -> AnyView {
    let speech = row.ui.speech();
    let age = clock::since_1970().saturating_sub(entry.at);
    let (time, full) = (speech.time(entry.at, age >= WITH_DAY), speech.time(entry.at, true));
    let times = (entry.times > 1)
        .then(|| speech.say(&Phrase::plain("journal.times").with("count", Value::Count(entry.times.into()))));
    view! {
        <li data-testid="journal-line">
            <time title=full>{time}</time>
            <span>{speech.say(&words(&entry.what))} " " <span class="times">{times}</span></span>
        </li>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use engine::WhyRelayed;

    use super::*;
    use crate::journal::Who;
    use crate::ui::catalogue::{Language, sentence};

    fn all() -> Vec<Happening> {
        let who = || Who::new("2d45", "Enxame");
        let url = || "wss://me:secret@a.example:1/announce".to_owned();
        vec![
            Happening::Hashed,
            Happening::Checked,
            Happening::Back { bytes: 1 },
            Happening::Described,
            Happening::FirstPiece,
            Happening::Complete { seconds: 1 },
            Happening::Paused,
            Happening::Resumed,
            Happening::FilesBack,
            Happening::FilesNeeded,
            Happening::Alone,
            Happening::Relayed { who: who() },
            Happening::Direct { who: who() },
            Happening::Introduced { who: who() },
            Happening::Linked { count: 5 },
            Happening::WentDirect { who: who(), seconds: 1 },
            Happening::FellBack { who: who() },
            Happening::NotDirect { who: who(), why: WhyRelayed::NoPath },
            Happening::Left { who: who() },
            Happening::LeftComplete { who: who() },
            Happening::ManyLeft { count: 5 },
            Happening::Choked { who: who() },
            Happening::Unchoked { who: who() },
            Happening::Snubbed { who: who() },
            Happening::Banned { who: who(), piece: 16 },
            Happening::BadPiece { piece: 16 },
            Happening::TrackerFound { url: url() },
            Happening::TrackerLost { url: url() },
            Happening::TrackerRefused { url: url(), text: "no".into() },
            Happening::SuperSeeding,
            Happening::Spread,
            Happening::Failed { trouble: Trouble::DiskFull },
        ]
    }

    #[test]
    fn every_happening_fills_every_place_of_its_sentence_in_every_language() {
        for language in [Language::English, Language::Portuguese] {
            for what in all() {
                let phrase = words(&what);
                let sentence = sentence(language, phrase.key);
                assert_ne!(sentence, phrase.key, "{what:?} has no sentence");
                let mut places: Vec<&str> = sentence
                    .split("%{")
                    .skip(1)
                    .map(|rest| rest.split('}').next().unwrap_or_default())
                    .collect();
                let mut filled: Vec<&str> = phrase.args.iter().map(|(name, _)| *name).collect();
                places.sort_unstable();
                filled.sort_unstable();
                assert_eq!(places, filled, "{what:?}");
            }
        }
    }

    #[test]
    fn two_happenings_never_have_the_same_words() {
        let mut keys: Vec<&str> = all().iter().map(|what| words(what).key).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn pieces_count_from_one_and_nobody_reads_how_a_tracker_is_logged_in_at() {
        let banned = words(&Happening::Banned { who: Who::default(), piece: 16 });
        assert!(banned.args.contains(&("piece", Value::Count(17))));
        let lost = words(&Happening::TrackerLost { url: "wss://me:secret@a.example:1/x".into() });
        assert_eq!(lost.args, [("host", Value::Text("a.example:1".into()))]);
    }
}
