//! Copies to the host: staging buffers that are mapped when the GPU has filled them.

use std::sync::{Arc, OnceLock};

use super::fault::Faults;
use super::marks::{self, Marks};
use crate::device::pool::{Pool, size_class};
use crate::error::{Error, Fault, Result};
use crate::kernel::Dtype;

/// A copy to the host that has been recorded.
pub struct PendingRead {
    pub id: u64,
    pub staging: wgpu::Buffer,
    pub bytes: usize,
    pub dtype: Dtype,
    /// The elements that are wanted, and how many bytes of others come before them, since copies begin at whole words.
    pub len: usize,
    pub skip: usize,
    /// The mark that was made with the copy, whose ring lies behind the bytes.
    mark: u64,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The submission that makes the copy, once it has been made.
    submitted: OnceLock<wgpu::SubmissionIndex>,
    /// Whether mapping has succeeded, once it has ended.
    mapped: OnceLock<bool>,
}

impl PendingRead {
    /// The submission to wait for; `None` while it is being recorded.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.progress.submitted.get().cloned()
    }

    /// Whether mapping has ended. A submission ends before that: its callbacks run in whichever thread polled first.
    pub fn is_settled(&self) -> bool {
        self.progress.mapped.get().is_some()
    }

    /// Records the copy of the bytes that begin with the word of byte `offset`, and of the marks.
    pub fn copy(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        marks: &mut Marks,
        from: &wgpu::Buffer,
        offset: u64,
    ) {
        encoder.copy_buffer_to_buffer(from, offset - self.skip as u64, &self.staging, 0, self.bytes as u64);
        self.mark = marks.copy(encoder, &self.staging, self.bytes as u64);
    }

    fn is_mapped(&self) -> bool {
        self.progress.mapped.get() == Some(&true)
    }
}

pub struct Reads {
    pub staging: Pool<wgpu::Buffer>,
    /// To be mapped after the submission being recorded.
    waiting: Vec<(wgpu::Buffer, Arc<Progress>)>,
}

impl Reads {
    pub fn new() -> Self {
        Reads { staging: Pool::new(), waiting: Vec::new() }
    }

    /// A staging buffer for so many elements from element `offset` on, to be filled by the submission being recorded with
    /// [`PendingRead::copy`].
    pub fn begin(
        &mut self,
        device: &wgpu::Device,
        offset: usize,
        len: usize,
        dtype: Dtype,
    ) -> Result<PendingRead> {
        let skip = offset * dtype.size() % 4;
        let bytes = (skip + len * dtype.size()).next_multiple_of(4);
        let class = class(bytes);
        let descriptor = wgpu::BufferDescriptor {
            label: Some("read back"),
            size: class as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let create = || Faults::scoped(device, "memory to read back", || device.create_buffer(&descriptor));
        let (id, staging) = self.staging.take(class, create)?;
        let progress = Arc::new(Progress::default());
        self.waiting.push((staging.clone(), progress.clone()));
        Ok(PendingRead { id, staging, bytes, dtype, len, skip, mark: 0, progress })
    }

    /// Must be called after the submission: asks for the mappings.
    pub fn map(&mut self, submission: &wgpu::SubmissionIndex) {
        for (staging, progress) in self.waiting.drain(..) {
            let _ = progress.submitted.set(submission.clone());
            staging.map_async(wgpu::MapMode::Read, .., move |result| {
                let _ = progress.mapped.set(result.is_ok());
            });
        }
    }

    /// Takes the bytes out of a mapped staging buffer, if the marks say that they are what they should be, and puts the
    /// buffer back.
    pub fn finish<T>(&mut self, read: PendingRead, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let fail = |message: String| Error::Gpu(Fault::Mapping { message });
        if !read.is_mapped() {
            return Err(fail("mapping its memory failed".into()));
        }
        let end = read.bytes + marks::BYTES;
        let range = read.staging.get_mapped_range(..end as u64);
        let range = range.map_err(|error| fail(error.to_string()))?;
        marks::check(&range[read.bytes..], read.mark).map_err(Error::Gpu)?;
        let taken = take(&range[..read.bytes]);
        drop(range);
        read.staging.unmap();
        self.staging.put(read.id, class(read.bytes), read.staging);
        Ok(taken)
    }

    /// Ends a read that nobody waits for. The buffer of one that is still on its way is freed by wgpu.
    pub fn discard(&mut self, read: PendingRead) {
        if read.is_mapped() {
            read.staging.unmap();
            self.staging.put(read.id, class(read.bytes), read.staging);
        }
    }
}

/// The class of a staging buffer for so many bytes and the marks.
fn class(bytes: usize) -> usize {
    size_class(bytes + marks::BYTES)
}
