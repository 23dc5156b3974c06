//! How fast a torrent was over the last minutes, as two lines: what came, and what was sent.
//!
//! One drawing of at most three hundred numbers, written anew when there is a new sample (every two seconds), and only while it is
//! open. What is drawn where is decided without a browser ([`top`], [`line()`], [`summary`]).

use std::fmt::Write as _;

use leptos::prelude::*;
use web_sys::HtmlDetailsElement;

use super::parts::{Text, icon, text};
use super::phrase::{Phrase, Value};
use super::torrent::Row;
use crate::snapshot::RateHistory;

/// Samples from the left to the right: the least of these for which there is room. One minute, two, five.
const WIDTHS: [usize; 3] = [30, 60, 150];
/// Units from the bottom to the top, in each of which a line may be.
const HIGH: u64 = 200;
/// The least that the top stands for, in bytes a second: what trickles shall not look like a flood.
const LEAST_TOP: u64 = 10_000;

/// What the top of the drawing stands for, in bytes a second: the lowest of 1, 2 or 5 times a power of ten that nothing is above.
fn top(history: &RateHistory) -> u64 {
    let most = history.down.iter().chain(&history.up).copied().max().unwrap_or_default();
    let mut power = LEAST_TOP;
    loop {
        let tops = [1, 2, 5].map(|factor| power.saturating_mul(factor));
        match tops.into_iter().find(|top| *top >= most) {
            Some(top) => return top,
            None => power = power.saturating_mul(10),
        }
    }
}

/// Samples from the left to the right.
fn across(history: &RateHistory) -> usize {
    let [.., widest] = WIDTHS;
    WIDTHS.into_iter().find(|width| *width >= history.down.len()).unwrap_or(widest)
}

