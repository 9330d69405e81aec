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
        let shape = y.shape();
        let y = self.push("reshape", &[x], y, || Box::new(|g| g.give(0, g.of_output()?)))?;
        if let Some(look_up) = self.look_up(x)?
            && let Some(look_up) = look_up.reshaped(&shape, self.value(look_up.table)?)?
        {
            self.came_from(y, look_up);
        }
        Ok(y)
    }
}
