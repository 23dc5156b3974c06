//! Medians, ratios, a table for people and JSON for programs.

use std::fs;

use anyhow::{Context, Result};
use e2e::output_folder;
use serde::Serialize;

/// Whether more or less of a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What was measured, in words.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// One value a run.
    pub(crate) ours: Vec<f64>,
    /// What the bare limit is of, in words; empty when there is none to take.
    pub(crate) bare_what: &'static str,
    /// One value a run.
    pub(crate) bare: Vec<f64>,
    /// WebTorrent's, one value a run; empty where there is nothing to compare.
    pub(crate) webtorrent: Vec<f64>,
    /// What is aimed at, in words.
    pub(crate) aim: &'static str,
}

impl Figure {
    /// One that is better lower, and that nothing is compared with.
    pub(crate) fn alone(what: &'static str, unit: &'static str, ours: Vec<f64>, aim: &'static str) -> Self {
        let (bare, webtorrent) = (Vec::new(), Vec::new());
        Self { what, unit, better: Better::Lower, ours, bare_what: "", bare, webtorrent, aim }
    }

    /// Ours over the bare limit, for a figure that is better higher; the other way round for one that is better
    /// lower. 1 is the limit.
    fn ratio(&self) -> Option<f64> {
        self.ratio_to(&self.bare)
    }

    /// The same over others' values: 2 is twice as good as they are.
    fn ratio_to(&self, others: &[f64]) -> Option<f64> {
        let (ours, others) = (median(&self.ours)?, median(others)?);
        let ratio = if self.better == Better::Higher { ours / others } else { others / ours };
        ratio.is_finite().then_some(ratio)
    }
}

/// All figures of one run of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// How often each is taken; the table has medians.
    pub(crate) runs: usize,
    /// Whether ours are taken, or only what they are compared with.
    pub(crate) has_ours: bool,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(runs: usize) -> Self {
        Self { runs: runs.max(1), has_ours: true, figures: Vec::new() }
    }

    /// Adds a figure, and says it at once: the whole takes minutes.
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!(
            "    {}: {} {}",
            figure.what,
            show(
                median(&figure.ours).or_else(|| median(&figure.bare)).or_else(|| median(&figure.webtorrent))
            ),
            figure.unit
        );
        self.figures.push(figure);
    }

    pub(crate) fn print(&self) {
        println!(
            "\nmedians of {} runs (memory and all of the page: one); everything taken in this run, on this machine\n",
            self.runs
        );
        println!("{:<46} {:>9} {:>9} {:>7}  {:<9} aim", "figure", "ours", "bare", "ratio", "unit");
        for figure in &self.figures {
            println!(
                "{:<46} {:>9} {:>9} {:>7}  {:<9} {}",
                figure.what,
                show(median(&figure.ours)),
                show(median(&figure.bare)),
                figure.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
                figure.unit,
                figure.aim
            );
            if !figure.bare_what.is_empty() {
                println!("{:<46} bare: {}", "", figure.bare_what);
            }
            if let Some(theirs) = median(&figure.webtorrent) {
                let times = figure.ratio_to(&figure.webtorrent);
                let times = times.map_or_else(|| "-".to_owned(), |times| format!("{times:.1} times as good"));
                println!("{:<46} WebTorrent: {}; ours is {times}", "", show(Some(theirs)));
            }
        }
    }

    /// Writes `target/bench/figures.json`.
    pub(crate) fn write(&self) -> Result<()> {
        let folder = output_folder().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join("figures.json");
        let json = serde_json::to_string_pretty(self).context("the figures are no JSON")?;
        fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))
    }
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)? / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some((sorted[middle] + sorted[middle + 1]) / 2.0)
    }
}

fn show(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_of_one_is_the_limit_whichever_way_is_better() {
        let figure = |better, ours, bare| Figure {
            what: "",
            unit: "",
            better,
            ours: vec![ours],
            bare_what: "",
            bare: vec![bare],
            webtorrent: Vec::new(),
            aim: "",
        };
        assert_eq!(figure(Better::Higher, 5.0, 10.0).ratio(), Some(0.5));
        assert_eq!(figure(Better::Lower, 10.0, 5.0).ratio(), Some(0.5));
    }
}
