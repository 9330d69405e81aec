//! Losses of values, for regression: torch.nn.MSELoss, L1Loss and HuberLoss.

use super::loss::{Reduce, Reduction, arriving, check_lengths, counted, kept_as};
use super::recurrent::Lengths;
use super::scale::scaled;
use crate::cpu::regression_loss::{HUBER, L1, MSE, REGRESSION_LOSS, RegressionLoss as Params};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Options of the losses of values.
#[derive(Clone, Debug, Default)]
pub struct RegressionLoss {
    /// Mean or sum over the elements; or neither: then the loss has the shape of the input.
    pub reduction: Reduction,
    /// For values [T, B, ..] of sequences: steps behind a sequence's end count for nothing, and a mean divides by the number
    /// of elements that are left.
    pub lengths: Option<Lengths>,
}

impl Tape {
    /// The squared error of x and a target of the same shape, as torch.nn.MSELoss: l = e² for each element, where
    /// e = x − target. The result is their mean or sum, `[1]`, or all of them. A mean over nothing is NaN.
    ///
    /// Gradients: dx = 2e (divided by the number of elements for a mean), dtarget = −dx.
    ///
    /// # Errors
    /// [`Error::Argument`] when the shapes differ or the lengths do not fit; [`Error::Gpu`] on a fault.
    pub fn mse_loss(&mut self, x: Var, target: Var, options: &RegressionLoss) -> Result<Var> {
        self.regression("mse_loss", [x, target], (MSE, 0.0), options)
    }

    /// The absolute error of x and a target of the same shape, as torch.nn.L1Loss: l = |e| for each element, where
    /// e = x − target. The result is their mean or sum, `[1]`, or all of them. A mean over nothing is NaN.
    ///
    /// Gradients: dx = sign e, which is 0 at 0 (divided by the number of elements for a mean), dtarget = −dx.
    ///
    /// # Errors
    /// As [`Tape::mse_loss`].
    pub fn l1_loss(&mut self, x: Var, target: Var, options: &RegressionLoss) -> Result<Var> {
        self.regression("l1_loss", [x, target], (L1, 0.0), options)
    }

    /// Huber's loss of x and a target of the same shape, as torch.nn.HuberLoss: with e = x − target, l = e²/2 where
    /// |e| ≤ delta, else delta·(|e| − delta/2). The result is their mean or sum, `[1]`, or all of them. A mean over nothing is
    /// NaN.
    ///
    /// Gradients: dx = e limited to ±delta (divided by the number of elements for a mean), dtarget = −dx.
    ///
    /// # Errors
    /// As [`Tape::mse_loss`], and when delta is not above 0 or not finite.
    pub fn huber_loss(&mut self, x: Var, target: Var, delta: f32, options: &RegressionLoss) -> Result<Var> {
        if !(delta > 0.0 && delta.is_finite()) {
            return Err(Error::argument(
                "huber_loss",
                format!("delta must be above 0 and finite, got {delta}"),
            ));
        }
        self.regression("huber_loss", [x, target], (HUBER, delta), options)
    }

    fn regression(
        &mut self,
        op: &'static str,
        inputs: [Var; 2],
        (kind, delta): (u32, f32),
        options: &RegressionLoss,
    ) -> Result<Var> {
        let [x, target] = [self.value(inputs[0])?.clone(), self.value(inputs[1])?.clone()];
        let (shape, device) = (x.shape(), x.device());
        if target.shape() != shape {
            return super::mismatch(op, shape, target.shape());
        }
        let lengths = options.lengths.as_ref();
        check_lengths(&shape, lengths).map_err(|message| Error::argument(op, message))?;
        let denominator = counted(&shape, lengths) as f64;
        let reduce = Reduce { reduction: options.reduction, denominator, shape, lengths };
        let params = Params { count: shape.count() as u32, kind, delta, scale: reduce.scale() };
        let losses = Tensor::empty(&device, Dtype::F32, shape)?;
        let dx = Tensor::empty(&device, kept_as(x.dtype()), shape)?;
        let args = [x.read(), target.read(), losses.write(), dx.write()];
        device.launch(&Plan::fours(&REGRESSION_LOSS, shape.count()), &params, &args)?;
        let [loss, dx] = reduce.finish(op, losses, dx)?;
        let dtype = x.dtype();
        self.push(op, &inputs, loss, || {
            Box::new(move |g| {
                let dx = arriving(g, &dx, dtype)?;
                if g.wanted(1) {
                    g.give(1, scaled(&dx, -1.0)?)?;
                }
                g.give(0, dx)
            })
        })
    }
}
