//! Optimizers, clipping of gradients and learning-rate schedules, with PyTorch's names and formulas.
//!
//! | PyTorch | here |
//! |---|---|
//! | `optim.SGD`, `Adam`, `AdamW`, `RMSprop`, `Adagrad` | [`Sgd`], [`Adam`], [`AdamW`], [`Rmsprop`], [`Adagrad`] |
//! | parameter groups | [`ParamGroup`], `with_groups` of each |
//! | `nn.utils.clip_grad_norm_`, `clip_grad_value_` | [`Optimizer::clip_grad_norm`], [`Optimizer::clip_grad_value`] |
//! | `optim.lr_scheduler` | [`schedule`] |
//! | `amp.GradScaler` | [`LossScale`], [`Optimizer::scale_loss`] |
//! | `state_dict`, `load_state_dict` | [`Optimizer::state`], [`Optimizer::load_state`] |
//!
//! A training step calls, in this order: [`zero_grad`](Optimizer::zero_grad), [`Tape::backward`](crate::tape::Tape::backward),
//! perhaps a clipping, and [`step`](Optimizer::step). None of them waits for the device. All parameters of a model lie in one
//! buffer, and so do their gradients: clipping and a step are a few launches for the whole model.

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
    /// An optimizer of this kind with a learning rate and weight decay, and PyTorch's defaults for its other options.
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

/// What all optimizers can do. Each has a formula of its own in [`Optimizer::update`]; the rest is the same for all.
pub trait Optimizer {
    /// What every optimizer holds.
    fn base(&self) -> &OptimizerBase;

    /// The same, to be changed.
    fn base_mut(&mut self) -> &mut OptimizerBase;

    /// β₁ and β₂, for the bias corrections 1 − βᵗ of Adam; 0 where there are none.
    fn betas(&self) -> [f64; 2] {
        [0.0; 2]
    }

    /// Launches the optimizer's formula for a run of parameters; [`Optimizer::step`] calls it for each.
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

    /// Sets the learning rate of the steps to come. Groups with a learning rate of their own keep its ratio to this one, as with
    /// those schedulers of PyTorch that multiply. (Its schedulers that end at a given rate end there for all groups.) Where the
    /// configuration's learning rate is 0 there is no ratio: groups keep their own.
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

    /// From now on expects gradients of a loss that was multiplied with a scale, [`Optimizer::loss_scale`]. They are divided by it
    /// when they are clipped, or else in [`Optimizer::step`]. To be called before the first step: steps are counted from 0 again.
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

    /// Changes the parameters by their gradients. `watch` `[1]` is a number that must be finite, such as the loss: once it is not,
    /// neither this step nor any later one changes anything. See [`StepState::stopped`].
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

    /// With `on`, a step whose watched number or clipped gradient is not finite is skipped, and the steps after it are made all the
    /// same. [`StepState::skipped`] counts them. Without, such a step is the last.
    fn skip_nonfinite(&mut self, on: bool) {
        self.base_mut().skip_nonfinite = on;
    }

    /// The state of the optimizer, to be saved: each part with PyTorch's name and the parameter's, `exp_avg.rnn.weight_ih_l0` say,
    /// and `step` `[1]`, the number of steps done. Waits for the device.
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

    /// Forgets the gradients, as torch.optim.Optimizer.zero_grad: the next backward pass begins with 0.
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

    /// Multiplies all gradients with min(1, max_norm / (norm + 1e-6)), where norm is the 2-norm over all of them together, as
    /// torch.nn.utils.clip_grad_norm_. Does not wait for the device; [`StepState::grad_norm`] tells the norm before clipping. A
    /// norm that is not finite stops training as a watched loss does. With a loss scale above 1 it only means that the scale was
    /// too large: the step is left out, and the scale becomes smaller.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when `max_norm` is not above 0;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn clip_grad_norm(&self, max_norm: f64) -> Result<()> {
        clip::clip_grad_norm(self.base(), max_norm)
    }
}
