//! What it costs to have a kernel run at all: the kernels of these cases have next to nothing to compute.

use super::{Bench, Case, Facts};
use crate::cpu::scale::{SCALE, Scale};
use crate::device::Device;
use crate::error::Result;
use crate::kernel::{Dtype, Plan};
use crate::tensor::Tensor;

/// The costs of a launch, a submission and a read-back, with a tensor of 64 numbers. A step of the first case has 100 launches.
pub fn dispatch() -> Vec<Case> {
    [
        ("dispatch", "100 launches, each of which reads what the one before has written", [100, 0]),
        ("submit", "a launch and a submission", [1, 1]),
        ("read_back", "a launch, a submission and a wait for its result", [1, 2]),
    ]
    .map(|(name, about, [launches, waits])| Case {
        name: name.into(),
        about: about.into(),
        halves: false,
        prepare: Box::new(move |device, _| {
            let tensor = || Tensor::empty(device, Dtype::F32, [64]);
            let (x, y) = (tensor()?, tensor()?);
            x.fill(0.5)?;
            Ok(Box::new(Launches { device: device.clone(), x, y, launches, waits }))
        }),
    })
    .into()
}

struct Launches {
    device: Device,
    x: Tensor,
    y: Tensor,
    launches: usize,
    /// What follows the launches of a step: nothing (0), a submission (1), or a submission and a read-back (2).
    waits: usize,
}

impl Bench for Launches {
    fn step(&mut self) -> Result<()> {
        let p = Scale { count: 64, factor: 1.0 };
        for _ in 0..self.launches {
            self.device.launch(&Plan::fours(&SCALE, 64), &p, &[self.x.read(), self.y.write()])?;
            std::mem::swap(&mut self.x, &mut self.y);
        }
        match self.waits {
            0 => Ok(()),
            1 => self.device.submit(),
            _ => self.x.slice(0, [1])?.to_vec().map(drop),
        }
    }

    fn fetch(&mut self) -> Result<f64> {
        Ok(self.x.slice(0, [1])?.to_vec()?[0].into())
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        Ok(vec![self.x.to_f64()?])
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}
