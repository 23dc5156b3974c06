//! What the machine is asked for, and about: cores, file handles, a process's memory and time.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

/// Has this thread, and every thread and process that it starts from now on, run on this core alone. Says whether that was
/// possible: on Linux only.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_core: usize) -> bool {
    false
}

/// The cores that this process might use when it was first asked: a thread that is pinned sees one.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get))
}

/// Raises the limit of open files as far as is allowed; gives what it is now. Processes started from now on have it too.
#[cfg(unix)]
pub(crate) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Not allowed: then it is what it was.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> Option<u64> {
    None
}

/// Bytes of a process's memory that are resident and its own: what is mapped from files is left out.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Time that a process has spent on processors, in its own code and in the system's for it.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (_, after) = stat.rsplit_once(')').context("no name")?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("too short")?.parse()?) };
    // A tick is a hundredth of a second on every Linux that is common.
    Ok(Duration::from_millis(10 * (ticks()? + ticks()?)))
}
