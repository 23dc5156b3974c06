//! One Chromium, driven through a chromedriver of its own, with a fresh profile on disk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::process;
use crate::samples::Scratch;

/// A browser that has not said that it is there by then is not coming.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const START_ATTEMPTS: u32 = 5;

/// Chromium for tests: no window, no traffic of its own, no sandbox (containers have none to give).
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
];

/// How a browser is started.
#[derive(Debug, Clone)]
pub struct BrowserOptions {
    /// What it says it reads: `en-US`, `pt-BR`.
    pub language: String,
    /// Size of the window in CSS pixels.
    pub window: (u32, u32),
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self { language: "en-US".to_owned(), window: (1280, 900) }
    }
}

/// One Chromium. When it is dropped all of its processes are killed, as if the machine had gone, and its profile is
/// deleted.
#[derive(Debug)]
pub struct Browser {
    client: Mutex<Focused>,
    downloads: PathBuf,
    processes: Processes,
    // Last, since the processes write to it until they are killed.
    _folder: Scratch,
}

/// The session, and the tab that its commands go to.
#[derive(Debug)]
pub(crate) struct Focused {
    client: Client,
    tab: WindowHandle,
}

#[derive(Debug)]
struct Processes {
    driver: Child,
    mark: String,
}

impl Drop for Processes {
    fn drop(&mut self) {
        process::kill(&process::family(&self.mark));
        // The driver is one of them where /proc tells; elsewhere it is the only one we know.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Whoever was being born while the list was made.
        process::kill(&process::family(&self.mark));
    }
}

impl Browser {
    /// Starts one.
    pub async fn start(options: &BrowserOptions) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let folder = Scratch::new()?;
        let downloads = folder.path().join("downloads");
        fs::create_dir_all(&downloads).context("cannot make the folder of downloads")?;

        let (processes, port) = start_driver(&mark, folder.path())?;
        let capabilities = capabilities(folder.path(), &downloads, options);
        let address = format!("http://127.0.0.1:{port}");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(capabilities).connect(&address);
        let client = tokio::time::timeout(START_TIMEOUT, connecting)
            .await
            .context("the browser does not start")?
            .context("the browser does not start")?;
        let tab = client.window().await.context("the browser has no window")?;
        let client = Mutex::new(Focused { client, tab });
        let browser = Self { client, downloads, processes, _folder: folder };
        browser
            .devtools(
                "Browser.setDownloadBehavior",
                json!({ "behavior": "allow", "downloadPath": browser.downloads.to_string_lossy() }),
            )
            .await?;
        Ok(browser)
    }

    /// Where what the page saves lands.
    pub fn downloads(&self) -> &Path {
        &self.downloads
    }

    /// What all of its processes carry; see [`process::family`].
    pub fn mark(&self) -> String {
        self.processes.mark.clone()
    }

    /// Sends one command of the Chrome DevTools protocol to the tab in front.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        let front = self.client.lock().await;
        devtools(&front.client, command, parameters).await
    }

    /// The tab in front.
    pub(crate) async fn front(&self) -> WindowHandle {
        self.client.lock().await.tab.clone()
    }

    /// The session, with this tab in front; nobody else uses it while the guard lives.
    pub(crate) async fn focus(&self, tab: &WindowHandle) -> Result<FocusedClient<'_>> {
        let mut guard = self.client.lock().await;
        if guard.tab != *tab {
            guard.client.switch_to_window(tab.clone()).await.context("the tab is gone")?;
            guard.tab = tab.clone();
        }
        Ok(FocusedClient(guard))
    }
}

/// The session of a browser with one tab in front.
pub(crate) struct FocusedClient<'a>(MutexGuard<'a, Focused>);

impl std::ops::Deref for FocusedClient<'_> {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.0.client
    }
}

/// Sends one command of the Chrome DevTools protocol.
pub(crate) async fn devtools(client: &Client, command: &str, parameters: Value) -> Result<Value> {
    let body = json!({ "cmd": command, "params": parameters });
    let command = Vendor { path: "goog/cdp/execute", body };
    client.issue_cmd(command).await.context("the browser refuses a DevTools command")
}

/// What the page wrote to the console since this was asked last.
pub(crate) async fn console(client: &Client) -> Result<Vec<String>> {
    let command = Vendor { path: "se/log", body: json!({ "type": "browser" }) };
    let entries = client.issue_cmd(command).await.context("the browser does not give its console")?;
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        format!("{:7} {}", text("level"), text("message"))
    };
    Ok(entries.as_array().into_iter().flatten().map(line).collect())
}

/// A command of chromedriver's own, outside the W3C standard.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// Starts chromedriver on a free port. It takes one for IPv4 and wants the same one for IPv6, which another program
/// may have: then it ends, and is started again.
fn start_driver(mark: &str, home: &Path) -> Result<(Processes, u16)> {
    let mut attempts = 0;
    loop {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .env(process::MARK, mark)
            // What the browser leaves outside its profile goes with it too.
            .env("HOME", home)
            .env("TMPDIR", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start chromedriver: run cargo xtask test, which installs it where it can")?;
        let mut processes = Processes { driver, mark: mark.to_owned() };
        attempts += 1;
        match driver_port(&mut processes.driver) {
            Ok(port) => return Ok((processes, port)),
            Err(error) if attempts == START_ATTEMPTS => return Err(error),
            Err(_) => {}
        }
    }
}

/// chromedriver says which port it took.
fn driver_port(driver: &mut Child) -> Result<u16> {
    let stdout = driver.stdout.take().context("chromedriver has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    for line in lines.by_ref() {
        let line = line.context("chromedriver stopped speaking")?;
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            std::thread::spawn(move || lines.for_each(drop));
            return port.trim_end_matches('.').trim().parse().context("chromedriver's port is not a number");
        }
    }
    bail!("chromedriver ended without saying its port");
}

fn capabilities(folder: &Path, downloads: &Path, options: &BrowserOptions) -> Capabilities {
    let (width, height) = options.window;
    let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--user-data-dir={}", folder.join("profile").display()));
    flags.push(format!("--window-size={width},{height}"));
    flags.push(format!("--lang={}", options.language));
    flags.push(format!("--accept-lang={}", options.language));
    let settings = json!({
        "goog:chromeOptions": {
            "args": flags,
            "prefs": {
                "download.default_directory": downloads.to_string_lossy(),
                "download.prompt_for_download": false,
                "profile.default_content_setting_values.automatic_downloads": 1,
                "intl.accept_languages": options.language,
            },
        },
        "goog:loggingPrefs": { "browser": "ALL" },
        "timeouts": { "script": 600_000, "pageLoad": 120_000 },
    });
    match settings {
        Value::Object(capabilities) => capabilities,
        _ => Capabilities::new(),
    }
}
