//! One browser, driven through a driver of its own, with a fresh profile on disk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fantoccini::wd::{WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::samples::Scratch;
use crate::{chromium, firefox, process};

/// A browser that has not said that it is there by then is not coming.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const START_ATTEMPTS: u32 = 5;

/// Takes WebRTC out of a page before anything of the page runs, as if the browser had none.
const WITHOUT_WEBRTC: &str = "
    for (const name of Object.getOwnPropertyNames(window))
        if (/^(webkit)?RTC/.test(name)) delete window[name];";

/// Which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Chromium, through chromedriver.
    #[default]
    Chromium,
    /// Firefox, through geckodriver.
    Firefox,
}

/// How a browser is started.
#[derive(Debug, Clone)]
pub struct BrowserOptions {
    /// Which one.
    pub kind: Kind,
    /// What it says it reads: `en-US`, `pt-BR`.
    pub language: String,
    /// Size of the window in CSS pixels.
    pub window: (u32, u32),
    /// Whether it has WebRTC. Firefox is told to have none by its own setting; Chromium has no such setting any more,
    /// so it is taken out of every page.
    pub webrtc: bool,
    /// Scripts that run in every page before anything of the page does. Chromium only.
    pub scripts: Vec<String>,
    /// The folder with its profile, where that shall outlive the browser; else it has a new one. Chromium only.
    pub folder: Option<Arc<Scratch>>,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            language: "en-US".to_owned(),
            window: (1280, 900),
            webrtc: true,
            scripts: Vec::new(),
            folder: None,
        }
    }
}

impl BrowserOptions {
    /// Firefox as it comes.
    pub fn firefox() -> Self {
        Self { kind: Kind::Firefox, ..Self::default() }
    }

    /// The same without WebRTC.
    #[must_use]
    pub fn without_webrtc(self) -> Self {
        Self { webrtc: false, ..self }
    }

    /// The same with its profile in this folder: who starts it again has the browser as it was when it was killed. Chromium only.
    #[must_use]
    pub fn in_folder(self, folder: &Arc<Scratch>) -> Self {
        Self { folder: Some(Arc::clone(folder)), ..self }
    }

    /// The same with one more script that runs in every page before anything of the page does. Chromium only.
    #[must_use]
    pub fn with_script(mut self, script: &str) -> Self {
        self.scripts.push(script.to_owned());
        self
    }
}

/// One browser. When it is dropped all of its processes are killed, as if the machine had gone, and its profile is
/// deleted.
#[derive(Debug)]
pub struct Browser {
    client: Mutex<Focused>,
    options: BrowserOptions,
    downloads: PathBuf,
    processes: Processes,
    // Last, since the processes write to it until they are killed.
    _folder: Arc<Scratch>,
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
        let folder = match &options.folder {
            Some(folder) => Arc::clone(folder),
            None => Arc::new(Scratch::new()?),
        };
        let downloads = folder.path().join("downloads");
        fs::create_dir_all(&downloads).context("cannot make the folder of downloads")?;

