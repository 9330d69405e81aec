//! A device that computes something wrong on purpose: the proof that a check of devices can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Arg, Backend, Device, DeviceInfo, Host, KernelTime, Memory, ReadBack, Stats, View,
};
use crate::cpu::real::Real;
use crate::error::Result;
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
    /// How far one element of the result is off: relatively, or absolutely where it is smaller than 1.
    pub off: f32,
    /// Which launches of these kernels are wrong: 1 for all, 2 for every second, and so on.
    pub every: u64,
}

/// A device, and what is wrong with it.
struct Sabotaged {
    inner: Arc<dyn Backend>,
    sabotage: Sabotage,
    /// Launches of the kernels so far.
    launches: AtomicU64,
}

impl Device {
    /// This device with something wrong: after a launch of one of these kernels the element in the middle of its first
    /// result, of reals, is off by a little. Tensors of the two devices do not mix.
    pub fn sabotaged(&self, sabotage: Sabotage) -> Device {
        let (inner, launches) = (self.backend.clone(), AtomicU64::new(0));
        Device { backend: Arc::new(Sabotaged { inner, sabotage, launches }) }
    }
}

impl Backend for Sabotaged {
    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        self.inner.launch(plan, params, args)?;
        if !self.sabotage.kernels.contains(&plan.kernel.name)
            || !self.launches.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sabotage.every)
        {
            return Ok(());
        }
        let written = args.iter().filter(|arg| arg.access != Access::Read).filter_map(|arg| arg.view);
        let mut results = written.filter(|view| view.len > 0 && view.buffer.dtype() == Dtype::F32);
        let Some(view) = results.next() else { return Ok(()) };
        let params = Spoil { at: view.len as u32 / 2, off: self.sabotage.off };
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
        self.inner.allocate(dtype, len)
    }

    fn release(&self, memory: Memory) {
        self.inner.release(memory);
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        self.inner.upload(to, data)
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        self.inner.clone().read_back(from)
    }

    fn submit(&self) -> Result<()> {
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
