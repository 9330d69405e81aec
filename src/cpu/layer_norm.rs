//! Twin of `shaders/layer_norm.wgsl`.

use super::groups;
use super::real::Real;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Layer normalisation of rows (torch.nn.LayerNorm): with the mean μ and the variance `v = Σ_c (x[c] - μ)² / C` of a row,
    /// `y[r, c] = (x[r, c] - μ)·s·weight[c] + bias[c]` where s = 1/√(v + eps). Weight is 1 unless `weighted` is 1, bias 0
    /// unless `biased` is 1. `stats[r]` = (μ, s), for the gradient.
    pub static LAYER_NORM = layer_norm(LayerNorm { rows: u32, cols: u32, eps: f32, weighted: u32, biased: u32 };
        x: read Float, weight: read Float, bias: read Float, y: write Float, stats: write F32);
    variants [
        { "a workgroup a row", "layer_norm.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "layer_norm.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &LayerNorm, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it.
pub fn plans(p: &LayerNorm) -> Vec<Plan> {
    groups::by_rows(&LAYER_NORM, 0, p.rows, p.cols)
}

/// See [`LAYER_NORM`].
pub fn layer_norm<R: Real>(p: &LayerNorm, x: &[R], weight: &[R], bias: &[R], y: &mut [R], stats: &mut [R]) {
    let cols = p.cols as usize;
    let n = R::of(p.cols.into());
    for row in 0..p.rows as usize {
        let x = &x[row * cols..][..cols];
        let mean = R::sum(x.iter().copied()) / n;
        let variance = R::sum(x.iter().map(|x| (*x - mean) * (*x - mean))) / n;
        let scale = R::of(1.0) / (variance + R::of(p.eps.into())).sqrt();
        stats[2 * row..][..2].copy_from_slice(&[mean, scale]);
        for (c, y) in y[row * cols..][..cols].iter_mut().enumerate() {
            *y = (x[c] - mean) * scale;
            if p.weighted == 1 {
                *y = *y * weight[c];
            }
            if p.biased == 1 {
                *y = *y + bias[c];
            }
        }
    }
}
