//! The sum of all elements: torch.sum.

use crate::cpu::reduce_sum::{self, ReduceSum};
use crate::cpu::scale_by::{SCALE_BY, ScaleBy};
use crate::error::Result;
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Up to so many elements one workgroup adds up by itself.
const ONE_PASS: usize = 16_384;

/// Into how many parts so many elements are divided where partial sums are made first: so few that each has some elements for
/// every thread, for a workgroup costs more than a few additions; and no more than keep a GPU busy.
pub(crate) fn parts(count: usize) -> usize {
    const PART: usize = 4096;
    const MOST: usize = 256;
    count.div_ceil(PART).clamp(1, MOST)
}

/// scale·Σ x^power over `groups` equal parts of x: `[groups]`.
pub(crate) fn partial_sums(x: &Tensor, groups: usize, power: u32, scale: f32) -> Result<Tensor> {
    let sums = Tensor::empty(&x.device(), Dtype::F32, [groups])?;
    let params = ReduceSum { count: x.count() as u32, groups: groups as u32, power, scale };
    let device = x.device();
    device.launch(&reduce_sum::plan(&params, device.limits()), &params, &[x.read(), sums.write()])?;
    Ok(sums)
}

/// Σ x: `[1]`. The order of the additions depends on the number of elements and on the adapter only.
pub(super) fn total(x: &Tensor) -> Result<Tensor> {
    if x.count() <= ONE_PASS {
        return partial_sums(x, 1, 1, 1.0);
    }
    partial_sums(&partial_sums(x, parts(x.count()), 1, 1.0)?, 1, 1, 1.0)
}

/// x, in as many equal parts as `factor` has numbers, each part multiplied with its number; stored as `dtype`.
pub(super) fn scaled_by(x: &Tensor, factor: &Tensor, dtype: Dtype) -> Result<Tensor> {
    let (count, device) = (x.count(), x.device());
    let y = Tensor::empty(&device, dtype, x.shape())?;
    let args = [x.read(), factor.read(), y.write()];
    let width = count.checked_div(factor.count()).unwrap_or(0).max(1) as u32;
    device.launch(&Plan::elements(&SCALE_BY, count), &ScaleBy { count: count as u32, width }, &args)?;
    Ok(y)
}

impl Tape {
    /// The sum of all elements, `[1]`, as torch.sum.
    ///
    /// Gradient: dx = dy everywhere.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn sum(&mut self, x: Var) -> Result<Var> {
        let input = self.value(x)?;
        let (shape, dtype) = (input.shape(), input.dtype());
        let y = total(input)?;
        self.push("sum", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let ones = Tensor::empty(&dy.device(), dtype, shape)?;
                ones.fill(1.0)?;
                g.give(0, scaled_by(&ones, &dy, dtype)?)
            })
        })
    }
}
