//! Host writes, recorded in order with the dispatches through a ring of mapped staging buffers.
//! (`Queue::write_buffer` would overtake what is recorded, and lose the device when memory is short.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::Faults;
use crate::error::{Error, Fault, Result};

/// Bytes of a staging buffer.
const CHUNK: u64 = 1 << 20;
/// Staging buffers made at the start. Where a step needs one, the host can be this many steps ahead of the GPU.
const CHUNKS: usize = 6;

struct Chunk {
    buffer: wgpu::Buffer,
    used: u64,
}

impl Chunk {
    fn fits(&self, bytes: usize) -> bool {
        self.used + bytes as u64 <= self.buffer.size()
    }
}

pub struct Uploads {
    /// Mapped and partly filled, for the submission being recorded.
    active: Vec<Chunk>,
    /// Mapped and empty; filled again when the GPU has read them.
    free: Arc<Mutex<Vec<Chunk>>>,
    pub created: u64,
}

impl Uploads {
    pub fn new(device: &wgpu::Device) -> Self {
        let chunks = (0..CHUNKS).map(|_| create(device, CHUNK)).collect();
        let free = Arc::new(Mutex::new(chunks));
        Uploads { active: Vec::new(), free, created: CHUNKS as u64 }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Chunk>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the staging buffers that are larger than a chunk: they were made for one large upload.
    pub fn give_up_large(&mut self) {
        self.free().retain(|chunk| chunk.buffer.size() <= CHUNK);
    }

    /// Whether `bytes` can be staged without a new buffer. If not, the caller waits for the oldest submission
    /// first, which gives back what it has read.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.active.iter().chain(self.free().iter()).any(|chunk| chunk.fits(bytes))
    }

    /// Copies `data` (a multiple of 4 bytes) into staging memory: the buffer and the offset in it.
    pub fn stage(&mut self, device: &wgpu::Device, data: &[u8]) -> Result<(wgpu::Buffer, u64)> {
        let fitting = |chunks: &[Chunk]| chunks.iter().position(|chunk| chunk.fits(data.len()));
        let index = match fitting(&self.active) {
            Some(index) => index,
            None => {
                let free = fitting(&self.free());
                let chunk = match free {
                    Some(index) => self.free().swap_remove(index),
                    None => {
                        self.created += 1;
                        let size = (data.len() as u64).next_multiple_of(CHUNK);
                        Faults::scoped(device, "staging memory", || create(device, size))?
                    }
                };
                self.active.push(chunk);
                self.active.len() - 1
            }
        };
        let chunk = &mut self.active[index];
        let at = chunk.used;
        let end = at + data.len() as u64;
        let mut range = chunk
            .buffer
            .get_mapped_range_mut(at..end)
            .map_err(|error| Error::Gpu(Fault::Mapping { message: format!("staging memory: {error}") }))?;
        range.copy_from_slice(data);
        // Ranges of one mapping must begin at multiples of 8.
        chunk.used = end.next_multiple_of(8);
        Ok((chunk.buffer.clone(), at))
    }

    /// Must be called before the submission that copies from the staging buffers.
    pub fn unmap(&self) {
        self.active.iter().for_each(|chunk| chunk.buffer.unmap());
    }

    /// Must be called after it: the buffers come back when the GPU has read them.
    pub fn recall(&mut self) {
        for chunk in self.active.drain(..) {
            let (buffer, free) = (chunk.buffer.clone(), self.free.clone());
            chunk.buffer.map_async(wgpu::MapMode::Write, .., move |result| {
                // A failed mapping means a lost device, which the next call reports.
                if result.is_ok() {
                    free.lock().unwrap_or_else(PoisonError::into_inner).push(Chunk { buffer, used: 0 });
                }
            });
        }
    }
}

fn create(device: &wgpu::Device, size: u64) -> Chunk {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("upload"),
        size,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    Chunk { buffer, used: 0 }
}
