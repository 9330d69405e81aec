//! Twin of `shaders/sigmoid.wgsl`.

use super::real::Real;
use super::vector;
use crate::kernel;

kernel! {
    /// The logistic function: `y[i] = 1 / (1 + e^-x[i])`.
    pub static SIGMOID = sigmoid(Sigmoid { count: u32 }; x: read Float, y: write Float);
    fast sigmoid_fast;
    variants [{ "elements", "sigmoid.wgsl", [] }]
}

/// See [`SIGMOID`].
pub fn sigmoid<R: Real>(p: &Sigmoid, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.sigmoid();
    }
}

/// [`sigmoid`], some elements a thread, with vectors.
pub fn sigmoid_fast(p: &Sigmoid, x: &[f32], y: &mut [f32]) {
    let count = p.count as usize;
    vector::map(vector::Sigmoid, &x[..count], &mut y[..count]);
}
