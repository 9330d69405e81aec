//! Softmax cross-entropy with class indices: torch.nn.CrossEntropyLoss.

use std::sync::Arc;

use super::indices::Indices;
use super::sum::{scaled_by, total};
use crate::cpu::cross_entropy::{self, CrossEntropy as Params};
use crate::device::{Arg, Device, Host};
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// How the losses of the rows become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their sum, divided by the sum of the weights of the rows' classes (their number, where there are no weights).
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// Options of the loss, with PyTorch's names and defaults.
#[derive(Clone, Debug)]
pub struct CrossEntropyLoss {
    /// A weight for each class.
    pub weight: Option<ClassWeights>,
    /// Rows with this label count for nothing.
    pub ignore_index: i32,
    /// Mean or sum over the rows.
    pub reduction: Reduction,
    /// The share ε of each label that is spread evenly over the classes, in 0..=1.
    pub label_smoothing: f32,
}

impl Default for CrossEntropyLoss {
    fn default() -> Self {
        CrossEntropyLoss {
            weight: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
            label_smoothing: 0.0,
        }
    }
}

/// Weights of the classes, on a device.
#[derive(Clone, Debug)]
pub struct ClassWeights {
    tensor: Tensor,
    host: Arc<[f32]>,
}

impl ClassWeights {
    /// Puts them on the device: one for each class.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, weights: &[f32]) -> Result<Self> {
        Ok(ClassWeights { tensor: Tensor::from_f32(device, [weights.len()], weights)?, host: weights.into() })
    }
}

impl CrossEntropyLoss {
    fn check(&self, logits: &Tensor, labels: &Indices) -> Result<usize> {
        let fail = |message: String| Err(Error::argument("cross_entropy", message));
        let shape = logits.shape();
        let Some((&classes, rows)) = shape.split_last().filter(|(classes, _)| **classes > 0) else {
            return fail(format!("takes logits [.., C] with at least one class, got {shape:?}"));
        };
        let flat = Shape::from([rows.iter().product::<usize>()]);
        if *labels.shape() != *rows && labels.shape() != flat {
            return fail(format!(
                "logits {shape:?} take labels {rows:?} or {flat:?}, got {:?}",
                labels.shape()
            ));
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return fail(format!("label_smoothing must be in 0..=1, got {}", self.label_smoothing));
        }
        match &self.weight {
            Some(weight) if weight.host.len() != classes => {
                return fail(format!("{classes} classes take {classes} weights, got {}", weight.host.len()));
            }
            _ => {}
        }
        labels.check("cross_entropy", classes, Some(self.ignore_index))?;
        Ok(classes)
    }

    /// What the sum of the losses is divided by.
    fn denominator(&self, labels: &Indices) -> f64 {
        let counted = labels.host().iter().filter(|label| **label != self.ignore_index);
        match (self.reduction, &self.weight) {
            (Reduction::Sum, _) => 1.0,
            (Reduction::Mean, None) => counted.count() as f64,
            (Reduction::Mean, Some(weight)) => {
                counted.map(|label| f64::from(weight.host[*label as usize])).sum()
            }
        }
    }
}

impl Tape {
    /// The loss `[1]` of logits [.., C] against labels [..]. With log-softmax logp and weight w of the row's label y
    /// (1 without weights):
    ///
    /// l = −(1−ε)·w_y·logp_y − (ε/C)·Σ_c w_c·logp_c, and 0 where y = ignore_index; then their mean or sum.
    ///
    /// Gradient: (1−ε)·w_y·(p − e_y) + (ε/C)·(p·Σ_c w_c − w), computed in the same pass over the logits as the loss.
    /// A mean over no rows at all is NaN, with gradient 0, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Argument`] when shapes do not fit or a label is neither in 0..C nor ignore_index.
    pub fn cross_entropy(
        &mut self,
        logits: Var,
        labels: &Indices,
        options: &CrossEntropyLoss,
    ) -> Result<Var> {
        let input = self.value(logits)?.clone();
        let classes = options.check(&input, labels)?;
        let device = input.device();
        let denominator = options.denominator(labels);
        let losses = Tensor::empty(&device, Dtype::F32, [labels.count()])?;
        let dlogits = Tensor::empty(&device, Dtype::F32, input.shape())?;
        let loss = if denominator == 0.0 {
            dlogits.fill(0.0)?;
            let loss = Tensor::empty(&device, Dtype::F32, [1])?;
            loss.assign(Host::F32(&[f32::NAN]))?;
            loss
        } else {
            let params = Params {
                rows: labels.count() as u32,
                classes: classes as u32,
                ignore_index: options.ignore_index,
                smoothing: options.label_smoothing,
                weighted: options.weight.is_some().into(),
                scale: (1.0 / denominator) as f32,
            };
            let weight = options.weight.as_ref().map_or(Arg::absent(), |weight| weight.tensor.read());
            let args = [input.read(), labels.tensor().read(), weight, losses.write(), dlogits.write()];
            device.launch(&cross_entropy::plan(&params), &params, &args)?;
            total(&losses)?
        };
        self.push("cross_entropy", &[logits], loss, || {
            Box::new(move |g| {
                let gradient =
                    if g.output_is_one() { dlogits.clone() } else { scaled_by(&dlogits, &g.of_output()?)? };
                g.give(0, gradient)
            })
        })
    }
}
