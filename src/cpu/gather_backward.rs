//! Twin of `shaders/gather_backward.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Gradient of a choice: `dx[o, k, i] = Σ_j dy[o, j, i]` over those j in `start..start + m` whose `index[o, j, i]` is k,
    /// plus the old dx where `accumulate` is 1. `pitch` elements were chosen of each line of n.
    pub static GATHER_BACKWARD = gather_backward(GatherBackward {
        outer: u32, n: u32, inner: u32, pitch: u32, start: u32, m: u32, accumulate: u32,
    }; index: read I32, dy: read Float, dx: update Float);
    variants [{ "elements", "gather_backward.wgsl", [] }]
}

/// See [`GATHER_BACKWARD`].
pub fn gather_backward<R: Real>(p: &GatherBackward, index: &[i32], dy: &[R], dx: &mut [R]) {
    let [n, inner, pitch, start, m] = [p.n, p.inner, p.pitch, p.start, p.m].map(|n| n as usize);
    for (at, dx) in dx[..(p.outer * p.n * p.inner) as usize].iter_mut().enumerate() {
        let (o, k, i) = (at / inner / n, at / inner % n, at % inner);
        let chosen = (start..start + m).map(|j| (o * pitch + j) * inner + i);
        let sum = R::sum(chosen.filter(|j| index[*j] == k as i32).map(|j| dy[j]));
        *dx = if p.accumulate == 1 { *dx + sum } else { sum };
    }
}
