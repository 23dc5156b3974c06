//! The log: on standard error, and in a file if one is named.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use clap::ValueEnum;
use tracing_appender::rolling::{RollingFileAppender, Rotation as Period};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// When a new log file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotation {
    /// Never.
    Never,
    /// Each hour.
    Hourly,
    /// Each day.
    Daily,
}

/// What can be chosen about the log.
#[derive(Debug)]
pub(crate) struct LogSettings<'a> {
    pub(crate) level: &'a str,
    pub(crate) format: Format,
    pub(crate) file: Option<&'a Path>,
    pub(crate) rotation: Rotation,
    pub(crate) keep: usize,
}

impl LogSettings<'_> {
    /// What is logged at all.
    pub(crate) fn filter(&self) -> anyhow::Result<EnvFilter> {
        EnvFilter::try_new(self.level).with_context(|| format!("`--log {}` is not a level", self.level))
    }

    /// Begins to log: to standard error, since standard output is for the page's address, and to a file if one is named.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let colour = std::io::stderr().is_terminal();
        let console = layer(self.format, colour, Mutex::new(std::io::stderr()));
        let file = self.file.map(|path| self.open(path)).transpose()?;
        let file = file.map(|file| layer(self.format, false, Mutex::new(file)));
        tracing_subscriber::registry().with(self.filter()?).with(console).with(file).init();
        Ok(())
    }

    fn open(&self, path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
        let problem = || format!("cannot write the log file {}", path.display());
        let period = match self.rotation {
            Rotation::Never => {
                let file = OpenOptions::new().create(true).append(true).open(path).with_context(problem)?;
                return Ok(Box::new(file));
            }
            Rotation::Hourly => Period::HOURLY,
            Rotation::Daily => Period::DAILY,
        };
        let name = path.file_name().and_then(|name| name.to_str()).with_context(problem)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let files =
            RollingFileAppender::builder().rotation(period).filename_prefix(name).max_log_files(self.keep);
        let files =
            files.build(folder.map_or_else(|| PathBuf::from("."), Path::to_owned)).with_context(problem)?;
        Ok(Box::new(files))
    }
}

fn layer<S, W>(format: Format, colour: bool, writer: Mutex<W>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: Write + Send + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    }
}
