//! Twin of `shaders/tanh.wgsl`.

use super::real::Real;
use super::vector;
use crate::kernel;

kernel! {
    /// The hyperbolic tangent, to 4e-7: `y[i] = tanh x[i]`.
    pub static TANH = tanh(Tanh { count: u32 }; x: read Float, y: write Float);
    fast tanh_fast;
    variants [{ "elements", "tanh.wgsl", [] }]
}

/// See [`TANH`].
pub fn tanh<R: Real>(p: &Tanh, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.tanh();
    }
}

/// [`tanh`], some elements a thread, with vectors.
pub fn tanh_fast(p: &Tanh, x: &[f32], y: &mut [f32]) {
    let count = p.count as usize;
    vector::map(vector::Tanh, &x[..count], &mut y[..count]);
}
