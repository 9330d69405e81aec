//! Twin of `shaders/scale_by.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Multiplies with a number on the device: `y[i] = x[i] · factor[0]`.
    pub static SCALE_BY = scale_by(ScaleBy { count: u32 }; x: read F32, factor: read F32, y: write F32);
    variants [{ "elements", "scale_by.wgsl", [] }]
}

/// See [`SCALE_BY`].
pub fn scale_by<R: Real>(p: &ScaleBy, x: &[R], factor: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = *x * factor[0];
    }
}
