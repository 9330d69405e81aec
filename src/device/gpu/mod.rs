//! A GPU as a device, through wgpu.
//!
//! A launch records a dispatch into the open compute pass; `submit` ends the pass and hands everything over.
//! Host writes and copies to the host are recorded in the same order.
//!
//! The parts, in the order in which a program needs them:
//!
//! | file | what is in it |
//! |---|---|
//! | `open.rs` | opens an adapter: which limits and features are asked for |
//! | `state.rs` | what changes while the device is in use, behind one lock |
//! | `pipelines.rs` | compiles shaders; makes layouts and bind groups, each once |
//! | `upload.rs`, `read.rs` | copies from and to the host, through staging buffers |
//! | `fault.rs`, `marks.rs`, `memory.rs` | what can go wrong: errors of wgpu, work that was silently given up, memory that is short |
//! | `timestamps.rs`, `clocks.rs` | when each launch ran, on the GPU's clock and on the host's |
//! | `f16.rs`, `cooperative.rs` | optional features that are tried before they are trusted |

mod clocks;
mod cooperative;
mod f16;
mod fault;
mod marks;
mod memory;
mod open;
mod pipelines;
mod read;
mod state;
mod timestamps;
mod upload;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::recorded::Recorded;
use super::{
    Arg, Backend, Checked, Detail, Device, DeviceInfo, Host, Memory, MemoryKind, Profile, ReadBack, Recorder,
    Stats, Values, View, host, select,
};
use crate::cpu::halves;
use crate::error::{Error, Fault, Result};
use crate::kernel::{Access, Dtype, Form, Limits, MAX_ARGS, ParamSpace, Plan, Storage};
use crate::plans::PlanTable;
use fault::Faults;
pub use open::{GpuOptions, Provoked};
use pipelines::BindKey;
pub(super) use read::PendingRead;
use state::State;
use timestamps::Timestamps;

/// By how many submissions the host may be ahead of the GPU. Without a limit a loop that never reads back would queue work
/// until memory ends.
const MOST_IN_FLIGHT: usize = 8;
/// Bytes between two launches' parameters in the uniform ring: WebGPU's alignment of dynamic offsets.
const UNIFORM_STRIDE: u32 = 256;
/// Bytes bound for an argument that is absent or empty.
const DUMMY: u32 = 256;

/// A GPU that has been opened.
pub struct Gpu {
    info: DeviceInfo,
    options: GpuOptions,
    /// How long a submission may take.
    patience: Duration,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Faults,
    limits: Limits,
    space: ParamSpace,
    profiling: bool,
    /// Whether F16 is stored by WGSL's `f16`: whether the adapter has that type, and converts as it should. Unknown until it is
    /// first asked.
    native_f16: OnceLock<bool>,
    /// Whether products may be made by cooperative matrices.
    cooperative: OnceLock<Checked>,
    plans: PlanTable,
    recorder: Recorder,
    state: Mutex<State>,
}

impl Gpu {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a copy to the host and returns its values.
    pub fn finish_read(&self, read: PendingRead) -> Result<Values> {
        if read.submission().is_none() {
            self.submit()?;
        }
        let _span = self.recorder.inner_span("wait");
        self.wait_for(&read)?;
        let PendingRead { dtype, skip, len, .. } = read;
        let mut state = self.lock();
        self.collect_timestamps(&mut state)?;
        let values = state.reads.finish(read, |bytes| {
            let bytes = &bytes[skip..][..len * dtype.size()];
            match dtype {
                Dtype::F32 => Values::F32(bytemuck::pod_collect_to_vec(bytes)),
                Dtype::I32 => Values::I32(bytemuck::pod_collect_to_vec(bytes)),
                Dtype::F16 | Dtype::BF16 => {
                    Values::F32(halves::unpacked(dtype, &bytemuck::pod_collect_to_vec(bytes)))
                }
            }
        });
        self.faults.keep(values)
    }

