//! The outcomes of steps, which come to the host some steps late.

use std::collections::VecDeque;

use super::run::Row;
use crate::error::{Error, Fault, Result};
use crate::optim::{Control, MOST_STEPS, StateReadBack, StepState};

/// The outcomes of steps on their way to the host. They are looked at some steps late, so that the host never waits for
/// the step that the device is at.
pub(super) struct LateSteps {
    pub pending: VecDeque<(u64, f64, StateReadBack)>,
}

/// How many steps an outcome may be late.
pub(super) const LATE: usize = 4;

/// Whether a step was done.
pub(super) struct Done {
    steps: u64,
    stopped: bool,
}

impl LateSteps {
    pub fn new() -> Self {
        LateSteps { pending: VecDeque::with_capacity(LATE + 1) }
    }

    /// Records the copy of a step's outcome. Before the step is submitted: then the copy goes with it.
    pub fn push(&mut self, step: u64, lr: f64, control: &Control) -> Result<()> {
        self.pending.push_back((step, lr, control.read_back()?));
        Ok(())
    }

    /// The oldest outcome.
    pub fn next(&mut self) -> Result<(Row, Done)> {
        let (step, lr, state) = self.pending.pop_front().expect("called only while there are some");
        let StepState { steps, stopped, watched: loss, grad_norm } = state.wait()?;
        let row = Row { step, loss, lr, grad_norm: Some(grad_norm), validation_loss: None };
        Ok((row, Done { steps, stopped }))
    }
}

impl Done {
    /// An error unless the step of that row was done.
    pub fn check(&self, row: &Row) -> Result<()> {
        let Row { step, loss, .. } = *row;
        if self.stopped {
            let what = if loss.is_finite() { "the gradient" } else { "the loss" };
            let at = Some(format!("step {step}; try a smaller --lr"));
            return Err(Error::NonFinite { what: what.into(), at });
        }
        // Some drivers report work as done that they have given up.
        if self.steps != step.min(MOST_STEPS) {
            let steps = self.steps;
            let message = format!("step {step} should be done, {steps} steps are");
            return Err(Error::Gpu(Fault::Silent { message }));
        }
        Ok(())
    }
}
