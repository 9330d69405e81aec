//! GPU timestamps around every dispatch. Each submission copies its own to the host, which looks at them when it finds that
//! the submission has ended. Nobody waits for them: host and GPU work side by side as they do without a profile.

use std::collections::VecDeque;
use std::time::Instant;

use super::clocks::{Submission, align};
use super::fault::Faults;
use super::marks::Marks;
use super::read::{PendingRead, Reads};
use crate::device::{Detail, Recorder};
use crate::error::Result;
use crate::kernel::Dtype;

/// Dispatches that fit one submission while profiling: WebGPU's limit is 4096 queries in a set.
const DISPATCHES: u32 = 2048;

pub struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Whether the time of each launch is wanted.
    each: bool,
    /// The launches of the submission being recorded: kernel, and number in the recording.
    recorded: Vec<(&'static str, usize)>,
    /// Submissions whose timestamps are on their way, oldest first.
    pending: VecDeque<Pending>,
    /// Those that have ended, where the time of each launch is wanted.
    ended: Vec<(Vec<usize>, Submission)>,
}

struct Pending {
    read: PendingRead,
    launches: Vec<(&'static str, usize)>,
    /// When the submission was handed over.
    handed: Option<Instant>,
}

impl Timestamps {
    pub fn new(device: &wgpu::Device, detail: Detail) -> Result<Self> {
        let bytes = u64::from(DISPATCHES) * 16;
        Faults::scoped(device, "timestamp queries", || Timestamps {
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
            each: detail != Detail::Kernels,
            recorded: Vec::new(),
            pending: VecDeque::new(),
            ended: Vec::new(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.recorded.len() as u32 == DISPATCHES
    }

    pub fn begin(&mut self, pass: &mut wgpu::ComputePass<'_>, kernel: &'static str, launch: usize) {
        pass.write_timestamp(&self.queries, self.recorded.len() as u32 * 2);
        self.recorded.push((kernel, launch));
    }

    pub fn end(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.write_timestamp(&self.queries, self.recorded.len() as u32 * 2 - 1);
    }

    /// Records the copy of the timestamps to the host, at the end of the submission, which must be handed over now.
    pub fn resolve(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        reads: &mut Reads,
        marks: &mut Marks,
    ) -> Result<()> {
        if self.recorded.is_empty() {
            return Ok(());
        }
        let queries = self.recorded.len() as u32 * 2;
        let mut read = reads.begin(device, 0, queries as usize * 2, Dtype::I32)?;
        encoder.resolve_query_set(&self.queries, 0..queries, &self.resolved, 0);
        read.copy(encoder, marks, &self.resolved, 0);
        let launches = std::mem::take(&mut self.recorded);
        self.pending.push_back(Pending { read, launches, handed: None });
        Ok(())
    }

    /// What has been recorded is handed over now.
    pub fn hand_over(&mut self) {
        if let Some(pending) = self.pending.back_mut() {
            pending.handed.get_or_insert_with(Instant::now);
        }
    }

    /// The oldest timestamps that are on their way.
    pub fn oldest(&self) -> Option<&PendingRead> {
        self.pending.front().map(|pending| &pending.read)
    }

    /// Takes the timestamps of all submissions that are known to have ended; `period` in nanoseconds.
    pub fn collect(&mut self, reads: &mut Reads, recorder: &Recorder, period: f32) -> Result<()> {
        while self.oldest().is_some_and(PendingRead::is_settled) {
            let Pending { read, launches, handed } = self.pending.pop_front().expect("there is one");
            let known = Instant::now();
            let handed = handed.unwrap_or(known);
            let tick = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("a tick has 8 bytes"));
            let pairs = |bytes: &[u8]| -> Vec<[u64; 2]> {
                bytes.chunks_exact(16).map(|pair| [tick(&pair[..8]), tick(&pair[8..])]).collect()
            };
            let ticks = reads.finish(read, pairs)?;
            let second = f64::from(period) * 1e-9;
            for ((kernel, _), [start, end]) in launches.iter().zip(&ticks) {
                recorder.took(kernel, end.saturating_sub(*start) as f64 * second);
            }
            if self.each {
                let [handed, known] = [handed, known].map(|at| recorder.seconds(at));
                let launches = launches.into_iter().map(|(_, launch)| launch).collect();
                self.ended.push((launches, Submission { handed, known, ticks, second }));
            }
        }
        Ok(())
    }

    /// Tells the recorder when each launch ran. All timestamps have been collected.
    pub fn place(self, recorder: &Recorder) {
        let (launches, submissions): (Vec<_>, Vec<_>) = self.ended.into_iter().unzip();
        let (times, error) = align(&submissions);
        for (launches, times) in launches.iter().zip(times) {
            for (launch, time) in launches.iter().zip(times) {
                recorder.ran(*launch, time);
            }
        }
        recorder.set_clock_error(error);
    }
}
