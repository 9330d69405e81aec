//! What changes every step on the device: the step count, the bias corrections, the stop flag.

use crate::cpu::begin_step::{BEGIN_STEP, BeginStep};
use crate::cpu::control::{self, WORDS};
use crate::device::{Arg, Device, Host, ReadBack};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tensor::Tensor;

/// What an optimizer knows after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepState {
    /// Steps that changed the parameters. (Counted in f32: it stays at 2²⁴, where bias corrections are 1 long since.)
    pub steps: u64,
    /// Whether a watched loss or the norm of clipped gradients was not finite, so that no step has been done since; where such
    /// steps are skipped, whether the last one was.
    pub stopped: bool,
    /// Steps that were skipped, since the state was loaded.
    pub skipped: u64,
    /// The norm of the gradients that the last clipping found, before clipping.
    pub grad_norm: f32,
    /// The last number that a step watched: the loss.
    pub watched: f32,
}

/// The most steps that [`StepState::steps`] counts.
pub const MOST_STEPS: u64 = 1 << 24;

/// A [`StepState`] on its way to the host.
#[derive(Debug)]
pub struct StateReadBack(ReadBack);

impl StateReadBack {
    /// Waits until it is there.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) when the device fails or does not answer.
    pub fn wait(self) -> Result<StepState> {
        let words = self.0.wait()?.f32();
        let word = |index: u32| words[index as usize];
        Ok(StepState {
            steps: word(control::T) as u64,
            stopped: word(control::STOP) != 0.0 || word(control::NONFINITE) != 0.0,
            skipped: word(control::SKIPPED) as u64,
            grad_norm: word(control::NORM),
            watched: word(control::WATCHED),
        })
    }
}

/// A small buffer that the optimizer's kernels read, so that the host never waits to learn what they need. Once its stop
/// flag is set (a watched loss or the norm of clipped gradients was not finite), steps that are already queued change
/// nothing.
#[derive(Clone, Debug)]
pub struct Control {
    words: Tensor,
}

impl Control {
    pub(super) fn new(device: &Device) -> Result<Control> {
        Ok(Control { words: Tensor::from_f32(device, [WORDS], &[0.0; WORDS])? })
    }

    pub(super) fn words(&self) -> &Tensor {
        &self.words
    }

    /// Begins a step: counts it, unless the flag is set or `watch` `[1]` is not finite. With `skip` the flag is the step's
    /// alone.
    pub(super) fn begin_step(&self, betas: [f64; 2], watch: Option<&Tensor>, skip: bool) -> Result<()> {
        // The logarithm of 0 has no place in f32; any number this small gives a correction of 1.
        let [log_beta1, log_beta2] = betas.map(|beta| if beta == 0.0 { -1e30 } else { beta.ln() as f32 });
        let params = BeginStep { log_beta1, log_beta2, watched: watch.is_some().into(), skip: skip.into() };
        let watch = watch.map_or(Arg::absent(), Tensor::read);
        self.words.device().launch(&Plan::elements(&BEGIN_STEP, 1), &params, &[watch, self.words.update()])
    }

    /// Begins to copy the state to the host, without waiting: as it is after the launches recorded so far.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn read_back(&self) -> Result<StateReadBack> {
        Ok(StateReadBack(self.words.read_back()?))
    }

    /// The state now. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn state(&self) -> Result<StepState> {
        self.read_back()?.wait()
    }

    /// Goes on from a state with so many steps done.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn set_steps(&self, steps: u64) -> Result<()> {
        let mut words = [0.0; WORDS];
        words[control::T as usize] = steps as f32;
        self.words.assign(Host::F32(&words))
    }
}
