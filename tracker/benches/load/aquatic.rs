//! aquatic's own load test (`aquatic_ws_load_test` of crates.io) over TLS: what somebody else's clients make of both trackers.
//!
//! Each of its clients sends a message and waits for one, by turns: an announce with ten offers, or the answer to an offer. It
//! counts the messages that come to all clients, in spans of five seconds, from when all are connected.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::machine;
use crate::servers::{Running, Server, tools};

/// Seconds of one measurement: two of its spans.
const SECONDS: u32 = 10;

/// Milliseconds from one connection to the next.
const OPENING: u32 = 5;

/// What one server made of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Messages that came to the clients, each second.
    pub(crate) rate: f64,
    /// The same, for each second of the server's time on the processor.
    pub(crate) rate_per_core: f64,
    /// Part of a core that the server had.
    pub(crate) core: f64,
}

/// Puts so many of its clients to one server.
pub(crate) fn measure(server: &Server, clients: usize) -> Result<Figures> {
    let folder = TempDir::new()?;
    let config = folder.path().join("load-test.toml");
    let text = format!(
        "server_address = \"{}\"\nnum_workers = 1\nnum_connections_per_worker = {clients}\n\
         connection_creation_interval_ms = {OPENING}\nduration = {SECONDS}\n",
        server.address
    );
    fs::write(&config, text)?;
    let mut command = Command::new(tools()?.join("bin/aquatic_ws_load_test"));
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn().context("cannot start aquatic_ws_load_test")?);
    let lines = BufReader::new(child.0.stdout.take().context("no standard output")?).lines();
    let mut spent_before = None;
    for line in lines {
        let line = line?;
        if line.starts_with("Max connections reached") {
            spent_before = Some(machine::processor_time(server.process())?);
        } else if let Some((_, errors)) = line.split_once("Error responses:") {
            ensure!(errors.trim().parse::<f64>()? == 0.0, "the tracker refuses some: {errors} a second");
        } else if let Some((_, connections)) = line.split_once("Active connections:") {
            // It may open a few more: it counts a connection when it is made, not when it is begun.
            let all = connections.trim().parse::<usize>()? >= clients;
            ensure!(all || spent_before.is_none(), "of {clients} connections {connections} are left");
        } else if let Some((_, rate)) = line.split_once("Average responses per second:") {
            let spent = machine::processor_time(server.process())?;
            let spent = spent.saturating_sub(spent_before.context("it never had all connections")?);
            let (rate, spent) = (rate.trim().parse::<f64>()?, spent.as_secs_f64());
            let seconds = f64::from(SECONDS);
            return Ok(Figures { rate, rate_per_core: rate * seconds / spent, core: spent / seconds });
        }
    }
    bail!("aquatic_ws_load_test ended without a report")
}
