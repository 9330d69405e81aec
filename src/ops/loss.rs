//! What all losses have in common: how the losses of rows or elements become one number, and what does not count in it.

use super::recurrent::Lengths;
use super::recurrent::lengths::masked;
use super::sum::{scaled_by, total};
use crate::device::Host;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::tape::Gradients;
use crate::tensor::{Shape, Tensor};

/// How the losses of the rows, or of the elements, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their sum, divided by their number; with labels whose classes have weights, by the sum of the labels' weights.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are: one for each row.
    None,
}

/// What becomes of the losses of rows.
pub(super) struct Reduce<'a> {
    pub reduction: Reduction,
    /// What a mean divides the sum by.
    pub denominator: f64,
    /// The shape of the losses.
    pub shape: Shape,
    /// For losses [T, B, ..] of sequences: what lies behind their ends counts for nothing.
    pub lengths: Option<&'a Lengths>,
}

impl Reduce<'_> {
    /// A mean over nothing: NaN, with gradient 0.
    fn is_empty(&self) -> bool {
        self.reduction == Reduction::Mean && self.denominator == 0.0
    }

    /// What losses and gradients are to be multiplied with.
    pub fn scale(&self) -> f32 {
        match self.reduction {
            Reduction::Mean if self.is_empty() => 0.0,
            Reduction::Mean => (1.0 / self.denominator) as f32,
            Reduction::Sum | Reduction::None => 1.0,
        }
    }

    /// The loss and its gradient, from the losses of the rows and their gradients, all of which are multiplied with
    /// [`Reduce::scale`] already.
    pub fn finish(&self, op: &'static str, losses: Tensor, gradient: Tensor) -> Result<[Tensor; 2]> {
        let (losses, gradient) = match self.lengths {
            None => (losses, gradient),
            Some(lengths) => {
                let lengths = lengths.checked(op, self.shape[0], self.shape[1])?;
                (masked(&losses, &lengths)?, masked(&gradient, &lengths)?)
            }
        };
        if self.is_empty() {
            let loss = Tensor::empty(&losses.device(), Dtype::F32, [1])?;
            loss.assign(Host::F32(&[f32::NAN]))?;
            gradient.fill(0.0)?;
            return Ok([loss, gradient]);
        }
        let loss = match self.reduction {
            Reduction::Mean | Reduction::Sum => total(&losses)?,
            Reduction::None => losses,
        };
        Ok([loss, gradient])
    }
}

/// The type in which the gradient of a loss with respect to an input of this type waits for the backward pass. A mean over many
/// rows has gradients too small for F16, unless a loss scale multiplies them; it does so only then.
pub(super) fn kept_as(input: Dtype) -> Dtype {
    if input == Dtype::F16 { Dtype::F32 } else { input }
}

/// The gradient of an input of this type: `gradient`, which is that of the losses, times the gradient that arrives at these.
pub(super) fn arriving(g: &Gradients<'_>, gradient: &Tensor, input: Dtype) -> Result<Tensor> {
    if g.output_is_one() { Ok(gradient.clone()) } else { scaled_by(gradient, &g.of_output()?, input) }
}

/// Which of the losses [T, B, ..] lie within their sequences.
pub(super) fn within(shape: &[usize], lengths: &Lengths) -> impl Iterator<Item = bool> {
    let width = shape[2..].iter().product::<usize>();
    let steps = (0..shape[0]).flat_map(|step| lengths.host().iter().map(move |length| step < *length));
    steps.flat_map(move |within| std::iter::repeat_n(within, width))
}

/// How many of the losses of a shape lie within their sequences.
pub(super) fn counted(shape: &[usize], lengths: Option<&Lengths>) -> usize {
    match lengths {
        None => shape.iter().product(),
        Some(lengths) => lengths.host().iter().sum::<usize>() * shape[2..].iter().product::<usize>(),
    }
}

/// What is wrong with lengths for losses of a shape.
pub(super) fn check_lengths(shape: &[usize], lengths: Option<&Lengths>) -> std::result::Result<(), String> {
    match (lengths, shape) {
        (None, _) => Ok(()),
        (Some(lengths), [time, batch, ..]) => lengths.check(*time, *batch),
        (Some(_), _) => Err(format!("lengths take losses [T, B, ..], got {shape:?}")),
    }
}
