//! Twin of `shaders/tanh_backward.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Gradient of the hyperbolic tangent from its output y: `dx[i] = dy[i] · (1 - y[i]²)`.
    pub static TANH_BACKWARD = tanh_backward(TanhBackward { count: u32 }; y: read Float, dy: read Float, dx: write Float);
    variants [{ "elements", "tanh_backward.wgsl", [] }]
}

/// See [`TANH_BACKWARD`].
pub fn tanh_backward<R: Real>(p: &TanhBackward, y: &[R], dy: &[R], dx: &mut [R]) {
    for ((dx, y), dy) in dx[..p.count as usize].iter_mut().zip(y).zip(dy) {
        *dx = *dy * (R::of(1.0) - *y) * (R::of(1.0) + *y);
    }
}
