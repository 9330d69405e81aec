//! A GPU as a device, through wgpu.
//!
//! A launch records a dispatch into the open compute pass; `submit` ends the pass and hands everything over.
//! Host writes and copies to the host are recorded in the same order.

mod fault;
mod open;
mod pipelines;
mod profile;
mod read;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::contract::MAX_ARGS;
use super::pool::{Pool, size_class};
use super::{
    Arg, Backend, DeviceInfo, Host, KernelTime, Memory, MemoryKind, ReadBack, Stats, Values, View, host,
};
use crate::error::{Error, Result};
use crate::kernel::{Access, Dtype, Limits, ParamSpace, Plan};
use crate::plans::PlanTable;
use fault::Faults;
pub use open::GpuOptions;
use pipelines::{BindKey, Pipelines};
use profile::Profile;
pub(super) use read::PendingRead;
use read::Reads;
use upload::Uploads;

/// Dispatches after which the recorder submits by itself, so that the GPU starts while the host records on.
const DISPATCHES_PER_SUBMIT: u32 = 1024;
/// Submissions that the host may be ahead of the GPU. A loop that never reads back would else queue without limit.
const MOST_IN_FLIGHT: usize = 8;
/// Bytes between two launches' parameters in the uniform ring: WebGPU's alignment of dynamic offsets.
const UNIFORM_STRIDE: u32 = 256;
/// Bytes bound for an argument that is absent or empty.
const DUMMY: u32 = 256;

/// A GPU that has been opened.
pub struct Gpu {
    info: DeviceInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Faults,
    limits: Limits,
    space: ParamSpace,
    profiling: bool,
    plans: PlanTable,
    state: Mutex<State>,
}

struct State {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    /// The pipeline that the open pass has set.
    current: Option<usize>,
    /// Dispatches in the submission being recorded.
    recorded: u32,
    pipelines: Pipelines,
    pool: Pool<wgpu::Buffer>,
    uploads: Uploads,
    reads: Reads,
    /// Bound where an argument that is read, and one that is written, is absent or empty. Two, because a dispatch
    /// must not bind one buffer for both; with room for each argument, because bindings that are written must not overlap.
    dummies: [wgpu::Buffer; 2],
    uniforms: Uniforms,
    profile: Option<Profile>,
    dispatches: u64,
    submits: u64,
    /// Submissions that may not have ended, oldest first.
    in_flight: VecDeque<wgpu::SubmissionIndex>,
}

/// Parameters where there are no immediates: one slot a launch, copied to the GPU ahead of the submission.
struct Uniforms {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
    host: Vec<u8>,
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
        self.wait_for(&read)?;
        let dtype = read.dtype;
        self.lock().reads.finish(read, |bytes| match dtype {
            Dtype::F32 => Values::F32(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::I32 => Values::I32(bytemuck::pod_collect_to_vec(bytes)),
        })
    }