/// A line through these samples, the last of them at the right, as an SVG path; nothing without samples. The oldest go if there
/// are more than `across`.
fn line(samples: &[u64], across: usize, top: u64) -> String {
    let samples = &samples[samples.len().saturating_sub(across)..];
    let left = across - samples.len();
    let high =
        |rate: u64| HIGH - (u128::from(rate.min(top)) * u128::from(HIGH) / u128::from(top.max(1))) as u64;
    let mut line = String::new();
    for (place, rate) in samples.iter().enumerate() {
        let neighbours = [place.checked_sub(1), Some(place + 1)];
        // In the middle of a level stretch nothing turns.
        let is_level = neighbours.into_iter().all(|next| {
            next.and_then(|next| samples.get(next)).is_some_and(|next| high(*next) == high(*rate))
        });
        if !is_level {
            let verb = if line.is_empty() { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(line, "{verb}{} {}", left + place, high(*rate));
        }
    }
    line
}

/// What is below the same line.
fn area(samples: &[u64], across: usize, top: u64) -> String {
    let line = line(samples, across, top);
    if line.is_empty() { line } else { format!("{line}V{HIGH}H{}Z", across - samples.len().min(across)) }
}

/// What the drawing shows, for those who do not see it.
fn summary(history: &RateHistory) -> Phrase {
    let mean = |samples: &[u64]| samples.iter().sum::<u64>() / (samples.len() as u64).max(1);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    Phrase::plain("chart.summary")
        .with("time", Value::Seconds(span(history)))
        .with("down", Value::Rate(mean(&history.down)))
        .with("down_most", Value::Rate(most(&history.down)))
        .with("up", Value::Rate(mean(&history.up)))
        .with("up_most", Value::Rate(most(&history.up)))
}

/// Seconds from the oldest sample until now.
fn span(history: &RateHistory) -> u64 {
    history.down.len() as u64 * history.step
}

/// Closed at first, and not there while nothing has moved.
pub(super) fn rate_chart(row: Row) -> AnyView {
    let ui = row.ui;
    let open = RwSignal::new(false);
    let flat = row.flag(|view| view.history.is_still());
    let written = move |write: fn(&RateHistory) -> String| -> Text {
        row.text(move |view| open.get().then(|| write(&view.history)))
    };
    let most = row.text(move |view| open.get().then(|| ui.speech().rate(top(&view.history) as f64)));
    let label = row.text(move |view| open.get().then(|| ui.say(&summary(&view.history))));
    let wide = row.watch(|view| across(&view.history));
    let room = text(move || format!("0 0 {} {HIGH}", wide.get() - 1));
    let ago = row.text(move |view| {
        let time = Value::Seconds(across(&view.history) as u64 * view.history.step);
        Some(ui.say(&Phrase::plain("chart.ago").with("time", time)))
    });
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<HtmlDetailsElement>(&event).open());
    let key = |way: &'static str, word| {
        view! { <li><span class=format!("swatch {way}") aria-hidden="true"></span> <span>{ui.word(word)}</span></li> }
            .into_any()
    };
    view! {
        <details class="fold" data-testid="rate-chart" hidden=flat on:toggle=toggle>
            <summary>{icon("chevron")} <span>{ui.word("chart.title")}</span></summary>
            <div class="chart" role="img" aria-label=label>
                <span class="chart-top" aria-hidden="true">{most}</span>
                <svg viewBox=room preserveAspectRatio="none" aria-hidden="true">
                    <path class="area" d=written(|history| area(&history.down, across(history), top(history)))></path>
                    <path class="down" d=written(|history| line(&history.down, across(history), top(history)))></path>
                    <path class="up" d=written(|history| line(&history.up, across(history), top(history)))></path>
                </svg>
                <span class="chart-ago" aria-hidden="true">{ago}</span>
                <span class="chart-now" aria-hidden="true">{ui.word("chart.now")}</span>
            </div>
            <ul class="swatches">{key("down", "torrent.down")} {key("up", "torrent.up")}</ul>
        </details>
    }
    .into_any()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(down: Vec<u64>, up: Vec<u64>) -> RateHistory {
        RateHistory { step: 2, down, up }
    }

    #[test]
    fn the_top_is_a_round_number_above_everything() {
        for (most, expected) in [
            (0, 10_000),
            (10_000, 10_000),
            (10_001, 20_000),
            (20_001, 50_000),
            (50_001, 100_000),
            (12_345_678, 20_000_000),
        ] {
            assert_eq!(top(&history(vec![0, most], vec![1, 2])), expected, "{most}");
            assert_eq!(top(&history(vec![1, 2], vec![most, 0])), expected, "{most}");
        }
    }

    #[test]
    fn the_newest_sample_is_at_the_right_and_level_stretches_have_two_ends() {
        assert_eq!(line(&[], 30, 100), "");
        assert_eq!(line(&[100], 30, 100), "M29 0");
        assert_eq!(line(&[0, 0, 0, 0, 50, 100], 150, 100), "M144 200L147 200L148 100L149 0");
        assert_eq!(area(&[0, 100], 30, 100), "M28 200L29 0V200H28Z");
        assert_eq!(area(&[], 30, 100), "");
        assert_eq!(line(&[7; 1_000], 150, 7), "M0 0L149 0");
        assert_eq!(area(&[7; 1_000], 150, 7), "M0 0L149 0V200H0Z");
    }

    #[test]
    fn there_is_room_for_one_minute_then_for_two_then_for_five() {
        let across = |samples: usize| across(&history(vec![0; samples], vec![0; samples]));
        assert_eq!([0, 30, 31, 60, 61, 150, 400].map(across), [30, 30, 60, 60, 150, 150, 150]);
    }

    #[test]
    fn the_sentence_says_means_and_peaks() {
        let summary = summary(&history(vec![0, 30], vec![4, 2]));
        let values = ["time", "down", "down_most", "up", "up_most"]
            .map(|name| summary.args.iter().find(|(arg, _)| *arg == name).map(|(_, value)| value.clone()));
        let expected = [Value::Seconds(4), Value::Rate(15), Value::Rate(30), Value::Rate(3), Value::Rate(4)];
        assert_eq!(values, expected.map(Some));
        assert!(history(vec![0; 9], vec![0; 9]).is_still() && !history(vec![0], vec![1]).is_still());
    }

    proptest! {
        #[test]
        fn no_line_leaves_the_drawing(samples in proptest::collection::vec(any::<u64>(), 0..400)) {
            let history = history(samples, Vec::new());
            let drawn = line(&history.down, across(&history), top(&history));
            for point in drawn.split(['M', 'L']).skip(1) {
                let (x, y) = point.split_once(' ').unwrap();
                prop_assert!(x.parse::<usize>().unwrap() < across(&history));
                prop_assert!(y.parse::<u64>().unwrap() <= HIGH);
            }
        }
    }
}
