//! The page and the tracker as users get them, and the programs that drive both.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::workspace::{ROOT, TARGET, cargo, command, path_with_tools, run, say, tools as tools_folder};
use crate::{browser, tools};

/// What the page is made of.
const PAGE_SOURCES: [&str; 9] = [
    "www",
    "web-peer/src",
    "web-peer/Cargo.toml",
    "engine/src",
    "shared/src",
    "Cargo.toml",
    "Cargo.lock",
    "Trunk.toml",
    ".cargo/config.toml",
];

/// Builds the page into `dist`, unless the one there was made of the same files.
pub(crate) fn page() -> Result<()> {
    tools::for_page()?;
    let stamp = TARGET.join("tools/page.stamp");
    // What is changed while the page is being built is not in it for sure.
    let sources = fingerprint(&PAGE_SOURCES);
    let made_of = |sources: &str| format!("{sources}\n{}\n", fingerprint(&["dist"]));
    if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of(&sources)) {
        return Ok(());
    }
    say("building the page: two or three minutes on two cores the first time");
    run(command(tools::program("trunk"))
        .args(["build", "--release"])
        .env("PATH", path_with_tools()?)
        .env("TRUNK_SKIP_VERSION_CHECK", "true"))?;
    run(cargo().args(["run", "--quiet", "--release", "--package", "press", "--"]).arg(ROOT.join("dist")))?;
    // The page's own files are in it too: `trunk serve` writes its development build to the same place.
    fs::write(&stamp, made_of(&sources)).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Path, size and time of change of every file in these places, as one number.
fn fingerprint(places: &[&str]) -> String {
    let mut files = Vec::new();
    places.iter().for_each(|place| list(&ROOT.join(place), &mut files));
    files.sort();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    format!("{} {:016x}", files.len(), hasher.finish())
}

fn list(path: &Path, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    if let Ok(entries) = fs::read_dir(path) {
        entries.flatten().for_each(|entry| list(&entry.path(), files));
    } else if let Ok(metadata) = fs::metadata(path) {
        files.push((path.to_path_buf(), metadata.len(), metadata.modified().ok()));
    }
}

/// Builds the tracker, with the page inside it.
pub(crate) fn tracker() -> Result<()> {
    say("building the tracker");
    run(cargo().args(["build", "--release", "--package", "tracker"]))
}

fn tracker_program() -> PathBuf {
    TARGET.join("release").join(format!("tracker{}", std::env::consts::EXE_SUFFIX))
}

/// Runs the tracker in the foreground. It prints the page's URL; ctrl-c ends it.
#[cfg(unix)]
pub(crate) fn start_tracker(flags: &[String]) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let mut tracker = command(tracker_program());
    say("starting the tracker: open this in a browser, and in another; ctrl-c ends it");
    // Takes this process's place, so that the terminal's signals reach it alone.
    let error = with_page(&mut tracker).args(flags).exec();
    Err(error).context("cannot start the tracker")
}

/// Runs the tracker in the foreground. It prints the page's URL; ctrl-c ends it.
#[cfg(not(unix))]
pub(crate) fn start_tracker(flags: &[String]) -> Result<ExitCode> {
    say("starting the tracker: open this in a browser, and in another; ctrl-c ends it");
    let status = with_page(&mut command(tracker_program())).args(flags).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As a variable, so that a `--page` among the flags wins.
fn with_page(tracker: &mut Command) -> &mut Command {
    if std::env::var_os("ENXAME_PAGE").is_none() {
        tracker.env("ENXAME_PAGE", ROOT.join("dist"));
    }
    tracker
}

/// Runs one of the programs of `e2e`, and passes on whether it succeeded.
pub(crate) fn run_e2e(program: &str, flags: &[String]) -> Result<ExitCode> {
    run_e2e_with(program, flags, &ROOT.join("dist"))
}

/// The same, with the page of this folder.
pub(crate) fn run_e2e_with(program: &str, flags: &[String], page: &Path) -> Result<ExitCode> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "e2e", "--bin", program, "--"]);
    command.args(flags).envs(e2e_environment()).env("ENXAME_PAGE_DIR", page);
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the engine's large simulations; the curves go to `target/sim`.
pub(crate) fn simulate(words: &[String]) -> Result<ExitCode> {
    run(cargo()
        // A thousand sessions lie in some 460 MiB that are looked into all over: huge pages, where glibc and the system give
        // them, save a fifth of the time.
        .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        .args(["bench", "--quiet", "--package", "engine", "--bench", "sim", "--"])
        .arg(TARGET.join("sim"))
        .args(words))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the tracker under load: see `tracker/benches/load`.
pub(crate) fn load(words: &[String]) -> Result<ExitCode> {
    run(cargo()
        .args(["bench", "--quiet", "--package", "tracker", "--bench", "load", "--"])
        .args(words)
        .env("ENXAME_TOOLS_DIR", tools_folder()))?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that the end-to-end tests and the figures are driven with, or meet.
pub(crate) fn for_e2e() -> Result<()> {
    browser::chromium()?;
    browser::firefox()?;
    browser::node()?;
    browser::redis()?;
    tools::geckodriver()?;
    tools::npm_packages()
}

/// Tells the programs and tests of `e2e` what to drive.
pub(crate) fn e2e_environment() -> [(&'static str, PathBuf); 4] {
    [
        ("ENXAME_TRACKER_BIN", tracker_program()),
        ("ENXAME_PAGE_DIR", ROOT.join("dist")),
        ("ENXAME_OUTPUT_DIR", TARGET.clone()),
        ("ENXAME_TOOLS_DIR", tools_folder()),
    ]
}
