//! Twin of `shaders/cross_entropy.wgsl` and `shaders/cross_entropy_group.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::{powers_of_row, widest};
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Softmax cross-entropy of rows of logits x and its gradient (torch.nn.CrossEntropyLoss): with logp = log softmax x,
    /// p = e^logp, label y, class weights w (1 unless `weighted` is 1) and smoothing s, row by row
    /// `loss = scale · (-(1 - s)·w_y·logp_y - s/C·Σ_c w_c·logp_c)` and
    /// `dx_c = scale · (p_c·((1 - s)·w_y + s/C·Σ_k w_k) - s/C·w_c - [c = y]·(1 - s)·w_y)`.
    /// Rows whose label is `ignore_index` get zeros; all other labels lie in 0..classes.
    pub static CROSS_ENTROPY = cross_entropy(CrossEntropy {
        rows: u32, classes: u32, ignore_index: i32, smoothing: f32, weighted: u32, scale: f32,
    }; logits: read Float, labels: read I32, weight: read F32, losses: write F32, dlogits: write Float);
    fast cross_entropy_fast;
    variants [
        { "a thread a row", "cross_entropy.wgsl", [] },
        { "a workgroup a row", "cross_entropy_group.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", GROUP)] },
        { "a subgroup a row", "cross_entropy_group.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// With so many classes a workgroup takes a row. With fewer, one thread for each row is better: the rows of neighbouring threads
/// lie close together, so that what one loads stays in the cache for the next, and there are no barriers, which cost software
/// adapters much. With more, every load of a thread would fetch a cache line of its own.
pub(super) const MANY: u32 = 128;

/// How to run it.
pub fn plan(p: &CrossEntropy, limits: &Limits) -> Plan {
    let ways = plans(p);
    if p.classes < MANY { ways[0] } else { groups::chosen(&ways[1..], limits) }
}

/// Every way to run it.
pub fn plans(p: &CrossEntropy) -> Vec<Plan> {
    let by_threads = Plan::elements(&CROSS_ENTROPY, p.rows as usize);
    std::iter::once(by_threads).chain(groups::by_rows(&CROSS_ENTROPY, 1, p.rows, p.classes)).collect()
}

/// See [`CROSS_ENTROPY`].
pub fn cross_entropy<R: Real>(
    p: &CrossEntropy,
    logits: &[R],
    labels: &[i32],
    weight: &[R],
    losses: &mut [R],
    dlogits: &mut [R],
) {
    let classes = p.classes as usize;
    let (smoothing, scale) = (R::of(p.smoothing.into()), R::of(p.scale.into()));
    let share = smoothing / R::of(p.classes.into());
    let weight = |c: usize| if p.weighted == 1 { weight[c] } else { R::of(1.0) };
    let weights = R::sum((0..classes).map(weight));
    for row in 0..p.rows as usize {
        let x = &logits[row * classes..][..classes];
        let dx = &mut dlogits[row * classes..][..classes];
        if labels[row] == p.ignore_index {
            losses[row] = R::zero();
            dx.fill(R::zero());
            continue;
        }
        let label = labels[row] as usize;
        let largest = x.iter().fold(x[0], |largest, x| largest.max(*x));
        // The exponentials wait in dx for their sum.
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = (*x - largest).max(R::of(-100.0)).exp();
        }
        let sum = R::sum(dx.iter().copied());
        let log_sum = sum.ln();
        let hit = (R::of(1.0) - smoothing) * weight(label);
        let mut loss = hit * (log_sum - (x[label] - largest));
        if share > R::zero() {
            // Else 0·∞ for a logit that masks its class.
            let spread = R::sum((0..classes).map(|c| weight(c) * (x[c] - largest)));
            loss = loss + share * (weights * log_sum - spread);
        }
        losses[row] = scale * loss;
        for (c, dx) in dx.iter_mut().enumerate() {
            let at_label = if c == label { hit } else { R::zero() };
            *dx = scale * (*dx / sum * (hit + share * weights) - share * weight(c) - at_label);
        }
    }
}

/// What an element costs, in multiplications: its power and three passes.
const COST: usize = 64;

/// [`cross_entropy`], some rows a thread, with vectors where classes have no weights.
pub fn cross_entropy_fast(
    p: &CrossEntropy,
    logits: &[f32],
    labels: &[i32],
    weight: &[f32],
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let [rows, classes] = [p.rows, p.classes].map(|n| n as usize);
    let (losses, dlogits) = (Shared::new(losses), Shared::new(dlogits));
    in_blocks(rows, 1, COST * rows * classes, |rows| {
        let (from, len) = (rows.start * classes, rows.len() * classes);
        let (x, labels) = (&logits[from..][..len], &labels[rows.clone()]);
        // SAFETY: each thread makes rows of its own.
        let (losses, dx) = unsafe { (losses.part(rows.start, rows.len()), dlogits.part(from, len)) };
        let p = CrossEntropy { rows: rows.len() as u32, ..*p };
        match p.weighted == 1 {
            true => cross_entropy(&p, x, labels, weight, losses, dx),
            false => widest(
                #[inline(always)]
                || unweighted(&p, x, labels, losses, dx),
            ),
        }
    });
}

/// Rows whose classes all have weight 1.
#[inline(always)]
fn unweighted(p: &CrossEntropy, x: &[f32], labels: &[i32], losses: &mut [f32], dx: &mut [f32]) {
    let classes = p.classes as usize;
    let (hit, share) = (1.0 - p.smoothing, p.smoothing / p.classes as f32);
    let rows = x.chunks_exact(classes).zip(dx.chunks_exact_mut(classes));
    for ((x, dx), (label, loss)) in rows.zip(labels.iter().zip(losses)) {
        if *label == p.ignore_index {
            *loss = 0.0;
            dx.fill(0.0);
            continue;
        }
        let label = *label as usize;
        let [largest, sum] = powers_of_row(x, dx);
        let log_sum = sum.ln();
        *loss = hit * (log_sum - (x[label] - largest));
        if share > 0.0 {
            // Else 0·∞ for a logit that masks its class.
            let spread = Real::sum(x.iter().map(|x| x - largest));
            *loss += share * (p.classes as f32 * log_sum - spread);
        }
        *loss *= p.scale;
        let factor = p.scale * (hit + share * p.classes as f32) / sum;
        dx.iter_mut().for_each(|dx| *dx = *dx * factor - p.scale * share);
        dx[label] -= p.scale * hit;
    }
}
