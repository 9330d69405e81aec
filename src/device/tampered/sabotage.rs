//! A device that computes something wrong: the proof that a check of devices can fail.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Tamper, Tampered};
use crate::cpu::real::Real;
use crate::device::{Arg, Backend, Device};
use crate::error::{Error, Fault, Result};
use crate::kernel;
use crate::kernel::{Access, Dtype, Plan};

kernel! {
    /// `y[at] += off·max(|y[at]|, 1)`
    static SPOIL = spoil(Spoil { at: u32, off: f32 }; y: update Float);
    variants [{ "one thread", (SPOIL_WGSL), [] }]
}

const SPOIL_WGSL: &str = "
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(1)
fn main() {
    let old = load_y(p.at);
    store_y(p.at, old + p.off * max(abs(old), 1.0));
}
";

fn spoil<R: Real>(p: &Spoil, y: &mut [R]) {
    let at = &mut y[p.at as usize];
    *at = *at + R::of(p.off.into()) * at.max(-*at).max(R::of(1.0));
}

/// What [`Device::sabotaged`] makes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Sabotage {
    /// The names of the kernels.
    pub kernels: Vec<&'static str>,
    /// What happens to them.
    pub wrong: Wrong,
}

/// What happens to the kernels of a [`Sabotage`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    /// After every launch one element, in the middle of the first result of reals, is off by so much: relatively, or
    /// absolutely where it is smaller than 1. In half precision it is off by four units in the last place where that is more.
    Off(f32),
    /// The same, after every second launch.
    Unsteady(f32),
    /// The device is lost at the launch.
    Lost,
}

impl Device {
    /// A device that works as this one does, but for what the sabotage makes wrong. Tensors of the two devices do not mix.
    pub fn sabotaged(&self, sabotage: Sabotage) -> Device {
        Tampered::device(self, Sabotaged { sabotage, launches: AtomicU64::new(0), lost: OnceLock::new() })
    }
}

struct Sabotaged {
    sabotage: Sabotage,
    /// Launches of the kernels so far.
    launches: AtomicU64,
    lost: OnceLock<Fault>,
}

impl Tamper for Sabotaged {
    fn call(&self) -> Result<()> {
        self.lost.get().map_or(Ok(()), |fault| Err(Error::Gpu(fault.clone())))
    }

    fn launched(&self, device: &dyn Backend, plan: &Plan, args: &[Arg<'_>]) -> Result<()> {
        if !self.sabotage.kernels.contains(&plan.kernel.name) {
            return Ok(());
        }
        let launch = self.launches.fetch_add(1, Ordering::Relaxed);
        let off = match self.sabotage.wrong {
            Wrong::Off(off) => off,
            Wrong::Unsteady(off) if launch.is_multiple_of(2) => off,
            Wrong::Unsteady(_) => return Ok(()),
            Wrong::Lost => {
                let _ = self.lost.set(Fault::Lost { message: "on purpose".into() });
                return self.call();
            }
        };
        let written = args.iter().filter(|arg| arg.access != Access::Read).filter_map(|arg| arg.view);
        let mut results = written.filter(|view| view.len > 0 && view.buffer.dtype() != Dtype::I32);
        let Some(view) = results.next() else { return Ok(()) };
        // A smaller error would be lost when the number is stored, or within the limits that allow for storing.
        let least = match view.buffer.dtype() {
            Dtype::F16 => 4.0 * f32::from(half::f16::EPSILON),
            Dtype::BF16 => 4.0 * f32::from(half::bf16::EPSILON),
            Dtype::F32 | Dtype::I32 => 0.0,
        };
        let params = Spoil { at: view.len as u32 / 2, off: off.max(least) };
        let plan = Plan { kernel: &SPOIL, variant: 0, grid: [1; 3] };
        device.launch(&plan, kernel::bytemuck::bytes_of(&params), &[Arg::new(view, Access::Update)])
    }
}
