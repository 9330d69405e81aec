//! A run that is only looked at: by `bptt plot` and `bptt report`.

use std::path::Path;

use super::RESULT;
use super::metrics::{self, Row};
use crate::error::{Error, Result};
use crate::files::{json, read_whole};
use crate::train::config::{Config, ConfigFile};

/// The largest result that is read.
const MAX_RESULT: u64 = 64 << 20;

/// What is known of a run, which may be trained meanwhile.
#[derive(Clone, Debug)]
pub struct Record {
    /// The settings.
    pub config: Config,
    /// A row a step.
    pub metrics: Vec<Row>,
    /// How the training ended, if it did.
    pub result: Option<serde_json::Value>,
}

impl Record {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Data`] names the file that is missing or not as it was written.
    pub fn read(path: &Path) -> Result<Record> {
        let ConfigFile { config, .. } = ConfigFile::of_run(path)?;
        let file = path.join(RESULT);
        let result = match file.exists() {
            false => None,
            true => {
                let bad = |error| Error::data(&file, format!("is no result of a run: {error}"));
                Some(json::parse(&read_whole(&file, MAX_RESULT)?).map_err(bad)?)
            }
        };
        Ok(Record { config, metrics: metrics::read(path)?, result })
    }
}
