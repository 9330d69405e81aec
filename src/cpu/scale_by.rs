//! Twin of `shaders/scale_by.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Multiplies rows of `width` elements with numbers on the device: `y[i] = x[i] · factor[i / width]`.
    pub static SCALE_BY = scale_by(ScaleBy { count: u32, width: u32 }; x: read Float, factor: read Float, y: write Float);
    variants [{ "elements", "scale_by.wgsl", [] }]
}

/// See [`SCALE_BY`].
pub fn scale_by<R: Real>(p: &ScaleBy, x: &[R], factor: &[R], y: &mut [R]) {
    let width = p.width as usize;
    for ((y, x), factor) in y[..p.count as usize].chunks_mut(width).zip(x.chunks(width)).zip(factor) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *x * *factor;
        }
    }
}
