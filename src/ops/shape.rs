//! Another shape for the same elements.

use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Shape;

impl Tape {
    /// The same elements with another shape, as torch.reshape. Copies nothing.
    ///
    /// Gradient: dx = dy in x's shape.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the number of elements differs.
    pub fn reshape(&mut self, x: Var, shape: impl Into<Shape>) -> Result<Var> {
        let y = self.value(x)?.reshape(shape)?;
        self.push("reshape", &[x], y, || Box::new(|g| g.give(0, g.of_output()?)))
    }
}
