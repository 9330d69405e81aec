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
        let mut optimizer = config.optimizer.build(parameters, config.lr, config.weight_decay)?;
        optimizer.skip_nonfinite(config.skip_nonfinite);
        Ok(Stepper {
            optimizer,
            tape: Tape::new(parameters),
            dropout: DropoutStream { seed: config.seed, calls: 0 },
            // Without a limit the norm is watched all the same.
            clip: if config.clip > 0.0 { config.clip } else { f32::MAX.into() },
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
        optimizer.clip_grad_norm(self.clip)?;
        let value = tape.value(loss)?.clone();
        optimizer.step(Some(&value))?;
        Ok((loss, value))
    }

    /// Computes the loss of the next batch and its gradients with every result read back.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::error::Error::NonFinite) names the first operation whose result is not finite.
    pub fn search_nonfinite(&mut self, task: &mut dyn Task) -> Result<()> {
        let tape = &mut self.tape;
        tape.clear();
        tape.set_training(Some(self.dropout));
        tape.detect_nonfinite(true);
        self.optimizer.zero_grad();
        let searched = task.loss(tape).and_then(|loss| tape.backward(loss));
        tape.detect_nonfinite(false);
        searched
    }
}
