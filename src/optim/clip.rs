//! Clipping by the global norm, and by value.

use super::OptimizerBase;
use crate::cpu::clip_gradients::{ClipGradients, plan};
use crate::cpu::clip_values::{CLIP_VALUES, ClipValues};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::ops::{partial_sums, parts};

/// See [`Optimizer::clip_grad_norm`](super::Optimizer::clip_grad_norm).
pub fn clip_grad_norm(base: &OptimizerBase, max_norm: f64) -> Result<()> {
    if !(max_norm > 0.0 && max_norm.is_finite()) {
        return Err(Error::argument("clip_grad_norm", format!("max_norm must be above 0, got {max_norm}")));
    }
    clip(base, max_norm as f32, base.take_scale())
}

/// Takes the loss scale out of the gradients where they are `scaled`, and limits their norm.
pub fn clip(base: &OptimizerBase, max_norm: f32, scaled: bool) -> Result<()> {
    let (_, gradients) = base.parameters.arenas()?;
    let partials = parts(gradients.count());
    let partial = partial_sums(gradients, partials, 2, 1.0)?;
    let (count, partials) = (gradients.count() as u32, partials as u32);
    let params = ClipGradients { count, partials, max_norm, scaled: scaled.into() };
    let args = [partial.read(), gradients.update(), base.control.words().update()];
    let device = base.parameters.device();
    device.launch(&plan(&params, device.limits()), &params, &args)
}

/// See [`Optimizer::clip_grad_value`](super::Optimizer::clip_grad_value).
pub fn clip_grad_value(base: &OptimizerBase, clip_value: f64) -> Result<()> {
    if !(clip_value > 0.0 && clip_value.is_finite()) {
        let message = format!("clip_value must be above 0, got {clip_value}");
        return Err(Error::argument("clip_grad_value", message));
    }
    base.unscale()?;
    let gradients = base.parameters.arenas()?.1;
    let params = ClipValues { count: gradients.count() as u32, limit: clip_value as f32 };
    let plan = Plan::fours(&CLIP_VALUES, gradients.count());
    base.parameters.device().launch(&plan, &params, &[gradients.update()])
}
