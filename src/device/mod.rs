//! Devices: where tensors live and kernels run. This folder is the only place that knows wgpu.
//!
//! A [`Device`] is a GPU (Vulkan, Metal, DX12 through wgpu) or the CPU; above it nothing knows which. All obey
//! one contract, checked at every [`Device::launch`] so that the CPU cannot hide a GPU's bug:
//! the arguments are those the kernel declares, of this device, aligned to 256 bytes, and a buffer that is
//! written or updated appears once.
//!
//! | file | what is in it |
//! |---|---|
//! | `select.rs` | the adapters of this machine, and the one that a name means |
//! | `backend.rs`, `contract.rs` | what every kind of device does, and what every launch keeps to |
//! | `cpu.rs`, `gpu/` | the two kinds of devices; how a wgpu program is put together is in `gpu/` |
//! | `buffer.rs`, `host.rs`, `pool.rs` | buffers and parts of them, values on their way to and from the host, reuse of memory |
//! | `recorded.rs` | when what was recorded is submitted |
//! | `profile.rs`, `trace.rs` | what a device did and when, and the same as a Chrome trace |
//! | `dry.rs` | a device that only counts, to know beforehand what a training takes |
//! | `tampered/` | devices that fail or compute something wrong, for tests of what follows |

mod backend;
mod buffer;
mod contract;
mod cpu;
mod dry;
mod gpu;
mod host;
mod pool;
mod profile;
mod recorded;
mod select;
mod tampered;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernel::{Access, Dtype, Form, Limits, Plan, Processor, Storage, Variant};
use crate::plans::{PlanTable, Plans, Seen, Site, Way};

use backend::{Backend, Checked};
pub use buffer::{Arg, Buffer, View};
use buffer::{BufferInner, Memory, MemoryKind};
pub(crate) use dry::DryRun;
pub use gpu::{GpuOptions, Provoked};
pub use host::{Host, ReadBack, Values};
pub(crate) use profile::Recorder;
pub use profile::{Detail, KernelTime, Launch, OpenSpan, Pause, Profile, Span, Work};
pub use select::{AdapterReport, adapters};
pub use tampered::{Failure, Sabotage, Wrong};

