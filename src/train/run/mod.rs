//! The folder of a run: settings, metrics, checkpoints and the model.
//!
//! | file | what is in it |
//! |---|---|
//! | `config.toml` | the settings: [`Config`] |
//! | `config.json`, `model.safetensors` | the model: what it is, and its parameters with PyTorch's names |
//! | `metrics.jsonl`, `metrics.csv` | a [`Row`] a step |
//! | `checkpoints/step-N.safetensors` | all that training goes on from after step N |
//! | `forecasts.csv` | for a time series: what the model forecasts for every row |
//! | `plots`, `report.html` | what `bptt plot` and `bptt report` make of it |
//! | `result.json` | how the training ended |
//! | `lock` | held by the process that trains |

mod checkpoint;
mod folder;
mod metrics;
mod record;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::config::{CONFIG, Config, ConfigFile};
use super::forecast::{Forecast, HEAD};
use super::model::{CONFIG as MODEL_CONFIG, WEIGHTS};
use super::weights::to_bytes;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{read_whole, remove_cut_off, sync_folder, unwritable, write_whole};
use crate::parameters::Precision;

pub(in crate::train) use checkpoint::PROGRESS;
pub(crate) use checkpoint::{Checkpoint, MOST_COUNTED, Platform, Progress};
pub use checkpoint::{DataFacts, Tensors};
use checkpoint::{Saved, Unreadable};
pub use folder::newest_text_model;
use folder::{LOCK, check_links, lock, may_take};
pub(in crate::train) use folder::{Made, is_unused};
pub(crate) use metrics::Metrics;
pub use metrics::Row;
pub use record::Record;

/// Where runs go that are given no folder.
const RUNS: &str = "runs";
const CHECKPOINTS: &str = "checkpoints";
const PLOTS: &str = "plots";
const REPORT: &str = "report.html";
const RESULT: &str = "result.json";
/// The file of a time series' forecasts in the folder of a run.
pub const FORECASTS: &str = "forecasts.csv";

/// The folder of a run that is trained. No other process can train in it. A new folder in which nothing was saved is removed
/// again.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
    /// Folders made here, the outermost first, while nothing has been saved.
    made: Vec<PathBuf>,
    /// Another run's files are in the folder: they stay until this one has something to save.
    replaces: bool,
    /// The contents of config.toml, until they are written.
    config: Option<String>,
    pub(crate) metrics: Metrics,
}

impl Run {
    /// The folder `path`, or a new one `runs/<experiment>-<number>`. One that holds a run is taken only with `force`; what
    /// is in it is replaced when something is saved.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is something in it; [`Error::Data`] when that is no run, it cannot be made or written
    /// to, or another process trains in it.
    pub fn create(path: Option<&Path>, experiment: &str, force: bool) -> Result<Run> {
        let (mut number, mut retries) = (0u64, 100);
        loop {
            number += 1;
            let next = || Path::new(RUNS).join(format!("{experiment}-{number}"));
            let folder = path.map_or_else(next, Path::to_owned);
            let mut made = Made(Vec::new());
            let result = made.make(&folder);
            let refuse = |message: String| Err(Error::data(&folder, message));
            match &result {
                // A folder above it may have vanished again: another run's, which failed.
                Err(error) if error.kind() == ErrorKind::NotFound && retries > 0 => {
                    (retries, number) = (retries - 1, number - 1);
                    continue;
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return refuse(format!("cannot be made: {error}"));
                }
                Err(_) if path.is_none() => continue,
                Err(_) => may_take(&folder, force)?,
                Ok(()) => {}
            }
            let lock = lock(&folder)?;
            let metrics = Metrics::new(&folder);
            let made = std::mem::take(&mut made.0);
            let replaces = result.is_err() && !is_unused(&folder);
            return Ok(Run { path: folder, _lock: lock, made, replaces, config: None, metrics });
        }
    }

    /// Checks whether [`Run::create`] would take a folder, before data are read.
    ///
    /// # Errors
    /// As [`Run::create`], where the folder exists.
    pub fn check_free(path: Option<&Path>, force: bool) -> Result<()> {
        match path.filter(|path| path.symlink_metadata().is_ok()) {
            Some(path) => may_take(path, force),
            None => Ok(()),
        }
    }

