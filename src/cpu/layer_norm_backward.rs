//! Twin of `shaders/layer_norm_backward.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Gradient of a layer normalisation of rows: with `stats[r]` = (μ, s), h = (x - μ)·s and g = dy·weight,
    /// `dx = s·(g - Σ_c g[c]/C - h·Σ_c g[c]·h[c]/C)` and `dweight_rows = dy·h`, whose sum over the rows is the gradient of the
    /// weight.
    pub static LAYER_NORM_BACKWARD = layer_norm_backward(LayerNormBackward { rows: u32, cols: u32, weighted: u32 };
        x: read Float, weight: read Float, stats: read F32, dy: read Float, dx: write Float, dweight_rows: write F32);
    fast layer_norm_backward_fast;
    variants [
        { "a workgroup a row", "layer_norm_backward.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "layer_norm_backward.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &LayerNormBackward, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it.
pub fn plans(p: &LayerNormBackward) -> Vec<Plan> {
    groups::by_rows(&LAYER_NORM_BACKWARD, 0, p.rows, p.cols)
}

/// See [`LAYER_NORM_BACKWARD`].
#[inline(always)]
pub fn layer_norm_backward<R: Real>(
    p: &LayerNormBackward,
    x: &[R],
    weight: &[R],
    stats: &[R],
    dy: &[R],
    dx: &mut [R],
    dweight_rows: &mut [R],
) {
    let cols = p.cols as usize;
    let n = R::of(p.cols.into());
    for row in 0..p.rows as usize {
        let (mean, scale) = (stats[2 * row], stats[2 * row + 1]);
        let [x, dy] = [x, dy].map(|x| &x[row * cols..][..cols]);
        let [dx, dweight] = [&mut *dx, &mut *dweight_rows].map(|x| &mut x[row * cols..][..cols]);
        // Where there is no weight, anything as long.
        let weight = if p.weighted == 1 { &weight[..cols] } else { x };
        let h = |x: R| (x - mean) * scale;
        let g = |dy: R, weight: R| if p.weighted == 1 { dy * weight } else { dy };
        let mean_g = R::sum_of([dy, weight], |[dy, weight]| g(dy, weight)) / n;
        let mean_gh = R::sum_of([dy, weight, x], |[dy, weight, x]| g(dy, weight) * h(x)) / n;
        let gradients = dx.iter_mut().zip(dweight);
        for ((((dx, dweight), x), dy), weight) in gradients.zip(x).zip(dy).zip(weight) {
            let h = h(*x);
            *dx = scale * (g(*dy, *weight) - mean_g - h * mean_gh);
            *dweight = *dy * h;
        }
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 64;

/// [`layer_norm_backward`], some rows a thread, with the widest vectors.
pub fn layer_norm_backward_fast(
    p: &LayerNormBackward,
    x: &[f32],
    weight: &[f32],
    stats: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dweight_rows: &mut [f32],
) {
    let [rows, cols] = [p.rows, p.cols].map(|n| n as usize);
    let [dx, dweight_rows] = [dx, dweight_rows].map(Shared::new);
    in_blocks(rows, 1, COST * rows * cols, |rows| {
        let (from, len) = (rows.start * cols, rows.len() * cols);
        let [x, dy] = [x, dy].map(|x| &x[from..][..len]);
        let stats = &stats[2 * rows.start..][..2 * rows.len()];
        // SAFETY: each thread makes rows of its own.
        let [dx, dweight_rows] = [&dx, &dweight_rows].map(|x| unsafe { x.part(from, len) });
        let p = LayerNormBackward { rows: rows.len() as u32, ..*p };
        widest(
            #[inline(always)]
            || layer_norm_backward(&p, x, weight, stats, dy, dx, dweight_rows),
        );
    });
}
