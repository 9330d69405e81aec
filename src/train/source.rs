//! The data that a task is made from, read once.

use std::sync::Arc;

use super::config::{Config, Experiment};
use super::sentence::SentenceTask;
use super::task::Task;
use super::text::TextTask;
use super::timeseries::{SeriesTask, table};
use crate::data::csv::Table;
use crate::data::text::{LONGSEQ, Text};
use crate::device::Device;
use crate::error::Result;

/// The data of an experiment. Tasks can be made of them on any device without reading them again.
#[derive(Clone, Debug)]
pub enum Source {
    /// A sentence: it is part of the program.
    Sentence,
    /// A text.
    Text(Text),
    /// A table.
    Table(Arc<Table>),
}

impl Source {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) names file and place of what is wrong;
    /// [`Error::Argument`](crate::error::Error::Argument) when the settings do not fit the synthetic series.
    pub fn read(config: &Config) -> Result<Source> {
        Ok(match config.experiment {
            Experiment::Text => Source::Text(match &config.data.file {
                Some(path) => Text::open(path, config.data.tokens)?,
                None => Text::from_text(LONGSEQ, config.data.tokens),
            }),
            Experiment::Timeseries => Source::Table(Arc::new(table(&config.data)?)),
            Experiment::Hihello | Experiment::Charseq | Experiment::Longseq => Source::Sentence,
        })
    }

    /// The task on a device. What the settings leave open is filled in.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the settings do not fit the data or make no model;
    /// [`Error::Data`](crate::error::Error::Data) when the data can no longer be read;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn task(&self, device: &Device, config: &mut Config) -> Result<Box<dyn Task>> {
        Ok(match self {
            Source::Sentence => Box::new(SentenceTask::new(device, config)?),
            Source::Text(text) => Box::new(TextTask::new(device, config, text)?),
            Source::Table(table) => Box::new(SeriesTask::of_table(device, config, table.clone())?),
        })
    }
}
