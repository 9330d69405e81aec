//! Twin of `shaders/scale.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Multiplies with a number: `y[i] = factor · x[i]`.
    pub static SCALE = scale(Scale { count: u32, factor: f32 }; x: read Float, y: write Float);
    variants [
        { "elements", "scale.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "scale.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`SCALE`].
pub fn scale<R: Real>(p: &Scale, x: &[R], y: &mut [R]) {
    let factor = R::of(p.factor.into());
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = factor * *x;
    }
}
