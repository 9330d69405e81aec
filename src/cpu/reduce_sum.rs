//! Twin of `shaders/reduce_sum.wgsl`.

use super::groups;
use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel::{Limits, MAX_GROUPS, Plan, SUBGROUP};

crate::kernel! {
    /// Sums parts of a tensor: `y[g] = scale · Σ x[i]^power` over the g-th of `groups` equal contiguous parts of x. The
    /// last parts may be shorter, or empty. `power` is 1 or 2.
    pub static REDUCE_SUM = reduce_sum(ReduceSum { count: u32, groups: u32, power: u32, scale: f32 };
        x: read Float, y: write Float);
    fast reduce_sum_fast;
    variants [
        { "tree", "reduce_sum.wgsl" & "threads_of_workgroup.wgsl", [("THREADS", 256)] },
        { "subgroup", "reduce_sum.wgsl" & "threads_of_subgroup.wgsl", [("THREADS", 8)], needs SUBGROUP },
    ]
}

/// The longest part that a subgroup adds up: each of its threads then has few numbers, so that their sum is accurate, and far
/// fewer than the 65,535 iterations after which llvmpipe silently ends a loop.
const LONGEST: u32 = 8 * 4096;

/// How to run it: by [`groups::chosen`].
pub fn plan(p: &ReduceSum, limits: &Limits) -> Plan {
    groups::chosen(&plans(p), limits)
}

/// Every way to run it: as a tree, and where the parts are short enough by a subgroup.
pub fn plans(p: &ReduceSum) -> Vec<Plan> {
    let grid = [p.groups.clamp(1, MAX_GROUPS), 1, 1];
    let variants = 0..if p.count.div_ceil(p.groups.max(1)) <= LONGEST { 2 } else { 1 };
    variants.map(|variant| Plan { kernel: &REDUCE_SUM, variant, grid }).collect()
}

/// See [`REDUCE_SUM`].
pub fn reduce_sum<R: Real>(p: &ReduceSum, x: &[R], y: &mut [R]) {
    y[..p.groups as usize].iter_mut().enumerate().for_each(|(g, y)| *y = sum_of_part(p, x, g));
}

#[inline(always)]
fn sum_of_part<R: Real>(p: &ReduceSum, x: &[R], g: usize) -> R {
    let (count, scale) = (p.count as usize, R::of(p.scale.into()));
    let part = p.count.div_ceil(p.groups) as usize;
    let x = &x[(g * part).min(count)..((g + 1) * part).min(count)];
    match p.power {
        2 => scale * R::sum_of([x], |[x]| x * x),
        _ => scale * R::sum_of([x], |[x]| x),
    }
}

/// What adding an element costs, in multiplications.
const ADDING: usize = 8;

/// [`reduce_sum`], some parts a thread, with the widest vectors.
pub fn reduce_sum_fast(p: &ReduceSum, x: &[f32], y: &mut [f32]) {
    let y = Shared::new(y);
    in_blocks(p.groups as usize, 1, ADDING * p.count as usize, |parts| {
        // SAFETY: each thread makes sums of its own.
        let y = unsafe { y.part(parts.start, parts.len()) };
        widest(
            #[inline(always)]
            || y.iter_mut().zip(parts).for_each(|(y, g)| *y = sum_of_part(p, x, g)),
        );
    });
}
