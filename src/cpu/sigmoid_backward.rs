//! Twin of `shaders/sigmoid_backward.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Gradient of the logistic function from its output y: `dx[i] = dy[i] · y[i] · (1 - y[i])`.
    pub static SIGMOID_BACKWARD = sigmoid_backward(SigmoidBackward { count: u32 };
        y: read Float, dy: read Float, dx: write Float);
    variants [{ "elements", "sigmoid_backward.wgsl", [] }]
}

/// See [`SIGMOID_BACKWARD`].
pub fn sigmoid_backward<R: Real>(p: &SigmoidBackward, y: &[R], dy: &[R], dx: &mut [R]) {
    for ((dx, y), dy) in dx[..p.count as usize].iter_mut().zip(y).zip(dy) {
        *dx = *dy * *y * (R::of(1.0) - *y);
    }
}
