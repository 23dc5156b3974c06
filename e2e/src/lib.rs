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

fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
