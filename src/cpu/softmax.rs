//! Twin of `shaders/softmax.wgsl`.

use super::real::Real;
use crate::kernel::{MAX_GROUPS, Plan};

crate::kernel! {
    /// Softmax of rows: with z = x - max x, `y[r, c] = e^z[r, c] / Σ_k e^z[r, k]`, or where `log` is 1 its logarithm
    /// `z[r, c] - log Σ_k e^z[r, k]`.
    pub static SOFTMAX = softmax(Softmax { rows: u32, cols: u32, log: u32 }; x: read F32, y: write F32);
    variants [{ "a workgroup a row", "softmax.wgsl", [] }]
}

/// How to run it: a workgroup a row.
pub fn plan(p: &Softmax) -> Plan {
    Plan { kernel: &SOFTMAX, variant: 0, grid: [p.rows.clamp(1, MAX_GROUPS), 1, 1] }
}

/// See [`SOFTMAX`].
pub fn softmax<R: Real>(p: &Softmax, x: &[R], y: &mut [R]) {
    let cols = p.cols as usize;
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)).take(p.rows as usize) {
        let largest = x.iter().fold(x[0], |largest, x| largest.max(*x));
        let power = |x: &R| {
            let z = *x - largest;
            if z.value().is_nan() { z } else { z.max(R::of(-100.0)).exp() }
        };
        let sum = R::sum(x.iter().map(power));
        for (y, x) in y.iter_mut().zip(x) {
            *y = if p.log == 1 { *x - largest - sum.ln() } else { power(x) / sum };
        }
    }
}
