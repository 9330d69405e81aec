//! Memory of a device, and parts of it as arguments of launches.

use std::sync::Arc;

use super::{Backend, Device, cpu};
use crate::kernel::{Access, Dtype};

/// A piece of a device's memory, as its backend made it. The number orders buffers and is never given twice.
pub struct Memory {
    pub id: u64,
    pub bytes: usize,
    pub kind: MemoryKind,
}

pub enum MemoryKind {
    Host(cpu::HostMemory),
    Gpu(wgpu::Buffer),
    /// Of a dry run.
    Counted,
}

/// A whole buffer of a device. It goes back to the device's pool when its last owner drops it.
#[derive(Clone)]
pub struct Buffer(pub(super) Arc<BufferInner>);

pub(super) struct BufferInner {
    /// Taken out only by `drop`.
    pub(super) memory: Option<Memory>,
    pub(super) dtype: Dtype,
    pub(super) len: usize,
    pub(super) backend: Arc<dyn Backend>,
}

impl Drop for BufferInner {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.backend.release(memory);
        }
    }
}

impl Buffer {
    /// Elements.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory().bytes as u64
    }

    /// The elements' type.
    pub fn dtype(&self) -> Dtype {
        self.0.dtype
    }

    /// The device it belongs to.
    pub fn device(&self) -> Device {
        Device { backend: self.0.backend.clone() }
    }

    pub(super) fn memory(&self) -> &Memory {
        self.0.memory.as_ref().expect("the memory is taken only when the last owner is dropped")
    }

    /// `len` elements from element `offset` on.
    ///
    /// # Panics
    /// When they reach beyond the end.
    pub fn view(&self, offset: usize, len: usize) -> View<'_> {
        assert!(offset.saturating_add(len) <= self.len(), "a view lies inside its buffer");
        View { buffer: self, offset, len }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({:?} x {})", self.dtype(), self.len())
    }
}

/// Consecutive elements of a buffer.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// An argument of a launch: a view and what the kernel may do with it.
#[derive(Clone, Copy)]
pub struct Arg<'a> {
    /// `None`: an optional input that is not given.
    pub(super) view: Option<View<'a>>,
    pub(super) access: Access,
}

impl<'a> Arg<'a> {
    /// A view with read, write or update access.
    pub fn new(view: View<'a>, access: Access) -> Self {
        Arg { view: Some(view), access }
    }

    /// An optional input that is not given. The kernel learns it from a parameter and does not look at it.
    pub fn absent() -> Self {
        Arg { view: None, access: Access::Read }
    }

    pub(super) fn len(&self) -> usize {
        self.view.map_or(0, |view| view.len)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.view.map_or(0, |view| view.len * view.buffer.dtype().size()) as u64
    }
}
