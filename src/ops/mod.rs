//! The operations: one file each, with the mathematics, the launches and the backward rule. They are methods of
//! [`Tape`](crate::tape::Tape).

mod activation;
mod bias_add;
mod binary;
mod cast;
pub mod cross_entropy;
pub(crate) mod dropout;
mod embedding;
mod gather;
pub mod indices;
mod layer_norm;
mod line;
mod linear;
mod loss;
mod matmul;
mod random;
pub mod recurrent;
mod reduce;
pub mod regression_loss;
mod scale;
mod shape;
mod softmax;
mod strided;
mod sum;
mod unary;

use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tensor::{Shape, Tensor};

pub(crate) use sum::{PARTIALS, partial_sums};

/// Lets `compute` write a result, or add to it, in one launch or in `many`: what several give is added up in 32 bits also where
/// the result is stored in fewer.
fn added_up(
    to: &Tensor,
    many: bool,
    accumulate: bool,
    compute: impl FnOnce(&Tensor, bool) -> Result<()>,
) -> Result<()> {
    if !many || !to.dtype().is_half() {
        return compute(to, accumulate);
    }
    let wide = Tensor::empty(&to.device(), Dtype::F32, to.shape())?;
    if accumulate {
        to.copy_into(&wide, 0)?;
    }
    compute(&wide, accumulate)?;
    wide.copy_into(to, 0)
}

/// The error of an op that was given two shapes that do not fit.
fn mismatch<T>(op: &'static str, left: Shape, right: Shape) -> Result<T> {
    Err(Error::argument(op, format!("shapes {left:?} and {right:?} do not fit")))
}
