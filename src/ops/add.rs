//! Sum of two tensors.

use crate::cpu::add::{ADD, Add};
use crate::error::Result;
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

impl Tape {
    /// a + b, element by element, for equal shapes. Gradients: da = db = dy.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes differ.
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        let (left, right) = (self.value(a)?, self.value(b)?);
        if left.shape() != right.shape() {
            return super::mismatch("add", left.shape(), right.shape());
        }
        let count = left.count();
        let y = Tensor::empty(self.device(), Dtype::F32, left.shape())?;
        let args = [left.read(), right.read(), y.write()];
        self.device().launch(&Plan::elements(&ADD, count), &Add { count: count as u32 }, &args)?;
        self.push("add", &[a, b], y, || {
            Box::new(|g| {
                let dy = g.of_output()?;
                g.give(0, dy.clone())?;
                g.give(1, dy)
            })
        })
    }
}
