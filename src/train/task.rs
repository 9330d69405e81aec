//! What the training loop asks of an experiment.

use std::ops::Range;

use super::Outcome;
use super::model::ModelFiles;
use super::run::{DataFacts, Run};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Where a task stands in its data.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The next batch.
    pub position: u64,
    /// The carried states that the next batch begins with, by name, on the device.
    pub states: Vec<(String, Tensor)>,
}

/// A part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Part {
    /// The whole batch.
    pub const WHOLE: Part = Part { index: 0, of: 1 };

    /// The rows of a batch of `rows` that are its own. Parts differ by one row at most.
    pub fn rows(self, rows: usize) -> Range<usize> {
        rows * self.index / self.of..rows * (self.index + 1) / self.of
    }
}

/// What is learnt: a model, data in order, the loss on them, and how well the model does on data that are held out.
pub trait Task {
    /// The model.
    fn model(&self) -> &dyn ModelFiles;

    /// What the data are, to be known again.
    fn data(&self) -> DataFacts;

    /// What was read and how it is used, in lines for people.
    fn about(&self) -> &[String] {
        &[]
    }

    /// The rows of the smallest batch: in so many parts a batch can be taken.
    fn rows(&self) -> usize {
        1
    }

    /// Records the mean loss of a part of the next batch, and says which share of the batch the part is. The parts of a
    /// batch are asked for in order.
    ///
    /// # Errors
    /// [`Error::Data`] when the data can no longer be read; [`Error::Gpu`] on a fault.
    fn loss(&mut self, tape: &mut Tape, part: Part) -> Result<(Var, f64)>;

    /// What the model did in the step on the tape. Where a batch is taken in parts, that is the last part.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    fn outcome(&mut self, tape: &Tape) -> Result<Outcome>;

    /// Whether data are held out for [`Task::validate`].
    fn validates(&self) -> bool {
        false
    }

    /// The mean loss on held-out data; `None` where there are none, or `stop` ended it.
    ///
    /// # Errors
    /// As [`Task::loss`].
    fn validate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<f64>> {
        let _ = stop;
        Ok(None)
    }

    /// Where the next batch begins.
    fn place(&self) -> Place;

    /// Goes on from a place.
    ///
    /// # Errors
    /// [`Error::Argument`] when the data have no such place, or its states are not the model's; [`Error::Data`] when the data
    /// can no longer be read.
    fn seek(&mut self, place: &Place) -> Result<()>;

    /// Saves what a run keeps of it beside the model, when training has ended.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be written; [`Error::Gpu`] on a fault.
    fn save(&self, run: &mut Run) -> Result<()> {
        let _ = run;
        Ok(())
    }
}
