//! Sums and means over one dimension (torch.sum, torch.mean), and the mean of all.

use super::binary::repeating;
use super::line::Lines;
use super::scale::scaled;
use super::strided::copy_strided;
use super::sum::partial_sums;
use crate::cpu::column_sum::{self, ColumnSum};
use crate::cpu::walk::strides;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// The most rows that one launch of `column_sum` adds up: no thread then comes to llvmpipe's limit of 65,535 iterations.
const MOST_ROWS: usize = 1 << 18;
/// The longest rows that one launch of `reduce_sum` adds up, for the same reason.
const LONGEST_ROW: usize = 1 << 22;

/// `out[o, c] = scale·Σ_r x[o, r, c]`, or out += that, for x [outer, rows, cols].
pub(super) fn sum_lines(
    x: &Tensor,
    [outer, rows, cols]: [usize; 3],
    scale: f32,
    out: &Tensor,
    accumulate: bool,
) -> Result<()> {
    // A sum over nothing is a launch too: it writes zeros.
    for start in (0..rows.max(1)).step_by(MOST_ROWS) {
        let params = ColumnSum {
            outer: outer as u32,
            rows: (rows - start).min(MOST_ROWS) as u32,
            cols: cols as u32,
            start: start as u32,
            pitch: rows as u32,
            scale,
            accumulate: (accumulate || start > 0).into(),
        };
        let device = out.device();
        let plan = column_sum::plan(&params, device.limits().processor);
        device.launch(&plan, &params, &[x.read(), out.update()])?;
    }
    Ok(())
}

/// scale·Σ over the middle dimension of x [outer, n, inner]: the tensor of shape `result`.
fn sum_middle(x: &Tensor, dims: [usize; 3], scale: f32, result: Shape) -> Result<Tensor> {
    let [outer, n, inner] = dims;
    // Where the terms are neighbours, threads that share a line read faster.
    if inner == 1 && (1..=LONGEST_ROW).contains(&n) && outer > 0 {
        return partial_sums(x, outer, 1, scale)?.reshape(result);
    }
    let y = Tensor::empty(&x.device(), Dtype::F32, result)?;
    sum_lines(x, dims, scale, &y, false)?;
    Ok(y)
}

/// The sum of x over the dimensions along which a tensor of shape `to` was repeated to x's shape.
pub(super) fn sum_to(x: &Tensor, to: Shape) -> Result<Tensor> {
    let shape = x.shape();
    if shape == to {
        return Ok(x.clone());
    }
    let missing = shape.len() - to.len();
    let repeated = |d: usize| shape[d] != 1 && (d < missing || to[d - missing] == 1);
    let mut sum = x.clone();
    let mut end = shape.len();
    // From the last dimension on: the dimensions before are then still as in x. Neighbours are summed together.
    while end > 0 {
        let start = (0..end).rev().take_while(|d| repeated(*d)).last().unwrap_or(end);
        if start < end {
            let dims = sum.shape();
            let kept = [&dims[..start], &vec![1; end - start], &dims[end..]].concat();
            let [outer, n, inner] =
                [&dims[..start], &dims[start..end], &dims[end..]].map(|d| d.iter().product());
            sum = sum_middle(&sum, [outer, n, inner], 1.0, Shape::from(&kept[..]))?;
        }
        end = start.min(end - 1);
    }
    sum.reshape(to)
}

/// x, whose dimensions that are 1 are repeated to `shape`.
fn repeated(x: &Tensor, shape: Shape) -> Result<Tensor> {
    let y = Tensor::empty(&x.device(), x.dtype(), shape)?;
    copy_strided(&shape, x, (0, &repeating(x.shape(), shape)), &y, (0, &strides(&shape)))?;
    Ok(y)
}

impl Tape {
    /// The sum over dimension `dim`, as torch.sum(x, dim). In the result's shape the dimension is 1 with `keepdim`, and missing
    /// without.
    ///
    /// Gradient: dx = dy, repeated along the dimension.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when there is no such dimension.
    pub fn sum_dim(&mut self, x: Var, dim: usize, keepdim: bool) -> Result<Var> {
        let lines = Lines::new("sum_dim", self.value(x)?.shape(), dim)?;
        let y = self.sum_along(x, &lines, 1.0, keepdim)?;
        self.push("sum_dim", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?.reshape(lines.with(1))?;
                g.give(0, repeated(&dy, lines.with(lines.n))?)
            })
        })
    }

    /// The mean over dimension `dim` of n elements, as torch.mean(x, dim). In the result's shape the dimension is 1 with
    /// `keepdim`, and missing without. NaN where n is 0.
    ///
    /// Gradient: dx = dy / n, repeated along the dimension.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when there is no such dimension.
    pub fn mean_dim(&mut self, x: Var, dim: usize, keepdim: bool) -> Result<Var> {
        let lines = Lines::new("mean_dim", self.value(x)?.shape(), dim)?;
        let share = 1.0 / lines.n as f32;
        let y = self.sum_along(x, &lines, share, keepdim)?;
        self.push("mean_dim", &[x], y, || {
            Box::new(move |g| {
                let dy = scaled(&g.of_output()?.reshape(lines.with(1))?, share)?;
                g.give(0, repeated(&dy, lines.with(lines.n))?)
            })
        })
    }

    fn sum_along(&self, x: Var, lines: &Lines, scale: f32, keepdim: bool) -> Result<Tensor> {
        sum_middle(self.value(x)?, [lines.outer, lines.n, lines.inner], scale, lines.reduced(keepdim))
    }

    /// The mean of all n elements, `[1]`, as torch.mean. NaN where there are none.
    ///
    /// Gradient: dx = dy / n everywhere.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn mean(&mut self, x: Var) -> Result<Var> {
        let share = 1.0 / self.value(x)?.count() as f32;
        let sum = self.sum(x)?;
        self.scale(sum, share)
    }
}
