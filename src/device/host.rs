//! Values on their way between host and device.

use std::sync::Arc;

use super::gpu::PendingRead;
use crate::cpu::real::Bounded;
use crate::error::{Error, Result};

/// Host values to copy to a device.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// Reals in 32 bits, rounded to what the device holds.
    F32(&'a [f32]),
    /// Reals in 64 bits, rounded to what the device holds.
    F64(&'a [f64]),
    /// Integers.
    I32(&'a [i32]),
}

impl Host<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Host::F32(x) => x.len(),
            Host::F64(x) => x.len(),
            Host::I32(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Host::F32(_) => "F32",
            Host::F64(_) => "F64",
            Host::I32(_) => "I32",
        }
    }

    /// Whether they are reals. A tensor of any type of reals takes them.
    pub fn is_real(&self) -> bool {
        !matches!(self, Host::I32(_))
    }
}

/// Values read back. Which kind they are depends on the device.
#[derive(Clone, Debug)]
pub enum Values {
    /// Of the CPU device or a GPU.
    F32(Vec<f32>),
    /// Of the reference device.
    F64(Vec<f64>),
    /// Of the bounded device.
    Bounded(Vec<Bounded>),
    /// Integers, of any device.
    I32(Vec<i32>),
}

impl Values {
    /// Reals in 32 bits (of a reference device: rounded).
    pub fn f32(self) -> Vec<f32> {
        match self {
            Values::F32(x) => x,
            other => other.f64().into_iter().map(|x| x as f32).collect(),
        }
    }

    /// Reals in 64 bits.
    pub fn f64(self) -> Vec<f64> {
        match self {
            Values::F32(x) => x.into_iter().map(f64::from).collect(),
            Values::F64(x) => x,
            Values::Bounded(x) => x.into_iter().map(|x| x.value).collect(),
            Values::I32(x) => x.into_iter().map(f64::from).collect(),
        }
    }

    /// Reals with their error bounds; a bound of 0 where the device has none.
    pub fn bounded(self) -> Vec<Bounded> {
        match self {
            Values::Bounded(x) => x,
            other => other.f64().into_iter().map(|value| Bounded { value, error: 0.0 }).collect(),
        }
    }

    /// Integers.
    ///
    /// # Errors
    /// [`Error::Argument`] when the tensor holds reals.
    pub fn i32(self) -> Result<Vec<i32>> {
        match self {
            Values::I32(x) => Ok(x),
            _ => Err(Error::argument("read_back", "asked for integers, the tensor holds reals")),
        }
    }
}

/// Values on their way to the host.
pub struct ReadBack(pub(super) State);

pub(super) enum State {
    Ready(Values),
    Pending(Arc<super::gpu::Gpu>, PendingRead),
    Tampered(Arc<super::tampered::Tampered>, Box<ReadBack>),
}

impl ReadBack {
    /// Waits until the values are there.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails or does not answer.
    pub fn wait(mut self) -> Result<Values> {
        match std::mem::replace(&mut self.0, State::Ready(Values::I32(Vec::new()))) {
            State::Ready(values) => Ok(values),
            State::Pending(gpu, read) => gpu.finish_read(read),
            State::Tampered(device, read) => device.call().and_then(|()| read.wait()),
        }
    }
}

impl std::fmt::Debug for ReadBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadBack")
    }
}

/// A read that nobody waits for any more gives its staging buffer back.
impl Drop for ReadBack {
    fn drop(&mut self) {
        if let State::Pending(gpu, read) =
            std::mem::replace(&mut self.0, State::Ready(Values::I32(Vec::new())))
        {
            gpu.discard_read(read);
        }
    }
}
