//! Sequences of different lengths in one batch.

use std::sync::Arc;

use crate::cpu::mask_steps::{MASK_STEPS, MaskSteps};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The number of steps of each sequence of a batch: what torch.nn.utils.rnn.pack_padded_sequence takes. They may come in any
/// order; nothing is sorted.
#[derive(Clone, Debug)]
pub struct Lengths {
    tensor: Tensor,
    host: Arc<[usize]>,
}

impl Lengths {
    /// Puts the lengths of B sequences on a device.
    ///
    /// # Errors
    /// [`Error::Argument`] when one is 0 or too large to count; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, lengths: &[usize]) -> Result<Lengths> {
        let words = lengths.iter().map(|length| i32::try_from(*length).ok().filter(|length| *length > 0));
        let Some(words) = words.collect::<Option<Vec<i32>>>() else {
            let at = lengths.iter().position(|length| i32::try_from(*length).unwrap_or(0) == 0);
            let at = at.expect("one of them is no length");
            let message =
                format!("a length must be from 1 to {}, got {} for sequence {at}", i32::MAX, lengths[at]);
            return Err(Error::argument("Lengths", message));
        };
        Ok(Lengths { tensor: Tensor::from_i32(device, [lengths.len()], &words)?, host: lengths.into() })
    }

    /// The lengths.
    pub fn host(&self) -> &[usize] {
        &self.host
    }

    /// What is wrong with them for sequences of `time` steps in a batch of `batch`.
    pub(crate) fn check(&self, time: usize, batch: usize) -> std::result::Result<(), String> {
        if self.host.len() != batch {
            return Err(format!(
                "lengths must be one for each of {batch} sequences, got {}",
                self.host.len()
            ));
        }
        match self.host.iter().position(|length| *length > time) {
            None => Ok(()),
            Some(at) => {
                Err(format!("lengths must be at most {time}, got {} for sequence {at}", self.host[at]))
            }
        }
    }

    /// The lengths on the device, where they fit.
    pub(in crate::ops) fn checked(&self, op: &'static str, time: usize, batch: usize) -> Result<Tensor> {
        self.check(time, batch).map_err(|message| Error::argument(op, message))?;
        Ok(self.tensor.clone())
    }
}

/// x [T, B, ..] with 0 where sequences have ended.
pub(in crate::ops) fn masked(x: &Tensor, lengths: &Tensor) -> Result<Tensor> {
    let (shape, device) = (x.shape(), x.device());
    let y = Tensor::empty(&device, x.dtype(), shape)?;
    let width = shape[2..].iter().product::<usize>();
    let [time, batch, width] = [shape[0], shape[1], width].map(|n| n as u32);
    let args = [x.read(), lengths.read(), y.write()];
    let plan = Plan::rows_of_fours(&MASK_STEPS, y.count(), width as usize);
    device.launch(&plan, &MaskSteps { time, batch, width }, &args)?;
    Ok(y)
}

impl Tape {
    /// x [T, B, ..] with 0 at the steps behind each sequence's end: y = x at step t of sequence b where t < `lengths[b]`.
    ///
    /// Gradient: dx is dy with 0 at the same places.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit x; [`Error::Gpu`] on a fault.
    pub fn mask_steps(&mut self, x: Var, lengths: &Lengths) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        let &[time, batch, ..] = &*shape else {
            return Err(Error::argument("mask_steps", format!("input must be [T, B, ..], got {shape:?}")));
        };
        let lengths = lengths.checked("mask_steps", time, batch)?;
        let y = masked(input, &lengths)?;
        self.push("mask_steps", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give(0, masked(&dy, &lengths)?)
            })
        })
    }
}
