//! torch.nn.Dropout.

use crate::error::{Error, Result};
use crate::ops::dropout;
use crate::tape::{Tape, Var};

/// Sets elements to 0 at random while the tape is training, as torch.nn.Dropout: see [`Tape::dropout`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// With probability p.
    ///
    /// # Errors
    /// [`Error::Argument`] when p is not in 0..=1.
    pub fn new(p: f64) -> Result<Dropout> {
        match dropout::is_probability(p) {
            true => Ok(Dropout { p }),
            false => Err(Error::argument("Dropout", format!("p must be from 0 to 1, got {p}"))),
        }
    }

    /// The layer applied to x.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        tape.dropout(x, self.p)
    }
}
