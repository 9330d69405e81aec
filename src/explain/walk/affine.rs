//! x·Wᵀ + b at every step of a sample, and the gradients of W and b as they grow.

use serde::Serialize;

use super::recorded::Recorded;
use super::{Batch, Matrix, gradient, product, readable, rows};
use crate::device::Profile;
use crate::error::Result;
use crate::tape::{NodeInfo, Tape, Var};

/// x·Wᵀ + b: the linear layer, or what the gates of a recurrent layer take in of its input or of its state.
#[derive(Clone, Debug, Serialize)]
pub struct Affine {
    /// The variant of the kernel that adds up its products.
    pub variant: usize,
    /// What the sample gives it to read, step by step.
    pub x: Matrix,
    /// W.
    pub w: Matrix,
    /// b.
    pub b: Vec<f64>,
    /// dL/da for a = x·Wᵀ + b, step by step.
    pub da: Matrix,
    /// What all other samples of the batch add to dL/dW and dL/db.
    pub others: Gradient,
    /// dL/dW and dL/db of the whole batch, as the device has added them up.
    pub device: Gradient,
}

/// The gradients of a weight and its bias.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gradient {
    /// dL/dW.
    pub dw: Matrix,
    /// dL/db.
    pub db: Vec<f64>,
}

/// x and da of the whole batch, [T·B, ..].
pub(super) struct Read<'a> {
    pub x: &'a [Vec<f64>],
    pub da: &'a [Vec<f64>],
}

impl Affine {
    /// Of a batch's x and da, the weights that a launch has read, and their gradients on the tape.
    pub(super) fn new(
        tape: &Tape,
        variant: usize,
        (w, b): (Matrix, Vec<f64>),
        [weight, bias]: [Var; 2],
        Read { x, da }: Read<'_>,
        batch: Batch,
    ) -> Result<Affine> {
        let others = (0..da.len()).filter(|row| !batch.owns(*row)).map(|row| (&x[row], &da[row]));
        Ok(Affine {
            variant,
            x: batch.own(x),
            da: batch.own(da),
            others: Gradient::sum(&w, others),
            device: Gradient { dw: rows(&gradient(tape, weight)?, w[0].len()), db: gradient(tape, bias)? },
            w,
            b,
        })
    }

    /// The linear layer, from the gradient of what it gives.
    pub(super) fn of_linear(
        tape: &Tape,
        profile: &Profile,
        (index, node): (usize, &NodeInfo),
        dy: &[Vec<f64>],
        batch: Batch,
    ) -> Result<Affine> {
        let product = product(profile, index)?;
        let (w, b) = affine(&product);
        readable(w.len())?;
        let x = rows(&tape.value(node.inputs[0])?.to_f64()?, w[0].len());
        Affine::new(
            tape,
            product.variant(),
            (w, b),
            [node.inputs[1], node.inputs[2]],
            Read { x: &x, da: dy },
            batch,
        )
    }

    /// What the sample adds to dL/dW and dL/db from row `from` of [`Affine::x`] on: the backward pass, which goes from the last
    /// step to the first, is then as far as that. The device adds up all steps of all samples in one launch.
    pub fn grown(&self, from: usize) -> Gradient {
        Gradient::sum(&self.w, self.x.iter().zip(&self.da).skip(from))
    }

    /// How far the sample's gradients and those of the others together are from the device's, at most.
    pub fn gap(&self) -> f64 {
        let own = self.grown(0);
        let sums = own.numbers().zip(self.others.numbers()).map(|(own, others)| own + others);
        let gaps = sums.zip(self.device.numbers()).map(|(sum, device)| (sum - device).abs());
        // Not f64::max, which loses a NaN.
        gaps.fold(0.0, |most, gap| if gap > most || gap.is_nan() { gap } else { most })
    }
}

impl Gradient {
    /// Σ daᵀ·x and Σ da.
    fn sum<'a>(w: &Matrix, pairs: impl Iterator<Item = (&'a Vec<f64>, &'a Vec<f64>)>) -> Gradient {
        let mut sum = Gradient { dw: vec![vec![0.0; w[0].len()]; w.len()], db: vec![0.0; w.len()] };
        for (x, da) in pairs {
            for ((row, db), da) in sum.dw.iter_mut().zip(&mut sum.db).zip(da) {
                row.iter_mut().zip(x).for_each(|(sum, x)| *sum += da * x);
                *db += da;
            }
        }
        sum
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.dw.iter().flatten().chain(&self.db).copied()
    }
}

/// W and the first bias of x·Wᵀ + b.
pub(super) fn affine(product: &Recorded<'_>) -> (Matrix, Vec<f64>) {
    let [n, k] = ["n", "k"].map(|name| product.param(name) as usize);
    let mut w = rows(&product.values("b")[product.param("b_offset") as usize..], k);
    w.truncate(n);
    (w, product.values("bias"))
}
