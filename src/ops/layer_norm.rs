//! Layer normalisation (Ba, Kiros and Hinton, "Layer Normalization", arXiv 1607.06450).

use super::bias_add::sum_rows;
use crate::cpu::layer_norm::{self, LayerNorm};
use crate::cpu::layer_norm_backward::{self, LayerNormBackward};
use crate::device::Arg;
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

impl Tape {
    /// y = (x − μ) / √(v + eps) ⊙ weight + bias, as torch.nn.functional.layer_norm. μ is the mean and v the variance (divided
    /// by the number of elements) over the last dimensions of x, whose sizes are `normalized`. Weight and bias have that shape,
    /// y has x's.
    ///
    /// Gradients: with h = (x − μ) / √(v + eps) and g = dy ⊙ weight, dx = (g − mean(g) − h ⊙ mean(g ⊙ h)) / √(v + eps). dweight
    /// is the sum of dy ⊙ h, and dbias that of dy, over all other dimensions.
    ///
    /// # Errors
    /// [`Error::Argument`] when shapes do not fit or there is nothing to normalise.
    pub fn layer_norm(
        &mut self,
        x: Var,
        normalized: impl Into<Shape>,
        weight: Option<Var>,
        bias: Option<Var>,
        eps: f32,
    ) -> Result<Var> {
        let (input, normalized) = (self.value(x)?.clone(), normalized.into());
        let shape = input.shape();
        let cols = normalized.count();
        if !shape.ends_with(&normalized) || normalized.is_empty() {
            return super::mismatch("layer_norm", shape, normalized);
        }
        if cols == 0 {
            let message = format!("takes at least one element to normalise, got {normalized:?}");
            return Err(Error::argument("layer_norm", message));
        }
        let mut inputs = vec![x];
        let mut given = [None, None];
        for (given, var) in given.iter_mut().zip([weight, bias]) {
            let Some(var) = var else { continue };
            let tensor = self.value(var)?;
            if tensor.shape() != normalized {
                return super::mismatch("layer_norm", normalized, tensor.shape());
            }
            *given = Some(tensor.clone());
            inputs.push(var);
        }
        let [weight, bias] = given;
        let argument = |tensor: &Option<Tensor>| tensor.is_some().into();
        let rows = shape.count() / cols;
        let (y, stats) = (
            Tensor::empty(self.device(), input.dtype(), shape)?,
            Tensor::empty(self.device(), Dtype::F32, [rows, 2])?,
        );
        let (rows, cols) = (rows as u32, cols as u32);
        let params = LayerNorm { rows, cols, eps, weighted: argument(&weight), biased: argument(&bias) };
        let args = [input.read(), read(&weight), read(&bias), y.write(), stats.write()];
        let device = self.device();
        device.launch(&layer_norm::plan(&params, device.limits()), &params, &args)?;
        let biased = bias.is_some();
        self.push("layer_norm", &inputs, y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let dx = Tensor::empty(&dy.device(), dy.dtype(), shape)?;
                let dweight_rows = Tensor::empty(&dy.device(), Dtype::F32, shape)?;
                let params = LayerNormBackward { rows, cols, weighted: weight.is_some().into() };
                let args =
                    [input.read(), read(&weight), stats.read(), dy.read(), dx.write(), dweight_rows.write()];
                let device = dy.device();
                device.launch(&layer_norm_backward::plan(&params, device.limits()), &params, &args)?;
                g.give(0, dx)?;
                let mut next = 1;
                if weight.is_some() {
                    g.give_with(next, |dw, accumulate| sum_rows(&dweight_rows, dw, accumulate))?;
                    next += 1;
                }
                if biased {
                    g.give_with(next, |db, accumulate| sum_rows(&dy, db, accumulate))?;
                }
                Ok(())
            })
        })
    }
}

fn read(tensor: &Option<Tensor>) -> Arg<'_> {
    tensor.as_ref().map_or_else(Arg::absent, Tensor::read)
}
