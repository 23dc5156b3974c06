//! What the torrent's `.torrent` file says of itself: its maker's comment, the program, and when it was made.

use leptos::prelude::*;

use super::parts::{Text, is_blank};
use super::torrent::Row;

/// Seconds since 1970 from which on a date is in milliseconds: what some programs write, and 5,000 years from now otherwise.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// As much of it as there is. The texts are a stranger's: each keeps its own direction, and stays in its place.
pub(super) fn notes(row: Row) -> AnyView {
    let ui = row.ui;
    let comment = row.text(|view| view.notes.comment.clone());
    let made_by = row.text(|view| view.notes.created_by.clone());
    let date = row.text(move |view| Some(ui.speech().time(millis(view.notes.creation_date?)?, true)));
    let line = |word, test_id, text: Text| {
        view! {
            <p class="note" hidden=is_blank(text)>
                <span class="label">{ui.word(word)}</span>
                " "
                <bdi data-testid=test_id>{text}</bdi>
            </p>
        }
        .into_any()
    };
    view! {
        <div class="notes">
            {line("notes.comment", "torrent-comment", comment)}
            {line("notes.created_by", "torrent-created-by", made_by)}
            {line("notes.created", "torrent-created", date)}
        </div>
    }
    .into_any()
}

/// Milliseconds since 1970 of a date that means something.
fn millis(date: i64) -> Option<u64> {
    let date = u64::try_from(date).ok().filter(|date| *date > 0)?;
    let millis = if date < MILLISECONDS_FROM { date * 1000 } else { date };
    (millis < MILLISECONDS_FROM * 1000).then_some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_seconds_or_in_milliseconds_or_means_nothing() {
        assert_eq!(millis(1_700_000_000), Some(1_700_000_000_000));
        assert_eq!(millis(1_700_000_000_123), Some(1_700_000_000_123));
        for nonsense in [0, -1, i64::MIN, i64::MAX, MILLISECONDS_FROM as i64 * 1000] {
            assert_eq!(millis(nonsense), None, "{nonsense}");
        }
    }
}
