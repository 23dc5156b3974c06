//! How Chromium is started for tests.

use std::path::Path;
use std::process::Command;

use fantoccini::wd::Capabilities;
use serde_json::{Value, json};

use crate::BrowserOptions;

/// What chromedriver says before its port.
pub(crate) const BEFORE_PORT: &str = "started successfully on port ";

/// No window, no traffic of its own, no sandbox (containers have none to give).
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

/// What chromedriver would add, and must not: with these a hidden tab is no slower than a visible one, which it is for
/// people.
const NOT_THESE: [&str; 3] = [
    "disable-background-timer-throttling",
    "disable-backgrounding-occluded-windows",
    "disable-renderer-backgrounding",
];

/// chromedriver, on a free port.
pub(crate) fn driver() -> Command {
    let mut driver = Command::new("chromedriver");
    driver.arg("--port=0");
    driver
}

pub(crate) fn capabilities(folder: &Path, downloads: &Path, options: &BrowserOptions) -> Capabilities {
    let (width, height) = options.window;
    let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--user-data-dir={}", folder.join("profile").display()));
    flags.push(format!("--window-size={width},{height}"));
    flags.push(format!("--lang={}", options.language));
    flags.push(format!("--accept-lang={}", options.language));
    let settings = json!({
        "goog:chromeOptions": {
            "args": flags,
            "excludeSwitches": NOT_THESE,
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
