//! Dropout (Hinton et al., arXiv 1207.0580): torch.nn.functional.dropout.

use crate::cpu::dropout::{Dropout, plan};
use crate::error::{Error, Result};
use crate::tape::{DropoutStream, Tape, Var};
use crate::tensor::Tensor;

impl Tape {
    /// Sets each element of x to 0 with probability p and multiplies the others with 1 / (1 − p), as
    /// torch.nn.functional.dropout. Unless the tape is training (see [`Tape::set_training`]), the result is x itself.
    ///
    /// Gradient: dx = dy with the same elements set to 0 and the others multiplied with 1 / (1 − p). The random numbers are
    /// made again, so that no mask is kept.
    ///
    /// # Errors
    /// [`Error::Argument`] when p is not in 0..=1; [`Error::Gpu`] on a fault.
    pub fn dropout(&mut self, x: Var, p: f64) -> Result<Var> {
        if !is_probability(p) {
            return Err(Error::argument("dropout", format!("p must be from 0 to 1, got {p}")));
        }
        let Some(mask) = self.next_mask(p) else { return Ok(x) };
        let apply = move |x: &Tensor| {
            let y = Tensor::empty(&x.device(), x.dtype(), x.shape())?;
            mask.apply(x, 0, &y)?;
            Ok(y)
        };
        let y = apply(self.value(x)?)?;
        self.push("dropout", &[x], y, || Box::new(move |g| g.give(0, apply(&g.of_output()?)?)))
    }

    /// What the next dropout leaves out; `None` where it leaves nothing out.
    pub(super) fn next_mask(&mut self, p: f64) -> Option<Mask> {
        let DropoutStream { seed, calls } = self.training().filter(|_| p > 0.0)?;
        self.set_training(Some(DropoutStream { seed, calls: calls + 1 }));
        let [seed_low, seed_high, call_low, call_high] =
            [seed, seed >> 32, calls, calls >> 32].map(|word| word as u32);
        let scale = if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 };
        let rate = p as f32;
        Some(Mask(Dropout { count: 0, first: 0, seed_low, seed_high, call_low, call_high, rate, scale }))
    }
}

/// Which elements of a tensor a dropout leaves out.
#[derive(Clone, Copy)]
pub(super) struct Mask(Dropout);

impl Mask {
    /// y = x without them, and the others multiplied, for the part of the tensor from element `first` on, a multiple of 4.
    pub fn apply(&self, x: &Tensor, first: usize, y: &Tensor) -> Result<()> {
        let params = Dropout { count: x.count() as u32, first: first as u32, ..self.0 };
        x.device().launch(&plan(&params), &params, &[x.read(), y.write()])
    }
}

/// Whether p lies in 0..=1.
pub(crate) fn is_probability(p: f64) -> bool {
    (0.0..=1.0).contains(&p)
}
