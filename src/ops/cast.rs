//! The same numbers stored as another type: torch.Tensor.to(dtype).

use crate::error::Result;
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};

impl Tape {
    /// The same numbers stored as another type, as torch.Tensor.to(dtype).
    ///
    /// Gradient: dx = dy, stored as x is.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when x holds integers, or is to;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn cast(&mut self, x: Var, dtype: Dtype) -> Result<Var> {
        let input = self.value(x)?;
        let from = input.dtype();
        if from == dtype {
            return Ok(x);
        }
        let y = input.cast(dtype)?;
        self.push("cast", &[x], y, || Box::new(move |g| g.give(0, g.of_output()?.cast(from)?)))
    }
}
