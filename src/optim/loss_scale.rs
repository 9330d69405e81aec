//! The loss scale: what the loss is multiplied with, so that small gradients are not rounded to 0 in F16.

use super::base::range;
use crate::cpu::control::MOST_SCALE;
use crate::error::Result;

/// How the loss scale begins and changes, as torch.amp.GradScaler.
///
/// Source: Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740. The gradient of the loss is multiplied with the scale, and the gradients of the parameters are divided by it
/// before they are clipped. Where one of these is not finite, the step is left out and the scale becomes smaller; after
/// `growth_interval` steps without that it becomes larger. All of it happens on the device, and the host does not wait.
///
/// The scale does not help against a loss that is not finite, as when an activation is too large for F16. Such a loss ends
/// training if it is watched, unless such steps are [skipped](crate::optim::Optimizer::skip_nonfinite), as GradScaler does.
///
/// Where the scale is 1 and the gradient still not finite, something else is wrong: that ends training like any other number
/// that is not finite. The largest scale is 2²⁴.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// The first scale.
    pub init_scale: f32,
    /// What it is multiplied with after `growth_interval` steps.
    pub growth_factor: f32,
    /// What it is multiplied with after a step that it was too large for, to not less than 1.
    pub backoff_factor: f32,
    /// After so many steps with the same scale it grows.
    pub growth_interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale { init_scale: 65_536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

impl LossScale {
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        let LossScale { init_scale, growth_factor, backoff_factor, growth_interval } = *self;
        let most = MOST_SCALE as f32;
        let good = (1.0..=most).contains(&init_scale);
        range(op, "init_scale", init_scale.into(), good, "from 1 to 2^24")?;
        let good = (1.0..=most).contains(&growth_factor);
        range(op, "growth_factor", growth_factor.into(), good, "from 1 to 2^24")?;
        let good = backoff_factor > 0.0 && backoff_factor < 1.0;
        range(op, "backoff_factor", backoff_factor.into(), good, "above 0 and below 1")?;
        let good = (1..=MOST_SCALE).contains(&growth_interval);
        range(op, "growth_interval", growth_interval.into(), good, "from 1 to 2^24")
    }
}
