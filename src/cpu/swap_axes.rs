//! Twin of `shaders/swap_axes.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Exchanges the first two dimensions: `y[i, o, w] = x[o, i, w]`.
    pub static SWAP_AXES = swap_axes(SwapAxes { outer: u32, inner: u32, width: u32 }; x: read F32, y: write F32);
    variants [{ "elements", "swap_axes.wgsl", [] }]
}

/// See [`SWAP_AXES`].
pub fn swap_axes<R: Real>(p: &SwapAxes, x: &[R], y: &mut [R]) {
    let (outer, inner, width) = (p.outer as usize, p.inner as usize, p.width as usize);
    for i in 0..inner {
        for o in 0..outer {
            y[(i * outer + o) * width..][..width].copy_from_slice(&x[(o * inner + i) * width..][..width]);
        }
    }
}