    /// The folder of a run, to go on with it.
    ///
    /// # Errors
    /// [`Error::Data`] when it is no run, or another process trains in it.
    pub fn open(path: &Path) -> Result<(Run, ConfigFile)> {
        // Read before the lock, so that no lock is made in the folder of something else.
        ConfigFile::of_run(path)?;
        check_links(path)?;
        let lock = lock(path)?;
        // The process that had the lock may have changed them.
        let config = ConfigFile::of_run(path)?;
        let (path, metrics) = (path.to_owned(), Metrics::new(path));
        Ok((Run { path, _lock: lock, made: Vec::new(), replaces: false, config: None, metrics }, config))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the settings. They are written when training begins; where they replace another run's, with the first file that
    /// is saved.
    ///
    /// # Errors
    /// [`Error::Argument`] when a path in them is not UTF-8.
    pub fn set_config(&mut self, config: &Config) -> Result<()> {
        self.config = Some(config.to_toml()?);
        Ok(())
    }

    /// Leaves the settings as they were, because nothing is trained with the new ones, and removes what is left of writes that
    /// were cut off.
    pub(crate) fn keep_config(&mut self) {
        self.config = None;
        self.clean();
    }

    fn clean(&self) {
        for folder in ["", CHECKPOINTS, PLOTS] {
            remove_cut_off(&self.path.join(folder));
        }
    }

    /// The newest checkpoint that is whole, and what is wrong with newer ones.
    ///
    /// # Errors
    /// [`Error::Data`] when there are some, but none is whole, or the newest that is cannot be read.
    pub(crate) fn newest_checkpoint(&self) -> Result<(Option<Saved>, Vec<Error>)> {
        let mut damaged = Vec::new();
        for (_, path) in checkpoints(&self.path)?.into_iter().rev() {
            match Saved::open(&path)? {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(Unreadable::Damaged(why)) => damaged.push(Error::data(path, why)),
                Err(Unreadable::Foreign(why)) => return Err(Error::data(path, why)),
            }
        }
        match damaged.into_iter().next() {
            Some(Error::Data { path, message }) => {
                let settings = self.path.join(CONFIG);
                let message = format!(
                    "{message}; no checkpoint of the run is whole: begin again with bptt train --config {}",
                    settings.display()
                );
                Err(Error::Data { path, message })
            }
            Some(other) => Err(other),
            None => Ok((None, Vec::new())),
        }
    }

    /// Whether it has a checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when its folder cannot be read.
    pub(crate) fn is_saved(&self) -> Result<bool> {
        Ok(!self.replaces && !checkpoints(&self.path)?.is_empty())
    }

    /// Writes a checkpoint, reads it back, and only then removes older ones: the last `keep` stay.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be written; older ones are still there then.
    pub(crate) fn save_checkpoint(&mut self, checkpoint: &Checkpoint, keep: usize) -> Result<()> {
        let folder = self.path.join(CHECKPOINTS);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(unwritable(&folder, &error));
            }
            Err(_) => {}
            Ok(()) => sync_folder(&folder).map_err(|error| unwritable(&folder, &error))?,
        }
        let now = checkpoint.progress.step;
        let path = folder.join(format!("step-{now}.safetensors"));
        let bytes = checkpoint.to_bytes();
        write_whole(&[(&path, &bytes)])?;
        if read_whole(&path, bytes.len() as u64)? != bytes {
            return Err(Error::data(&path, "reads otherwise than it was written: the disk is failing"));
        }
        self.made.clear();
        // There can be later ones only if they are damaged, and training went on from an older one.
        let (older, later): (Vec<_>, _) =
            checkpoints(&self.path)?.into_iter().partition(|(step, _)| *step <= now);
        let dropped = older.len().saturating_sub(keep.max(1));
        for (_, path) in older.iter().take(dropped).chain(&later) {
            remove(path)?;
        }
        // These are of an earlier end, and training has gone on.
        [RESULT, FORECASTS].iter().try_for_each(|name| remove(&self.path.join(name)))
    }

    /// Writes a model, whole or not at all: what `config.json` says of it, and its parameters.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a parameter is; [`Error::Data`] when it cannot be written.
    pub(crate) fn save_model(&mut self, config: &serde_json::Value, parameters: &Tensors) -> Result<()> {
        let weights = to_bytes(parameters, Precision::F32).map_err(smaller_lr)?;
        self.begin()?;
        let [config_file, weights_file] = [MODEL_CONFIG, WEIGHTS].map(|name| self.path.join(name));
        let config = serde_json::to_string_pretty(config).expect("it is a value");
        write_whole(&[(&config_file, config.as_bytes()), (&weights_file, &weights)])?;
        self.made.clear();
        Ok(())
    }

    /// Writes the forecasts of a time series: `forecasts.csv`, the training part's first.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be written.
    pub fn save_forecasts(&mut self, target: &str, forecasts: &[Vec<Forecast>; 2]) -> Result<()> {
        let mut text = format!("# {target}: row from 1, the oldest first\n{HEAD}\n");
        for (part, forecasts) in ["training", "test"].into_iter().zip(forecasts) {
            for Forecast { row, actual, predicted, naive } in forecasts {
                let actual = actual.map(|actual| actual.to_string()).unwrap_or_default();
                text += &format!("{part},{},{actual},{predicted},{naive}\n", row + 1);
            }
        }
        write_whole(&[(&self.path.join(FORECASTS), text.as_bytes())])
    }

    /// An error unless training goes on with the same bits as it would have without a break.
    ///
    /// # Errors
    /// [`Error::Data`] names what is not as it was, or that there is no whole checkpoint.
    pub fn check_exact(&self, device: &Device) -> Result<()> {
        let (newest, _) = self.newest_checkpoint()?;
        let difference = newest.and_then(|newest| newest.progress.platform.difference(&Platform::of(device)));
        match difference {
            Some(difference) => Err(Error::data(
                &self.path,
                format!("cannot go on with the same bits: it was made with {difference}"),
            )),
            None => Ok(()),
        }
    }

    /// Writes how the training ended.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be written.
    pub fn save_result(&mut self, result: &serde_json::Value) -> Result<()> {
        write_whole(&[(&self.path.join(RESULT), format!("{result:#}\n").as_bytes())])
    }

    /// Called before something is saved. The first time it removes what is left of another run and of writes that were cut off,
    /// and writes the settings.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        self.clean();
        if std::mem::take(&mut self.replaces) {
            for (_, path) in checkpoints(&self.path)? {
                remove(&path)?;
            }
            let files =
                [MODEL_CONFIG, WEIGHTS, RESULT, FORECASTS, REPORT, metrics::FILES[0], metrics::FILES[1]];
            files.iter().try_for_each(|name| remove(&self.path.join(name)))?;
            for picture in fs::read_dir(self.path.join(PLOTS)).into_iter().flatten().flatten() {
                remove(&picture.path())?;
            }
        }
        let file = self.path.join(CONFIG);
        write_whole(&[(&file, config.as_bytes())])?;
        self.config = None;
        Ok(())
    }

    /// Whether another run's files are still in the folder: they are replaced once there is something to save.
    pub(crate) fn replaces(&self) -> bool {
        self.replaces
    }

    /// Whether [`Run::begin`] has been called, so that metrics can be written.
    pub(crate) fn has_begun(&self) -> bool {
        self.config.is_none()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.made.is_empty() {
            return;
        }
        for name in [CONFIG, metrics::FILES[0], metrics::FILES[1], LOCK] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(self.path.join(CHECKPOINTS));
        drop(Made(std::mem::take(&mut self.made)));
    }
}

/// The data that a run was trained on, by its newest whole checkpoint.
///
/// # Errors
/// [`Error::Data`] when there are checkpoints that cannot be read.
pub fn trained_on(run: &Path) -> Result<Option<DataFacts>> {
    for (_, path) in checkpoints(run)?.into_iter().rev() {
        if let Ok(saved) = Saved::open(&path)? {
            return Ok(Some(saved.progress.data));
        }
    }
    Ok(None)
}

/// All checkpoints in the folder of a run, the oldest first.
fn checkpoints(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = run.join(CHECKPOINTS);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::data(folder, format!("cannot be read: {error}"))),
        Ok(entries) => entries.flatten().map(|entry| entry.path()),
    };
    let step = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
    };
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|path| Some((step(&path)?, path))).collect();
    found.sort();
    Ok(found)
}

/// Adds to an error of something that is not finite the advice to try a smaller learning rate.
pub(crate) fn smaller_lr(error: Error) -> Error {
    match error {
        Error::NonFinite { what, at } => {
            Error::NonFinite { what, at: at.map(|at| format!("{at}; try a smaller --lr")) }
        }
        other => other,
    }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::data(path, format!("cannot be removed: {error}")))
        }
        _ => Ok(()),
    }
}
