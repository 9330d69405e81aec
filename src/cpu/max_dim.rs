//! Twin of `shaders/max_dim.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// The largest elements of lines, and where they are: for x [outer, pitch, inner], `y[o, i] = max_k x[o, k, i]` and the
    /// first such k in `index[o, i]`, over k in `start..start + n`, and over what y and index hold already where `accumulate`
    /// is 1. NaN counts as larger than any number.
    pub static MAX_DIM = max_dim(MaxDim { outer: u32, pitch: u32, inner: u32, start: u32, n: u32, accumulate: u32 };
        x: read Float, y: update Float, index: update I32);
    variants [{ "elements", "max_dim.wgsl", [] }]
}

/// See [`MAX_DIM`].
pub fn max_dim<R: Real>(p: &MaxDim, x: &[R], y: &mut [R], index: &mut [i32]) {
    let [pitch, inner, start, n] = [p.pitch, p.inner, p.start, p.n].map(|n| n as usize);
    for at in 0..(p.outer * p.inner) as usize {
        let element = |k: usize| x[(at / inner * pitch + k) * inner + at % inner];
        let (mut best, mut found) = (element(start), start as i32);
        if p.accumulate == 1 {
            (best, found) = (y[at], index[at]);
        }
        for k in start..start + n {
            let x = element(k);
            if x > best || (x.value().is_nan() && !best.value().is_nan()) {
                (best, found) = (x, k as i32);
            }
        }
        (y[at], index[at]) = (best, found);
    }
}
