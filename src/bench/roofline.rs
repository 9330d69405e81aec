//! What a device can do at most, measured: the rate at which it copies memory, and the rate at which it multiplies and adds.
//! A roofline model says that a kernel is bounded by one of the two.

use std::time::Instant;

use crate::cpu::multiply_add::{self, MultiplyAdd};
use crate::cpu::scale::{SCALE, Scale};
use crate::device::Device;
use crate::error::Result;
use crate::kernel::{Dtype, Plan};
use crate::tensor::Tensor;

/// The two limits that a kernel cannot pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Bytes read and written a second by a kernel that does nothing else, on tensors of 64 MiB.
    pub bytes_per_second: f64,
    /// Multiplications and additions a second by a kernel that does nothing else.
    pub operations_per_second: f64,
}

/// Each rate is the best of so many tries.
const TRIES: usize = 8;
/// Elements of the copied tensor: 64 MiB.
const COPIED: usize = 1 << 24;

impl Roofline {
    /// Measures both.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn measure(device: &Device) -> Result<Roofline> {
        let x = Tensor::empty(device, Dtype::F32, [COPIED])?;
        x.fill(0.5)?;
        let y = Tensor::empty(device, Dtype::F32, [COPIED])?;
        let copy = Scale { count: COPIED as u32, factor: 1.0 };
        let copied =
            best(device, &y, || device.launch(&Plan::fours(&SCALE, COPIED), &copy, &[x.read(), y.write()]))?;
        let mut p = MultiplyAdd { count: 1 << 20, rounds: 64, a: 0.5, b: 0.5 };
        // The work grows until it takes some hundredths of a second, so that the cost of the launch itself does not count.
        let computed = loop {
            let args = [x.slice(0, [p.count as usize])?, y.slice(0, [p.count as usize])?];
            let seconds = best(device, &y, || {
                device.launch(&multiply_add::plan(&p), &p, &[args[0].read(), args[1].write()])
            })?;
            if seconds > 0.02 || p.rounds >= 1 << 13 {
                break 2.0 * f64::from(p.count) * f64::from(p.rounds) / seconds;
            }
            p.rounds *= 2;
        };
        Ok(Roofline { bytes_per_second: 8.0 * COPIED as f64 / copied, operations_per_second: computed })
    }
}

/// The shortest time from a launch until its result can be read.
fn best(device: &Device, result: &Tensor, mut launch: impl FnMut() -> Result<()>) -> Result<f64> {
    let end = result.slice(0, [1])?;
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = Instant::now();
        launch()?;
        device.submit()?;
        end.to_vec()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
