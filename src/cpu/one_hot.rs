//! Twin of `shaders/one_hot.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Unit vectors: `y[i, c]` is 1 where `c = tokens[i]`, else 0.
    pub static ONE_HOT = one_hot(OneHot { count: u32, classes: u32 }; tokens: read I32, y: write Float);
    variants [{ "elements", "one_hot.wgsl", [] }]
}

/// See [`ONE_HOT`].
pub fn one_hot<R: Real>(p: &OneHot, tokens: &[i32], y: &mut [R]) {
    for (y, token) in y.chunks_exact_mut(p.classes as usize).zip(&tokens[..p.count as usize]) {
        for (c, y) in y.iter_mut().enumerate() {
            *y = R::of(if c as i32 == *token { 1.0 } else { 0.0 });
        }
    }
}
