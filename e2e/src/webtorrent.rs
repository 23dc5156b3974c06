//! WebTorrent's browser build, unmodified, in a browser of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::site::Site;
use crate::{BrowserOptions, Tab, tools};

const PAGE: &str = include_str!("web/webtorrent.html");
const POLL: Duration = Duration::from_millis(100);
/// Something has to change within this time while a test waits.
const STALL: Duration = Duration::from_secs(90);

/// A WebTorrent client.
#[derive(Debug)]
pub struct WebTorrent {
    tab: Tab,
    _site: Site,
}

/// What it says of one torrent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebTorrentStatus {
    /// Whether every piece is verified.
    pub done: bool,
    /// Share of the bytes that are verified, 0 to 1.
    pub progress: f64,
    /// Bytes received.
    pub downloaded: u64,
    /// Bytes sent.
    pub uploaded: u64,
    /// The peer ids of those that it is linked with, in hexadecimal; none for one that has not said its id yet.
    pub peers: Vec<Option<String>>,
    /// Milliseconds from the start of the download to the first verified piece.
    pub first_piece: Option<f64>,
    /// Milliseconds from the start of the download to the last verified piece.
    pub complete: Option<f64>,
    /// What it warned of.
    pub warnings: Vec<String>,
    /// What it failed with.
    pub errors: Vec<String>,
}

impl WebTorrentStatus {
    /// How many others it is linked with.
    pub fn distinct_peers(&self) -> usize {
        self.peers.iter().flatten().collect::<BTreeSet<_>>().len()
    }
}

/// What it seeds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebTorrentSeed {
    /// Forty hexadecimal digits.
    pub info_hash: String,
    /// With the trackers that were given.
    pub magnet: String,
}

impl WebTorrent {
    /// Starts one in a Chromium of its own.
    pub async fn start() -> Result<Self> {
        let build = tools::npm_folder().join("node_modules/webtorrent/dist/webtorrent.min.js");
        let build = fs::read(&build)
            .with_context(|| format!("there is no {}: run cargo xtask setup", build.display()))?;
        let site = Site::start(vec![
            ("/", "text/html; charset=utf-8", PAGE.into()),
            ("/webtorrent.min.js", "text/javascript", build),
        ])
        .await?;
        let tab = Tab::start(&BrowserOptions::default()).await?;
        tab.load(&site.url("/")).await?;
        if tab.run("return typeof window.wt", vec![]).await? != json!("object") {
            bail!("WebTorrent does not start; the console says\n{}", tab.console().await?.join("\n"));
        }
        Ok(Self { tab, _site: site })
    }

    /// Its tab.
    pub fn tab(&self) -> &Tab {
        &self.tab
    }

    /// Seeds a file.
    pub async fn seed(&self, file: &Path, trackers: &[&str]) -> Result<WebTorrentSeed> {
        self.seed_chosen("#files", file, trackers).await
    }

    /// Seeds a folder.
    pub async fn seed_folder(&self, folder: &Path, trackers: &[&str]) -> Result<WebTorrentSeed> {
        self.seed_chosen("#folder", folder, trackers).await
    }

    async fn seed_chosen(&self, input: &str, path: &Path, trackers: &[&str]) -> Result<WebTorrentSeed> {
        self.tab.send_to(input, &path.to_string_lossy()).await?;
        let seed = self.tab.call("wt.seed", vec![json!(input), json!(trackers)]).await?;
        serde_json::from_value(seed).context("WebTorrent does not say what it seeds")
    }

    /// Starts a download by its magnet. Gives its info-hash.
    pub async fn download(&self, magnet: &str) -> Result<String> {
        let hash = self.tab.call("wt.download", vec![json!(magnet)]).await?;
        hash.as_str().map(str::to_owned).context("WebTorrent does not say what it downloads")
    }

    /// How it stands with a torrent.
    pub async fn status(&self, info_hash: &str) -> Result<WebTorrentStatus> {
        let status = self.tab.call("wt.status", vec![json!(info_hash)]).await?;
        serde_json::from_value(status).context("WebTorrent does not say how it stands")
    }

    /// Waits until a torrent is as `is_right` wants it. Fails when nothing has changed for a long time, and when it
    /// says that something went wrong.
    pub async fn wait_until(
        &self,
        info_hash: &str,
        what: &str,
        is_right: impl Fn(&WebTorrentStatus) -> bool,
    ) -> Result<WebTorrentStatus> {
        let (mut last, mut last_change) = (None, Instant::now());
        loop {
            let status = self.status(info_hash).await?;
            if is_right(&status) {
                return Ok(status);
            }
            let failed = !status.errors.is_empty();
            if last.as_ref() != Some(&status) {
                (last, last_change) = (Some(status), Instant::now());
            }
            if failed || last_change.elapsed() > STALL {
                let console = self.tab.console().await.unwrap_or_default().join("\n");
                bail!("WebTorrent is not '{what}' but {last:#?}\n--- console\n{console}");
            }
            sleep(POLL).await;
        }
    }

    /// Waits until a torrent is complete.
    pub async fn wait_until_complete(&self, info_hash: &str) -> Result<WebTorrentStatus> {
        self.wait_until(info_hash, "complete", |status| status.done).await
    }

    /// Path with `/` and SHA-256 of every file that was downloaded, sorted.
    pub async fn digests(&self, info_hash: &str) -> Result<Vec<(String, String)>> {
        let all: Value = self.tab.call("wt.digests", vec![json!(info_hash)]).await?;
        let mut all: Vec<(String, String)> =
            serde_json::from_value(all).context("WebTorrent gives no digests")?;
        all.sort();
        Ok(all)
    }
}
