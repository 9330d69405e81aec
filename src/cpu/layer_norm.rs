//! Twin of `shaders/layer_norm.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Layer normalisation of rows (torch.nn.LayerNorm): with the mean μ and the variance `v = Σ_c (x[c] - μ)² / C` of a row,
    /// `y[r, c] = (x[r, c] - μ)·s·weight[c] + bias[c]` where s = 1/√(v + eps). Weight is 1 unless `weighted` is 1, bias 0
    /// unless `biased` is 1. `stats[r]` = (μ, s), for the gradient.
    pub static LAYER_NORM = layer_norm(LayerNorm { rows: u32, cols: u32, eps: f32, weighted: u32, biased: u32 };
        x: read Float, weight: read Float, bias: read Float, y: write Float, stats: write F32);
    fast layer_norm_fast;
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
#[inline(always)]
pub fn layer_norm<R: Real>(p: &LayerNorm, x: &[R], weight: &[R], bias: &[R], y: &mut [R], stats: &mut [R]) {
    let cols = p.cols as usize;
    let n = R::of(p.cols.into());
    for row in 0..p.rows as usize {
        let x = &x[row * cols..][..cols];
        let mean = R::sum_of([x], |[x]| x) / n;
        let variance = R::sum_of([x], |[x]| (x - mean) * (x - mean)) / n;
        let scale = R::of(1.0) / (variance + R::of(p.eps.into())).sqrt();
        stats[2 * row..][..2].copy_from_slice(&[mean, scale]);
        // Where there is no weight or no bias, anything as long.
        let weight = if p.weighted == 1 { &weight[..cols] } else { x };
        let bias = if p.biased == 1 { &bias[..cols] } else { x };
        for (((y, x), weight), bias) in y[row * cols..][..cols].iter_mut().zip(x).zip(weight).zip(bias) {
            let h = (*x - mean) * scale;
            let weighted = if p.weighted == 1 { h * *weight } else { h };
            *y = if p.biased == 1 { weighted + *bias } else { weighted };
        }
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 48;

/// [`layer_norm`], some rows a thread, with the widest vectors.
pub fn layer_norm_fast(
    p: &LayerNorm,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    stats: &mut [f32],
) {
    let [rows, cols] = [p.rows, p.cols].map(|n| n as usize);
    let [y, stats] = [y, stats].map(Shared::new);
    in_blocks(rows, 1, COST * rows * cols, |rows| {
        let (from, len) = (rows.start * cols, rows.len() * cols);
        // SAFETY: each thread makes rows of its own.
        let (y, stats) = unsafe { (y.part(from, len), stats.part(2 * rows.start, 2 * rows.len())) };
        let p = LayerNorm { rows: rows.len() as u32, ..*p };
        widest(
            #[inline(always)]
            || layer_norm(&p, &x[from..][..len], weight, bias, y, stats),
        );
    });
}
