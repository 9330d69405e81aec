//! Twin of `shaders/cross_entropy_soft.wgsl` and `shaders/cross_entropy_soft_group.wgsl`.

use super::cross_entropy::MANY;
use super::groups;
use super::real::Real;
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Softmax cross-entropy of rows of logits x against probabilities q of the classes, and its gradient
    /// (torch.nn.CrossEntropyLoss): with logp = log softmax x, p = e^logp, class weights w (1 unless `weighted` is 1),
    /// smoothing s and a_c = w_c·((1 - s)·q_c + s/C), row by row
    /// `loss = -scale · Σ_c a_c·logp_c` and `dx_c = scale · (p_c·Σ_k a_k - a_c)`.
    pub static CROSS_ENTROPY_SOFT = cross_entropy_soft(CrossEntropySoft {
        rows: u32, classes: u32, smoothing: f32, weighted: u32, scale: f32,
    }; logits: read Float, labels: read Float, weight: read F32, losses: write F32, dlogits: write Float);
    variants [
        { "a thread a row", "cross_entropy_soft.wgsl", [] },
        { "a workgroup a row", "cross_entropy_soft_group.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "cross_entropy_soft_group.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// How to run it: as [`cross_entropy`](super::cross_entropy::plan) and for the same reasons.
pub fn plan(p: &CrossEntropySoft, limits: &Limits) -> Plan {
    let ways = plans(p);
    if p.classes < MANY { ways[0] } else { groups::chosen(&ways[1..], limits) }
}

/// Every way to run it.
pub fn plans(p: &CrossEntropySoft) -> Vec<Plan> {
    let by_threads = Plan::elements(&CROSS_ENTROPY_SOFT, p.rows as usize);
    std::iter::once(by_threads).chain(groups::by_rows(&CROSS_ENTROPY_SOFT, 1, p.rows, p.classes)).collect()
}

/// See [`CROSS_ENTROPY_SOFT`].
pub fn cross_entropy_soft<R: Real>(
    p: &CrossEntropySoft,
    logits: &[R],
    labels: &[R],
    weight: &[R],
    losses: &mut [R],
    dlogits: &mut [R],
) {
    let classes = p.classes as usize;
    let (smoothing, scale) = (R::of(p.smoothing.into()), R::of(p.scale.into()));
    let share = smoothing / R::of(p.classes.into());
    for row in 0..p.rows as usize {
        let x = &logits[row * classes..][..classes];
        let q = &labels[row * classes..][..classes];
        let dx = &mut dlogits[row * classes..][..classes];
        let a = |c: usize| {
            let weight = if p.weighted == 1 { weight[c] } else { R::of(1.0) };
            weight * ((R::of(1.0) - smoothing) * q[c] + share)
        };
        let largest = x.iter().fold(x[0], |largest, x| largest.max(*x));
        // The exponentials wait in dx for their sum.
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = (*x - largest).max(R::of(-100.0)).exp();
        }
        let sum = R::sum(dx.iter().copied());
        let mass = R::sum((0..classes).map(a));
        let spread = R::sum((0..classes).map(|c| a(c) * (x[c] - largest)));
        losses[row] = scale * (mass * sum.ln() - spread);
        for (c, dx) in dx.iter_mut().enumerate() {
            *dx = scale * (*dx / sum * mass - a(c));
        }
    }
}
