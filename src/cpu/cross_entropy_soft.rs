//! Twin of `shaders/cross_entropy_soft.wgsl` and `shaders/cross_entropy_soft_group.wgsl`.

use super::cross_entropy::MANY;
use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::{powers_of_row, widest};
use crate::kernel::{GROUP, Limits, Plan, SUBGROUP};

crate::kernel! {
    /// Softmax cross-entropy of rows of logits x against probabilities q of the classes, and its gradient
    /// (torch.nn.CrossEntropyLoss): with logp = log softmax x, p = e^logp, class weights w (1 unless `weighted` is 1),
    /// smoothing s and a_c = w_c·((1 - s)·q_c + s/C), row by row
    /// `loss = -scale · Σ_c a_c·logp_c` and `dx_c = scale · (p_c·Σ_k a_k - a_c)`.
    pub static CROSS_ENTROPY_SOFT = cross_entropy_soft(CrossEntropySoft {
        rows: u32, classes: u32, smoothing: f32, weighted: u32, scale: f32,
    }; logits: read Float, labels: read Float, weight: read F32, losses: write F32, dlogits: write Float);
    fast cross_entropy_soft_fast;
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
    by_rows(p, logits, labels, weight, losses, dlogits, |x, y| {
        let largest = x.iter().fold(x[0], |largest, x| largest.max(*x));
        for (y, x) in y.iter_mut().zip(x) {
            *y = (*x - largest).max(R::of(-100.0)).exp();
        }
        [largest, R::sum(y.iter().copied())]
    });
}

/// The rows one by one. `powers` makes e^(x - the largest of x), and gives that largest and the sum.
#[inline(always)]
fn by_rows<R: Real>(
    p: &CrossEntropySoft,
    logits: &[R],
    labels: &[R],
    weight: &[R],
    losses: &mut [R],
    dlogits: &mut [R],
    powers: impl Fn(&[R], &mut [R]) -> [R; 2],
) {
    let classes = p.classes as usize;
    let (smoothing, scale) = (R::of(p.smoothing.into()), R::of(p.scale.into()));
    let share = smoothing / R::of(p.classes.into());
    let a = |q: R, weight: R| {
        let a = (R::of(1.0) - smoothing) * q + share;
        if p.weighted == 1 { weight * a } else { a }
    };
    for (row, loss) in losses[..p.rows as usize].iter_mut().enumerate() {
        let [x, q] = [logits, labels].map(|x| &x[row * classes..][..classes]);
        // Where classes have no weights, anything as long.
        let weight = if p.weighted == 1 { &weight[..classes] } else { q };
        // The exponentials wait in dx for their sum.
        let dx = &mut dlogits[row * classes..][..classes];
        let [largest, sum] = powers(x, dx);
        let mass = R::sum_of([q, weight], |[q, weight]| a(q, weight));
        let spread = R::sum_of([q, weight, x], |[q, weight, x]| a(q, weight) * (x - largest));
        *loss = scale * (mass * sum.ln() - spread);
        for ((dx, q), weight) in dx.iter_mut().zip(q).zip(weight) {
            *dx = scale * (*dx / sum * mass - a(*q, *weight));
        }
    }
}

/// What an element costs, in multiplications: its power and five passes.
const COST: usize = 96;

/// [`cross_entropy_soft`], some rows a thread, with the widest vectors.
pub fn cross_entropy_soft_fast(
    p: &CrossEntropySoft,
    logits: &[f32],
    labels: &[f32],
    weight: &[f32],
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let [rows, classes] = [p.rows, p.classes].map(|n| n as usize);
    let (losses, dlogits) = (Shared::new(losses), Shared::new(dlogits));
    in_blocks(rows, 1, COST * rows * classes, |rows| {
        let (from, len) = (rows.start * classes, rows.len() * classes);
        let [x, labels] = [logits, labels].map(|x| &x[from..][..len]);
        // SAFETY: each thread makes rows of its own.
        let (losses, dx) = unsafe { (losses.part(rows.start, rows.len()), dlogits.part(from, len)) };
        let p = CrossEntropySoft { rows: rows.len() as u32, ..*p };
        widest(
            #[inline(always)]
            || by_rows(&p, x, labels, weight, losses, dx, powers_of_row),
        );
    });
}
