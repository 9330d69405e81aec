//! Twin of `shaders/tanh.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// The hyperbolic tangent, to 4e-7: `y[i] = tanh x[i]`.
    pub static TANH = tanh(Tanh { count: u32 }; x: read F32, y: write F32);
    variants [{ "elements", "tanh.wgsl", [] }]
}

/// See [`TANH`].
pub fn tanh<R: Real>(p: &Tanh, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.tanh();
    }
}
