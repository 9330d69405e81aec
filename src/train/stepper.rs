//! One step of training.

use super::config::TrainConfig;
use super::run::Tensors;
use super::task::{Part, Task};
use crate::error::{Error, Result};
use crate::optim::{LossScale, Optimizer};
use crate::parameters::{Parameters, Precision};
use crate::tape::{DropoutStream, Tape, Var};
use crate::tensor::Tensor;

/// Makes steps: those of a training, and those that are only looked at.
pub struct Stepper {
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) tape: Tape,
    /// Where the random numbers of dropout go on.
    pub(crate) dropout: DropoutStream,
    clip: f64,
    /// In how many parts a batch is taken.
    parts: usize,
}

impl Stepper {
    /// The optimizer of the settings and an empty tape, for a model with these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`] when the settings make no optimizer; [`Error::Gpu`] on a fault.
    pub fn new(config: &TrainConfig, parameters: &Parameters) -> Result<Stepper> {
        let mut optimizer = config.optimizer.build(parameters, config.lr, config.weight_decay)?;
        optimizer.skip_nonfinite(config.skip_nonfinite);
        let mut tape = Tape::new(parameters);
        if parameters.precision() == Precision::F16 {
            optimizer.scale_loss(LossScale { init_scale: config.loss_scale, ..LossScale::default() })?;
            tape.set_loss_scale(optimizer.loss_scale())?;
        }
        Ok(Stepper {
            optimizer,
            tape,
            dropout: DropoutStream { seed: config.seed, calls: 0 },
            // Also without a limit, so that the norm is known.
            clip: if config.clip > 0.0 { config.clip } else { f32::MAX.into() },
            parts: config.accumulate,
        })
    }

    /// Records a step: forward, loss, backward, clipping, update. Gives the loss, on the tape and as a tensor. Nothing is handed
    /// to the device yet: see [`Device::end_step`](crate::device::Device::end_step).
    ///
    /// # Errors
    /// [`Error::Argument`] when a batch of the task cannot be taken in so many parts; [`Error::Data`] when the data can no
    /// longer be read; [`Error::Gpu`] on a fault.
    pub fn step(&mut self, task: &mut dyn Task, lr: f64) -> Result<(Var, Tensor)> {
        self.check_parts(task)?;
        self.optimizer.set_lr(lr)?;
        let loss = self.backward(task)?;
        let device = self.tape.device().clone();
        let _span = device.span("optimizer");
        self.optimizer.clip_grad_norm(self.clip)?;
        let value = self.tape.value(loss)?.clone();
        self.optimizer.step(Some(&value))?;
        Ok((loss, value))
    }

    /// An error unless a batch of the task can be taken in as many parts as the settings ask for.
    pub(crate) fn check_parts(&self, task: &dyn Task) -> Result<()> {
        let (parts, rows) = (self.parts, task.rows());
        if parts <= rows {
            return Ok(());
        }
        let message = match rows {
            1 => "a batch cannot be taken in parts here: it has one row".to_string(),
            rows => format!("a batch can be taken in {rows} parts at most"),
        };
        Err(Error::argument("train", format!("--accumulate {parts}: {message}")))
    }

    /// The tape of the last step; of a batch that is taken in parts, of its last part.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Records forward and backward pass of the next batch, part by part. Gives the mean loss over all parts.
    fn backward(&mut self, task: &mut dyn Task) -> Result<Var> {
        let Stepper { optimizer, tape, dropout, parts, .. } = self;
        let (of, device) = (*parts, tape.device().clone());
        optimizer.zero_grad();
        tape.set_training(Some(*dropout));
        let mut sum: Option<Tensor> = None;
        for index in 0..of {
            tape.clear();
            let forward = device.span("forward");
            let (mut loss, share) = task.loss(tape, Part { index, of })?;
            if of > 1 {
                loss = tape.scale(loss, share as f32)?;
            }
            if let Some(sum) = &sum {
                let before = tape.constant(sum);
                loss = tape.add(loss, before)?;
            }
            drop(forward);
            tape.backward(loss)?;
            *dropout = tape.training().expect("set above");
            if index + 1 == of {
                return Ok(loss);
            }
            sum = Some(tape.value(loss)?.clone());
        }
        unreachable!("a batch has at least one part")
    }

    /// Computes the loss of the next batch and its gradients, and reads every result back to see whether it is finite.
    ///
    /// # Errors
    /// [`Error::NonFinite`] names a parameter that is not finite, else the first operation whose result is not.
    pub(crate) fn search_nonfinite(&mut self, task: &mut dyn Task) -> Result<()> {
        assert_finite(&task.model().parameters().to_host()?)?;
        self.tape.detect_nonfinite(true);
        let searched = self.backward(task);
        self.tape.detect_nonfinite(false);
        searched.map(|_| ())
    }
}

/// An error that names the first parameter that is not finite.
pub(crate) fn assert_finite(parameters: &Tensors) -> Result<()> {
    match parameters.iter().find(|(.., values)| !values.iter().all(|x| x.is_finite())) {
        Some((name, ..)) => Err(Error::NonFinite { what: format!("the parameter {name}"), at: None }),
        None => Ok(()),
    }
}
