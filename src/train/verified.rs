//! Everything that a step computes, to be compared bit by bit with the same step made again.

use super::run::Tensors;
use super::stepper::Stepper;
use super::task::Task;
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;

/// What there is after a step.
pub(super) struct Bits {
    pub parameters: Tensors,
    pub optimizer: Tensors,
    /// Loss, gradients, carried states.
    others: Tensors,
}

impl Bits {
    /// What there is now.
    pub fn of(stepper: &Stepper, task: &dyn Task, loss: Option<&Tensor>) -> Result<Bits> {
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
    pub fn compare(&self, again: &Bits, step: u64) -> Result<()> {
        let pairs = [
            (&self.others, &again.others),
            (&self.optimizer, &again.optimizer),
            (&self.parameters, &again.parameters),
        ];
        for ((name, _, first), (.., second)) in pairs.iter().flat_map(|(a, b)| a.iter().zip(b.iter())) {
            let differs = |k: &usize| first[*k].to_bits() != second[*k].to_bits();
            if let Some(k) = (0..first.len()).find(differs) {
                let (what, first, second) = (format!("{name}[{k}] of step {step}"), first[k], second[k]);
                return Err(Error::Gpu(Fault::NotRepeatable { what, first, second }));
            }
        }
        Ok(())
    }
}
