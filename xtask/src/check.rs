//! `cargo xtask test`: every check, as named steps, with a summary.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools::WASM;
use crate::workspace::{ROOT, TARGET, cargo, command, find_on_path, run, say};
use crate::{browser, build, tools};

/// Marks everything that a run of the tests starts, so that what outlives it is found.
const RUN_MARK: &str = "ENXAME_TEST_RUN";
/// Each fuzz target runs for this long: enough to replay its corpus and to see that it still works.
const FUZZ_SECONDS: u32 = 10;

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
}

/// In order: what is cheap and fails most often stands first.
const STEPS: [Step; 10] = [
    Step { name: "format", about: "every file is formatted", run: format },
    Step { name: "clippy", about: "no warnings, native", run: clippy },
    Step { name: "clippy-wasm", about: "no warnings, for the browser", run: clippy_wasm },
    Step { name: "native", about: "unit tests, simulations, the tracker's tests", run: native_tests },
    Step { name: "docs", about: "the documentation builds without warnings", run: docs },
    Step { name: "fuzz", about: "each fuzz target runs for ten seconds", run: fuzz },
    Step { name: "browser", about: "the page's parts, in headless Chromium", run: browser_tests },
    Step { name: "page", about: "the page and the tracker build for release", run: page },
    Step {
        name: "e2e",
        about: "real browsers against the real tracker, saved bytes compared",
        run: end_to_end,
    },
    Step { name: "leftovers", about: "the tests left no process running", run: leftovers },
];

/// What the command line asks for.
pub(crate) enum Choice {
    All,
    Only(Vec<String>),
    List,
}

impl Choice {
    /// Reads the words after `test`.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut only = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match (word, words.next()) {
                ("--list", None) => return Ok(Self::List),
                ("--only", Some(name)) if STEPS.iter().any(|step| step.name == name) => {
                    only.push(name.to_owned());
                }
                ("--only", Some(name)) => {
                    bail!("there is no step '{name}'; `cargo xtask test --list` names them")
                }
                _ => bail!("`cargo xtask test` takes --list, or --only STEP one or more times"),
            }
        }
        Ok(if only.is_empty() { Self::All } else { Self::Only(only) })
    }

    fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|chosen| chosen == name),
            Self::List => false,
        }
    }
}

