//! `config.toml`: read and checked, with errors that name the line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, Experiment, overlay, wrong_value};
use crate::error::{Error, Result};
use crate::files::read_whole;
use crate::nearby::instead;

/// The name of the settings in the folder of a run.
pub(crate) const CONFIG: &str = "config.toml";

/// The longest config.toml that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A `config.toml` that has been read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says, completed with the defaults.
    pub config: Config,
}

impl ConfigFile {
    /// That of the run in a folder.
    ///
    /// # Errors
    /// [`Error::Data`] when the folder holds no run; else as [`ConfigFile::read`].
    pub fn of_run(folder: &Path) -> Result<ConfigFile> {
        if !folder.is_dir() {
            let found = if folder.exists() { "is no folder" } else { "no such folder" };
            return Err(Error::data(folder, format!("{found}; name the folder of a run")));
        }
        let file = folder.join(CONFIG);
        if !file.exists() {
            let message = format!("holds no {CONFIG}: it is no run, or one that ended before it began");
            return Err(Error::data(folder, message));
        }
        ConfigFile::read(&file)
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// [`Error::Data`] names file and line where it is no TOML, a key is unknown (with the nearest known one), or a value is
    /// of the wrong type or impossible.
    pub fn read(path: &Path) -> Result<ConfigFile> {
        if path.is_dir() {
            let file = path.join(CONFIG);
            return Err(Error::data(path, format!("is a folder: name the file in it, {}", file.display())));
        }
        let bytes = read_whole(path, MAX_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            Error::data(path, format!("is not UTF-8 text, at offset {}", error.utf8_error().valid_up_to()))
        })?;
        let config = parse(&text).map_err(|(at, message)| {
            let line = at.map(|at| {
                format!("line {}: ", 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count())
            });
            Error::data(path, line.unwrap_or_default() + &message)
        })?;
        Ok(ConfigFile { path: path.to_owned(), config })
    }
}

/// Where in the text something is wrong, and what.
type Wrong = (Option<usize>, String);

fn parse(text: &str) -> Result<Config, Wrong> {
    let wrong = |error: &toml::de::Error| {
        (error.span().map(|span| span.start.min(text.len())), format!("is no TOML: {}", error.message()))
    };
    let spans = DeTable::parse(text).map_err(|error| wrong(&error))?;
    let table: Table = text.parse().map_err(|error| wrong(&error))?;
    let place = |path: &[&str]| place(spans.get_ref(), path);

    // A newer format may have keys that are unknown here, so this comes first.
    if let Some(format) = table.get("format").and_then(Value::as_integer).filter(|format| *format > 1) {
        return Err((
            place(&["format"]),
            format!("format must be 1, got {format}, of a newer version of bptt"),
        ));
    }
    let Some(experiment) = table.get("experiment") else {
        let names = Experiment::ALL.map(Experiment::name).join(", ");
        return Err((None, format!("has no key experiment, which must be one of {names}")));
    };
    let experiment = Experiment::deserialize(experiment.clone())
        .map_err(|error| (place(&["experiment"]), format!("experiment: {}", error.message())))?;
    let mut whole = Table::try_from(Config::defaults(experiment)).expect("defaults are plain values");
    for (key, value) in &table {
        match (value, Config::SECTIONS.iter().find(|(name, _)| name == key)) {
            (Value::Table(section), Some((name, known))) => {
                for key in section.keys() {
                    let at = || place(&[name, key]);
                    if !known.contains(&&**key) {
                        return Err((at(), unknown(key, &format!(" in [{name}]"), known)));
                    }
                    if !experiment.takes(key) {
                        return Err((
                            at(),
                            format!("{key} means nothing to the experiment {}", experiment.name()),
                        ));
                    }
                }
            }
            (_, Some((name, _))) => {
                return Err((place(&[name]), format!("{name} must be a section, [{name}]")));
            }
            (_, None) if TOP.contains(&&**key) => {}
            (_, None) => {
                let sections = Config::SECTIONS.map(|(name, _)| name);
                return Err((place(&[key]), unknown(key, "", &[&TOP[..], &sections[..]].concat())));
            }
        }
    }
    let given = |key: &str| table.get("train").and_then(|train| train.get(key)).is_some();
    if given("steps") && given("epochs") {
        return Err((place(&["train", "epochs"]), "epochs and steps exclude each other".into()));
    }
    overlay(&mut whole, &table);
    let config: Config = whole.try_into().map_err(|error: toml::de::Error| {
        // Its last line names the key, in backquotes.
        let text = error.to_string();
        let path: Vec<&str> =
            text.rsplit('`').nth(1).map(|path| path.split('.').collect()).unwrap_or_default();
        (place(&path), wrong_value(&error))
    })?;
    config.check().map_err(|fault| {
        let at = Config::SECTIONS.iter().find_map(|(section, _)| place(&[section, fault.key]));
        (at.or_else(|| place(&[fault.key])), fault.to_string())
    })?;
    Ok(config)
}

/// The keys outside any section.
const TOP: [&str; 3] = ["format", "experiment", "device"];

fn unknown(key: &str, place: &str, known: &[&str]) -> String {
    format!("unknown key {key:?}{place}; {}", instead(key, known))
}

/// Where the value at a path of keys begins.
fn place(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    match (value.get_ref(), rest) {
        (_, []) => Some(key.span().start),
        (DeValue::Table(table), rest) => place(table, rest),
        _ => None,
    }
}
