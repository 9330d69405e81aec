//! What the training loop asks of an experiment.

use super::Outcome;
use super::model::ModelFiles;
use super::run::{DataFacts, Run, Tensors};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::tape::{Tape, Var};

/// What is learnt: a model, data in order, the loss on them, and how well it does on data that are held out.
pub trait Task {
    /// The model.
    fn model(&self) -> &dyn ModelFiles;

    /// What the data are, to be known again.
    fn data(&self) -> DataFacts;

    /// What was read and what becomes of it, in lines for people.
    fn about(&self) -> &[String] {
        &[]
    }

    /// Records the loss of the next batch.
    ///
    /// # Errors
    /// [`Error::Data`] when the data can no longer be read; [`Error::Gpu`] on a fault.
    fn loss(&mut self, tape: &mut Tape) -> Result<Var>;

    /// What the step on the tape predicted.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    fn outcome(&mut self, tape: &Tape) -> Result<Outcome>;

    /// Whether data are held out for [`Task::validate`].
    fn validates(&self) -> bool {
        false
    }

    /// The mean loss on held-out data; `None` when `stop` ended it.
    ///
    /// # Errors
    /// As [`Task::loss`].
    fn validate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<f64>> {
        let _ = stop;
        Ok(None)
    }

    /// Where in the data the next batch begins, and the states that it begins with: names, shapes and values.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    fn position(&self) -> Result<(u64, Tensors)>;

    /// Goes on from there.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is no place in the data; [`Error::Gpu`] on a fault.
    fn seek(&mut self, position: u64, states: &Tensors) -> Result<()>;

    /// Saves what a run keeps of it beside the model, when training has ended.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be written; [`Error::Gpu`] on a fault.
    fn save(&self, run: &mut Run) -> Result<()> {
        let _ = run;
        Ok(())
    }
}
