//! What is installed for the whole machine: Chromium and its driver, for the browser tests, the end-to-end tests, the
//! demonstration and the figures; Firefox and Node.js, for the end-to-end tests; Redis, for the tests of many trackers; and
//! a C++ compiler, for the fuzz targets.

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace::{command, find_on_path, output_of, run, say};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Installs Chromium and its driver where that can be done: on Debian and its kin, as root.
pub(crate) fn chromium() -> Result<()> {
    let has_browser = BROWSERS.iter().any(|name| find_on_path(name).is_some());
    if has_browser && find_on_path("chromedriver").is_some() {
        return Ok(());
    }
    if !can_install_packages() {
        bail!(
            "the tests drive a real browser: install Chromium (or Chrome) and the chromedriver of the same \
             version, so that both are on the PATH"
        );
    }
    say("installing Chromium and its driver: once, about a minute");
    install_packages(&["chromium", "chromium-driver"])
}

/// Installs Firefox where that can be done. Its driver is one of [`tools`](crate::tools).
pub(crate) fn firefox() -> Result<()> {
    if ["firefox", "firefox-esr"].iter().any(|name| find_on_path(name).is_some()) {
        return Ok(());
    }
    if !can_install_packages() {
        bail!("the end-to-end tests drive Firefox too: install it so that it is on the PATH");
    }
    say("installing Firefox: once, about a minute");
    install_packages(&["firefox-esr"])
}

/// Installs Node.js with npm where that can be done: the end-to-end tests meet programs written for it.
pub(crate) fn node() -> Result<()> {
    if ["node", "npm"].iter().all(|name| find_on_path(name).is_some()) {
        return Ok(());
    }
    if !can_install_packages() {
        bail!(
            "the end-to-end tests meet WebTorrent and bittorrent-tracker: install Node.js (18 or newer) with npm, so \
             that `node` and `npm` are on the PATH"
        );
    }
    say("installing Node.js and npm: once, about a minute");
    install_packages(&["nodejs", "npm"])
}

/// Installs Redis where that can be done: the tests of many trackers start servers of their own. The service that comes with
/// the package is not started.
pub(crate) fn redis() -> Result<()> {
    if find_on_path("redis-server").is_some() {
        return Ok(());
    }
    if !can_install_packages() {
        bail!(
            "the tests of many trackers start Redis: install version 7 or newer, so that `redis-server` is on the PATH"
        );
    }
    say("installing Redis: once, seconds");
    // Under systemd the package starts its service, unless that is masked.
    let has_systemd = Path::new("/run/systemd/system").exists();
    let service = |word: &str| run(command("systemctl").args(["--quiet", word, "redis-server.service"]));
    if has_systemd {
        service("mask")?;
    }
    let installed = install_packages(&["redis-server"]);
    if has_systemd {
        service("unmask")?;
        service("disable")?;
    }
    installed
}

/// Installs a C++ compiler where that can be done; the fuzzing engine is written in C++.
pub(crate) fn cxx() -> Result<()> {
    if ["c++", "g++", "clang++"].iter().any(|name| find_on_path(name).is_some()) {
        return Ok(());
    }
    if !can_install_packages() {
        bail!("the fuzz targets need a C++ compiler: install g++ or clang++");
    }
    say("installing a C++ compiler");
    install_packages(&["g++"])
}

fn can_install_packages() -> bool {
    Path::new("/etc/debian_version").exists()
        && find_on_path("apt-get").is_some()
        && output_of(command("id").arg("-u")).as_deref() == Some("0")
}

fn install_packages(names: &[&str]) -> Result<()> {
    let apt = || {
        let mut command = command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(names))
}
