//! The training of a case: its loss, its steps, and the results that are kept.

use std::collections::BTreeMap;

use super::format::{Description, Loss, Reduction as Reduce, Tensors, malformed};
use super::model::{Forward, Model};
use super::optimizer::optimizer;
use crate::device::Device;
use crate::error::Result;
use crate::ops::cross_entropy::{ClassWeights, CrossEntropyLoss, Reduction};
use crate::ops::indices::Indices;
use crate::ops::regression_loss::RegressionLoss;
use crate::optim::LossScale;
use crate::parameters::{Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::{MAX_RANK, Tensor};

/// What was computed, under the keys of the case's `expect.*`: shape and values.
pub type Computed = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The loss scale in F16. With it the gradients of all cases, some of which are sums over a batch, fit into F16.
const SCALE: f32 = 1024.0;

/// Makes all the steps of a case.
pub fn train(
    device: &Device,
    precision: Precision,
    case: &Description,
    tensors: &Tensors,
) -> Result<Computed> {
    let model = Model::new(device, precision, case, tensors)?;
    let target = Target::new(device, case, tensors)?;
    let mut optimizer = optimizer(&case.optimizer, &model.parameters)?;
    let mut tape = Tape::new(&model.parameters);
    let scaled = precision == Precision::F16;
    if scaled {
        optimizer.scale_loss(LossScale { init_scale: SCALE, ..LossScale::default() })?;
        tape.set_loss_scale(optimizer.loss_scale())?;
    }
    // The scale is a power of two, so that dividing by it loses nothing.
    let scale = if scaled { SCALE } else { 1.0 };
    let mut computed = Computed::new();
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..case.steps {
        tape.clear();
        let forward = model.forward(&mut tape)?;
        let loss = target.loss(&mut tape, forward.output)?;
        optimizer.zero_grad();
        tape.backward(loss)?;
        losses.extend(tape.value(loss)?.to_vec()?);
        if step == 0 {
            keep_first(&mut computed, &model.parameters, &tape, &forward, scale)?;
        }
        if let Some(max_norm) = case.clip_grad_norm {
            optimizer.clip_grad_norm(max_norm)?;
            norms.push(optimizer.control().state()?.grad_norm);
        }
        optimizer.step(None)?;
    }
    computed.insert("expect.loss".into(), (vec![losses.len()], losses));
    if case.clip_grad_norm.is_some() {
        computed.insert("expect.grad_norm".into(), (vec![norms.len()], norms));
    }
    for (name, shape, values) in model.parameters.to_host()? {
        computed.insert(format!("expect.param.{name}"), (shape.to_vec(), values));
    }
    Ok(computed)
}

/// The results of the first forward and backward pass.
fn keep_first(
    computed: &mut Computed,
    parameters: &Parameters,
    tape: &Tape,
    forward: &Forward,
    scale: f32,
) -> Result<()> {
    let mut keep = |key: String, tensor: &Tensor, scale: f32| -> Result<()> {
        let values = tensor.to_vec()?.into_iter().map(|x| x / scale).collect();
        computed.insert(key, (tensor.shape().to_vec(), values));
        Ok(())
    };
    let outputs = [("output", Some(forward.output)), ("h_n", Some(forward.h_n)), ("c_n", forward.c_n)];
    for (name, var) in outputs {
        if let Some(var) = var {
            keep(format!("expect.{name}"), tape.value(var)?, 1.0)?;
        }
    }
    for (name, var) in &forward.leaves {
        if let Some(gradient) = tape.gradient(*var)? {
            keep(format!("expect.grad.{name}"), &gradient, scale)?;
        }
    }
    for (name, _) in parameters.names() {
        let id = parameters.id(name).expect("the name is one of the model's");
        keep(format!("expect.grad.{name}"), &parameters.gradient(id)?, scale)?;
    }
    Ok(())
}

/// What the output is compared with.
enum Target {
    Labels(Indices, CrossEntropyLoss),
    Values(Tensor, ValueLoss, RegressionLoss),
}

#[derive(Clone, Copy)]
enum ValueLoss {
    Mse,
    L1,
    /// With delta 1.
    Huber,
}

impl Target {
    fn new(device: &Device, case: &Description, tensors: &Tensors) -> Result<Target> {
        let (kind, options) = match &case.loss {
            Loss::Mse(options) => (ValueLoss::Mse, options),
            Loss::L1(options) => (ValueLoss::L1, options),
            Loss::Huber(options) => (ValueLoss::Huber, options),
            Loss::CrossEntropy(options) => {
                let (_, labels) = tensors.integers("target")?;
                let weight = match options.weighted {
                    true => Some(ClassWeights::new(device, tensors.floats("class_weight")?.1)?),
                    false => None,
                };
                let loss = CrossEntropyLoss {
                    weight,
                    ignore_index: options.ignore_index,
                    reduction: reduction(options.reduction),
                    label_smoothing: options.label_smoothing,
                    lengths: None,
                };
                return Ok(Target::Labels(Indices::new(device, [labels.len()], &labels)?, loss));
            }
        };
        let (shape, values) = tensors.floats("target")?;
        if shape.len() > MAX_RANK {
            return Err(malformed(format!("the target has too many dimensions: {shape:?}")));
        }
        let target = Tensor::from_f32(device, shape, values)?;
        let options = RegressionLoss { reduction: reduction(options.reduction), lengths: None };
        Ok(Target::Values(target, kind, options))
    }

    fn loss(&self, tape: &mut Tape, output: Var) -> Result<Var> {
        match self {
            Target::Labels(labels, options) => tape.cross_entropy(output, labels, options),
            Target::Values(target, kind, options) => {
                let shape = tape.value(output)?.shape();
                if target.shape() != shape {
                    return Err(malformed(format!(
                        "the target has shape {:?}, the output {shape:?}",
                        target.shape()
                    )));
                }
                let target = tape.constant(target);
                match kind {
                    ValueLoss::Mse => tape.mse_loss(output, target, options),
                    ValueLoss::L1 => tape.l1_loss(output, target, options),
                    ValueLoss::Huber => tape.huber_loss(output, target, 1.0, options),
                }
            }
        }
    }
}

fn reduction(reduction: Reduce) -> Reduction {
    match reduction {
        Reduce::Mean => Reduction::Mean,
        Reduce::Sum => Reduction::Sum,
    }
}
