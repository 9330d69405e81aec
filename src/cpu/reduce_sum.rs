//! Twin of `shaders/reduce_sum.wgsl`.

use super::real::Real;
use crate::kernel::{MAX_GROUPS, Plan};

crate::kernel! {
    /// Sums parts of a tensor: `y[g] = scale · Σ x[i]^power` over the g-th of `groups` equal contiguous parts of x. The
    /// last parts may be shorter, or empty. `power` is 1 or 2.
    pub static REDUCE_SUM = reduce_sum(ReduceSum { count: u32, groups: u32, power: u32, scale: f32 };
        x: read F32, y: write F32);
    variants [{ "tree", "reduce_sum.wgsl", [("THREADS", 256)] }]
}

/// How to run it: a workgroup a part.
pub fn plan(p: &ReduceSum) -> Plan {
    Plan { kernel: &REDUCE_SUM, variant: 0, grid: [p.groups.clamp(1, MAX_GROUPS), 1, 1] }
}

/// See [`REDUCE_SUM`].
pub fn reduce_sum<R: Real>(p: &ReduceSum, x: &[R], y: &mut [R]) {
    let (count, scale) = (p.count as usize, R::of(p.scale.into()));
    let part = p.count.div_ceil(p.groups) as usize;
    for (g, y) in y[..p.groups as usize].iter_mut().enumerate() {
        let x = &x[(g * part).min(count)..((g + 1) * part).min(count)];
        *y = scale * R::sum(x.iter().map(|x| if p.power == 2 { *x * *x } else { *x }));
    }
}
