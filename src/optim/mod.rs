//! Optimizers and clipping: kernels over the whole model at once.

mod adagrad;
mod adam;
mod base;
mod clip;
mod control;
mod loss_scale;
mod rmsprop;
pub mod schedule;
mod sgd;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::parameters::Parameters;
use crate::tensor::{Shape, Tensor};

pub use adagrad::{Adagrad, AdagradConfig};
pub use adam::{Adam, AdamConfig, AdamW, AdamWConfig};
pub use base::{OptimizerBase, ParamGroup, Run};
pub use control::{Control, MOST_STEPS, StateReadBack, StepState};
pub use loss_scale::LossScale;
pub use rmsprop::{Rmsprop, RmspropConfig};
pub use schedule::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
pub use sgd::{Sgd, SgdConfig};

/// The kinds of optimizers, by their names on the command line and in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// [`Adam`].
    Adam,
    /// [`AdamW`].
    Adamw,
    /// [`Sgd`], without momentum.
    Sgd,
    /// [`Rmsprop`].
    Rmsprop,
    /// [`Adagrad`].
    Adagrad,
}

impl OptimizerKind {
    /// An optimizer with PyTorch's defaults in all else.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when a number is below 0 or not finite;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn build(self, parameters: &Parameters, lr: f64, weight_decay: f64) -> Result<Box<dyn Optimizer>> {
        Ok(match self {
            OptimizerKind::Adam => {
                Box::new(Adam::new(parameters, AdamConfig { lr, weight_decay, ..AdamConfig::default() })?)
            }
            OptimizerKind::Adamw => {
                Box::new(AdamW::new(parameters, AdamWConfig { lr, weight_decay, ..AdamWConfig::default() })?)
            }
            OptimizerKind::Sgd => {
                Box::new(Sgd::new(parameters, SgdConfig { lr, weight_decay, ..SgdConfig::default() })?)
            }
            OptimizerKind::Rmsprop => Box::new(Rmsprop::new(
                parameters,
                RmspropConfig { lr, weight_decay, ..RmspropConfig::default() },
            )?),
            OptimizerKind::Adagrad => Box::new(Adagrad::new(
                parameters,
                AdagradConfig { lr, weight_decay, ..AdagradConfig::default() },
            )?),
        })
    }
}

/// What all optimizers do. Each gives its formula for a run of parameters; the rest is the same for all.
pub trait Optimizer {
    /// What every optimizer holds.
    fn base(&self) -> &OptimizerBase;

    /// The same, to be changed.
    fn base_mut(&mut self) -> &mut OptimizerBase;

    /// The decays that bias corrections follow from; 0 for none.
    fn betas(&self) -> [f64; 2] {
        [0.0; 2]
    }

    /// Changes the parameters of a run.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn update(&self, run: &Run) -> Result<()>;

    /// The parameters that it changes.
    fn parameters(&self) -> &Parameters {
        &self.base().parameters
    }

    /// Step count, stop flag and gradient norm.
    fn control(&self) -> &Control {
        &self.base().control
    }

    /// The learning rate of the steps to come. Groups that have one of their own keep its ratio to this one, which is what
    /// PyTorch's schedulers that multiply do. (Those that lead to a given rate lead all groups of PyTorch to the same.) Where
    /// the configuration's rate is 0 there is no ratio, and they keep their own.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when it is below 0 or not finite.
    fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.base_mut().set_lr(lr)
    }

    /// The learning rate of the next step.
    fn lr(&self) -> f64 {
        self.base().lr()
    }

    /// From now on expects gradients of a loss that was multiplied with a scale, [`Optimizer::loss_scale`]: they are divided
    /// by it when they are clipped, else when the parameters are changed. What was learnt is kept, but the steps done are
    /// counted anew: to be called before the first.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when a number is out of its range;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn scale_loss(&mut self, scale: LossScale) -> Result<()> {
        self.base_mut().scale_loss(scale)
    }

    /// The loss scale `[1]` of the step to come, for [`Tape::set_loss_scale`](crate::tape::Tape::set_loss_scale); none where
    /// losses are not scaled.
    fn loss_scale(&self) -> Option<Tensor> {
        self.control().loss_scale()
    }

    /// Changes the parameters by their gradients. With `watch` `[1]`, a loss say, neither this step nor any later one
    /// changes anything once it is not finite: see [`StepState::stopped`].
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn step(&mut self, watch: Option<&Tensor>) -> Result<()> {
        let base = self.base();
        base.unscale()?;
        base.parameters.begin_gradients();
        base.control.begin_step(self.betas(), watch, base.skip_nonfinite)?;
        base.runs().iter().try_for_each(|run| self.update(run))
    }

    /// From now on a step whose watched number, or whose clipped gradient, is not finite is skipped, and those behind it are
    /// done: [`StepState::skipped`] counts them.
    fn skip_nonfinite(&mut self, on: bool) {
        self.base_mut().skip_nonfinite = on;
    }

    /// All that the optimizer has learnt, to be saved: with PyTorch's names, `exp_avg.rnn.weight_ih_l0` say, and `step`
    /// `[1]`, the steps done. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn state(&self) -> Result<Vec<(String, Shape, Vec<f32>)>> {
        self.base().state()
    }

    /// Goes on from a state that [`Optimizer::state`] gave; the stop flag is cleared.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) names every entry that is missing, unknown or of another shape,
    /// and nothing is changed; [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn load_state(&mut self, state: &[(String, Shape, Vec<f32>)]) -> Result<()> {
        self.base().load_state(state)
    }

    /// Forgets the gradients: the next backward pass begins anew.
    fn zero_grad(&self) {
        self.parameters().zero_grad();
    }

    /// Limits every element of the gradients to ±`clip_value`, as torch.nn.utils.clip_grad_value_.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when `clip_value` is not above 0;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn clip_grad_value(&self, clip_value: f64) -> Result<()> {
        clip::clip_grad_value(self.base(), clip_value)
    }

    /// Scales all gradients by min(1, max_norm / (norm + 1e-6)), where norm is the 2-norm over all of them together, as
    /// torch.nn.utils.clip_grad_norm_. Nothing waits for the host; [`StepState::grad_norm`] tells the norm before clipping.
    /// A norm that is not finite sets the stop flag; with a loss scale above 1 the step is left out, and the scale becomes
    /// smaller.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when `max_norm` is not above 0;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn clip_grad_norm(&self, max_norm: f64) -> Result<()> {
        clip::clip_grad_norm(self.base(), max_norm)
    }
}
