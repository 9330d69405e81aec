//! Twin of `shaders/clip_gradients.wgsl`.

use super::control::{COEFFICIENT, NONFINITE, NORM, SCALE};
use super::groups;
use super::real::Real;
use crate::kernel::{Limits, MAX_GROUPS, Plan, SUBGROUP};

crate::kernel! {
    /// Divides all gradients by the loss scale s (SCALE where `scaled` is 1, else 1) and limits their norm, as
    /// torch.nn.utils.clip_grad_norm_: with `norm = √(Σ partial) / s`, `grad[i] = coefficient·grad[i]` where
    /// `coefficient = min(1, max_norm / (norm + 1e-6)) / s`. Writes NORM, COEFFICIENT and NONFINITE; a norm that is not finite sets
    /// NONFINITE to 1, COEFFICIENT to 1, and leaves grad as it is.
    pub static CLIP_GRADIENTS = clip_gradients(ClipGradients { count: u32, partials: u32, max_norm: f32, scaled: u32 };
        partial: read F32, grad: update F32, control: update F32);
    variants [
        { "tree", "clip_gradients.wgsl" & "threads_of_workgroup.wgsl",
            [("THREADS", 256), ("NONFINITE", NONFINITE), ("NORM", NORM), ("COEFFICIENT", COEFFICIENT), ("SCALE", SCALE)] },
        { "subgroup", "clip_gradients.wgsl" & "threads_of_subgroup.wgsl",
            [("THREADS", 8), ("NONFINITE", NONFINITE), ("NORM", NORM), ("COEFFICIENT", COEFFICIENT), ("SCALE", SCALE)],
            needs SUBGROUP },
    ]
}

/// Elements of a workgroup, which has to add up all the partial sums as well.
const ELEMENTS: u32 = 2048;

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &ClipGradients, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it.
pub fn plans(p: &ClipGradients) -> [Plan; 2] {
    let grid = [p.count.div_ceil(ELEMENTS).clamp(1, MAX_GROUPS), 1, 1];
    [0, 1].map(|variant| Plan { kernel: &CLIP_GRADIENTS, variant, grid })
}

/// See [`CLIP_GRADIENTS`].
pub fn clip_gradients<R: Real>(p: &ClipGradients, partial: &[R], grad: &mut [R], control: &mut [R]) {
    let scale = if p.scaled == 1 { control[SCALE as usize] } else { R::of(1.0) };
    let norm = R::sum(partial[..p.partials as usize].iter().copied()).sqrt() / scale;
    let mut coefficient = R::of(1.0);
    if norm.is_finite() {
        coefficient = coefficient.min(R::of(p.max_norm.into()) / (norm + R::of(1e-6))) / scale;
    }
    control[NONFINITE as usize] = if norm.is_finite() { R::zero() } else { R::of(1.0) };
    control[NORM as usize] = norm;
    control[COEFFICIENT as usize] = coefficient;
    for grad in &mut grad[..p.count as usize] {
        *grad = *grad * coefficient;
    }
}
