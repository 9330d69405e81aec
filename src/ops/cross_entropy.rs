//! Softmax cross-entropy with class indices or probabilities: torch.nn.CrossEntropyLoss.

use std::sync::Arc;

use super::indices::Indices;
use super::loss::{Reduce, arriving, check_lengths, counted, kept_as, within};
use super::recurrent::Lengths;
use crate::cpu::cross_entropy::{self, CrossEntropy as Params};
use crate::cpu::cross_entropy_soft::{self, CrossEntropySoft};
use crate::device::{Arg, Device};
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

pub use super::loss::Reduction;

/// Options of the loss, with PyTorch's names and defaults.
#[derive(Clone, Debug)]
pub struct CrossEntropyLoss {
    /// A weight for each class.
    pub weight: Option<ClassWeights>,
    /// Rows with this label count for nothing: loss and gradient are 0 there.
    pub ignore_index: i32,
    /// Mean or sum over the rows; or neither: then the loss has the shape of the rows.
    pub reduction: Reduction,
    /// The share ε of each label that is spread evenly over the classes, in 0..=1.
    pub label_smoothing: f32,
    /// For logits [T, B, C] of sequences: steps behind a sequence's end count for nothing, as if their label were
    /// ignore_index.
    pub lengths: Option<Lengths>,
}

impl Default for CrossEntropyLoss {
    fn default() -> Self {
        CrossEntropyLoss {
            weight: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
            label_smoothing: 0.0,
            lengths: None,
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
    /// The number of classes and the shape of the rows of logits that the options fit.
    fn check(&self, op: &'static str, logits: &Tensor) -> Result<(usize, Shape)> {
        let fail = |message: String| Err(Error::argument(op, message));
        let shape = logits.shape();
        let Some((&classes, rows)) = shape.split_last().filter(|(classes, _)| **classes > 0) else {
            return fail(format!("takes logits [.., C] with at least one class, got {shape:?}"));
        };
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return fail(format!("label_smoothing must be in 0..=1, got {}", self.label_smoothing));
        }
        match &self.weight {
            Some(weight) if weight.host.len() != classes => {
                return fail(format!("{classes} classes take {classes} weights, got {}", weight.host.len()));
            }
            _ => {}
        }
        match check_lengths(rows, self.lengths.as_ref()) {
            Ok(()) => Ok((classes, Shape::from(rows))),
            Err(message) => fail(message),
        }
    }

    fn check_labels(&self, logits: Shape, rows: Shape, classes: usize, labels: &Indices) -> Result<()> {
        let flat = Shape::from([rows.count()]);
        if labels.shape() != rows && labels.shape() != flat {
            let found = labels.shape();
            let message = format!("logits {logits:?} take labels {rows:?} or {flat:?}, got {found:?}");
            return Err(Error::argument("cross_entropy", message));
        }
        labels.check("cross_entropy", classes, Some(self.ignore_index))
    }

    /// The sum of the weights of the labels that count.
    fn denominator(&self, rows: &[usize], labels: &Indices) -> f64 {
        let weight = |label: &i32| match &self.weight {
            _ if *label == self.ignore_index => 0.0,
            None => 1.0,
            Some(weight) => f64::from(weight.host[*label as usize]),
        };
        let weights = labels.host().iter().map(weight);
        match &self.lengths {
            None => weights.sum(),
            Some(lengths) => {
                let inside = weights.zip(within(rows, lengths)).filter(|(_, within)| *within);
                inside.map(|(weight, _)| weight).sum()
            }
        }
    }

    fn weight(&self) -> Arg<'_> {
        self.weight.as_ref().map_or(Arg::absent(), |weight| weight.tensor.read())
    }
}

