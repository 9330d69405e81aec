//! Twin of `shaders/philox_uniform.wgsl`.

use super::philox::{fraction, philox4x32};
use super::real::Real;
use crate::kernel::Plan;

crate::kernel! {
    /// Random numbers: `y[i] = low + (high - low) · u`, where u is number i of a stream of [`philox`](super::philox).
    pub static PHILOX_UNIFORM = philox_uniform(PhiloxUniform {
        count: u32, seed_low: u32, seed_high: u32, stream: u32, low: f32, high: f32,
    }; y: write F32);
    variants [{ "blocks", "philox_uniform.wgsl", [] }]
}

/// How to run it: a thread computes four numbers.
pub fn plan(p: &PhiloxUniform) -> Plan {
    Plan::elements(&PHILOX_UNIFORM, p.count.div_ceil(4) as usize)
}

/// See [`PHILOX_UNIFORM`].
pub fn philox_uniform<R: Real>(p: &PhiloxUniform, y: &mut [R]) {
    let (low, high) = (R::of(p.low.into()), R::of(p.high.into()));
    for (block, y) in y[..p.count as usize].chunks_mut(4).enumerate() {
        let words = philox4x32([block as u32, 0, p.stream, 0], [p.seed_low, p.seed_high]);
        for (y, word) in y.iter_mut().zip(words) {
            *y = low + (high - low) * R::of(fraction(word).into());
        }
    }
}