        let (processes, port) = start_driver(options.kind, &mark, folder.path())?;
        let capabilities = match options.kind {
            Kind::Chromium => chromium::capabilities(folder.path(), &downloads, options),
            Kind::Firefox => firefox::capabilities(&downloads, options)?,
        };
        let address = format!("http://127.0.0.1:{port}");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(capabilities).connect(&address);
        let client = tokio::time::timeout(START_TIMEOUT, connecting)
            .await
            .context("the browser does not start")?
            .context("the browser does not start")?;
        let tab = client.window().await.context("the browser has no window")?;
        if options.kind == Kind::Chromium {
            let folder = downloads.to_string_lossy();
            let parameters = json!({ "behavior": "allow", "downloadPath": folder });
            devtools(&client, "Browser.setDownloadBehavior", parameters).await?;
        }
        prepare_tab(&client, options).await?;
        let client = Mutex::new(Focused { client, tab });
        Ok(Self { client, options: options.clone(), downloads, processes, _folder: folder })
    }

    /// Which browser it is.
    pub fn kind(&self) -> Kind {
        self.options.kind
    }

    /// Where what the page saves lands.
    pub fn downloads(&self) -> &Path {
        &self.downloads
    }

    /// What all of its processes carry; see [`process::family`].
    pub fn mark(&self) -> String {
        self.processes.mark.clone()
    }

    /// The tab in front.
    pub(crate) async fn front(&self) -> WindowHandle {
        self.client.lock().await.tab.clone()
    }

    /// Makes one more tab.
    pub(crate) async fn new_tab(&self) -> Result<WindowHandle> {
        let mut guard = self.client.lock().await;
        let tab = guard.client.new_window(true).await.context("the browser opens no second tab")?.handle;
        guard.client.switch_to_window(tab.clone()).await.context("the new tab is gone")?;
        guard.tab = tab.clone();
        prepare_tab(&guard.client, &self.options).await?;
        Ok(tab)
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

/// What every new tab needs before its first page.
async fn prepare_tab(client: &Client, options: &BrowserOptions) -> Result<()> {
    if options.kind != Kind::Chromium {
        if !options.scripts.is_empty() {
            bail!("only Chromium runs scripts before a page does");
        }
        return Ok(());
    }
    let without_webrtc = (!options.webrtc).then_some(WITHOUT_WEBRTC);
    for script in options.scripts.iter().map(String::as_str).chain(without_webrtc) {
        devtools(client, "Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await?;
    }
    Ok(())
}

/// Sends one command of the Chrome DevTools protocol. Chromium only.
pub(crate) async fn devtools(client: &Client, command: &str, parameters: Value) -> Result<Value> {
    let body = json!({ "cmd": command, "params": parameters });
    let command = Vendor { path: "goog/cdp/execute", body };
    client.issue_cmd(command).await.context("the browser refuses a DevTools command")
}

/// What the page wrote to the console since this was asked last. Chromium only.
pub(crate) async fn console(client: &Client) -> Result<Vec<String>> {
    let command = Vendor { path: "se/log", body: json!({ "type": "browser" }) };
    let entries = client.issue_cmd(command).await.context("the browser does not give its console")?;
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        format!("{:7} {}", text("level"), text("message"))
    };
    Ok(entries.as_array().into_iter().flatten().map(line).collect())
}

/// A command of the driver's own, outside the W3C standard.
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

/// Starts a driver on a free port. chromedriver takes one for IPv4 and wants the same one for IPv6, which another
/// program may have: then it ends, and is started again.
fn start_driver(kind: Kind, mark: &str, home: &Path) -> Result<(Processes, u16)> {
    let mut attempts = 0;
    loop {
        let mut command = match kind {
            Kind::Chromium => chromium::driver(),
            Kind::Firefox => firefox::driver(home),
        };
        let driver = command
            .env(process::MARK, mark)
            // Where no language is set (a bare container), files whose names are not ASCII would not be found.
            .env("LC_ALL", "C.UTF-8")
            // What the browser leaves outside its profile goes with it too.
            .env("HOME", home)
            .env("TMPDIR", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| cannot_start(&command))?;
        let mut processes = Processes { driver, mark: mark.to_owned() };
        attempts += 1;
        match driver_port(kind, &mut processes.driver) {
            Ok(port) => return Ok((processes, port)),
            Err(error) if attempts == START_ATTEMPTS => return Err(error),
            Err(_) => {}
        }
    }
}

fn cannot_start(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    format!("cannot start {program}: run cargo xtask test, which installs it where it can")
}

/// Both drivers say which port they took.
fn driver_port(kind: Kind, driver: &mut Child) -> Result<u16> {
    let before_port = match kind {
        Kind::Chromium => chromium::BEFORE_PORT,
        Kind::Firefox => firefox::BEFORE_PORT,
    };
    let stdout = driver.stdout.take().context("the driver has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    for line in lines.by_ref() {
        let line = line.context("the driver stopped speaking")?;
        if let Some((_, port)) = line.split_once(before_port) {
            std::thread::spawn(move || lines.for_each(drop));
            return port.trim_end_matches('.').trim().parse().context("the driver's port is not a number");
        }
    }
    bail!("the driver ended without saying its port");
}
