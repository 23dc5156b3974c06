//! One tab of a browser, whatever page is in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fantoccini::Locator;
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::wd::WindowHandle;
use serde_json::{Value, json};

use crate::browser::{self, Browser, BrowserOptions, FocusedClient, Kind};

/// One tab. Its browser ends with the last of its tabs.
#[derive(Debug, Clone)]
pub struct Tab {
    browser: Arc<Browser>,
    handle: WindowHandle,
}

impl Tab {
    /// Starts a browser of its own, with an empty tab.
    pub async fn start(options: &BrowserOptions) -> Result<Self> {
        let browser = Arc::new(Browser::start(options).await?);
        let handle = browser.front().await;
        Ok(Self { browser, handle })
    }

    /// Makes one more empty tab in the same browser.
    pub async fn beside(&self) -> Result<Self> {
        // The browser opens none while the tab in front is one that was closed.
        drop(self.focus().await?);
        Ok(Self { browser: Arc::clone(&self.browser), handle: self.browser.new_tab().await? })
    }

    /// The browser it is in.
    pub fn browser(&self) -> &Browser {
        &self.browser
    }

    /// The browser's session, with this tab in front.
    pub(crate) async fn focus(&self) -> Result<FocusedClient<'_>> {
        self.browser.focus(&self.handle).await
    }

    /// Loads a URL.
    pub async fn load(&self, url: &str) -> Result<()> {
        self.focus().await?.goto(url).await.with_context(|| format!("cannot open {url}"))
    }

    /// Closes the tab. The browser stays while it has others.
    pub async fn close(self) -> Result<()> {
        self.focus().await?.close_window().await.context("cannot close the tab")
    }

    /// Runs a script in the page; `return` gives its answer.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        self.focus().await?.execute(script, arguments).await.context("a script fails in the page")
    }

    /// Runs a script that calls its last argument with the answer.
    pub async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        self.focus().await?.execute_async(script, arguments).await.context("a script fails in the page")
    }

    /// Calls an asynchronous function that the page has, and gives its answer.
    pub async fn call(&self, function: &str, arguments: Vec<Value>) -> Result<Value> {
        let script = "
            const [name, given, done] = arguments;
            const called = name.split('.').reduce((at, part) => at[part], window);
            Promise.resolve().then(() => called(...given))
                .then((answer) => done({answer: answer ?? null}), (error) => done({error: String(error)}));";
        let said = self.run_async(script, vec![json!(function), Value::Array(arguments)]).await?;
        match said["error"].as_str() {
            Some(error) => anyhow::bail!("{function} fails in the page: {error}"),
            None => Ok(said["answer"].clone()),
        }
    }

    /// Types into an element, or chooses files in a file input: paths on lines of their own.
    pub async fn send_to(&self, selector: &str, text: &str) -> Result<()> {
        let client = self.focus().await?;
        let input = client.find(Locator::Css(selector)).await.with_context(|| format!("no {selector}"))?;
        input.send_keys(text).await.with_context(|| format!("{selector} does not take what was chosen"))
    }

    /// Presses and releases keys one after the other, as a keyboard does: whatever has the focus takes them. Keys without a
    /// character have one of WebDriver's own (`fantoccini::key::Key`).
    pub async fn type_keys(&self, keys: &str) -> Result<()> {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys.chars() {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.focus().await?.perform_actions(actions).await.context("the keyboard does not work")
    }

    /// Writes what is on the screen to a PNG file.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let png = self.focus().await?.screenshot().await.context("the browser gives no screenshot")?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Sends one command of the Chrome DevTools protocol to this tab. Chromium only.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        browser::devtools(&*self.focus().await?, command, parameters).await
    }

    /// Shows another tab of the same browser, or this one: who is not shown is hidden. Chromium only.
    pub async fn show(&self, shown: &Self) -> Result<()> {
        let handle = String::from(shown.handle.clone());
        // chromedriver's handle is DevTools' name for the tab; older ones put a word before it.
        let target = handle.trim_start_matches("CDwindow-");
        // Said to this tab, and not to the one shown: to turn to this one later would show it.
        self.devtools("Target.activateTarget", json!({ "targetId": target })).await?;
        Ok(())
    }

    /// `visible` or `hidden`, as the page knows it.
    pub async fn visibility(&self) -> Result<String> {
        let state = self.run("return document.visibilityState", vec![]).await?;
        state.as_str().map(str::to_owned).context("the page does not know whether it is visible")
    }

    /// What the page wrote to the console since this was asked last; of Chromium only, nothing of others.
    pub async fn console(&self) -> Result<Vec<String>> {
        if self.browser.kind() != Kind::Chromium {
            return Ok(Vec::new());
        }
        browser::console(&*self.focus().await?).await
    }
}
