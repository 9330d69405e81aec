//! A device that computes something wrong on purpose: the proof that a check of devices can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Arg, Backend, Device, DeviceInfo, Host, KernelTime, Memory, ReadBack, Stats, View};
use crate::cpu::real::Real;
use crate::error::{Error, Result};
use crate::kernel;
use crate::kernel::{Access, Dtype, Limits, Plan};
use crate::plans::PlanTable;

kernel! {
    /// `y[at] += off·max(|y[at]|, 1)`
    static SPOIL = spoil(Spoil { at: u32, off: f32 }; y: update F32);
    variants [{ "one thread", (SPOIL_WGSL), [] }]
}

const SPOIL_WGSL: &str = "
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(1)
fn main() {
    y[p.at] += p.off * max(abs(y[p.at]), 1.0);
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
    /// absolutely where it is smaller than 1.
    Off(f32),
    /// The same, after every second launch.
    Unsteady(f32),
    /// The device is lost at the launch.
    Lost,
}

/// A device, and what is wrong with it.
struct Sabotaged {
    inner: Arc<dyn Backend>,
    sabotage: Sabotage,
    /// Launches of the kernels so far.
    launches: AtomicU64,
    lost: AtomicBool,
}

impl Device {
    /// This device with something wrong. Tensors of the two devices do not mix.
    pub fn sabotaged(&self, sabotage: Sabotage) -> Device {
        let (launches, lost) = (AtomicU64::new(0), AtomicBool::new(false));
        Device { backend: Arc::new(Sabotaged { inner: self.backend.clone(), sabotage, launches, lost }) }
    }
}

impl Sabotaged {
    fn check(&self) -> Result<()> {
        match self.lost.load(Ordering::Relaxed) {
            true => Err(Error::gpu("the device was lost on purpose")),
            false => Ok(()),
        }
    }

    /// What a launch comes to be off by.
    fn off(&self) -> Result<Option<f32>> {
        let launch = self.launches.fetch_add(1, Ordering::Relaxed);
        Ok(match self.sabotage.wrong {
            Wrong::Off(off) => Some(off),
            Wrong::Unsteady(off) => launch.is_multiple_of(2).then_some(off),
            Wrong::Lost => {
                self.lost.store(true, Ordering::Relaxed);
                return self.check().map(|()| None);
            }
        })
    }
}

impl Backend for Sabotaged {
    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        self.check()?;
        self.inner.launch(plan, params, args)?;
        if !self.sabotage.kernels.contains(&plan.kernel.name) {
            return Ok(());
        }
        let written = args.iter().filter(|arg| arg.access != Access::Read).filter_map(|arg| arg.view);
        let mut results = written.filter(|view| view.len > 0 && view.buffer.dtype() == Dtype::F32);
        let (Some(off), Some(view)) = (self.off()?, results.next()) else { return Ok(()) };
        let params = Spoil { at: view.len as u32 / 2, off };
        let plan = Plan { kernel: &SPOIL, variant: 0, grid: [1; 3] };
        self.inner.launch(&plan, kernel::bytemuck::bytes_of(&params), &[Arg::new(view, Access::Update)])
    }

    fn info(&self) -> &DeviceInfo {
        self.inner.info()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory> {
        self.check()?;
        self.inner.allocate(dtype, len)
    }

    fn release(&self, memory: Memory) {
        self.inner.release(memory);
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        self.check()?;
        self.inner.upload(to, data)
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        self.check()?;
        self.inner.clone().read_back(from)
    }

    fn submit(&self) -> Result<()> {
        self.check()?;
        self.inner.submit()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn start_profile(&self) -> Result<()> {
        self.inner.start_profile()
    }

    fn finish_profile(&self) -> Result<Vec<KernelTime>> {
        self.inner.finish_profile()
    }

    fn plans(&self) -> Option<&PlanTable> {
        self.inner.plans()
    }
}
