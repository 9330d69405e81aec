//! Twin of `shaders/dropout.wgsl`.

use super::philox::{fraction, philox4x32};
use super::real::Real;
use crate::kernel::Plan;

crate::kernel! {
    /// Dropout: `y[i] = x[i]·scale` where u ≥ rate, else 0. u in [0, 1) is number first + i of a stream of
    /// [`philox`](super::philox) that belongs to the call; no stream of initial values is one of these.
    pub static DROPOUT = dropout(Dropout {
        count: u32, first: u32, seed_low: u32, seed_high: u32, call_low: u32, call_high: u32, rate: f32, scale: f32,
    }; x: read Float, y: write Float);
    variants [{ "blocks", "dropout.wgsl", [] }]
}

/// How to run it: a thread computes four elements.
pub fn plan(p: &Dropout) -> Plan {
    Plan::elements(&DROPOUT, p.count.div_ceil(4) as usize)
}

/// See [`DROPOUT`].
pub fn dropout<R: Real>(p: &Dropout, x: &[R], y: &mut [R]) {
    let count = p.count as usize;
    for (block, (x, y)) in x[..count].chunks(4).zip(y[..count].chunks_mut(4)).enumerate() {
        let words =
            philox4x32([p.first / 4 + block as u32, 1, p.call_low, p.call_high], [p.seed_low, p.seed_high]);
        for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
            *y = if fraction(word) >= p.rate { *x * R::of(p.scale.into()) } else { R::zero() };
        }
    }
}
