//! GPU timestamps around every dispatch.

use std::collections::BTreeMap;

use super::fault::Faults;
use crate::device::KernelTime;
use crate::error::Result;

/// Dispatches that fit one submission while profiling: WebGPU's limit is 4096 queries in a set.
const DISPATCHES: u32 = 2048;

pub struct Profile {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// The kernels of the submission being recorded.
    recorded: Vec<&'static str>,
    /// By kernel, launches and seconds.
    times: BTreeMap<&'static str, (u64, f64)>,
}

impl Profile {
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        let bytes = u64::from(DISPATCHES) * 16;
        Faults::scoped(device, "timestamp queries", || Profile {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profile"),
                ty: wgpu::QueryType::Timestamp,
                count: DISPATCHES * 2,
            }),
            resolved: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("profile"),
                size: bytes,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            recorded: Vec::new(),
            times: BTreeMap::new(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.recorded.len() as u32 == DISPATCHES
    }

    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }

    pub fn begin(&mut self, pass: &mut wgpu::ComputePass<'_>, kernel: &'static str) {
        pass.write_timestamp(&self.queries, self.recorded.len() as u32 * 2);
        self.recorded.push(kernel);
    }

    pub fn end(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.write_timestamp(&self.queries, self.recorded.len() as u32 * 2 - 1);
    }

    /// Records the copy of the timestamps to the buffer that is returned, of so many bytes.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) -> (wgpu::Buffer, usize) {
        let queries = self.recorded.len() as u32 * 2;
        encoder.resolve_query_set(&self.queries, 0..queries, &self.resolved, 0);
        (self.resolved.clone(), queries as usize * 8)
    }

    /// Adds up the timestamps of the submission that `resolve` ended; `period` in nanoseconds.
    pub fn add(&mut self, ticks: &[u8], period: f32) {
        for (pair, kernel) in ticks.chunks_exact(16).zip(self.recorded.drain(..)) {
            let tick = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("a tick has 8 bytes"));
            let ticks = tick(&pair[8..]).saturating_sub(tick(&pair[..8]));
            let entry = self.times.entry(kernel).or_default();
            entry.0 += 1;
            entry.1 += ticks as f64 * f64::from(period) * 1e-9;
        }
    }

    pub fn finish(self) -> Vec<KernelTime> {
        let time = |(kernel, (launches, seconds))| KernelTime { kernel, launches, seconds };
        self.times.into_iter().map(time).collect()
    }
}
