//! Twin of `shaders/gather.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Chooses elements of lines: `y[o, j, i] = x[o, index[o, j, i], i]` for x [outer, n, inner] and m chosen elements a
    /// line. The indices lie in 0..n.
    pub static GATHER = gather(Gather { outer: u32, n: u32, m: u32, inner: u32 };
        x: read Float, index: read I32, y: write Float);
    variants [{ "elements", "gather.wgsl", [] }]
}

/// See [`GATHER`].
pub fn gather<R: Real>(p: &Gather, x: &[R], index: &[i32], y: &mut [R]) {
    let [n, m, inner] = [p.n, p.m, p.inner].map(|n| n as usize);
    for (at, y) in y[..(p.outer * p.m * p.inner) as usize].iter_mut().enumerate() {
        let o = at / inner / m;
        *y = x[(o * n + index[at] as usize) * inner + at % inner];
    }
}
