//! The operations: one file each, with the mathematics, the launches and the backward rule. They are methods of
//! [`Tape`](crate::tape::Tape).

mod activation;
mod add;
mod bias_add;
pub mod cross_entropy;
pub(crate) mod dropout;
mod embedding;
pub mod indices;
mod linear;
mod loss;
mod matmul;
mod mul;
mod random;
pub mod recurrent;
pub mod regression_loss;
mod scale;
mod select;
mod shape;
mod sum;
mod swap_axes;

use crate::error::{Error, Result};
use crate::tensor::Shape;

pub(crate) use sum::{PARTIALS, partial_sums};

/// The error of an op that was given two shapes that do not fit.
fn mismatch<T>(op: &'static str, left: Shape, right: Shape) -> Result<T> {
    Err(Error::argument(op, format!("shapes {left:?} and {right:?} do not fit")))
}
