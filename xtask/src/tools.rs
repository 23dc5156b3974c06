//! What the page's build and the end-to-end tests need, installed under `target/tools`; each is skipped when the right
//! version is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{ROOT, cargo, command, find_on_path, output_of, run, say, tools};

/// The newest that builds with the project's lowest Rust version.
const TRUNK: &str = "0.21.14";
/// The npm package that brings wasm-opt. `Trunk.toml` names the same version.
const BINARYEN: &str = "132";
/// Drives Firefox; Debian has none in its packages.
const GECKODRIVER: &str = "0.37.1";
/// Another tracker for WebTorrent, in Rust.
const AQUATIC: &str = "0.9.0";
/// What the page is compiled for.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Where a program that is installed here is.
pub(crate) fn program(name: &str) -> PathBuf {
    tools().join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Everything that `trunk build --release` needs.
pub(crate) fn for_page() -> Result<()> {
    wasm_target()?;
    wasm_bindgen()?;
    trunk()?;
    wasm_opt()
}

/// The wasm32 standard library, through rustup where that is what manages the toolchain.
pub(crate) fn wasm_target() -> Result<()> {
    let sysroot = output_of(command("rustc").args(["--print", "sysroot"])).context("rustc does not run")?;
    if Path::new(&sysroot).join("lib/rustlib").join(WASM).join("lib").is_dir() {
        return Ok(());
    }
    if find_on_path("rustup").is_none() {
        bail!(
            "Rust's {WASM} target is missing, and there is no rustup to add it: install it with your toolchain"
        );
    }
    say(format!("adding Rust's {WASM} target"));
    run(command("rustup").args(["target", "add", WASM]))
}

/// `cargo fmt` and `cargo clippy`.
pub(crate) fn components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if output_of(cargo().args([subcommand, "--version"])).is_some() {
            continue;
        }
        if find_on_path("rustup").is_none() {
            bail!("{component} is missing, and there is no rustup to add it: install it with your toolchain");
        }
        say(format!("adding {component}"));
        run(command("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

/// wasm-bindgen and its test runner, of the version that the code is linked with.
pub(crate) fn wasm_bindgen() -> Result<()> {
    // These read and rewrite whole modules: without any optimisation each build of the page would take longer.
    let hot = ["walrus", "wasmparser", "wasm-encoder", "wasm-bindgen-cli-support", "hashbrown", "gimli"];
    let flags = hot.map(|package| format!("--config=profile.release.package.{package}.opt-level=1"));
    install("wasm-bindgen-cli", "wasm-bindgen", &wasm_bindgen_version()?, &flags)
}

/// Trunk without TLS: it downloads nothing, since all of its helpers are installed here.
pub(crate) fn trunk() -> Result<()> {
    install("trunk", "trunk", TRUNK, &["--no-default-features".to_owned()])
}

/// geckodriver, unless there is one already.
pub(crate) fn geckodriver() -> Result<()> {
    if find_on_path("geckodriver").is_some() {
        return Ok(());
    }
    install("geckodriver", "geckodriver", GECKODRIVER, &[])
}

/// aquatic_ws, the tracker beside which ours is measured, and its load test, by which both are; built to be fast, unlike our tools.
pub(crate) fn aquatic() -> Result<()> {
    let build = tools().join("build-aquatic");
    let programs: [(&str, &[&str]); 2] =
        [("aquatic_ws", &["--no-default-features", "--features", "mimalloc"]), ("aquatic_ws_load_test", &[])];
    for (name, features) in programs {
        if installed_version(&program(name)).as_deref() == Some(AQUATIC) {
            continue;
        }
        say(format!("installing {name} {AQUATIC} under target/tools: once, some ten minutes on two cores"));
        run(cargo()
            .args(["install", "--locked", "--force", "--root"])
            .arg(tools())
            .args([name, "--version", AQUATIC])
            .args(features)
            .env("CARGO_TARGET_DIR", &build))?;
    }
    if build.exists() {
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    }
    Ok(())
}

/// The npm packages of the end-to-end tests: WebTorrent for browsers and bittorrent-tracker for Node, which they meet, and axe-core,
/// which looks for what keeps people out of the page. Their
/// versions, and those of all that they need, are in `e2e/npm`.
pub(crate) fn npm_packages() -> Result<()> {
    let (from, to) = (ROOT.join("e2e/npm"), tools().join("npm"));
    let files = ["package.json", "package-lock.json"];
    let same = |name: &str| fs::read(from.join(name)).ok() == fs::read(to.join(name)).ok();
    // npm writes this one last.
    if files.iter().all(|name| same(name)) && to.join("node_modules/.package-lock.json").is_file() {
        return Ok(());
    }
    say("installing WebTorrent, bittorrent-tracker and axe-core under target/tools: seconds");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for name in files {
        fs::copy(from.join(name), to.join(name)).with_context(|| format!("cannot copy e2e/npm/{name}"))?;
    }
    // Without scripts: some would download programs that nothing here runs.
    run(npm().arg("ci").arg("--prefix").arg(&to))
}

fn npm() -> Command {
    let mut npm = command("npm");
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm
}

/// The wasm-bindgen version of `Cargo.lock`, so that library and tool cannot drift apart.
fn wasm_bindgen_version() -> Result<String> {
    let lock = fs::read_to_string(ROOT.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    locked_version(&lock, "wasm-bindgen").context("Cargo.lock names no wasm-bindgen")
}

/// The version of a package in the text of a `Cargo.lock`.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let after_name = lock.split_once(&format!("name = \"{package}\"\n"))?.1;
    let version = after_name.strip_prefix("version = \"")?;
    Some(version.split_once('"')?.0.to_owned())
}

/// Installs a crate's programs with a profile that builds fast, since they run for seconds only.
fn install(package: &str, name: &str, version: &str, flags: &[String]) -> Result<()> {
    if installed_version(&program(name)).as_deref() == Some(version) {
        return Ok(());
    }
    say(format!(
        "installing {package} {version} under target/tools: once, two or three minutes on two cores"
    ));
    let build = tools().join("build");
    run(cargo()
        .args(["install", "--locked", "--force", "--root"])
        .arg(tools())
        .args([package, "--version", version])
        .args(flags)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"))?;
    // Hundreds of megabytes that nothing will ask for again.
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// The last word of the first line of `--version`.
fn installed_version(program: &Path) -> Option<String> {
    let line = output_of(Command::new(program).arg("--version"))?;
    line.lines().next()?.split_whitespace().last().map(str::to_owned)
}

/// wasm-opt from npm; a machine without it gets a page that works and is larger.
fn wasm_opt() -> Result<()> {
    let node = tools().join("node");
    let program = node.join("node_modules/.bin/wasm-opt");
    let stand_in = tools().join("bin/wasm-opt");
    let wanted = format!("wasm-opt version {BINARYEN}");
    let is_there = |program: &PathBuf| {
        output_of(Command::new(program).arg("--version")).is_some_and(|said| said.starts_with(&wanted))
    };
    if is_there(&program) {
        return remove_if_there(&stand_in);
    }
    if find_on_path("npm").is_some() {
        say(format!("installing wasm-opt {BINARYEN} under target/tools: seconds"));
        fs::create_dir_all(&node).with_context(|| format!("cannot make {}", node.display()))?;
        let installed =
            run(npm().args(["install", "--prefix"]).arg(&node).arg(format!("binaryen@{BINARYEN}.0.0")));
        match installed {
            Ok(()) if is_there(&program) => return remove_if_there(&stand_in),
            Ok(()) => say("wasm-opt was installed but does not run: the page will work, and be larger"),
            Err(error) => say(format!("{error:#}: the page will work, and be larger")),
        }
    } else if !is_there(&stand_in) {
        say("there is no npm to install wasm-opt with: the page will work, and be larger");
    }
    if is_there(&stand_in) { Ok(()) } else { write_stand_in(&stand_in, &wanted) }
}

fn remove_if_there(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// Trunk has no switch to leave wasm-opt out of a release build: this one copies its input to `--output=`.
#[cfg(unix)]
fn write_stand_in(file: &Path, version: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = format!(
        "#!/bin/sh\n\
         # Stands in for wasm-opt on a machine without npm: optimises nothing.\n\
         for word in \"$@\"; do\n\
         \tcase \"$word\" in\n\
         \t\t--version) echo '{version} (stand-in)'; exit 0 ;;\n\
         \t\t--output=*) to=${{word#--output=}} ;;\n\
         \t\t-*) ;;\n\
         \t\t*) from=$word ;;\n\
         \tesac\n\
         done\n\
         exec cp \"$from\" \"$to\"\n"
    );
    fs::write(file, script)
        .and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(not(unix))]
fn write_stand_in(_file: &Path, _version: &str) -> Result<()> {
    bail!("wasm-opt is needed to build the page: install Node.js, which brings npm, and try again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_that_of_the_package_of_exactly_this_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.129\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.129"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }

    #[test]
    fn trunk_is_told_the_versions_that_are_installed() {
        let configuration = fs::read_to_string(ROOT.join("Trunk.toml")).unwrap();
        assert!(configuration.contains(&format!("wasm_opt = \"version_{BINARYEN}\"")));
        let version = wasm_bindgen_version().unwrap();
        assert!(configuration.contains(&format!("wasm_bindgen = \"{version}\"")));
    }
}
