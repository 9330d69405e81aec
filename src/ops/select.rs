//! One element of the first dimension.

use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

impl Tape {
    /// `x[index]` of x [N, ..], as torch.select(x, 0, index): the state at one time step, say.
    ///
    /// Gradient: dx is dy at `index` and 0 elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such element.
    pub fn select(&mut self, x: Var, index: usize) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        let Some((_, rest)) = shape.split_first().filter(|(n, _)| index < **n) else {
            return Err(Error::argument("select", format!("no element {index} in shape {shape:?}")));
        };
        let part = Shape::from(rest);
        let offset = index * part.count();
        let y = input.slice(offset, part)?.aligned()?;
        self.push("select", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let dx = Tensor::empty(&dy.device(), Dtype::F32, shape)?;
                dx.fill(0.0)?;
                dy.copy_into(&dx, offset)?;
                g.give(0, dx)
            })
        })
    }

    /// Tensors of one shape [..] as one of shape [N, ..], as torch.stack. Gradients: the parts of dy.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are none or the shapes differ.
    pub fn stack(&mut self, parts: &[Var]) -> Result<Var> {
        let Some(first) = parts.first() else {
            return Err(Error::argument("stack", "takes at least one tensor, got none"));
        };
        let part = self.value(*first)?.shape();
        let y = Tensor::empty(self.device(), Dtype::F32, Shape::joined("stack", &[parts.len()], &part)?)?;
        for (index, var) in parts.iter().enumerate() {
            let tensor = self.value(*var)?;
            if tensor.shape() != part {
                return super::mismatch("stack", part, tensor.shape());
            }
            tensor.copy_into(&y, index * part.count())?;
        }
        let count = parts.len();
        self.push("stack", parts, y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                for index in 0..count {
                    if g.wanted(index) {
                        let dx = Tensor::empty(&dy.device(), Dtype::F32, part)?;
                        dy.slice(index * part.count(), part)?.copy_into(&dx, 0)?;
                        g.give(index, dx)?;
                    }
                }
                Ok(())
            })
        })
    }
}