    /// Waits until a copy that has been submitted is mapped, or that has failed.
    fn wait_for(&self, read: &PendingRead) -> Result<()> {
        loop {
            self.wait(read.submission())?;
            if read.is_settled() {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    /// Waits for a submission, or just collects what is finished.
    fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.faults.poll(&self.device, submission.map(|index| (index, self.patience)))
    }

    /// For a read that nobody waits for.
    pub fn discard_read(&self, read: PendingRead) {
        self.lock().reads.discard(read);
    }

    fn submit_locked(&self, state: &mut State) -> Result<()> {
        self.faults.check()?;
        state.end_pass();
        if state.encoder.is_none() {
            return Ok(());
        }
        let _span = self.recorder.inner_span("submit");
        let mut commands = Vec::with_capacity(2);
        if !state.uniforms.host.is_empty() {
            let bytes = state.uniforms.host.len();
            self.wait_for_room(state, bytes)?;
            let (staging, at) = state.uploads.stage(&self.device, &state.uniforms.host)?;
            let mut ahead = self.device.create_command_encoder(&Default::default());
            ahead.copy_buffer_to_buffer(&staging, at, &state.uniforms.buffer, 0, bytes as u64);
            commands.push(ahead.finish());
            state.uniforms.host.clear();
        }
        let State { encoder, timestamps, reads, marks, .. } = state;
        if let (Some(encoder), Some(timestamps)) = (encoder, timestamps) {
            timestamps.resolve(&self.device, encoder, reads, marks)?;
        }
        if let Some(mut encoder) = state.encoder.take() {
            state.marks.mark(&mut encoder);
            commands.push(encoder.finish());
        }
        state.uploads.unmap();
        match self.options.provoke {
            Some(Provoked::LostSubmission(number)) if number == state.submits => commands.clear(),
            Some(Provoked::LostDevice(number)) if number == state.submits => self.device.destroy(),
            _ => {}
        }
        if let Some(timestamps) = &mut state.timestamps {
            timestamps.hand_over();
        }
        let submission = self.queue.submit(commands);
        state.uploads.recall();
        state.reads.map(&submission);
        state.in_flight.push_back(submission);
        state.submits += 1;
        self.recorder.submitted();
        state.recorded = Recorded::default();
        if state.in_flight.len() > MOST_IN_FLIGHT {
            let oldest = state.in_flight.pop_front();
            let _span = self.recorder.inner_span("wait");
            self.wait(oldest)?;
        }
        self.wait(None)?;
        self.collect_timestamps(state)?;
        self.faults.check()
    }

    /// Takes the timestamps of what is known to have ended.
    fn collect_timestamps(&self, state: &mut State) -> Result<()> {
        match &mut state.timestamps {
            None => Ok(()),
            Some(timestamps) => {
                timestamps.collect(&mut state.reads, &self.recorder, self.queue.get_timestamp_period())
            }
        }
    }
}

impl Backend for Gpu {
    fn form(&self, storage: Storage) -> Result<Form> {
        let native = storage.contains(&Dtype::F16) && self.native_f16()?;
        Ok(Form { space: self.lock().pipelines.space(), storage, native })
    }

    fn plans(&self) -> Option<&PlanTable> {
        Some(&self.plans)
    }

    fn cooperative_matrices(&self, device: &Device) -> Checked {
        if let Some(known) = self.cooperative.get() {
            return known.clone();
        }
        let found = match self.native_f16() {
            Ok(true) => {
                cooperative::multiply_well(device, |plan, params, args| self.launch(plan, params, args))
            }
            Ok(false) => Err("its f16 does not round as it should".into()),
            Err(error) => Err(format!("they cannot be tried: {error}").into()),
        };
        self.cooperative.get_or_init(|| found).clone()
    }

    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory> {
        let bytes = self.bytes(dtype, len);
        if bytes as u64 > self.limits.binding {
            return Err(Error::Gpu(Fault::TooLarge {
                device: self.info.name.clone(),
                elements: len as u64,
                bytes: bytes as u64,
                most: self.limits.binding,
            }));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: bytes as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let create = || Faults::scoped(&self.device, "a tensor", || self.device.create_buffer(&descriptor));
        let mut state = self.lock();
        let (id, buffer) = self.with_memory(&mut state, bytes, |state| state.pool.take(bytes, create))?;
        Ok(Memory { id, bytes, kind: MemoryKind::Gpu(buffer) })
    }

    fn release(&self, memory: Memory) {
        if let MemoryKind::Gpu(buffer) = memory.kind {
            self.lock().pool.put(memory.id, memory.bytes, buffer);
        }
    }

    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        let mut guard = self.lock();
        if guard.recorded.is_full() || guard.timestamps.as_ref().is_some_and(Timestamps::is_full) {
            self.submit_locked(&mut guard)?;
        }
        let state = &mut *guard;
        let dummies = state.dummies.clone();
        let mut storage = plan.kernel.widest();
        let mut ranges = [(0, 0, 0); MAX_ARGS];
        let mut buffers = [&dummies[0]; MAX_ARGS];
        for (i, arg) in args.iter().enumerate() {
            ranges[i] = (0, DUMMY * i as u32, DUMMY);
            buffers[i] = &dummies[usize::from(arg.access != Access::Read)];
            if let Some(view) = arg.view.filter(|view| view.len > 0) {
                let memory = view.buffer.memory();
                let MemoryKind::Gpu(buffer) = &memory.kind else {
                    unreachable!("the contract admits only buffers of this device")
                };
                storage[i] = view.buffer.dtype();
                let size = storage[i].size();
                ranges[i] =
                    (memory.id, (view.offset * size) as u32, (view.len * size).next_multiple_of(4) as u32);
                buffers[i] = buffer;
            }
        }
        state.encoder(&self.device);
        let State { encoder, pass, pipelines, uniforms, timestamps, .. } = state;
        let pass = pass.get_or_insert_with(|| {
            let encoder = encoder.as_mut().expect("the encoder was just made");
            encoder.begin_compute_pass(&Default::default()).forget_lifetime()
        });
        let pipeline = pipelines.get(plan, storage, || self.native_f16())?;
        let layout = pipeline.layout;
        if state.current != Some(pipeline.index) {
            state.current = Some(pipeline.index);
            pass.set_pipeline(&pipeline.pipeline);
        }
        let key = BindKey { layout, ranges };
        pass.set_bind_group(0, pipelines.bind_group(&key, &buffers[..args.len()])?, &[]);
        match self.space {
            ParamSpace::Immediate => pass.set_immediates(0, params),
            ParamSpace::Uniform => {
                let offset = uniforms.host.len() as u32;
                uniforms.host.extend_from_slice(params);
                uniforms.host.resize((offset + UNIFORM_STRIDE) as usize, 0);
                pass.set_bind_group(1, &uniforms.group, &[offset]);
            }
        }
        let mut timestamps = timestamps.as_mut().filter(|_| self.recorder.counts());
        if let Some(timestamps) = &mut timestamps {
            timestamps.begin(pass, plan.kernel.name, self.recorder.launch(plan, params, args));
        }
        let [x, y, z] = plan.grid;
        pass.dispatch_workgroups(x, y, z);
        if let Some(timestamps) = timestamps {
            timestamps.end(pass);
        }
        state.recorded.add(plan, params, args, &self.limits);
        state.dispatches += 1;
        Ok(())
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        let (rounded, mut halves): (Vec<f32>, Vec<u16>);
        let data = match data {
            Host::F64(x) => {
                rounded = x.iter().map(|x| *x as f32).collect();
                Host::F32(&rounded)
            }
            other => other,
        };
        let dtype = to.buffer.dtype();
        let bytes: &[u8] = match data {
            Host::F32(x) if dtype.is_half() => {
                // Whole words: `Device::upload` sees to it that nothing lies in the last one behind the numbers.
                halves = vec![0; x.len().next_multiple_of(2)];
                halves::pack(dtype, x, &mut halves[..x.len()]);
                bytemuck::cast_slice(&halves)
            }
            Host::F32(x) => bytemuck::cast_slice(x),
            Host::I32(x) => bytemuck::cast_slice(x),
            Host::F64(_) => unreachable!("rounded above"),
        };
        let mut state = self.lock();
        self.make_room(&mut state, bytes.len())?;
        let stage = |state: &mut State| state.uploads.stage(&self.device, bytes);
        let (staging, at) = self.with_memory(&mut state, bytes.len(), stage)?;
        let MemoryKind::Gpu(buffer) = &to.buffer.memory().kind else {
            unreachable!("a buffer is uploaded by its own device")
        };
        let encoder = state.copies(&self.device);
        let offset = (to.offset * dtype.size()) as u64;
        encoder.copy_buffer_to_buffer(&staging, at, buffer, offset, bytes.len() as u64);
        Ok(())
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        let dtype = from.buffer.dtype();
        if from.len == 0 {
            let empty = if dtype.is_float() { Values::F32(Vec::new()) } else { Values::I32(Vec::new()) };
            return Ok(ReadBack(host::State::Ready(empty)));
        }
        let MemoryKind::Gpu(buffer) = &from.buffer.memory().kind else {
            unreachable!("a buffer is read back by its own device")
        };
        let bytes = from.len * dtype.size();
        let mut state = self.lock();
        let begin = |state: &mut State| state.reads.begin(&self.device, from.offset, from.len, dtype);
        let mut read = self.with_memory(&mut state, bytes, begin)?;
        state.copies(&self.device);
        let State { encoder, marks, .. } = &mut *state;
        let encoder = encoder.as_mut().expect("the encoder was just made");
        read.copy(encoder, marks, buffer, (from.offset * dtype.size()) as u64);
        drop(state);
        Ok(ReadBack(host::State::Pending(self, read)))
    }

    fn submit(&self) -> Result<()> {
        self.submit_locked(&mut self.lock())
    }

    fn end_step(&self) -> Result<()> {
        let mut state = self.lock();
        if state.recorded.is_worth_a_submission(&self.limits) {
            self.submit_locked(&mut state)
        } else {
            Ok(())
        }
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            dispatches: state.dispatches,
            submits: state.submits,
            buffers_created: state.pool.created + state.uploads.created + state.reads.staging.created,
            bind_groups_created: state.pipelines.bind_groups_created,
            pipelines_created: state.pipelines.created(),
            ..state.pool.stats()
        }
    }

    /// Found out when it is first asked.
    fn native_f16(&self) -> Result<bool> {
        match self.native_f16.get() {
            Some(native) => Ok(*native),
            None => {
                let tested = f16::converts_well(&self.device, &self.queue, |submission| {
                    self.faults.poll(&self.device, Some((submission, self.patience)))
                });
                let native = match tested {
                    // Whatever the driver has against the test: two numbers in a word do as well.
                    Err(Error::Gpu(fault)) if !fault.ends_device() => false,
                    tested => tested?,
                };
                Ok(*self.native_f16.get_or_init(|| native))
            }
        }
    }

    fn reopen(&self) -> Result<Device> {
        if self.faults.check().is_err() {
            // Its tensors may live on for a while, but their memory is for the new device.
            self.give_up_spare(&mut self.lock());
            self.device.destroy();
        }
        select::reopen(&self.info, &GpuOptions { provoke: None, ..self.options.clone() })
    }

    fn recorder(&self) -> Option<&Recorder> {
        Some(&self.recorder)
    }

    fn start_profile(&self, detail: Detail) -> Result<()> {
        if !self.profiling {
            let (device, what) = (self.info.name.clone(), "timestamps inside passes");
            return Err(Error::Gpu(Fault::Missing { device, what }));
        }
        let mut state = self.lock();
        self.submit_locked(&mut state)?;
        state.timestamps = Some(Timestamps::new(&self.device, detail)?);
        self.recorder.start(detail);
        Ok(())
    }

    fn finish_profile(&self) -> Result<Profile> {
        let mut state = self.lock();
        let collected = self.submit_locked(&mut state).and_then(|()| {
            while let Some(read) = state.timestamps.as_ref().and_then(Timestamps::oldest) {
                self.wait_for(read)?;
                self.collect_timestamps(&mut state)?;
            }
            Ok(())
        });
        if let Some(timestamps) = state.timestamps.take() {
            timestamps.place(&self.recorder);
        }
        let profile = self.recorder.finish();
        collected.map(|()| profile)
    }
}
