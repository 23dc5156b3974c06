//! Programs of others that run in Node.js: bittorrent-tracker's server.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools;

const TRACKER: &str = include_str!("node/tracker.mjs");

/// A script in Node.js that speaks by lines on its standard output; killed when dropped, and ends by itself when we do.
#[derive(Debug)]
pub struct Script {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    /// Starts one: an ECMAScript module, which can import the npm packages that the tests meet.
    pub fn start(source: &str, arguments: &[&str]) -> Result<Self> {
        let folder = tools::npm_folder();
        if !folder.join("node_modules").is_dir() {
            bail!("the npm packages are not installed: run cargo xtask setup");
        }
        let mut child = Command::new("node")
            .args(["--input-type=module", "--eval", source])
            .args(arguments)
            // Where imports are looked up from.
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start node: run cargo xtask setup, which installs it where it can")?;
        let stdout = child.stdout.take().context("node has no standard output")?;
        Ok(Self { child, lines: BufReader::new(stdout) })
    }

    /// The next line that it says; waits for it.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).context("cannot read what the script says")?;
        if read == 0 {
            bail!("the script ended without saying more");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// bittorrent-tracker's server; ended when dropped.
#[derive(Debug)]
pub struct ForeignTracker {
    script: Option<Script>,
    url: String,
}

impl ForeignTracker {
    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        let mut script = Script::start(TRACKER, &[])?;
        let port: u16 = script.line()?.parse().context("bittorrent-tracker's port is not a number")?;
        Ok(Self { script: Some(script), url: format!("ws://127.0.0.1:{port}") })
    }

    /// `ws://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it, as a crash would.
    pub fn stop(&mut self) {
        self.script = None;
    }
}