/// Runs the chosen steps; success if every one succeeds.
pub(crate) fn run_steps(choice: &Choice) -> Result<ExitCode> {
    if matches!(choice, Choice::List) {
        STEPS.iter().for_each(|step| println!("{:12} {}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    let mut done: Vec<(&Step, Result<()>, Duration)> = Vec::new();
    for step in STEPS.iter().filter(|step| choice.takes(step.name)) {
        say(format!("{}: {}", step.name, step.about));
        let start = Instant::now();
        let result = (step.run)();
        if let Err(error) = &result {
            say(format!("{} failed: {error:#}", step.name));
        }
        done.push((step, result, start.elapsed()));
    }
    println!();
    for (step, result, took) in &done {
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{word:7} {:12} {:>6.1} s   {}", step.name, took.as_secs_f64(), step.about);
    }
    let failed = done.iter().filter(|(_, result, _)| result.is_err()).count();
    println!("\n{} passed, {failed} failed", done.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format() -> Result<()> {
    tools::components()?;
    run_marked(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    tools::components()?;
    // The one step with --locked: a Cargo.lock that does not fit is told once, and early.
    run_marked(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn clippy_wasm() -> Result<()> {
    tools::wasm_target()?;
    run_marked(
        cargo()
            .args(["clippy", "--package", "web-peer", "--target", WASM, "--all-targets", "--"])
            .args(["-D", "warnings"]),
    )
}

fn native_tests() -> Result<()> {
    browser::redis()?;
    let mut command = cargo();
    command.arg("test");
    // Without e2e, whose tests need the page.
    for package in ["shared", "engine", "tracker", "web-peer", "xtask"] {
        command.args(["--package", package]);
    }
    run_marked(&mut command)
}

fn docs() -> Result<()> {
    // Private items are documented too, since people read this to learn; links to them are fine then.
    run_marked(
        cargo()
            .args(["doc", "--no-deps", "--workspace", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"),
    )
}

fn browser_tests() -> Result<()> {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    browser::chromium()?;
    let mut command = cargo();
    command
        .args(["test", "--package", "web-peer", "--target", WASM])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", tools::program("wasm-bindgen-test-runner"))
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60");
    if let Some(driver) = find_on_path("chromedriver") {
        command.env("CHROMEDRIVER", driver);
    }
    // The driver leaves a folder behind for each browser that it had to end: they go with this one. It is not in `target`,
    // since browsers make a socket in it, and a socket's path is short.
    let litter = std::env::temp_dir().join(format!("enxame-{}", mark()));
    fs::create_dir_all(&litter).with_context(|| format!("cannot make {}", litter.display()))?;
    let tested = run_marked(command.env("TMPDIR", &litter));
    // What a browser that is just ending still holds does no harm there.
    let _ = fs::remove_dir_all(&litter);
    tested
}

fn page() -> Result<()> {
    build::page()?;
    build::tracker()
}

fn end_to_end() -> Result<()> {
    build::for_e2e()?;
    build::page()?;
    build::tracker()?;
    // What an earlier run said.
    for old in ["e2e/logs", "e2e/failures"] {
        match fs::remove_dir_all(TARGET.join(old)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {old}"));
            }
            _ => {}
        }
    }
    run_marked(
        cargo().args(["test", "--package", "e2e", "--", "--test-threads=2"]).envs(build::e2e_environment()),
    )
}

fn run_marked(command: &mut Command) -> Result<()> {
    run(command.env(RUN_MARK, mark()))
}

fn mark() -> String {
    std::process::id().to_string()
}

/// Builds and runs the fuzz targets, as `fuzz/README.md` says: neither cargo-fuzz nor a nightly toolchain is needed. The
/// corpus of each target is kept in `fuzz/corpus`.
fn fuzz() -> Result<()> {
    browser::cxx()?;
    let folder = ROOT.join("fuzz");
    let targets = fuzz_targets(&folder.join("fuzz_targets"))?;
    for target in &targets {
        say(format!("fuzz target {target}: {FUZZ_SECONDS} seconds"));
        for kind in ["corpus", "artifacts"] {
            let path = folder.join(kind).join(target);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        run_marked(
            cargo()
                // In that folder, cargo finds the coverage flags in `.cargo/config.toml`; RUSTFLAGS would replace them.
                .current_dir(&folder)
                .env_remove("RUSTFLAGS")
                .args(["run", "--release", "--bin", target, "--"])
                .arg(format!("-max_total_time={FUZZ_SECONDS}"))
                .args(["-rss_limit_mb=2048", "-timeout=5", "-print_final_stats=0", "-verbosity=0"])
                // What crashed it is kept beside the targets, for the next run to replay.
                .arg(format!("-artifact_prefix=artifacts/{target}/"))
                .arg(format!("corpus/{target}"))
                .arg(format!("seeds/{target}")),
        )?;
    }
    Ok(())
}

fn fuzz_targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("there are no fuzz targets in {}", folder.display());
    }
    Ok(names)
}

/// Whatever carries this run's mark and is still there a few seconds later was left behind.
fn leftovers() -> Result<()> {
    let patience = Instant::now();
    loop {
        let left = marked_processes();
        if left.is_empty() {
            return Ok(());
        }
        if patience.elapsed() > Duration::from_secs(5) {
            let names: Vec<String> = left.iter().map(|(pid, name)| format!("{name} ({pid})")).collect();
            for (pid, _) in &left {
                // Already a failure; whether it can still be ended changes nothing.
                let _ = run(command("kill").args(["-9", pid]));
            }
            bail!("still running: {}", names.join(", "));
        }
        sleep(Duration::from_millis(200));
    }
}

/// Process id and command line of everything started by this run's steps. Linux tells; elsewhere nobody is found.
fn marked_processes() -> Vec<(String, String)> {
    let mark = format!("{RUN_MARK}={}", mark());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let name = String::from_utf8_lossy(words.split(|byte| *byte == 0).next()?).into_owned();
            (is_marked && !name.is_empty()).then(|| (entry.file_name().to_string_lossy().into_owned(), name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Choice> {
        Choice::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_words_every_step_runs() {
        let choice = parse(&[]).unwrap();
        assert!(STEPS.iter().all(|step| choice.takes(step.name)));
    }

    #[test]
    fn only_runs_the_steps_it_names() {
        let choice = parse(&["--only", "format", "--only", "e2e"]).unwrap();
        let taken: Vec<&str> = STEPS.iter().map(|step| step.name).filter(|name| choice.takes(name)).collect();
        assert_eq!(taken, ["format", "e2e"]);
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        assert!(parse(&["--only", "everything"]).is_err());
        assert!(parse(&["--only"]).is_err());
        assert!(parse(&["e2e"]).is_err());
    }
}
