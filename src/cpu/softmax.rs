//! Twin of `shaders/softmax.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::{powers_of_row, widest};
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Softmax of rows: with z = x - max x, `y[r, c] = e^z[r, c] / Σ_k e^z[r, k]`, or where `log` is 1 its logarithm
    /// `z[r, c] - log Σ_k e^z[r, k]`.
    pub static SOFTMAX = softmax(Softmax { rows: u32, cols: u32, log: u32 }; x: read Float, y: write Float);
    fast softmax_fast;
    variants [
        { "a workgroup a row", "softmax.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "softmax.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &Softmax, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it.
pub fn plans(p: &Softmax) -> Vec<Plan> {
    groups::by_rows(&SOFTMAX, 0, p.rows, p.cols)
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

/// What an element costs, in multiplications: its power and three passes.
const COST: usize = 64;

/// [`softmax`], some rows a thread, with vectors.
pub fn softmax_fast(p: &Softmax, x: &[f32], y: &mut [f32]) {
    let [rows, cols] = [p.rows, p.cols].map(|n| n as usize);
    let y = Shared::new(y);
    in_blocks(rows, 1, COST * rows * cols, |rows| {
        let (from, len) = (rows.start * cols, rows.len() * cols);
        // SAFETY: each thread makes rows of its own.
        let (x, y) = (&x[from..][..len], unsafe { y.part(from, len) });
        let lines = x.chunks_exact(cols).zip(y.chunks_exact_mut(cols));
        widest(
            #[inline(always)]
            || {
                for (x, y) in lines {
                    let [largest, sum] = powers_of_row(x, y);
                    if p.log == 1 {
                        let log_sum = sum.ln();
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - largest - log_sum);
                    } else {
                        y.iter_mut().for_each(|y| *y /= sum);
                    }
                }
            },
        );
    });
}
