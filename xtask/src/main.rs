//! `cargo xtask`: the commands of the project. Each does all of the set-up it needs, and skips what is there.
//!
//! In reading order: [`workspace`] (where things are, and how commands are started), [`tools`] (what is installed
//! under `target/tools`), [`browser`] (browsers and what else the machine needs), [`build`] (the page and the tracker), [`recorded`] (the page for screenshots),
//! [`check`] (`cargo xtask test`).

mod browser;
mod build;
mod check;
mod recorded;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask <command>

  run [-- FLAGS]      set up, build the page and the tracker, and start it; prints the page's URL.
                      FLAGS go to the tracker: cargo xtask run -- --listen 0.0.0.0:8000
  test                set up, and run every check that continuous integration runs
  test --only STEP    one of the steps (may be repeated); `test --list` names them
  demo                one seeder and three downloaders in headless Chromium, live in the terminal
  bench [NAME]        figures beside the machine's bare limits and beside WebTorrent: direct, relay, seed, first,
                      memory, input, size or all
  bench sim [MOST]    swarms of 10, 100 and 1,000 peers in virtual time (no browser needed): a table, and curves in
                      target/sim; MOST leaves out the larger
  bench tracker [NAME]  the tracker beside aquatic_ws, bittorrent-tracker and a bare forwarder: announces, aquatic (the
                      clients of aquatic's own load test, over TLS), memory, relay, or all; `ours` behind it leaves out
                      the others
  soak [CLIENTS [SECONDS [ROUNDS]]]
                      10,000 clients that come and go for ten minutes, in five rounds, and what is left of them
  shots [NAME]...     screenshots of the page in its main states (e2e/recorded), into target/shots
  record              bring the page into those states anew, and write them down (e2e/recorded)
  setup               only the set-up: tools for building the page, browsers and their drivers, WebTorrent
  help                this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let command = arguments.first().map_or("help", String::as_str);
    let rest = arguments.get(1..).unwrap_or_default();
    match command {
        "run" => {
            build::page()?;
            build::tracker()?;
            build::start_tracker(rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest))
        }
        "test" => check::run_steps(&check::Choice::parse(rest)?),
        "demo" => {
            prepare_browsers()?;
            build::run_e2e("demo", rest)
        }
        "bench" if rest.first().is_some_and(|name| name == "sim") => build::simulate(&rest[1..]),
        "bench" if rest.first().is_some_and(|name| name == "tracker") => {
            let is_asked = |name| rest.iter().any(|word| word == name);
            if !is_asked("ours") {
                browser::node()?;
                tools::npm_packages()?;
            }
            if !is_asked("ours") || is_asked("aquatic") {
                tools::aquatic()?;
            }
            build::load(&rest[1..])
        }
        "soak" => build::load(&[&["soak".to_owned()], rest].concat()),
        "bench" => {
            prepare_browsers()?;
            browser::node()?;
            tools::npm_packages()?;
            build::run_e2e("bench", rest)
        }
        "shots" => {
            browser::chromium()?;
            build::tracker()?;
            let page = recorded::page()?;
            build::run_e2e_with("shots", rest, &page)
        }
        "record" => {
            prepare_browsers()?;
            build::run_e2e("record", rest)
        }
        "setup" => {
            tools::for_page()?;
            build::for_e2e()?;
            Ok(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command '{other}'\n\n{HELP}"),
    }
}

/// What the commands need that drive the built page in real browsers.
fn prepare_browsers() -> Result<()> {
    browser::chromium()?;
    build::page()?;
    build::tracker()
}
