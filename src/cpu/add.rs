//! Twin of `shaders/add.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Adds two tensors: `y[i] = a[i] + b[i]`.
    pub static ADD = add(Add { count: u32 }; a: read F32, b: read F32, y: write F32);
    variants [{ "elements", "add.wgsl", [] }]
}

/// See [`ADD`].
pub fn add<R: Real>(p: &Add, a: &[R], b: &[R], y: &mut [R]) {
    for ((y, a), b) in y[..p.count as usize].iter_mut().zip(a).zip(b) {
        *y = *a + *b;
    }
}
