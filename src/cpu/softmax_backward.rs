//! Twin of `shaders/softmax_backward.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::{powers, widest};
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Gradient of a softmax of rows from its output y: `dx[r, c] = y[r, c] · (dy[r, c] - Σ_k dy[r, k]·y[r, k])`, or where
    /// `log` is 1 and y the logarithm of one, `dx[r, c] = dy[r, c] - e^y[r, c] · Σ_k dy[r, k]`.
    pub static SOFTMAX_BACKWARD = softmax_backward(SoftmaxBackward { rows: u32, cols: u32, log: u32 };
        y: read Float, dy: read Float, dx: write Float);
    fast softmax_backward_fast;
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
    by_rows(p, y, dy, dx, |x, y| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x.max(R::of(-100.0)).exp());
    });
}

/// The rows one by one. `powers` makes e^x.
#[inline(always)]
fn by_rows<R: Real>(p: &SoftmaxBackward, y: &[R], dy: &[R], dx: &mut [R], powers: impl Fn(&[R], &mut [R])) {
    let cols = p.cols as usize;
    for row in 0..p.rows as usize {
        let [y, dy] = [y, dy].map(|x| &x[row * cols..][..cols]);
        let dx = &mut dx[row * cols..][..cols];
        if p.log == 1 {
            let sum = R::sum_of([dy], |[dy]| dy);
            powers(y, dx);
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = *dy - *dx * sum);
        } else {
            let sum = R::sum_of([dy, y], |[dy, y]| dy * y);
            dx.iter_mut().zip(y).zip(dy).for_each(|((dx, y), dy)| *dx = *y * (*dy - sum));
        }
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 48;

/// [`softmax_backward`], some rows a thread, with the widest vectors.
pub fn softmax_backward_fast(p: &SoftmaxBackward, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let [rows, cols] = [p.rows, p.cols].map(|n| n as usize);
    let dx = Shared::new(dx);
    in_blocks(rows, 1, COST * rows * cols, |rows| {
        let (from, len) = (rows.start * cols, rows.len() * cols);
        let [y, dy] = [y, dy].map(|x| &x[from..][..len]);
        // SAFETY: each thread makes rows of its own.
        let dx = unsafe { dx.part(from, len) };
        let p = SoftmaxBackward { rows: rows.len() as u32, ..*p };
        widest(
            #[inline(always)]
            || by_rows(&p, y, dy, dx, powers),
        );
    });
}