impl Tape {
    /// The loss of logits [.., C] against labels [..], as torch.nn.CrossEntropyLoss. Of each row of logits, with
    /// p = softmax(logits), its label y, class weights w (1 where there are none) and label smoothing ε:
    ///
    /// l = −(1−ε)·w_y·ln p_y − (ε/C)·Σ_c w_c·ln p_c, and 0 where y is ignore_index.
    ///
    /// The result is their mean (Σ l / Σ w_y over the rows that count) or sum, `[1]`, or all of them, in the shape of the rows.
    /// A mean over no rows is NaN, with gradient 0, as in PyTorch.
    ///
    /// Gradient: of each l, dlogits = (1−ε)·w_y·(p − onehot(y)) + (ε/C)·(p·Σ_c w_c − w). It is computed together with the loss.
    ///
    /// # Errors
    /// [`Error::Argument`] when shapes do not fit or a label is neither in 0..C nor ignore_index, also behind the end of a
    /// sequence.
    pub fn cross_entropy(
        &mut self,
        logits: Var,
        labels: &Indices,
        options: &CrossEntropyLoss,
    ) -> Result<Var> {
        let input = self.value(logits)?.clone();
        let (classes, rows) = options.check("cross_entropy", &input)?;
        options.check_labels(input.shape(), rows, classes, labels)?;
        let reduce = Reduce {
            reduction: options.reduction,
            denominator: options.denominator(&rows, labels),
            shape: rows,
            lengths: options.lengths.as_ref(),
        };
        let device = input.device();
        let losses = Tensor::empty(&device, Dtype::F32, rows)?;
        let dlogits = Tensor::empty(&device, kept_as(input.dtype()), input.shape())?;
        let params = Params {
            rows: labels.count() as u32,
            classes: classes as u32,
            ignore_index: options.ignore_index,
            smoothing: options.label_smoothing,
            weighted: options.weight.is_some().into(),
            scale: reduce.scale(),
        };
        let args = [input.read(), labels.tensor().read(), options.weight(), losses.write(), dlogits.write()];
        device.launch(&cross_entropy::plan(&params, device.limits()), &params, &args)?;
        let [loss, dlogits] = reduce.finish("cross_entropy", losses, dlogits)?;
        let dtype = input.dtype();
        self.push("cross_entropy", &[logits], loss, || {
            Box::new(move |g| g.give(0, arriving(g, &dlogits, dtype)?))
        })
    }

    /// The loss of logits [.., C] against probabilities q [.., C] of the classes, as torch.nn.CrossEntropyLoss with such
    /// targets. No gradient flows to q. Of each row, with p = softmax(logits), class weights w (1 where there are none), label
    /// smoothing ε and a_c = w_c·((1−ε)·q_c + ε/C):
    ///
    /// l = −Σ_c a_c·ln p_c.
    ///
    /// The result is their mean, which divides by the number of rows, or sum, `[1]`, or all of them, in the shape of the rows.
    /// Whether the probabilities of a row add up to 1 is not checked.
    ///
    /// Gradient: of each l, dlogits = p·Σ_c a_c − a. It is computed together with the loss.
    ///
    /// # Errors
    /// [`Error::Argument`] when shapes do not fit, or ignore_index is not negative: there are no labels to ignore.
    pub fn cross_entropy_probabilities(
        &mut self,
        logits: Var,
        probabilities: &Tensor,
        options: &CrossEntropyLoss,
    ) -> Result<Var> {
        const OP: &str = "cross_entropy_probabilities";
        let input = self.value(logits)?.clone();
        let (classes, rows) = options.check(OP, &input)?;
        if probabilities.shape() != input.shape() {
            return super::mismatch(OP, input.shape(), probabilities.shape());
        }
        if options.ignore_index >= 0 {
            let message = format!("takes no labels to ignore, got ignore_index {}", options.ignore_index);
            return Err(Error::argument(OP, message));
        }
        let lengths = options.lengths.as_ref();
        let denominator = counted(&rows, lengths) as f64;
        let reduce = Reduce { reduction: options.reduction, denominator, shape: rows, lengths };
        let device = input.device();
        let losses = Tensor::empty(&device, Dtype::F32, rows)?;
        let dlogits = Tensor::empty(&device, kept_as(input.dtype()), input.shape())?;
        let params = CrossEntropySoft {
            rows: rows.count() as u32,
            classes: classes as u32,
            smoothing: options.label_smoothing,
            weighted: options.weight.is_some().into(),
            scale: reduce.scale(),
        };
        let args = [input.read(), probabilities.read(), options.weight(), losses.write(), dlogits.write()];
        device.launch(&cross_entropy_soft::plan(&params, device.limits()), &params, &args)?;
        let [loss, dlogits] = reduce.finish(OP, losses, dlogits)?;
        let dtype = input.dtype();
        self.push("cross_entropy_probabilities", &[logits], loss, || {
            Box::new(move |g| g.give(0, arriving(g, &dlogits, dtype)?))
        })
    }
}
