//! Twin of `shaders/copy.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Copies a part of a tensor into a part of another: `y[to + i] = x[start + i]`. (`from` is reserved in WGSL.)
    pub static COPY = copy(Copy { count: u32, start: u32, to: u32 }; x: read F32, y: update F32);
    variants [{ "elements", "copy.wgsl", [] }]
}

/// See [`COPY`].
pub fn copy<R: Real>(p: &Copy, x: &[R], y: &mut [R]) {
    let count = p.count as usize;
    y[p.to as usize..][..count].copy_from_slice(&x[p.start as usize..][..count]);
}
