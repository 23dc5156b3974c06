//! How Firefox is started for tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fantoccini::wd::Capabilities;
use serde_json::{Value, json};

use crate::{BrowserOptions, tools};

/// What geckodriver says before its port.
pub(crate) const BEFORE_PORT: &str = "Listening on 127.0.0.1:";

/// geckodriver, on free ports, with the browser's profile below this folder.
pub(crate) fn driver(home: &Path) -> Command {
    let mut driver = Command::new(tools::geckodriver());
    driver.args(["--port", "0", "--websocket-port", "0", "--profile-root"]).arg(home);
    driver
}

pub(crate) fn capabilities(downloads: &Path, options: &BrowserOptions) -> Result<Capabilities> {
    let binary = ["firefox", "firefox-esr"].iter().find_map(|name| tools::find_on_path(name));
    let binary =
        binary.context("there is no Firefox: run cargo xtask test, which installs it where it can")?;
    let (width, height) = options.window;
    let settings = json!({
        "moz:firefoxOptions": {
            "binary": binary,
            "args": ["-headless", "-width", width.to_string(), "-height", height.to_string()],
            "prefs": {
                "browser.download.folderList": 2,
                "browser.download.dir": downloads.to_string_lossy(),
                "browser.download.useDownloadDir": true,
                "browser.download.alwaysOpenPanel": false,
                "browser.download.always_ask_before_handling_new_types": false,
                "intl.accept_languages": options.language,
                "media.peerconnection.enabled": options.webrtc,
            },
        },
        "timeouts": { "script": 600_000, "pageLoad": 120_000 },
    });
    match settings {
        Value::Object(capabilities) => Ok(capabilities),
        _ => Ok(Capabilities::new()),
    }
}
