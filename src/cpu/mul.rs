//! Twin of `shaders/mul.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Multiplies two tensors element by element: `y[i] = a[i] · b[i]`.
    pub static MUL = mul(Mul { count: u32 }; a: read F32, b: read F32, y: write F32);
    variants [{ "elements", "mul.wgsl", [] }]
}

/// See [`MUL`].
pub fn mul<R: Real>(p: &Mul, a: &[R], b: &[R], y: &mut [R]) {
    for ((y, a), b) in y[..p.count as usize].iter_mut().zip(a).zip(b) {
        *y = *a * *b;
    }
}
