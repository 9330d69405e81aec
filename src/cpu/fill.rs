//! Twin of `shaders/fill.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Sets every element: `y[i] = value`.
    pub static FILL = fill(Fill { count: u32, value: f32 }; y: write Float);
    variants [
        { "elements", "fill.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "fill.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`FILL`].
pub fn fill<R: Real>(p: &Fill, y: &mut [R]) {
    y[..p.count as usize].fill(R::of(p.value.into()));
}
