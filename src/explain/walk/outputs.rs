//! What comes out of the network, and the loss.

use serde::Serialize;

use super::recorded::Recorded;
use super::{Batch, Matrix, readable, rows};
use crate::cpu::cross_entropy::CROSS_ENTROPY;
use crate::cpu::regression_loss::REGRESSION_LOSS;
use crate::device::{Profile, Work};
use crate::error::Result;
use crate::tape::{NodeInfo, Tape};

/// What comes out of the network for the walked sample: of all steps, or of the last alone. What belongs to these steps has a
/// row for each of them.
#[derive(Clone, Debug, Serialize)]
pub struct Outputs {
    /// The first step that has an output; so have all behind it.
    pub first: usize,
    /// The logits, or with squared errors what is to be near the targets: what the linear layer gives, or h itself.
    pub y: Matrix,
    /// What it is compared with.
    pub target: Target,
    /// −ln of the probability of the label, or the squared error of each element.
    pub losses: Matrix,
    /// How many such losses the whole batch has.
    pub count: usize,
    /// What the kernel multiplies each of them with to get the mean: 1 / count, in 32 bits.
    pub scale: f64,
    /// Their mean.
    pub loss: f64,
    /// dL/dy.
    pub dy: Matrix,
}

/// What outputs are compared with.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Cross-entropy.
    Classes {
        /// The class that each step is to name.
        labels: Vec<usize>,
        /// softmax of the logits.
        probabilities: Matrix,
    },
    /// Mean squared error, from these.
    Values(Matrix),
}

impl Outputs {
    /// The sample's, and of the whole batch the labels or targets and dL/dy.
    pub(super) fn read(
        tape: &Tape,
        profile: &Profile,
        (index, node): (usize, &NodeInfo),
        batch: Batch,
        time: usize,
    ) -> Result<(Outputs, Vec<f64>, Matrix)> {
        let classes = node.name == "cross_entropy";
        let (kernel, [y, dy]) = match classes {
            true => (CROSS_ENTROPY.name, ["logits", "dlogits"]),
            false => (REGRESSION_LOSS.name, ["x", "dx"]),
        };
        let loss = Recorded::last(profile, kernel, Work::Forward(Some(index)))?;
        let width = *tape.value_info(node.inputs[0])?.shape.last().expect("a loss takes rows");
        readable(width)?;
        let scale = f64::from(f32::from_bits(loss.param("scale")));
        let (targets, mut losses) = (loss.values("labels"), loss.values("losses"));
        let count = losses.len();
        losses.iter_mut().for_each(|loss| *loss /= scale);
        let (y, dy) = (batch.own(&rows(&loss.values(y), width)), rows(&loss.values(dy), width));
        let own = |values: &[f64], width: usize| batch.own(&rows(values, width));
        let target = match classes {
            true => Target::Classes {
                labels: own(&targets, 1).into_iter().map(|label| label[0] as usize).collect(),
                probabilities: y.iter().map(|row| softmax(row)).collect(),
            },
            false => Target::Values(own(&targets, width)),
        };
        let outputs = Outputs {
            first: time - y.len(),
            y,
            target,
            losses: own(&losses, if classes { 1 } else { width }),
            count,
            scale,
            loss: tape.value(node.outputs[0])?.to_f64()?[0],
            dy: batch.own(&dy),
        };
        Ok((outputs, targets, dy))
    }

    /// The row of a step, where it has an output.
    pub fn row(&self, step: usize) -> Option<usize> {
        step.checked_sub(self.first)
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
