//! Twin of `shaders/layer_norm_backward.wgsl`.

use super::groups;
use super::real::Real;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Gradient of a layer normalisation of rows: with `stats[r]` = (μ, s), h = (x - μ)·s and g = dy·weight,
    /// `dx = s·(g - Σ_c g[c]/C - h·Σ_c g[c]·h[c]/C)` and `dweight_rows = dy·h`, whose sum over the rows is the gradient of the
    /// weight.
    pub static LAYER_NORM_BACKWARD = layer_norm_backward(LayerNormBackward { rows: u32, cols: u32, weighted: u32 };
        x: read Float, weight: read Float, stats: read F32, dy: read Float, dx: write Float, dweight_rows: write F32);
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
        let h = |c: usize| (x[row * cols + c] - mean) * scale;
        let g = |c: usize| {
            let dy = dy[row * cols + c];
            if p.weighted == 1 { dy * weight[c] } else { dy }
        };
        let mean_g = R::sum((0..cols).map(g)) / n;
        let mean_gh = R::sum((0..cols).map(|c| g(c) * h(c))) / n;
        for c in 0..cols {
            dx[row * cols + c] = scale * (g(c) - mean_g - h(c) * mean_gh);
            dweight_rows[row * cols + c] = dy[row * cols + c] * h(c);
        }
    }
}
