//! Dropout: torch.nn.Dropout.

use crate::error::{Error, Result};
use crate::ops::dropout;
use crate::tape::{Tape, Var};

/// Sets each element to 0 with probability p while the tape is training, and multiplies the others with 1 / (1 − p) (Hinton et
/// al., arXiv 1207.0580), as torch.nn.Dropout: see [`Tape::dropout`]. It has no parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// A layer that sets elements to 0 with probability p.
    ///
    /// # Errors
    /// [`Error::Argument`] when p is not in 0..=1.
    pub fn new(p: f64) -> Result<Dropout> {
        match dropout::is_probability(p) {
            true => Ok(Dropout { p }),
            false => Err(Error::argument("Dropout", format!("p must be from 0 to 1, got {p}"))),
        }
    }

    /// Applies the layer to x of any shape.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        tape.dropout(x, self.p)
    }
}