/// A device: cheap to clone, safe to share between threads (launches from several threads are serialised).
#[derive(Clone)]
pub struct Device {
    backend: Arc<dyn Backend>,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name, as the driver gives it; `cpu` for the CPU device.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`; `cpu` for the CPU device.
    pub backend: String,
    /// The driver's name and version; empty for the CPU device.
    pub driver: String,
    /// Whether it is a GPU interface implemented in software (lavapipe, SwiftShader, WARP).
    pub software: bool,
}

impl std::fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.backend != self.name {
            write!(f, " ({}, {})", self.backend, self.driver)?;
        }
        Ok(())
    }
}

/// Counters since the device was made. In the steady state of training all `_created` stand still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers handed to the GPU; 0 on the CPU.
    pub submits: u64,
    /// Buffers created, staging included (as opposed to taken from the pool).
    pub buffers_created: u64,
    /// Bind groups created; 0 on the CPU.
    pub bind_groups_created: u64,
    /// Pipelines compiled; 0 on the CPU.
    pub pipelines_created: u64,
    /// Bytes of tensors in use now.
    pub bytes_in_use: u64,
    /// The most bytes of tensors in use at once.
    pub bytes_peak: u64,
    /// The most bytes of tensors that were held at once: in use, or kept for others of about the same size.
    pub bytes_held: u64,
    /// Bytes of the largest tensor: no launch has bound more.
    pub bytes_largest: u64,
    /// Bytes in which the CPU device keeps 32-bit copies of what launches take in half precision; 0 on GPUs.
    pub bytes_converted: u64,
}

impl Device {
    /// The best real GPU (discrete, then integrated, then virtual), else the CPU device: a *software* GPU
    /// is slower than our own CPU code. The environment variable `BPTT_DEVICE` overrides it, as in [`Device::named`].
    pub fn auto() -> Result<Device> {
        Device::named("auto")
    }

    /// `auto`, `cpu`, `gpu` (the best adapter, a software one included), the index of an adapter in
    /// [`adapters`], or part of its name. `auto` looks at the environment variable `BPTT_DEVICE` first.
    ///
    /// # Errors
    /// [`Error::NoDevice`] lists what there is instead.
    pub fn named(name: &str) -> Result<Device> {
        select::named(name)
    }

    /// The CPU device.
    pub fn cpu() -> Device {
        Device { backend: Arc::new(cpu::Cpu::<f32>::new("cpu")) }
    }

    /// The CPU device with 64-bit arithmetic: the reference of the checks. It runs the plain twins.
    pub fn reference() -> Device {
        Device { backend: Arc::new(cpu::Cpu::<f64>::new("reference f64")) }
    }

    /// Like [`Device::reference`], where every number carries the error that a correct 32-bit device may make.
    pub fn bounded() -> Device {
        Device { backend: Arc::new(cpu::Cpu::<crate::cpu::real::Bounded>::new("reference with bounds")) }
    }

    /// The GPU that `named` would choose, within chosen limits and features.
    ///
    /// # Errors
    /// [`Error::NoDevice`], or [`Error::Gpu`] when the adapter refuses.
    pub fn gpu(name: &str, options: &GpuOptions) -> Result<Device> {
        select::gpu(name, options)
    }

    /// The same device opened again, as after a fault that [ended](crate::error::Fault::ends_device) it, with the same
    /// options and plans. Tensors of this one are of no use there: to launch with them is an error.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when it is no longer there; [`Error::Gpu`] when it cannot be opened.
    pub fn reopen(&self) -> Result<Device> {
        let device = self.backend.reopen()?;
        device.set_plans(self.plans());
        Ok(device)
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        self.backend.info()
    }

    /// What it offers to kernels: what plans are made for.
    pub fn limits(&self) -> &Limits {
        self.backend.limits()
    }

    /// Whether it can run a variant of a kernel: whether its limits allow it and, where that is in doubt, a check passes.
    pub fn allows(&self, variant: &Variant) -> bool {
        let twins = self.limits().processor == Processor::Cpu;
        self.limits().allow(variant) && (twins || !variant.needs.cooperative || self.is_cooperative())
    }

    /// Whether products of F16 may be made by cooperative matrices (tensor cores, say); else why not. Where the adapter lists
    /// them, products of many kinds are made with them and compared with the reference, once, when it is first asked. Nothing
    /// needs them.
    ///
    /// # Errors
    /// What speaks against it, for a sentence.
    pub fn cooperative_matrices(&self) -> std::result::Result<(), String> {
        self.backend.cooperative_matrices(self).map_err(|reason| reason.to_string())
    }

    pub(crate) fn is_cooperative(&self) -> bool {
        self.limits().cooperative && self.backend.cooperative_matrices(self).is_ok()
    }

    /// Whether F16 is stored by WGSL's type `f16`: the adapter has it, and was found to convert as it should. Else two numbers
    /// share a word and the shaders convert them.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn native_f16(&self) -> Result<bool> {
        self.backend.native_f16()
    }

    /// Sets the way in which kernels run that can run in several, as measured on this adapter (see [`crate::plans`]). An entry
    /// that this device cannot run is ignored; the CPU device has only one way.
    pub fn set_plans(&self, plans: Plans) {
        if let Some(table) = self.backend.plans() {
            table.set(plans);
        }
    }

    /// What [`Device::set_plans`] set.
    pub fn plans(&self) -> Plans {
        self.backend.plans().map(PlanTable::get).unwrap_or_default()
    }

    /// Runs `f` and records, of each kernel that can run in several ways, the one that was taken and those there are.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn record_plans(&self, f: impl FnOnce() -> Result<()>) -> Result<BTreeMap<Site, Seen>> {
        let Some(table) = self.backend.plans() else {
            return f().map(|()| BTreeMap::new());
        };
        table.record();
        let done = f();
        let recorded = table.recorded();
        done.map(|()| recorded)
    }

    /// The way of a kernel over a shape; `default` where no measurement found a better one.
    pub(crate) fn choose<W: Way>(
        &self,
        site: impl FnOnce() -> Site,
        ways: impl Fn() -> Vec<W>,
        default: W,
    ) -> W {
        self.backend.plans().map_or(default, |table| table.choose(site(), ways, default))
    }

    /// A buffer of `len` elements with undefined contents.
    ///
    /// # Errors
    /// [`Error::Gpu`] when it is larger than the device can bind, or memory is short.
    pub fn allocate(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        let memory = Some(self.backend.allocate(dtype, len)?);
        Ok(Buffer(Arc::new(BufferInner { memory, dtype, len, backend: self.backend.clone() })))
    }

    /// Runs a kernel: on a GPU records a dispatch, on the CPU calls the twin. Launches take effect in order.
    /// Where all outputs are empty nothing happens.
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments break the contract (see the module), [`Error::Gpu`] on a fault.
    pub fn launch<P: bytemuck::Pod>(&self, plan: &Plan, params: &P, args: &[Arg<'_>]) -> Result<()> {
        contract::check(self, plan, size_of::<P>(), args)?;
        if args.iter().all(|arg| arg.access == Access::Read || arg.len() == 0) {
            return Ok(());
        }
        self.backend.launch(plan, bytemuck::bytes_of(params), args)?;
        match self.recorder().filter(|recorder| recorder.keeps_values()) {
            None => Ok(()),
            Some(recorder) => {
                let held = |arg: &Arg<'_>| match arg.view {
                    Some(view) => self.read_back(view)?.wait(),
                    None => Ok(Values::F32(Vec::new())),
                };
                recorder.keep_values(args.iter().map(held).collect::<Result<_>>()?);
                Ok(())
            }
        }
    }

    /// The form in which a kernel's shader is compiled here for arguments of these types. A device that compiles no shaders
    /// gives the form that every GPU takes.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn form(&self, storage: Storage) -> Result<Form> {
        self.backend.form(storage)
    }

    /// Copies host values into a view, in order with the launches.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length differs, reals are to become integers or the reverse, the view begins or ends
    /// between two 16-bit numbers that share a word, or it is of another device; [`Error::Gpu`] on a fault.
    pub fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        self.check_owns(to, "upload")?;
        let dtype = to.buffer.dtype();
        if data.len() != to.len || data.is_real() != dtype.is_float() {
            return Err(Error::argument(
                "upload",
                format!("the view holds {} {dtype:?}, the data is {} {}", to.len, data.len(), data.kind()),
            ));
        }
        let end = to.offset + to.len;
        if dtype.is_half()
            && !(to.offset.is_multiple_of(2) && (end.is_multiple_of(2) || end == to.buffer.len()))
        {
            let message =
                format!("halves are overwritten in pairs, got {} from element {} on", to.len, to.offset);
            return Err(Error::argument("upload", message));
        }
        if to.len == 0 { Ok(()) } else { self.backend.upload(to, data) }
    }

    /// Begins to copy a view to the host. The values are those that the launches recorded so far produce;
    /// only [`ReadBack::wait`] waits for them.
    ///
    /// # Errors
    /// [`Error::Argument`] when the view is of another device, [`Error::Gpu`] on a fault.
    pub fn read_back(&self, from: View<'_>) -> Result<ReadBack> {
        self.check_owns(from, "read_back")?;
        self.backend.clone().read_back(from)
    }

    fn check_owns(&self, view: View<'_>, op: &'static str) -> Result<()> {
        if Arc::ptr_eq(&view.buffer.0.backend, &self.backend) {
            return Ok(());
        }
        Err(Error::argument(op, format!("the tensor is {}", self.elsewhere(view.buffer))))
    }

    /// Says where a buffer is that is not on this device.
    fn elsewhere(&self, buffer: &Buffer) -> String {
        let other = buffer.device();
        match other.info() == self.info() {
            true => format!("of {other:?} as it was opened another time; make it anew on this device"),
            false => format!("on {other:?}, not on {self:?}"),
        }
    }

    /// Hands what was recorded to the GPU, without waiting.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn submit(&self) -> Result<()> {
        self.backend.submit()
    }

    /// Ends a step of training. What was recorded is handed to the GPU, unless it is so little, by a fixed estimate of the
    /// time that its launches take, that it is better handed over together with the next steps. To wait for a result hands
    /// everything over at once.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn end_step(&self) -> Result<()> {
        self.backend.end_step()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.backend.stats()
    }

    /// From now on measures the time of each launch, and keeps as much detail as is asked for. Off, it costs nothing.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the adapter offers no timestamps inside passes.
    pub fn start_profile(&self, detail: Detail) -> Result<()> {
        self.backend.start_profile(detail)
    }

    /// Ends what `start_profile` began: what has been done since. Waits for the GPU.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn finish_profile(&self) -> Result<Profile> {
        self.backend.finish_profile()
    }

    /// Leaves out of the profile, if there is one, what is launched until the result is dropped. What was recorded before should
    /// have been submitted.
    pub fn pause_profile(&self) -> Pause<'_> {
        Pause::begin(self.recorder())
    }

    /// Begins a span of the host's time, which a profile shows with that name; it ends when it is dropped. Spans are those of
    /// the thread that began the profile.
    pub fn span(&self, name: &'static str) -> OpenSpan<'_> {
        self.span_of(name, Work::Other)
    }

    /// Begins a span of a tape's work.
    pub(crate) fn span_of(&self, name: &'static str, work: Work) -> OpenSpan<'_> {
        OpenSpan::begin(self.recorder(), name, work)
    }

    /// Whether somebody looks at the numbers of each launch: a profile with [`Detail::Values`].
    pub(crate) fn keeps_values(&self) -> bool {
        self.recorder().is_some_and(Recorder::keeps_values)
    }

    /// What profiles are recorded by.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.backend.recorder()
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.info())
    }
}
