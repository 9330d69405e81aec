//! Twin of `shaders/philox_uniform.wgsl`.

use super::philox::{AT_ONCE, fractions};
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel::Plan;

crate::kernel! {
    /// Random numbers: `y[i] = low + (high - low) · u`, where u is number i of a stream of [`philox`](super::philox).
    pub static PHILOX_UNIFORM = philox_uniform(PhiloxUniform {
        count: u32, seed_low: u32, seed_high: u32, stream: u32, low: f32, high: f32,
    }; y: write F32);
    fast philox_uniform_fast;
    variants [{ "blocks", "philox_uniform.wgsl", [] }]
}

/// How to run it: a thread computes four numbers.
pub fn plan(p: &PhiloxUniform) -> Plan {
    Plan::elements(&PHILOX_UNIFORM, p.count.div_ceil(4) as usize)
}

/// See [`PHILOX_UNIFORM`].
pub fn philox_uniform<R: Real>(p: &PhiloxUniform, y: &mut [R]) {
    from_number(p, 0, &mut y[..p.count as usize]);
}

/// The numbers from `first` on, a multiple of four.
#[inline(always)]
fn from_number<R: Real>(p: &PhiloxUniform, first: u32, y: &mut [R]) {
    let (low, high) = (R::of(p.low.into()), R::of(p.high.into()));
    for (first, y) in (first / 4..).step_by(AT_ONCE / 4).zip(y.chunks_mut(AT_ONCE)) {
        fractions(first, [0, p.stream, 0], [p.seed_low, p.seed_high], y);
        y.iter_mut().for_each(|y| *y = low + (high - low) * *y);
    }
}

/// What a number costs, in multiplications.
const COST: usize = 64;

/// [`philox_uniform`], some numbers a thread, with the widest vectors.
pub fn philox_uniform_fast(p: &PhiloxUniform, y: &mut [f32]) {
    let count = p.count as usize;
    let y = Shared::new(y);
    in_blocks(count, GRAIN, COST * count, |block| {
        // SAFETY: each thread makes numbers of its own.
        let y = unsafe { y.part(block.start, block.len()) };
        widest(
            #[inline(always)]
            || from_number(p, block.start as u32, y),
        );
    });
}
