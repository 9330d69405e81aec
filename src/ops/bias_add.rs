//! Adding a bias to every row.

use super::reduce::sum_lines;
use crate::cpu::bias_add::{BIAS_ADD, BiasAdd};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// x + bias in every row of x [.., C].
pub(super) fn with_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (cols, device) = (bias.count(), x.device());
    let y = Tensor::empty(&device, x.dtype(), x.shape())?;
    let params = BiasAdd { rows: (x.count() / cols.max(1)) as u32, cols: cols as u32 };
    let plan = Plan::rows_of_fours(&BIAS_ADD, x.count(), params.cols as usize);
    device.launch(&plan, &params, &[x.read(), bias.read(), y.write()])?;
    Ok(y)
}

/// `out[c] = Σ_r x[r, c]`, or out += that: the gradient of a bias.
pub(super) fn sum_rows(x: &Tensor, out: &Tensor, accumulate: bool) -> Result<()> {
    let cols = out.count();
    let rows = x.count().checked_div(cols).unwrap_or(0);
    sum_lines(x, [1, rows, cols], 1.0, out, accumulate)
}

impl Tape {
    /// `y[.., c]` = `x[.., c]` + `bias[c]`, for x [.., C] and bias `[C]`.
    ///
    /// Gradients: dx = dy, `dbias[c]` = Σ over the rows of `dy[.., c]`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the last dimension of x is not that of the bias.
    pub fn bias_add(&mut self, x: Var, bias: Var) -> Result<Var> {
        let (input, added) = (self.value(x)?, self.value(bias)?);
        if input.shape().last() != Some(&added.count()) || added.shape().len() != 1 {
            return super::mismatch("bias_add", input.shape(), added.shape());
        }
        let out = with_bias(input, added)?;
        self.push("bias_add", &[x, bias], out, || {
            Box::new(|g| {
                let dy = g.of_output()?;
                g.give_with(1, |db, accumulate| sum_rows(&dy, db, accumulate))?;
                g.give(0, dy)
            })
        })
    }
}
