//! Drives the built page in real browsers against the real tracker.
//!
//! In reading order: [`Tracker`] is the tracker's program as users start it; [`Browser`] is one Chromium or Firefox
//! with a profile of its own, started through a driver; [`Tab`] is one tab of it, and [`Page`] one with our page, driven
//! by the automation contract; [`Snapshot`] is what `window.enxame.snapshot()` says; [`WebTorrent`], [`ForeignTracker`]
//! and [`Script`] are programs of others that ours meet; [`SlowLine`] is a slow way to a tracker; [`samples`] makes files and compares them; [`process`] finds,
//! measures and ends the processes of a browser.
//!
//! Used by the end-to-end tests in `tests/` and by the programs in `src/bin/`: the demonstration, the figures and
//! the screenshots.

mod browser;
mod chromium;
mod firefox;
mod node;
mod page;
pub mod process;
#[path = "../../tracker/examples/redis_server/mod.rs"]
pub mod redis_server;
pub mod samples;
mod site;
mod slow_line;
mod snapshot;
mod tab;
mod tools;
mod tracker;
mod webtorrent;

use std::path::PathBuf;

use anyhow::{Result, bail};

pub use browser::{Browser, BrowserOptions, Kind};
pub use node::{ForeignTracker, Script};
pub use page::{Page, as_read};
pub use site::{Site, SiteFile};
pub use slow_line::SlowLine;
pub use snapshot::{
    Banned, Bytes, Limits, Peer, Pieces, Rates, Rtc, Snapshot, State, Torrent, TorrentFile, TorrentTracker,
    TrackerStatus,
};
pub use tab::Tab;
pub use tools::npm_folder;
pub use tracker::{Retired, Tracker};
pub use webtorrent::{WebTorrent, WebTorrentSeed, WebTorrentStatus};

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
