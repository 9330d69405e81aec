//! The affine map of torch.nn.Linear.

use super::bias_add::{sum_rows, with_bias};
use super::matmul::{Matrix, product};
use crate::error::Result;
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// x·wᵀ for x [.., in] and w [out, in]: [.., out].
pub(super) fn times_transposed(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (x_shape, w_shape) = (x.shape(), w.shape());
    let mut dims = x_shape.to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w_shape[0];
    }
    let y = Tensor::empty(&x.device(), Dtype::F32, Shape::from(&dims[..]))?;
    product(Matrix::new(x), Matrix::new(w).t(), &y, false)?;
    Ok(y)
}

impl Tape {
    /// y = x·wᵀ + b for x [.., in], weight w [out, in] and bias b `[out]`, as torch.nn.functional.linear.
    ///
    /// Gradients: dx = dy·w, dw = dyᵀ·x, db = Σ over the rows of dy.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn linear(&mut self, x: Var, weight: Var, bias: Option<Var>) -> Result<Var> {
        let (input, w) = (self.value(x)?.clone(), self.value(weight)?.clone());
        if w.shape().len() != 2 || input.shape().last() != Some(&w.shape()[1]) {
            return super::mismatch("linear", input.shape(), w.shape());
        }
        let mut out = times_transposed(&input, &w)?;
        let mut inputs = vec![x, weight];
        if let Some(bias) = bias {
            let b = self.value(bias)?;
            if b.shape() != Shape::from([w.shape()[0]]) {
                return super::mismatch("linear", w.shape(), b.shape());
            }
            out = with_bias(&out, b)?;
            inputs.push(bias);
        }
        let has_bias = bias.is_some();
        self.push("linear", &inputs, out, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let (dy_matrix, x, w) = (Matrix::new(&dy), Matrix::new(&input), Matrix::new(&w));
                g.give_with(0, |dx, accumulate| product(dy_matrix, w, dx, accumulate))?;
                g.give_with(1, |dw, accumulate| product(dy_matrix.t(), x, dw, accumulate))?;
                if has_bias {
                    g.give_with(2, |db, accumulate| sum_rows(&dy, db, accumulate))?;
                }
                Ok(())
            })
        })
    }
}
