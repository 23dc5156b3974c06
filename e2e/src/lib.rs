//! Drives the built page in real browsers against the real tracker.
//!
//! In reading order: [`Tracker`] is the tracker's program as users start it; [`Browser`] is one Chromium with a
//! profile of its own, started through chromedriver; [`Page`] is one tab of it, driven by the automation contract;
//! [`Snapshot`] is what `window.enxame.snapshot()` says; [`samples`] makes files and compares them; [`process`]
//! finds, measures and ends the processes of a browser.
//!
//! Used by the end-to-end tests in `tests/` and by the programs in `src/bin/`: the demonstration, the figures and
//! the screenshots.

mod browser;
mod page;
pub mod process;
pub mod samples;
mod snapshot;
mod tracker;

use std::path::PathBuf;

use anyhow::{Result, bail};

pub use browser::{Browser, BrowserOptions};
pub use page::Page;
pub use snapshot::{Bytes, Peer, Pieces, Rates, Snapshot, State, Torrent, TrackerStatus};
pub use tracker::Tracker;

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// Where temporary files, logs, screenshots and figures go: `ENXAME_OUTPUT_DIR`, else `target` of the workspace.
pub fn output_folder() -> PathBuf {
    std::env::var_os("ENXAME_OUTPUT_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
}

/// The built page: `ENXAME_PAGE_DIR`, else `dist` of the workspace.
pub fn page_folder() -> PathBuf {
    std::env::var_os("ENXAME_PAGE_DIR").map_or_else(|| workspace_root().join("dist"), PathBuf::from)
}

/// Runs a program's work until it ends or ctrl-c is pressed; either way browsers and files are cleaned up.
pub async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
