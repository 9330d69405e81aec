//! One step of training.

use super::config::TrainConfig;
use super::task::Task;
use crate::error::Result;
use crate::optim::Optimizer;
use crate::parameters::Parameters;
use crate::tape::{DropoutStream, Tape, Var};
use crate::tensor::Tensor;

/// What steps are made with.
pub(crate) struct Stepper {
    pub optimizer: Box<dyn Optimizer>,
    pub tape: Tape,
    /// Where dropout's random numbers go on.
    pub dropout: DropoutStream,
    clip: f64,
}

impl Stepper {
    pub fn new(config: &TrainConfig, parameters: &Parameters) -> Result<Stepper> {
        Ok(Stepper {
            optimizer: config.optimizer.build(parameters, config.lr, config.weight_decay)?,
            tape: Tape::new(parameters),
            dropout: DropoutStream { seed: config.seed, calls: 0 },
            clip: config.clip,
        })
    }

    /// Records a step: forward, loss, backward, clipping, update. The loss, on the tape and as its value.
    pub fn step(&mut self, task: &mut dyn Task, lr: f64) -> Result<(Var, Tensor)> {
        let Stepper { optimizer, tape, .. } = self;
        optimizer.set_lr(lr)?;
        tape.clear();
        tape.set_training(Some(self.dropout));
        let loss = task.loss(tape)?;
        self.dropout = tape.training().expect("set above");
        optimizer.zero_grad();
        tape.backward(loss)?;
        if self.clip > 0.0 {
            optimizer.clip_grad_norm(self.clip)?;
        }
        let value = tape.value(loss)?.clone();
        optimizer.step(Some(&value))?;
        Ok((loss, value))
    }
}
