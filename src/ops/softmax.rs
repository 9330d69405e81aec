//! Softmax and its logarithm: torch.softmax, torch.log_softmax.

use super::line::Lines;
use crate::cpu::softmax::{self, Softmax};
use crate::cpu::softmax_backward::{self, SoftmaxBackward};
use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

impl Tape {
    /// y = e^x / Σ e^x, the sum being along dimension `dim`, as torch.softmax. y has x's shape.
    ///
    /// Gradient: dx = y ⊙ (dy − Σ dy ⊙ y).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when there is no such dimension.
    pub fn softmax(&mut self, x: Var, dim: usize) -> Result<Var> {
        self.softmax_along("softmax", x, dim, 0)
    }

    /// y = x − ln Σ e^x, the sum being along dimension `dim`, as torch.log_softmax: the logarithm of [`Tape::softmax`], also
    /// where that is so small that it is rounded to 0.
    ///
    /// Gradient: dx = dy − e^y·Σ dy.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when there is no such dimension.
    pub fn log_softmax(&mut self, x: Var, dim: usize) -> Result<Var> {
        self.softmax_along("log_softmax", x, dim, 1)
    }

    fn softmax_along(&mut self, name: &'static str, x: Var, dim: usize, log: u32) -> Result<Var> {
        let shape = self.value(x)?.shape();
        let lines = Lines::new(name, shape, dim)?;
        if lines.inner != 1 {
            // The kernels take rows.
            let last = shape.len() - 1;
            let x = self.transpose(x, dim, last)?;
            let y = self.softmax_along(name, x, last, log)?;
            return self.transpose(y, dim, last);
        }
        let input = self.value(x)?;
        let y = Tensor::empty(self.device(), input.dtype(), shape)?;
        let (rows, cols) = (lines.outer as u32, lines.n as u32);
        if y.count() > 0 {
            let params = Softmax { rows, cols, log };
            let device = self.device();
            device.launch(&softmax::plan(&params, device.limits()), &params, &[input.read(), y.write()])?;
        }
        self.push(name, &[x], y.clone(), || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let dx = Tensor::empty(&dy.device(), dy.dtype(), shape)?;
                if dx.count() > 0 {
                    let params = SoftmaxBackward { rows, cols, log };
                    let args = [y.read(), dy.read(), dx.write()];
                    let device = dx.device();
                    device.launch(&softmax_backward::plan(&params, device.limits()), &params, &args)?;
                }
                g.give(0, dx)
            })
        })
    }
}
