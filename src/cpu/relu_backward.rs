//! Twin of `shaders/relu_backward.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Gradient of relu from its output y: `dx[i] = dy[i]` where `y[i] > 0`, else 0.
    pub static RELU_BACKWARD = relu_backward(ReluBackward { count: u32 }; y: read Float, dy: read Float, dx: write Float);
    variants [{ "elements", "relu_backward.wgsl", [] }]
}

/// See [`RELU_BACKWARD`].
pub fn relu_backward<R: Real>(p: &ReluBackward, y: &[R], dy: &[R], dx: &mut [R]) {
    for ((dx, y), dy) in dx[..p.count as usize].iter_mut().zip(y).zip(dy) {
        *dx = dy.where_positive(*y);
    }
}
