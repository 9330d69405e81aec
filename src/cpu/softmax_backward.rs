//! Twin of `shaders/softmax_backward.wgsl`.

use super::groups;
use super::real::Real;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Gradient of a softmax of rows from its output y: `dx[r, c] = y[r, c] · (dy[r, c] - Σ_k dy[r, k]·y[r, k])`, or where
    /// `log` is 1 and y the logarithm of one, `dx[r, c] = dy[r, c] - e^y[r, c] · Σ_k dy[r, k]`.
    pub static SOFTMAX_BACKWARD = softmax_backward(SoftmaxBackward { rows: u32, cols: u32, log: u32 };
        y: read Float, dy: read Float, dx: write Float);
    variants [
        { "a workgroup a row", "softmax_backward.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "softmax_backward.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &SoftmaxBackward, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it.
pub fn plans(p: &SoftmaxBackward) -> Vec<Plan> {
    groups::by_rows(&SOFTMAX_BACKWARD, 0, p.rows, p.cols)
}

/// See [`SOFTMAX_BACKWARD`].
pub fn softmax_backward<R: Real>(p: &SoftmaxBackward, y: &[R], dy: &[R], dx: &mut [R]) {
    let cols = p.cols as usize;
    for row in 0..p.rows as usize {
        let [y, dy] = [y, dy].map(|x| &x[row * cols..][..cols]);
        let weighted = |(y, dy): (&R, &R)| if p.log == 1 { *dy } else { *dy * *y };
        let sum = R::sum(y.iter().zip(dy).map(weighted));
        for ((dx, y), dy) in dx[row * cols..][..cols].iter_mut().zip(y).zip(dy) {
            *dx = if p.log == 1 { *dy - y.max(R::of(-100.0)).exp() * sum } else { *y * (*dy - sum) };
        }
    }
}
