//! Product of a tensor with a number.

use crate::cpu::scale::{SCALE, Scale};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// factor·x.
pub(super) fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    let (count, device) = (x.count(), x.device());
    let y = Tensor::empty(&device, x.dtype(), x.shape())?;
    let params = Scale { count: count as u32, factor };
    device.launch(&Plan::fours(&SCALE, count), &params, &[x.read(), y.write()])?;
    Ok(y)
}

impl Tape {
    /// y = factor·x for a number.
    ///
    /// Gradient: dx = factor·dy.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn scale(&mut self, x: Var, factor: f32) -> Result<Var> {
        let y = scaled(self.value(x)?, factor)?;
        self.push("scale", &[x], y, || Box::new(move |g| g.give(0, scaled(&g.of_output()?, factor)?)))
    }
}
