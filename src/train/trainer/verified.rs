//! Steps that are made twice, for `--verify-determinism`: everything that they compute is compared bit by bit.

use super::Trainer;
use super::resume::load;
use crate::error::{Error, Fault, Result};
use crate::tape::Var;
use crate::tensor::Tensor;
use crate::train::late::LateSteps;
use crate::train::run::Tensors;
use crate::train::stepper::Stepper;
use crate::train::task::Task;
use crate::train::{Event, Hooks};

impl Trainer<'_> {
    /// Makes a step, takes it back, and queues it again: its bits must be the same.
    pub(super) fn step_verified(&mut self, step: u64, hooks: &mut Hooks<'_>) -> Result<Var> {
        let aside = self.device.pause_profile();
        let begin = self.begin();
        let before = Bits::of(&self.stepper, self.task, None)?;
        let lr = self.lr(step);
        let (_, loss) = self.stepper.step(self.task, lr)?;
        let first = Bits::of(&self.stepper, self.task, Some(&loss))?;
        load(self.task.model().parameters(), &before.parameters)?;
        self.stepper.optimizer.load_state(&before.optimizer)?;
        self.late =
            LateSteps::new(self.config.skip_nonfinite, [self.progress.skipped, self.progress.overflowed]);
        self.go_back(&begin)?;
        drop(aside);
        let loss = self.step(step)?;
        let _aside = self.device.pause_profile();
        let value = self.stepper.tape.value(loss)?.clone();
        first.compare(&Bits::of(&self.stepper, self.task, Some(&value))?, step, &self.device.info().name)?;
        self.verified += 1;
        if self.verified == hooks.verify {
            (hooks.on_event)(Event::Verified { steps: self.verified })?;
        }
        Ok(loss)
    }
}

/// Everything that a step changes or computes, on the host.
struct Bits {
    parameters: Tensors,
    optimizer: Tensors,
    /// Loss, gradients, carried states.
    others: Tensors,
}

impl Bits {
    /// What there is now.
    fn of(stepper: &Stepper, task: &dyn Task, loss: Option<&Tensor>) -> Result<Bits> {
        let parameters = task.model().parameters();
        let mut others = Tensors::new();
        let mut keep = |name: String, tensor: &Tensor| -> Result<()> {
            others.push((name, tensor.shape(), tensor.to_vec()?));
            Ok(())
        };
        if let Some(loss) = loss {
            keep("the loss".into(), loss)?;
            keep("the gradients".into(), parameters.arenas()?.1)?;
        }
        task.place().states.iter().try_for_each(|(name, state)| keep(format!("the state {name}"), state))?;
        let optimizer = stepper.optimizer.state()?;
        Ok(Bits { parameters: parameters.to_host()?, optimizer, others })
    }

    /// An error where a number has other bits.
    fn compare(&self, again: &Bits, step: u64, device: &str) -> Result<()> {
        let pairs = [
            (&self.others, &again.others),
            (&self.optimizer, &again.optimizer),
            (&self.parameters, &again.parameters),
        ];
        for ((name, _, first), (.., second)) in pairs.iter().flat_map(|(a, b)| a.iter().zip(b.iter())) {
            let differs = |k: &usize| first[*k].to_bits() != second[*k].to_bits();
            if let Some(k) = (0..first.len()).find(differs) {
                let (what, first, second) = (format!("{name}[{k}] of step {step}"), first[k], second[k]);
                let device = device.to_string();
                return Err(Error::Gpu(Fault::NotRepeatable { device, what, first, second }));
            }
        }
        Ok(())
    }
}
