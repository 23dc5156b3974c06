//! `cargo xtask bench`: what users feel, as figures, with the bare limit of the same machine beside each, taken in
//! the same run: the same browsers, the same bytes, and nothing of ours in between.

mod bare;
mod channel;
mod direct;
mod figures;
mod input;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::report::Report;

const HELP: &str = "\
bench [NAME]... [--runs N] [--without-ours] [--mib N] [--profile]

  direct   all of these four, ours and WebTorrent's:
  channel  MiB/s from tab to tab over WebRTC, 128 and 512 MiB
  start    milliseconds from pasting a magnet to the first verified piece, both ways open
  growth   MiB that the browsers grow by while 512 MiB moves over WebRTC
  talk     messages of the tracker for each pair of peers that met
  relay    MiB/s from tab to tab through the tracker, 256 MiB
  socket   MiB/s of a bare relay when each frame is sent through a Blob, as gloo-net does
  seed     MiB/s from the choice of a 1 GiB file to its hash
  first    milliseconds from pasting a hash to the first verified piece
  memory   MiB that the browsers grow by while 1 GiB moves
  input    milliseconds until a key is answered, and the page's long tasks, while a file arrives
  size     kB and milliseconds until a page that is opened for the first time takes input; kB of all that is built
  bare     only the machine's limits: relay, hashing and round trip without anything of ours
  all      all of them but `bare` (the default)

--without-ours takes only what ours are compared with. --mib says how much arrives for `input` (1024), --profile writes what its page
was doing meanwhile to target/bench/input.cpuprofile, which Chromium's developer tools open; that slows the page down.";

/// The figures of direct links.
const DIRECT: [&str; 4] = ["channel", "start", "growth", "talk"];

#[tokio::main]
async fn main() -> ExitCode {
    match e2e::unless_interrupted(run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut names = Vec::new();
    let (mut runs, mut has_ours) = (3, true);
    let mut typing = input::Typing::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => {
                runs = words.next().and_then(|count| count.parse().ok()).context("--runs takes a number")?;
            }
            "--mib" => {
                let mib: Option<u64> = words.next().and_then(|count| count.parse().ok());
                typing.bytes = mib.context("--mib takes a number")? * e2e::MIB;
            }
            "--profile" => typing.profiled = true,
            "--help" | "help" => {
                println!("{HELP}");
                return Ok(());
            }
            "--without-ours" => has_ours = false,
            "direct" => names.extend(DIRECT.map(str::to_owned)),
            "all" | "channel" | "start" | "growth" | "talk" | "relay" | "socket" | "seed" | "first"
            | "memory" | "input" | "size" | "bare" => names.push(word),
            _ => bail!("there is no figure '{word}'\n\n{HELP}"),
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|word| word == name || word == "all");

    let mut report = Report::new(runs);
    report.has_ours = has_ours;
    if names.iter().any(|name| name == "bare") {
        figures::bare_limits(&mut report).await.context("bare")?;
    }
    if wanted("size") {
        figures::opening(&mut report).await.context("size")?;
        figures::size(&mut report).await.context("size")?;
    }
    if wanted("first") {
        figures::first_piece(&mut report).await.context("first")?;
    }
    if wanted("start") {
        direct::first_piece(&mut report).await.context("start")?;
    }
    if wanted("talk") {
        direct::messages(&mut report).await.context("talk")?;
    }
    if wanted("channel") {
        direct::throughput(&mut report).await.context("channel")?;
    }
    if wanted("growth") {
        direct::memory(&mut report).await.context("growth")?;
    }
    if wanted("relay") {
        figures::relay(&mut report).await.context("relay")?;
    }
    if wanted("socket") {
        figures::socket(&mut report).await.context("socket")?;
    }
    if wanted("seed") {
        figures::seed(&mut report).await.context("seed")?;
    }
    if wanted("memory") {
        figures::memory(&mut report).await.context("memory")?;
    }
    if wanted("input") {
        input::input(&mut report, typing).await.context("input")?;
    }
    report.print();
    report.write()
}
