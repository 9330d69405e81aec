//! Clipping by the global norm.

use super::Control;
use crate::cpu::clip_gradients::{ClipGradients, plan};
use crate::error::{Error, Result};
use crate::ops::{PARTIALS, partial_sums};
use crate::parameters::Parameters;

/// See [`Optimizer::clip_grad_norm`](super::Optimizer::clip_grad_norm).
pub fn clip_grad_norm(parameters: &Parameters, control: &Control, max_norm: f64) -> Result<()> {
    if !(max_norm > 0.0 && max_norm.is_finite()) {
        return Err(Error::argument("clip_grad_norm", format!("max_norm must be above 0, got {max_norm}")));
    }
    let (_, gradients) = parameters.arenas()?;
    let partial = partial_sums(gradients, PARTIALS, 2, 1.0)?;
    let count = gradients.count() as u32;
    let params = ClipGradients { count, partials: PARTIALS as u32, max_norm: max_norm as f32 };
    let args = [partial.read(), gradients.update(), control.words().update()];
    parameters.device().launch(&plan(&params), &params, &args)
}
