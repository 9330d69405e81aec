//! Twin of `shaders/relu.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Cuts off what is negative: `y[i] = max(x[i], 0)`.
    pub static RELU = relu(Relu { count: u32 }; x: read Float, y: write Float);
    variants [{ "elements", "relu.wgsl", [] }]
}

/// See [`RELU`].
pub fn relu<R: Real>(p: &Relu, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.max(R::zero());
    }
}
