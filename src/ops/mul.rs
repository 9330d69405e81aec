//! Product of two tensors, element by element.

use crate::cpu::mul::{MUL, Mul};
use crate::error::Result;
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

fn times(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (count, device) = (a.count(), a.device());
    let y = Tensor::empty(&device, Dtype::F32, a.shape())?;
    device.launch(
        &Plan::elements(&MUL, count),
        &Mul { count: count as u32 },
        &[a.read(), b.read(), y.write()],
    )?;
    Ok(y)
}

impl Tape {
    /// a ⊙ b, element by element, for equal shapes. Gradients: da = dy ⊙ b, db = dy ⊙ a.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes differ.
    pub fn mul(&mut self, a: Var, b: Var) -> Result<Var> {
        let (left, right) = (self.value(a)?.clone(), self.value(b)?.clone());
        if left.shape() != right.shape() {
            return super::mismatch("mul", left.shape(), right.shape());
        }
        self.push("mul", &[a, b], times(&left, &right)?, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                if g.wanted(0) {
                    g.give(0, times(&dy, &right)?)?;
                }
                if g.wanted(1) {
                    g.give(1, times(&dy, &left)?)?;
                }
                Ok(())
            })
        })
    }
}
