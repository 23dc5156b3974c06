//! The processes of a browser: there are a dozen, some of them orphaned, and all must go. Read from `/proc`; on
//! systems without it only the first process is known.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The environment variable that marks everything a [`Browser`](crate::Browser) starts.
pub(crate) const MARK: &str = "ENXAME_BROWSER";

/// Every live process that carries this mark or descends from one that does.
pub fn family(mark: &str) -> Vec<u32> {
    let variable = format!("{MARK}={mark}");
    let mut family = HashSet::new();
    let mut parents = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent_of(pid) {
            parents.push((pid, parent));
        }
        let marked = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()));
        if marked {
            family.insert(pid);
        }
    }
    // Children whose environment is gone: Chromium overwrites it to name its processes.
    loop {
        let before = family.len();
        for (pid, parent) in &parents {
            if family.contains(parent) {
                family.insert(*pid);
            }
        }
        if family.len() == before {
            return family.into_iter().collect();
        }
    }
}

/// The parent of a process that is not dead already.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces and parentheses of its own.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.next()?.parse().ok() }
}

/// Ends these processes at once.
pub fn kill(pids: &[u32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that is gone already is what we want.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Asks a process to end (SIGTERM).
pub(crate) fn terminate(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no process has the number 0")?;
    kill_process(pid, Signal::TERM).context("cannot ask the process to end")
}

/// Bytes of memory that these processes use, shared pages counted in parts (proportional set size).
pub fn memory(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| proportional_set_size(*pid)).sum()
}

fn proportional_set_size(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
