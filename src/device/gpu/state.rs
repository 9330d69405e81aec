//! What changes while a GPU is in use: the submission being recorded, what is made once and reused, and counters.

use std::collections::VecDeque;

use super::marks::Marks;
use super::pipelines::Pipelines;
use super::read::Reads;
use super::timestamps::Timestamps;
use super::upload::Uploads;
use super::{DUMMY, UNIFORM_STRIDE};
use crate::device::pool::Pool;
use crate::device::recorded::{MOST_LAUNCHES, Recorded};
use crate::kernel::{MAX_ARGS, ParamSpace};

/// Everything behind a GPU's lock.
pub struct State {
    pub encoder: Option<wgpu::CommandEncoder>,
    pub pass: Option<wgpu::ComputePass<'static>>,
    /// The pipeline that the open pass has set.
    pub current: Option<usize>,
    /// What is in the submission being recorded.
    pub recorded: Recorded,
    pub pipelines: Pipelines,
    pub pool: Pool<wgpu::Buffer>,
    pub uploads: Uploads,
    pub reads: Reads,
    pub marks: Marks,
    /// Bound where an argument that is read, and one that is written, is absent or empty. Two, because a dispatch
    /// must not bind one buffer for both; with room for each argument, because bindings that are written must not overlap.
    pub dummies: [wgpu::Buffer; 2],
    pub uniforms: Uniforms,
    /// While profiling.
    pub timestamps: Option<Timestamps>,
    pub dispatches: u64,
    pub submits: u64,
    /// Submissions that may not have ended, oldest first.
    pub in_flight: VecDeque<wgpu::SubmissionIndex>,
}

/// Parameters where there are no immediates: one slot a launch, copied to the GPU ahead of the submission.
pub struct Uniforms {
    pub buffer: wgpu::Buffer,
    pub group: wgpu::BindGroup,
    pub host: Vec<u8>,
}

impl State {
    pub fn new(device: &wgpu::Device, space: ParamSpace, trusted: bool) -> Self {
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let pipelines = Pipelines::new(device, space, trusted);
        let ring = u64::from(UNIFORM_STRIDE * MOST_LAUNCHES);
        let uniforms = buffer("parameters", ring, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        State {
            encoder: None,
            pass: None,
            current: None,
            recorded: Recorded::default(),
            pool: Pool::new(),
            uploads: Uploads::new(device),
            reads: Reads::new(),
            marks: Marks::new(device),
            dummies: ["absent", "empty"]
                .map(|label| buffer(label, u64::from(DUMMY) * MAX_ARGS as u64, wgpu::BufferUsages::STORAGE)),
            uniforms: Uniforms {
                group: pipelines.uniform_group(&uniforms),
                buffer: uniforms,
                host: Vec::new(),
            },
            pipelines,
            timestamps: None,
            dispatches: 0,
            submits: 0,
            in_flight: VecDeque::new(),
        }
    }

    pub fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
    }

    /// The encoder outside of any pass.
    pub fn copies(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.end_pass();
        self.encoder(device)
    }

    pub fn end_pass(&mut self) {
        self.pass = None;
        self.current = None;
    }
}
