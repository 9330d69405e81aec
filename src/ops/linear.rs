//! The affine map of torch.nn.Linear.

use super::bias_add::sum_rows;
use super::matmul::{Matrix, product, product_with_biases};
use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// x·wᵀ for x [.., in] and w [out, in], plus up to two biases `[out]`: [.., out].
pub(super) fn affine(x: &Tensor, w: &Tensor, biases: [Option<&Tensor>; 2]) -> Result<Tensor> {
    let (x_shape, w_shape) = (x.shape(), w.shape());
    let mut dims = x_shape.to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w_shape[0];
    }
    let y = Tensor::empty(&x.device(), w.dtype(), Shape::from(&dims[..]))?;
    product_with_biases(Matrix::new(x), Matrix::new(w).t(), biases, &y, false)?;
    Ok(y)
}

impl Tape {
    /// y = x·wᵀ + b for x [.., in], weight w [out, in] and bias b `[out]`, as torch.nn.functional.linear.
    ///
    /// Gradients: dx = dy·w, dw = dyᵀ·x, db = Σ over the rows of dy. (All dimensions of x but the last count as one, of rows.)
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn linear(&mut self, x: Var, weight: Var, bias: Option<Var>) -> Result<Var> {
        let (input, w) = (self.value(x)?.clone(), self.value(weight)?.clone());
        if w.shape().len() != 2 || input.shape().last() != Some(&w.shape()[1]) {
            return super::mismatch("linear", input.shape(), w.shape());
        }
        let mut inputs = vec![x, weight];
        inputs.extend(bias);
        let added = bias.map(|bias| self.value(bias)).transpose()?;
        if let Some(b) = added.filter(|b| b.shape() != Shape::from([w.shape()[0]])) {
            return super::mismatch("linear", w.shape(), b.shape());
        }
        let out = affine(&input, &w, [added, None])?;
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
