//! The outcomes of steps (loss, norm of the gradient, whether they were done), which come to the host some steps late.

use std::collections::VecDeque;

use super::run::Row;
use super::task::Place;
use crate::error::{Error, Fault, Result};
use crate::optim::{Control, MOST_STEPS, StateReadBack, StepState};
use crate::tape::DropoutStream;

/// The outcomes of steps on their way to the host. They are looked at some steps late, so that the host never waits for
/// the step that the device is at.
pub(super) struct LateSteps {
    pub pending: VecDeque<Late>,
    /// Whether steps are skipped whose loss or gradient is not finite, and how many had been before the first of these steps.
    skip: bool,
    skipped: u64,
    /// How many had been left out before the first of these steps, because the loss scale was too large.
    overflowed: u64,
}

/// How many steps an outcome may be late.
pub(super) const LATE: usize = 4;

/// How many steps in a row may be left out, as their loss or gradient is not finite, before training ends: what the parameters
/// are then makes no step finite any more.
pub const MOST_SKIPPED: u64 = 20;

/// A step whose outcome is on its way.
pub(super) struct Late {
    step: u64,
    lr: f64,
    begin: Begin,
    state: StateReadBack,
}

/// Where a step began, so that it can be made again.
#[derive(Clone)]
pub(super) struct Begin {
    pub place: Place,
    pub dropout: DropoutStream,
}

/// What became of a step.
pub(super) enum Fate {
    Done,
    /// Left out, because its loss or gradient was not finite: where it began, and how many have been so far.
    Skipped(Begin, u64),
    /// Left out, because the loss scale was too large: how many have been so far.
    Overflowed(u64),
    /// Its loss or gradient was not finite, and the device has done nothing since: where it began.
    Stopped(Begin),
}

impl LateSteps {
    pub fn new(skip: bool, [skipped, overflowed]: [u64; 2]) -> Self {
        LateSteps { pending: VecDeque::with_capacity(LATE + 1), skip, skipped, overflowed }
    }

    /// Records the copy of a step's outcome. It is called before the step is submitted, so that the copy goes with it.
    pub fn push(&mut self, step: u64, lr: f64, begin: Begin, control: &Control) -> Result<()> {
        self.pending.push_back(Late { step, lr, begin, state: control.read_back()? });
        Ok(())
    }

    /// The oldest outcome.
    pub fn next(&mut self) -> Result<(Row, Fate)> {
        let Late { step, lr, begin, state } =
            self.pending.pop_front().expect("called only while there are some");
        let StepState { steps, stopped, skipped, overflow, overflowed, loss_scale, watched: loss, grad_norm } =
            state.wait()?;
        // Files hold no infinities: the same row is to come back from a checkpoint.
        let loss = if loss.is_finite() { loss } else { f32::NAN };
        let grad_norm = Some(grad_norm).filter(|norm| norm.is_finite());
        let (skipped, overflowed) = (self.skipped + skipped, self.overflowed + overflowed);
        let counted = loss_scale.map(|_| u32::try_from(overflowed).unwrap_or(u32::MAX));
        let row = Row { step, loss, lr, grad_norm, validation_loss: None, loss_scale, overflowed: counted };
        if stopped && !self.skip {
            return Ok((row, Fate::Stopped(begin)));
        }
        // Some drivers report work as done that they have given up.
        let left_out = skipped + overflowed;
        if steps != step.saturating_sub(left_out).min(MOST_STEPS) {
            let message =
                format!("step {step} should be done, {steps} steps are, and {left_out} were left out");
            return Err(Error::Gpu(Fault::Silent { message }));
        }
        let fate = match (stopped, overflow) {
            (true, _) => Fate::Skipped(begin, skipped),
            (false, true) => Fate::Overflowed(overflowed),
            (false, false) => Fate::Done,
        };
        Ok((row, fate))
    }
}
