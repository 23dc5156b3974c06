//! The configuration file: TOML whose keys are the long flags without their dashes.
//!
//! There is one definition of every setting, that of the command line. What the file says and neither a flag nor a
//! variable does is read as if it had been a flag, so that all three ways take the same values and complain alike.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Table, Value};

/// Keys that say how to start, and have no meaning in a file.
const NOT_IN_FILES: [&str; 4] = ["config", "check-config", "help", "version"];

/// How alike two words must be for one to be taken for the other misspelt (Jaro-Winkler).
const LIKENESS: f64 = 0.8;

/// Why a configuration file cannot be used: one sentence each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the configuration file {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{path}, line {line}: {problem}")]
    Syntax { path: PathBuf, line: usize, problem: String },
    #[error("{path}: there is no setting `{key}`{hint}; `tracker --help` lists them, without the dashes")]
    Unknown { path: PathBuf, key: String, hint: String },
    #[error("{0}: `{1}` is {2}; it takes a text, a number, true or false, or a list of these")]
    Shape(PathBuf, String, &'static str),
}

/// The flags that the file stands for: those that neither the command line nor the environment decides.
pub(crate) fn flags(path: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>, FileError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| FileError::Unreadable(path.to_owned(), error))?;
    let table: Table = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
    let mut flags = Vec::new();
    for (key, value) in table {
        let argument = command
            .get_arguments()
            .find(|argument| argument.get_long() == Some(&key))
            .filter(|_| !NOT_IN_FILES.contains(&key.as_str()));
        let Some(argument) = argument else { return Err(unknown(path, command, key)) };
        let value = written(&value).map_err(|what| FileError::Shape(path.to_owned(), key.clone(), what))?;
        let source = given.value_source(argument.get_id().as_str());
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            flags.push(format!("--{key}={value}").into());
        }
    }
    Ok(flags)
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
    FileError::Syntax { path: path.to_owned(), line, problem: error.message().replace('\n', ", ") }
}

fn unknown(path: &Path, command: &Command, key: String) -> FileError {
    let near = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|known| !NOT_IN_FILES.contains(known))
        .map(|known| (strsim::jaro_winkler(known, &key), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= LIKENESS);
    let hint = near.map_or(String::new(), |(_, known)| format!(" (did you mean `{known}`?)"));
    FileError::Unknown { path: path.to_owned(), key, hint }
}

/// A value as it would stand behind a flag. Lists have commas between their items; lists of tables are JSON.
fn written(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(yes.to_string()),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
            serde_json::to_string(items).map_err(|_| "a list that cannot be read")
        }
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_table()) => {
            Err("a list of lists")
        }
        Value::Array(items) => Ok(items.iter().map(written).collect::<Result<Vec<_>, _>>()?.join(",")),
        Value::Table(_) => Err("a section"),
        Value::Datetime(_) => Err("a date"),
    }
}
