//! Elements chosen along a dimension: by index (torch.gather), or the largest (torch.max).

use super::indices::Indices;
use super::line::Lines;
use crate::cpu::gather::{GATHER, Gather};
use crate::cpu::gather_backward::{GATHER_BACKWARD, GatherBackward};
use crate::cpu::max_dim::{MAX_DIM, MaxDim};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The most elements of a line that a thread looks through in one launch: below llvmpipe's limit of 65,535 iterations.
const LONGEST: usize = 32_768;

/// The gradient dx of a choice: along each of the lines of x, `index` chose `m` elements, whose gradients are dy.
fn backward(
    lines: &Lines,
    m: usize,
    index: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    accumulate: bool,
) -> Result<()> {
    super::added_up(dx, m > LONGEST, accumulate, |dx, accumulate| parts(lines, m, index, dy, dx, accumulate))
}

/// [`backward`], a launch for each part of the indices.
fn parts(lines: &Lines, m: usize, index: &Tensor, dy: &Tensor, dx: &Tensor, accumulate: bool) -> Result<()> {
    for start in (0..m.max(1)).step_by(LONGEST) {
        let params = GatherBackward {
            outer: lines.outer as u32,
            n: lines.n as u32,
            inner: lines.inner as u32,
            pitch: m as u32,
            start: start as u32,
            m: (m - start).min(LONGEST) as u32,
            accumulate: (accumulate || start > 0).into(),
        };
        let plan = Plan::elements(&GATHER_BACKWARD, dx.count());
        dx.device().launch(&plan, &params, &[index.read(), dy.read(), dx.update()])?;
    }
    Ok(())
}

impl Tape {
    /// Elements of x chosen along dimension `dim`, as torch.gather. For three dimensions and `dim` 1:
    /// `y[i, j, k] = x[i, index[i, j, k], k]`. The indices have x's shape, but any size along `dim`; y has theirs.
    ///
    /// Gradient: each element of dx is the sum of dy over the places to which that element of x went.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such dimension, other dimensions differ, or an index is not in the dimension.
    pub fn gather(&mut self, x: Var, dim: usize, index: &Indices) -> Result<Var> {
        let input = self.value(x)?;
        let lines = Lines::new("gather", input.shape(), dim)?;
        let m = index.shape().get(dim).copied().unwrap_or_default();
        if lines.with(m) != index.shape() {
            return super::mismatch("gather", input.shape(), index.shape());
        }
        index.check("gather", lines.n, None)?;
        let y = Tensor::empty(self.device(), input.dtype(), index.shape())?;
        let [outer, n, inner] = [lines.outer, lines.n, lines.inner].map(|n| n as u32);
        let params = Gather { outer, n, m: m as u32, inner };
        let args = [input.read(), index.tensor().read(), y.write()];
        self.device().launch(&Plan::elements(&GATHER, y.count()), &params, &args)?;
        let index = index.tensor().clone();
        self.push("gather", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give_with(0, |dx, accumulate| backward(&lines, m, &index, &dy, dx, accumulate))
            })
        })
    }

    /// The largest elements along dimension `dim`, and their indices there (integers), as torch.max(x, dim). Of equal elements
    /// it is the first. NaN counts as larger than any number. In the result's shape the dimension is 1 with `keepdim`, and
    /// missing without.
    ///
    /// Gradient: dx is dy at those indices and 0 elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such dimension or it is 0.
    pub fn max_dim(&mut self, x: Var, dim: usize, keepdim: bool) -> Result<(Var, Tensor)> {
        let input = self.value(x)?;
        let lines = Lines::new("max_dim", input.shape(), dim)?;
        if lines.n == 0 {
            let message =
                format!("takes at least one element, got none in dimension {dim} of {:?}", input.shape());
            return Err(Error::argument("max_dim", message));
        }
        let y = Tensor::empty(self.device(), input.dtype(), lines.reduced(keepdim))?;
        let index = Tensor::empty(self.device(), Dtype::I32, lines.reduced(keepdim))?;
        for start in (0..lines.n).step_by(LONGEST) {
            let params = MaxDim {
                outer: lines.outer as u32,
                pitch: lines.n as u32,
                inner: lines.inner as u32,
                start: start as u32,
                n: (lines.n - start).min(LONGEST) as u32,
                accumulate: (start > 0).into(),
            };
            let args = [input.read(), y.update(), index.update()];
            self.device().launch(&Plan::elements(&MAX_DIM, y.count()), &params, &args)?;
        }
        let found = index.clone();
        let y = self.push("max_dim", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give_with(0, |dx, accumulate| backward(&lines, 1, &found, &dy, dx, accumulate))
            })
        })?;
        Ok((y, index))
    }

    /// The largest of all elements, `[1]`, as torch.max(x).
    ///
    /// Gradient: dx is dy at its place and 0 elsewhere.
    ///
    /// # Errors
    /// As [`Tape::max_dim`].
    pub fn max(&mut self, x: Var) -> Result<Var> {
        let count = self.value(x)?.count();
        let line = self.reshape(x, [count])?;
        Ok(self.max_dim(line, 0, true)?.0)
    }
}
