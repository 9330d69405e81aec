//! The numbers of an optimizer that change in every step and stay on the device: the step count, the bias corrections, the stop.
//! `src/cpu/control.rs` lists them.

use super::LossScale;
use crate::cpu::begin_step::{BEGIN_STEP, BeginStep};
use crate::cpu::control::{self, SCALED_WORDS, WORDS};
use crate::device::{Arg, Device, Host, ReadBack};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tensor::Tensor;

/// What an optimizer knows after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepState {
    /// Steps that changed the parameters. (Counted in f32, the count stays at 2²⁴. Bias corrections are 1 by then.)
    pub steps: u64,
    /// Whether a watched loss or the norm of clipped gradients was not finite, so that no step has been done since; where such
    /// steps are skipped, whether the last one was.
    pub stopped: bool,
    /// Steps that were skipped, since the state was loaded.
    pub skipped: u64,
    /// Whether the last step was left out because the loss scale was too large for its gradient.
    pub overflow: bool,
    /// Steps that were left out because the loss scale was too large, since the state was loaded.
    pub overflowed: u64,
    /// The loss scale of the step to come, where losses are scaled.
    pub loss_scale: Option<f32>,
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
        let loss_scale = words.get(control::SCALE as usize).copied();
        // The gradient has been clipped, but the step not made yet.
        let unbounded = word(control::NONFINITE) != 0.0;
        let bearable = loss_scale.is_some_and(|scale| scale > 1.0);
        Ok(StepState {
            steps: word(control::T) as u64,
            stopped: word(control::STOP) == 1.0 || unbounded && !bearable,
            skipped: word(control::SKIPPED) as u64,
            overflow: word(control::STOP) == control::OVERFLOW as f32 || unbounded && bearable,
            overflowed: word(control::OVERFLOWED) as u64,
            loss_scale,
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
    scale: Option<LossScale>,
}

impl Control {
    pub(super) fn new(device: &Device) -> Result<Control> {
        Ok(Control { words: Tensor::from_f32(device, [WORDS], &[0.0; WORDS])?, scale: None })
    }

    /// One that has made no step yet, with a loss scale.
    pub(super) fn with_scale(device: &Device, scale: LossScale) -> Result<Control> {
        let mut words = [0.0; SCALED_WORDS];
        words[control::SCALE as usize] = scale.init_scale;
        Ok(Control { words: Tensor::from_f32(device, [SCALED_WORDS], &words)?, scale: Some(scale) })
    }

    /// The loss scale, `[1]`, where there is one: it changes from step to step.
    pub fn loss_scale(&self) -> Option<Tensor> {
        let scale =
            || self.words.slice(control::SCALE as usize, [1]).expect("the words with a scale have it");
        self.scale.map(|_| scale())
    }

    pub(super) fn words(&self) -> &Tensor {
        &self.words
    }

    /// Begins a step: counts it, unless the stop flag is set, or is set now because `watch` `[1]` is not finite. With `skip` the
    /// flag holds for this step only.
    pub(super) fn begin_step(&self, betas: [f64; 2], watch: Option<&Tensor>, skip: bool) -> Result<()> {
        // The logarithm of 0 has no place in f32; any number this small gives a correction of 1.
        let [log_beta1, log_beta2] = betas.map(|beta| if beta == 0.0 { -1e30 } else { beta.ln() as f32 });
        let params = BeginStep {
            log_beta1,
            log_beta2,
            watched: watch.is_some().into(),
            skip: skip.into(),
            interval: self.scale.map_or(0, |scale| scale.growth_interval),
            growth: self.scale.map_or(1.0, |scale| scale.growth_factor),
            backoff: self.scale.map_or(1.0, |scale| scale.backoff_factor),
        };
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

    /// Goes on from a state: with so many steps done and, where there is a loss scale, with this scale for the last `good` steps.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub(super) fn set(&self, steps: u64, [scale, good]: [f32; 2]) -> Result<()> {
        let mut words = vec![0.0; self.words.count()];
        words[control::T as usize] = steps as f32;
        words[control::GOOD as usize] = good;
        if let Some(word) = words.get_mut(control::SCALE as usize) {
            *word = scale;
        }
        self.words.assign(Host::F32(&words))
    }

    /// The loss scale and the steps since it last changed. Waits for the device.
    pub(super) fn scale_state(&self) -> Result<Option<[f32; 2]>> {
        if self.scale.is_none() {
            return Ok(None);
        }
        let words = self.words.to_vec()?;
        Ok(Some([control::SCALE, control::GOOD].map(|word| words[word as usize])))
    }
}
