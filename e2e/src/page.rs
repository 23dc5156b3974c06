//! One tab with our page, driven by the automation contract.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use fantoccini::Locator;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{BrowserOptions, Limits, Snapshot, State, Tab, Torrent, output_folder};

/// How often the snapshot is looked at while waiting.
const POLL: Duration = Duration::from_millis(100);
/// Something in the snapshot has to change within this time while a test waits: long for two busy cores, and short
/// enough to be told soon that nothing moves.
const STALL: Duration = Duration::from_secs(90);
/// What is small (the page's start, an element, a sentence) has to come within this time.
const SHORT: Duration = Duration::from_secs(60);

/// One tab with our page in it: what any [`Tab`] can, and what the automation contract says.
#[derive(Debug, Clone)]
pub struct Page {
    tab: Tab,
}

impl std::ops::Deref for Page {
    type Target = Tab;
    fn deref(&self) -> &Tab {
        &self.tab
    }
}

impl Page {
    /// Starts a browser of its own and opens a URL in it.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, &BrowserOptions::default()).await
    }

    /// The same, with options for the browser.
    pub async fn open_with(url: &str, options: &BrowserOptions) -> Result<Self> {
        let page = Self { tab: Tab::start(options).await? };
        page.go_to(url).await?;
        Ok(page)
    }

    /// Opens a URL in one more tab of the same browser.
    pub async fn open_beside(&self, url: &str) -> Result<Self> {
        let page = Self { tab: self.tab.beside().await? };
        page.go_to(url).await?;
        Ok(page)
    }

    /// Opens a URL in this tab and waits until the page is up.
    pub async fn go_to(&self, url: &str) -> Result<()> {
        self.load(url).await?;
        self.wait_until_up().await
    }

    /// Loads the page again, as the user's reload does, and waits until it is up.
    pub async fn reload(&self) -> Result<()> {
        self.focus().await?.refresh().await.context("cannot reload")?;
        self.wait_until_up().await
    }

    /// Closes the tab. The browser stays while it has others.
    pub async fn close(self) -> Result<()> {
        self.tab.close().await
    }

    async fn wait_until_up(&self) -> Result<()> {
        let up = "return Boolean(window.enxame && document.querySelector('[data-testid=add-input]'))";
        let start = Instant::now();
        while self.run(up, vec![]).await? != Value::Bool(true) {
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("the page does not start")).await);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// What `window.enxame.snapshot()` says now, as JSON.
    pub async fn snapshot_json(&self) -> Result<Value> {
        self.run("return window.enxame.snapshot()", vec![]).await
    }

    /// What `window.enxame.snapshot()` says now.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let json = self.snapshot_json().await?;
        serde_json::from_value(json).context("the snapshot is not what the automation contract says")
    }

    /// One torrent now.
    pub async fn torrent(&self, info_hash: &str) -> Result<Torrent> {
        let snapshot = self.snapshot().await?;
        snapshot.torrent(info_hash).cloned().with_context(|| format!("the page has no torrent {info_hash}"))
    }

    /// Chooses files, as the file button does, and waits until each is a torrent that is being seeded. Gives their
    /// info-hashes, in the page's order.
    pub async fn seed(&self, files: &[impl AsRef<Path>]) -> Result<Vec<String>> {
        let before = self.hashes().await?;
        self.choose(files).await?;
        self.wait_for_new(before, files.len(), State::Seeding).await
    }

    /// Chooses a folder, and waits until it is a torrent that is being seeded. Gives its info-hash.
    pub async fn seed_folder(&self, folder: &Path) -> Result<String> {
        let before = self.hashes().await?;
        self.send_to("[data-testid=folder-input]", &folder.to_string_lossy()).await?;
        let hashes = self.wait_for_new(before, 1, State::Seeding).await?;
        hashes.into_iter().next().context("the page says nothing of the folder")
    }

    /// Chooses files, and waits for nothing.
    pub async fn choose(&self, files: &[impl AsRef<Path>]) -> Result<()> {
        let paths: Vec<String> =
            files.iter().map(|file| file.as_ref().to_string_lossy().into_owned()).collect();
        self.send_to("[data-testid=file-input]", &paths.join("\n")).await
    }

    /// Pastes a hash, a magnet or a link, and presses the button.
    pub async fn add(&self, text: &str) -> Result<()> {
        let client = self.focus().await?;
        let input =
            client.find(Locator::Css("[data-testid=add-input]")).await.context("no field to paste into")?;
        input.clear().await.context("the field cannot be cleared")?;
        input.send_keys(text).await.context("the field takes no text")?;
        let button =
            client.find(Locator::Css("[data-testid=add-button]")).await.context("no button to add")?;
        button.click().await.context("the button to add cannot be pressed")
    }

    /// Answers a link that was opened: this torrent is wanted.
    pub async fn accept(&self, info_hash: &str) -> Result<()> {
        let button = format!("[data-testid=invitation][data-info-hash='{info_hash}'] [data-testid=accept]");
        self.wait_for_script("asked", &format!("return Boolean(document.querySelector(`{button}`))")).await?;
        self.run(&format!("document.querySelector(`{button}`).click()"), vec![]).await.map(drop)
    }

    /// Presses a button that belongs to no torrent.
    pub async fn press_on_page(&self, button: &str) -> Result<()> {
        let press = "document.querySelector(`[data-testid=${arguments[0]}]`).click()";
        self.run(press, vec![json!(button)]).await.map(drop)
    }

    /// The same as [`add`](Self::add) for a page whose tab need not be in front: WebDriver's own clicks wait for frames, which a hidden tab does
    /// not get.
    pub async fn add_unseen(&self, info_hash: &str) -> Result<()> {
        let add = "document.querySelector('[data-testid=add-input]').value = arguments[0];
            document.querySelector('[data-testid=add-button]').click()";
        self.run(add, vec![json!(info_hash)]).await.map(drop)
    }

    /// Limits all torrents of the page together, in kB/s; nothing for no limit. Waits until it is in force.
    pub async fn limit(&self, way: &str, limit: Option<u64>) -> Result<()> {
        self.change(&format!("[data-testid=limit-{way}]"), &json!(text_of_limit(limit))).await?;
        let in_force = |snapshot: &Snapshot| of_way(snapshot.limits, way) == limit.map(|limit| limit * 1000);
        self.wait_until("the limit is in force", in_force).await?;
        Ok(())
    }

    /// Limits one torrent, in kB/s; nothing for no limit. Waits until it is in force.
    pub async fn limit_torrent(&self, info_hash: &str, way: &str, limit: Option<u64>) -> Result<()> {
        let field = format!("{} [data-testid=torrent-limit-{way}]", row(info_hash));
        self.change(&field, &json!(text_of_limit(limit))).await?;
        let in_force = |torrent: &Torrent| of_way(torrent.limits, way) == limit.map(|limit| limit * 1000);
        self.wait_for_torrent(info_hash, "the limit is in force", in_force).await?;
        Ok(())
    }

    /// Sets how much a file is wanted, by its place in the list: `skip`, `normal` or `high`. Waits until it is so.
    pub async fn prioritize(&self, info_hash: &str, place: usize, priority: &str) -> Result<()> {
        let nth = format!("li:nth-child({}) [data-testid=file-priority]", place + 1);
        self.change(&format!("{} [data-testid=files] {nth}", row(info_hash)), &json!(priority)).await?;
        let is_so =
            |torrent: &Torrent| torrent.files.get(place).is_some_and(|file| file.priority == priority);
        self.wait_for_torrent(info_hash, &format!("file {place} is {priority}"), is_so).await?;
        Ok(())
    }

    /// Gives a field another value, as the user does by hand; also where it is folded away. A checkbox takes `true` and
    /// `false`.
    pub async fn change(&self, selector: &str, value: &Value) -> Result<()> {
        let script = "const [selector, value] = arguments, field = document.querySelector(selector);
            if (!field) return false;
            if (typeof value === 'boolean') field.checked = value; else field.value = value;
            field.dispatchEvent(new Event('input', {bubbles: true}));
            field.dispatchEvent(new Event('change', {bubbles: true}));
            return true;";
        let start = Instant::now();
        // The snapshot is ahead of what is drawn by a moment.
        while self.run(script, vec![json!(selector), value.clone()]).await? != Value::Bool(true) {
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("there is no {selector}")).await);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn hashes(&self) -> Result<BTreeSet<String>> {
        Ok(self.snapshot().await?.torrents.into_iter().map(|torrent| torrent.info_hash).collect())
    }

    /// Waits until so many torrents that were not there before are in this state.
    async fn wait_for_new(
        &self,
        before: BTreeSet<String>,
        count: usize,
        state: State,
    ) -> Result<Vec<String>> {
        let fresh = |snapshot: &Snapshot| -> Vec<String> {
            let new = snapshot.torrents.iter().filter(|torrent| !before.contains(&torrent.info_hash));
            new.filter(|torrent| torrent.state == state).map(|torrent| torrent.info_hash.clone()).collect()
        };
        let what = format!("{count} new torrents in state {state:?}");
        let snapshot = self.wait_until(&what, |snapshot| fresh(snapshot).len() >= count).await?;
        Ok(fresh(&snapshot))
    }

    /// Waits until a torrent is in this state.
    pub async fn wait_for(&self, info_hash: &str, state: State) -> Result<Torrent> {
        self.wait_for_torrent(info_hash, &format!("{state:?}"), |torrent| torrent.state == state).await
    }

    /// Waits until a torrent is complete.
    pub async fn wait_until_complete(&self, info_hash: &str) -> Result<Torrent> {
        self.wait_for_torrent(info_hash, "complete", Torrent::is_complete).await
    }

    /// Waits until the torrent is as `is_right` wants it; `what` says how in words.
    pub async fn wait_for_torrent(
        &self,
        info_hash: &str,
        what: &str,
        is_right: impl Fn(&Torrent) -> bool,
    ) -> Result<Torrent> {
        let snapshot = self
            .wait_until(&format!("torrent {info_hash}: {what}"), |snapshot| {
                snapshot.torrent(info_hash).is_some_and(&is_right)
            })
            .await?;
        snapshot.torrent(info_hash).cloned().context("the torrent is gone")
    }

    /// Waits until a script gives something that is true, and gives that; `what` says in words what is waited for.
    pub async fn wait_for_script(&self, what: &str, script: &str) -> Result<Value> {
        let start = Instant::now();
        loop {
            let said = self.run(script, vec![]).await?;
            if !matches!(said, Value::Null | Value::Bool(false)) {
                return Ok(said);
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("waited for '{what}'")).await);
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the snapshot is as `is_right` wants it. Fails when nothing in it has changed for a long time.
    pub async fn wait_until(&self, what: &str, is_right: impl Fn(&Snapshot) -> bool) -> Result<Snapshot> {
        let mut last_json = Value::Null;
        let mut last_change = Instant::now();
        loop {
            let json = self.snapshot_json().await?;
            let snapshot: Snapshot = serde_json::from_value(json.clone())
                .context("the snapshot is not what the automation contract says")?;
            if is_right(&snapshot) {
                return Ok(snapshot);
            }
            if moving_parts(&json) != moving_parts(&last_json) {
                last_change = Instant::now();
                last_json = json;
            }
            if last_change.elapsed() > STALL {
                let error = anyhow!("waited for '{what}', and nothing changed for {} s", STALL.as_secs());
                return Err(self.failure(error).await);
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the service worker answers for this page, and gives what the addresses of files begin with.
    pub async fn wait_until_streaming(&self) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(base) = self.snapshot_json().await?["streaming"]["base"].as_str() {
                return Ok(base.to_owned());
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("no file has an address")).await);
            }
            sleep(POLL).await;
        }
    }

    /// Every alert that is shown.
    pub async fn alerts(&self) -> Result<Vec<String>> {
        let script =
            "return [...document.querySelectorAll('[data-testid=alert]')].map(alert => alert.innerText)";
        let texts = self.run(script, vec![]).await?;
        Ok(texts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect())
    }

    /// Waits until an alert is shown, and gives it.
    pub async fn wait_for_alert(&self) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(alert) = self.alerts().await?.into_iter().next() {
                return Ok(as_read(alert.trim()));
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("no alert is shown")).await);
            }
            sleep(POLL).await;
        }
    }

    /// The text of a torrent's row, as the user reads it.
    pub async fn text_of(&self, info_hash: &str) -> Result<String> {
        Ok(as_read(&self.of_row(info_hash, "innerText").await?))
    }

    /// Waits until a torrent's row says this; what is drawn is behind the snapshot by a moment.
    pub async fn wait_for_text(&self, info_hash: &str, text: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let shown = self.text_of(info_hash).await?;
            if shown.contains(text) {
                return Ok(());
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("the page does not say '{text}' but: {shown}")).await);
            }
            sleep(POLL).await;
        }
    }

    /// Presses the button `save` and waits for the file. Gives its path in the folder of downloads.
    pub async fn save(&self, info_hash: &str) -> Result<PathBuf> {
        self.saved_by(self.press(info_hash, "save")).await
    }

    /// Does something that saves a file, and waits for that. Gives its path in the folder of downloads.
    pub async fn saved_by(&self, act: impl Future<Output = Result<()>>) -> Result<PathBuf> {
        let before = complete_files(self.browser().downloads())?;
        act.await?;
        self.wait_for_file(&before).await
    }

    /// Presses the button that saves one file of several, by its place in the list, and waits for the file; also where the
    /// list is folded away. Gives its path in the folder of downloads.
    pub async fn save_file(&self, info_hash: &str, place: usize) -> Result<PathBuf> {
        let before = complete_files(self.browser().downloads())?;
        let nth = format!("li:nth-child({}) [data-testid=save-file]:enabled", place + 1);
        let button = format!("{} [data-testid=files] {nth}", row(info_hash));
        let pressed = self.run(
            "const b = document.querySelector(arguments[0]); b?.click(); return Boolean(b)",
            vec![json!(button)],
        );
        if pressed.await? != Value::Bool(true) {
            return Err(self.failure(anyhow!("file {place} cannot be saved")).await);
        }
        self.wait_for_file(&before).await
    }

    /// Waits for a file that was not there before, and for all of it.
    async fn wait_for_file(&self, before: &BTreeSet<PathBuf>) -> Result<PathBuf> {
        let start = Instant::now();
        let mut last: Option<(PathBuf, u64)> = None;
        loop {
            let folder = self.browser().downloads();
            let new = complete_files(folder)?.into_iter().find(|file| !before.contains(file));
            if let (Some(file), false) = (new, has_partial_files(folder)?) {
                let length = fs::metadata(&file).map_or(0, |metadata| metadata.len());
                // Twice the same length: the name may come before the last bytes.
                if last.as_ref() == Some(&(file.clone(), length)) {
                    return Ok(file);
                }
                last = Some((file, length));
            }
            if start.elapsed() > STALL {
                return Err(self
                    .failure(anyhow!("what was saved does not arrive in {}", folder.display()))
                    .await);
            }
            sleep(POLL).await;
        }
    }

    /// Presses the button `pause`, which stops a torrent and starts it again, and waits until the page shows it.
    pub async fn pause(&self, info_hash: &str) -> Result<()> {
        let before = self.shown_state(info_hash).await?;
        self.press(info_hash, "pause").await?;
        let start = Instant::now();
        while self.shown_state(info_hash).await? == before {
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("the button 'pause' changes nothing")).await);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The state that a torrent's row carries.
    async fn shown_state(&self, info_hash: &str) -> Result<String> {
        self.of_row(info_hash, "dataset.state").await
    }

    /// A property of a torrent's row, once it is drawn.
    async fn of_row(&self, info_hash: &str, property: &str) -> Result<String> {
        let script = format!("return document.querySelector(arguments[0])?.{property}");
        let start = Instant::now();
        loop {
            if let Value::String(text) = self.run(&script, vec![json!(row(info_hash))]).await? {
                return Ok(text);
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("the torrent {info_hash} is not shown")).await);
            }
            sleep(POLL).await;
        }
    }

    /// Presses the button `remove`, and waits until the torrent is gone.
    pub async fn remove(&self, info_hash: &str) -> Result<()> {
        self.press(info_hash, "remove").await?;
        self.wait_until("the torrent is gone", |snapshot| snapshot.torrent(info_hash).is_none()).await?;
        Ok(())
    }

    /// Presses a button of a torrent by its `data-testid`.
    pub async fn press(&self, info_hash: &str, button: &str) -> Result<()> {
        // The snapshot is ahead of what is drawn by a moment: the button may still have to be made or enabled.
        let selector = format!("{} [data-testid={button}]:enabled:not([aria-disabled])", row(info_hash));
        let client = self.focus().await?;
        let found = client
            .wait()
            .at_most(SHORT)
            .for_element(Locator::Css(&selector))
            .await
            .with_context(|| format!("the torrent has no button '{button}' that can be pressed"))?;
        found.click().await.with_context(|| format!("the button '{button}' cannot be pressed"))
    }

    /// Opens the list of a torrent's files, as soon as it is drawn.
    pub async fn unfold_files(&self, info_hash: &str) -> Result<()> {
        self.unfold(info_hash, "files").await
    }

    /// Opens what folds in a torrent's row, by its `data-testid`, as soon as it is drawn.
    pub async fn unfold(&self, info_hash: &str, what: &str) -> Result<()> {
        let start = Instant::now();
        let script = "const fold = document.querySelector(arguments[0]); if (fold) fold.open = true;
            return Boolean(fold)";
        let fold = json!(format!("{} [data-testid={what}]", row(info_hash)));
        while self.run(script, vec![fold.clone()]).await? != Value::Bool(true) {
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("the torrent has no '{what}' that folds")).await);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The transports of a torrent's peers as the page shows them: `direct` or `relay` each.
    pub async fn transports(&self, info_hash: &str) -> Result<Vec<String>> {
        let script = "return [...document.querySelectorAll(arguments[0] + ' [data-testid=peer]')]\
                      .map(peer => peer.dataset.transport)";
        let shown = self.run(script, vec![json!(row(info_hash))]).await?;
        Ok(shown
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect())
    }

    /// Waits until the page shows these transports, and gives them.
    pub async fn wait_for_transports(&self, info_hash: &str, wanted: &[&str]) -> Result<Vec<String>> {
        let start = Instant::now();
        loop {
            let shown = self.transports(info_hash).await?;
            if shown == wanted {
                return Ok(shown);
            }
            if start.elapsed() > SHORT {
                return Err(self.failure(anyhow!("shown is {shown:?} instead of {wanted:?}")).await);
            }
            sleep(POLL).await;
        }
    }

    /// The error with all that helps to understand it: snapshot, alerts, console, and a screenshot on disk.
    pub async fn failure(&self, error: anyhow::Error) -> anyhow::Error {
        let mut report = error.to_string();
        let snapshot = self.snapshot_json().await.unwrap_or(Value::Null);
        let pretty = serde_json::to_string_pretty(&snapshot).unwrap_or_default();
        let _ = write!(report, "\n--- snapshot\n{pretty}");
        let _ = write!(report, "\n--- alerts\n{}", self.alerts().await.unwrap_or_default().join("\n"));
        let _ = write!(report, "\n--- console\n{}", self.console().await.unwrap_or_default().join("\n"));
        let folder = output_folder().join("e2e/failures");
        let millis = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
        let picture = folder.join(format!("{millis}.png"));
        if self.screenshot(&picture).await.is_ok() {
            let _ = write!(report, "\n--- screenshot: {}", picture.display());
        }
        anyhow!(report)
    }
}

