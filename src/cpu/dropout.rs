//! Twin of `shaders/dropout.wgsl`.

use super::philox::{AT_ONCE, fractions};
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel::Plan;

crate::kernel! {
    /// Dropout: `y[i] = x[i]·scale` where u ≥ rate, else 0. u in [0, 1) is number first + i of a stream of
    /// [`philox`](super::philox) that belongs to the call; no stream of initial values is one of these.
    pub static DROPOUT = dropout(Dropout {
        count: u32, first: u32, seed_low: u32, seed_high: u32, call_low: u32, call_high: u32, rate: f32, scale: f32,
    }; x: read Float, y: write Float);
    fast dropout_fast;
    variants [{ "blocks", "dropout.wgsl", [] }]
}

/// How to run it: a thread computes four elements.
pub fn plan(p: &Dropout) -> Plan {
    Plan::elements(&DROPOUT, p.count.div_ceil(4) as usize)
}

/// See [`DROPOUT`].
#[inline(always)]
pub fn dropout<R: Real>(p: &Dropout, x: &[R], y: &mut [R]) {
    let (count, rate, scale) = (p.count as usize, R::of(p.rate.into()), R::of(p.scale.into()));
    let blocks = x[..count].chunks(AT_ONCE).zip(y[..count].chunks_mut(AT_ONCE));
    for (first, (x, y)) in (p.first / 4..).step_by(AT_ONCE / 4).zip(blocks) {
        // The random numbers wait in y.
        fractions(first, [1, p.call_low, p.call_high], [p.seed_low, p.seed_high], y);
        for (y, x) in y.iter_mut().zip(x) {
            let kept = *x * scale;
            *y = if *y >= rate { kept } else { R::zero() };
        }
    }
}

/// What an element costs, in multiplications.
const COST: usize = 64;

/// [`dropout`], some elements a thread, with the widest vectors.
pub fn dropout_fast(p: &Dropout, x: &[f32], y: &mut [f32]) {
    let count = p.count as usize;
    let y = Shared::new(y);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = Dropout { first: p.first + from as u32, count: len as u32, ..*p };
        // SAFETY: each thread makes elements of its own.
        let y = unsafe { y.part(from, len) };
        widest(
            #[inline(always)]
            || dropout(&p, &x[from..], y),
        );
    });
}