    /// Waits until a copy that has been submitted is mapped, or that has failed.
    fn wait_for(&self, read: &PendingRead) -> Result<()> {
        loop {
            self.faults.poll(&self.device, read.submission())?;
            if read.is_settled() {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    /// For a read that nobody waits for.
    pub fn discard_read(&self, read: PendingRead) {
        self.lock().reads.discard(read);
    }

    fn submit_locked(&self, state: &mut State) -> Result<()> {
        self.faults.check()?;
        state.end_pass();
        let timestamps = match (&mut state.profile, &mut state.encoder) {
            (Some(profile), Some(encoder)) if !profile.is_empty() => Some(profile.resolve(encoder)),
            _ => None,
        };
        if state.encoder.is_none() {
            return Ok(());
        }
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
        commands.extend(state.encoder.take().map(wgpu::CommandEncoder::finish));
        state.uploads.unmap();
        let submission = self.queue.submit(commands);
        state.uploads.recall();
        state.reads.map(&submission);
        state.in_flight.push_back(submission);
        state.submits += 1;
        state.recorded = 0;
        if state.in_flight.len() > MOST_IN_FLIGHT {
            let oldest = state.in_flight.pop_front();
            self.faults.poll(&self.device, oldest)?;
        }
        self.faults.poll(&self.device, None)?;
        if let Some((buffer, bytes)) = timestamps {
            self.collect_timestamps(state, &buffer, bytes)?;
        }
        self.faults.check()
    }

    fn collect_timestamps(&self, state: &mut State, buffer: &wgpu::Buffer, bytes: usize) -> Result<()> {
        let read = state.reads.begin(&self.device, bytes, Dtype::I32)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &read.staging, 0, bytes as u64);
        let submission = self.queue.submit([encoder.finish()]);
        state.reads.map(&submission);
        self.wait_for(&read)?;
        let ticks = state.reads.finish(read, <[u8]>::to_vec)?;
        let period = self.queue.get_timestamp_period();
        if let Some(profile) = &mut state.profile {
            profile.add(&ticks, period);
        }
        Ok(())
    }

    /// Makes room in the upload ring, if that takes no more than to wait for the GPU: for its oldest work first, since it
    /// is to have some left.
    fn wait_for_room(&self, state: &mut State, bytes: usize) -> Result<()> {
        while !state.uploads.has_room(bytes) {
            let Some(oldest) = state.in_flight.pop_front() else { break };
            self.faults.poll(&self.device, Some(oldest))?;
        }
        Ok(())
    }

    /// Makes room in the upload ring, if need be by handing over what is recorded.
    fn make_room(&self, state: &mut State, bytes: usize) -> Result<()> {
        self.wait_for_room(state, bytes)?;
        if !state.uploads.has_room(bytes) {
            self.submit_locked(state)?;
            self.wait_for_room(state, bytes)?;
        }
        Ok(())
    }
}

impl State {
    fn new(device: &wgpu::Device, space: ParamSpace, trusted: bool) -> Self {
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let pipelines = Pipelines::new(device, space, trusted);
        let ring = u64::from(UNIFORM_STRIDE * DISPATCHES_PER_SUBMIT);
        let uniforms = buffer("parameters", ring, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        State {
            encoder: None,
            pass: None,
            current: None,
            recorded: 0,
            pool: Pool::new(),
            uploads: Uploads::new(device),
            reads: Reads::new(),
            dummies: ["absent", "empty"]
                .map(|label| buffer(label, u64::from(DUMMY) * MAX_ARGS as u64, wgpu::BufferUsages::STORAGE)),
            uniforms: Uniforms {
                group: pipelines.uniform_group(&uniforms),
                buffer: uniforms,
                host: Vec::new(),
            },
            pipelines,
            profile: None,
            dispatches: 0,
            submits: 0,
            in_flight: VecDeque::new(),
        }
    }

    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
    }

    /// The encoder outside of any pass.
    fn copies(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.end_pass();
        self.encoder(device)
    }

    fn end_pass(&mut self) {
        self.pass = None;
        self.current = None;
    }
}

impl Backend for Gpu {
    fn plans(&self) -> Option<&PlanTable> {
        Some(&self.plans)
    }

    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn allocate(&self, _: Dtype, len: usize) -> Result<Memory> {
        let bytes = size_class(len * 4);
        if bytes as u64 > self.limits.binding {
            return Err(Error::gpu(format!(
                "a tensor of {len} elements takes {bytes} bytes, {} binds at most {}; make the batch, the sequence or \
                 the model smaller",
                self.info.name, self.limits.binding
            )));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: bytes as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let what = format!("{bytes} bytes");
        let create = || Faults::scoped(&self.device, &what, || self.device.create_buffer(&descriptor));
        let mut state = self.lock();
        let (id, buffer) = match state.pool.take(bytes, create) {
            Ok(taken) => taken,
            // Give up what is only kept for reuse, then try once more.
            Err(_) => {
                state.pool.clear();
                state.pipelines.bind_groups.clear();
                self.faults.poll(&self.device, state.in_flight.pop_back())?;
                state.pool.take(bytes, create)?
            }
        };
        Ok(Memory { id, bytes, kind: MemoryKind::Gpu(buffer) })
    }

    fn release(&self, memory: Memory) {
        if let MemoryKind::Gpu(buffer) = memory.kind {
            self.lock().pool.put(memory.id, memory.bytes, buffer);
        }
    }

    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        let mut guard = self.lock();
        if guard.recorded == DISPATCHES_PER_SUBMIT || guard.profile.as_ref().is_some_and(Profile::is_full) {
            self.submit_locked(&mut guard)?;
        }
        let state = &mut *guard;
        let dummies = state.dummies.clone();
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
                ranges[i] = (memory.id, view.offset as u32 * 4, view.len as u32 * 4);
                buffers[i] = buffer;
            }
        }
        state.encoder(&self.device);
        let State { encoder, pass, pipelines, uniforms, profile, .. } = state;
        let pass = pass.get_or_insert_with(|| {
            let encoder = encoder.as_mut().expect("the encoder was just made");
            encoder.begin_compute_pass(&Default::default()).forget_lifetime()
        });
        let pipeline = pipelines.get(plan)?;
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
        if let Some(profile) = profile {
            profile.begin(pass, plan.kernel.name);
        }
        let [x, y, z] = plan.grid;
        pass.dispatch_workgroups(x, y, z);
        if let Some(profile) = profile {
            profile.end(pass);
        }
        state.recorded += 1;
        state.dispatches += 1;
        Ok(())
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        let rounded: Vec<f32>;
        let bytes: &[u8] = match data {
            Host::F32(x) => bytemuck::cast_slice(x),
            Host::I32(x) => bytemuck::cast_slice(x),
            Host::F64(x) => {
                rounded = x.iter().map(|x| *x as f32).collect();
                bytemuck::cast_slice(&rounded)
            }
        };
        let mut state = self.lock();
        self.make_room(&mut state, bytes.len())?;
        let (staging, at) = state.uploads.stage(&self.device, bytes)?;
        let MemoryKind::Gpu(buffer) = &to.buffer.memory().kind else {
            unreachable!("a buffer is uploaded by its own device")
        };
        let encoder = state.copies(&self.device);
        encoder.copy_buffer_to_buffer(&staging, at, buffer, to.offset as u64 * 4, bytes.len() as u64);
        Ok(())
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        let dtype = from.buffer.dtype();
        if from.len == 0 {
            let empty = if dtype == Dtype::F32 { Values::F32(Vec::new()) } else { Values::I32(Vec::new()) };
            return Ok(ReadBack(host::State::Ready(empty)));
        }
        let MemoryKind::Gpu(buffer) = &from.buffer.memory().kind else {
            unreachable!("a buffer is read back by its own device")
        };
        let bytes = from.len * 4;
        let mut state = self.lock();
        let read = state.reads.begin(&self.device, bytes, dtype)?;
        let encoder = state.copies(&self.device);
        encoder.copy_buffer_to_buffer(buffer, from.offset as u64 * 4, &read.staging, 0, bytes as u64);
        drop(state);
        Ok(ReadBack(host::State::Pending(self, read)))
    }

    fn submit(&self) -> Result<()> {
        self.submit_locked(&mut self.lock())
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            dispatches: state.dispatches,
            submits: state.submits,
            buffers_created: state.pool.created + state.uploads.created + state.reads.staging.created,
            bind_groups_created: state.pipelines.bind_groups_created,
            pipelines_created: state.pipelines.created(),
            bytes_in_use: state.pool.bytes_in_use,
            bytes_peak: state.pool.bytes_peak,
        }
    }

    fn start_profile(&self) -> Result<()> {
        if !self.profiling {
            return Err(Error::gpu(format!("{} offers no timestamps inside passes", self.info.name)));
        }
        let mut state = self.lock();
        self.submit_locked(&mut state)?;
        state.profile = Some(Profile::new(&self.device)?);
        Ok(())
    }

    fn finish_profile(&self) -> Result<Vec<KernelTime>> {
        let mut state = self.lock();
        self.submit_locked(&mut state)?;
        Ok(state.profile.take().map(Profile::finish).unwrap_or_default())
    }
}
