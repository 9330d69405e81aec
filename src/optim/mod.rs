//! Optimizers and clipping: kernels over the whole model at once.

mod adam;
mod clip;
mod control;
pub mod schedule;
mod sgd;

use crate::error::Result;
use crate::parameters::Parameters;
use crate::tensor::Tensor;

pub use adam::{Adam, AdamConfig};
pub use control::{Control, MOST_STEPS, StateReadBack, StepState};
pub use sgd::{Sgd, SgdConfig};

/// What all optimizers do.
pub trait Optimizer {
    /// The parameters that it changes.
    fn parameters(&self) -> &Parameters;

    /// Step count, stop flag and gradient norm.
    fn control(&self) -> &Control;

    /// Sets the learning rate of the steps to come.
    fn set_lr(&mut self, lr: f64);

    /// Changes the parameters by their gradients. With `watch` `[1]`, a loss say, neither this step nor any later one
    /// changes anything once it is not finite: see [`StepState::stopped`].
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn step(&mut self, watch: Option<&Tensor>) -> Result<()>;

    /// Forgets the gradients: the next backward pass begins anew.
    fn zero_grad(&self) {
        self.parameters().zero_grad();
    }

    /// Scales all gradients by min(1, max_norm / (norm + 1e-6)), where norm is the 2-norm over all of them together, as
    /// torch.nn.utils.clip_grad_norm_. Nothing waits for the host; [`StepState::grad_norm`] tells the norm before clipping.
    /// A norm that is not finite sets the stop flag.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when `max_norm` is not above 0;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn clip_grad_norm(&self, max_norm: f64) -> Result<()> {
        clip::clip_grad_norm(self.parameters(), self.control(), max_norm)
    }
}