/// What a limit's field has.
fn text_of_limit(limit: Option<u64>) -> String {
    limit.map(|limit| limit.to_string()).unwrap_or_default()
}

fn of_way(limits: Limits, way: &str) -> Option<u64> {
    if way == "up" { limits.up } else { limits.down }
}

fn row(info_hash: &str) -> String {
    format!("[data-testid=torrent][data-info-hash=\"{info_hash}\"]")
}

/// The parts of a snapshot that only change when something happens: rates fall to zero by themselves.
fn moving_parts(snapshot: &Value) -> Value {
    let torrents = snapshot["torrents"].as_array().cloned().unwrap_or_default();
    let of_torrent = |torrent: &Value| {
        json!([
            torrent["infoHash"],
            torrent["state"],
            torrent["bytes"],
            torrent["pieces"],
            torrent["waiting"],
            torrent["peers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|peer| json!([peer["id"], peer["transport"]]))
                .collect::<Vec<_>>()
        ])
    };
    json!([snapshot["tracker"], torrents.iter().map(of_torrent).collect::<Vec<_>>()])
}

/// Chromium writes to `name.crdownload` or a hidden file first, Firefox to `name.part`.
fn is_partial(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".crdownload") || name.ends_with(".part") || name.starts_with('.')
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn complete_files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    Ok(files_in(folder)?.into_iter().filter(|file| !is_partial(file)).collect())
}

fn has_partial_files(folder: &Path) -> Result<bool> {
    Ok(files_in(folder)?.iter().any(|file| is_partial(file)))
}

/// A text without the marks that keep a name's direction to itself (U+2066 to U+2069), which nobody sees.
pub fn as_read(text: &str) -> String {
    text.replace(|c| matches!(c, '\u{2066}'..='\u{2069}'), "")
}
