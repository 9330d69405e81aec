//! Twin of `shaders/clip_values.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Limits every element: `x[i] = min(max(x[i], -limit), limit)`, as torch.nn.utils.clip_grad_value_. NaN stays NaN.
    pub static CLIP_VALUES = clip_values(ClipValues { count: u32, limit: f32 }; x: update F32);
    variants [
        { "elements", "clip_values.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "clip_values.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`CLIP_VALUES`].
pub fn clip_values<R: Real>(p: &ClipValues, x: &mut [R]) {
    let limit = R::of(p.limit.into());
    for x in &mut x[..p.count as usize] {
        *x = x.max(-limit).min(limit);
    }
}
