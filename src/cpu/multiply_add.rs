//! Twin of `shaders/multiply_add.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel;
use crate::kernel::Plan;

kernel! {
    /// y = x, then `rounds` times y = a·y + b, for each of `count` elements, a multiple of 16. The benchmark measures with it
    /// how many multiplications and additions a device makes.
    pub static MULTIPLY_ADD = multiply_add(MultiplyAdd { count: u32, rounds: u32, a: f32, b: f32 };
        x: read F32, y: write F32);
    fast multiply_add_fast;
    variants [{ "elements", "multiply_add.wgsl", [] }]
}

/// A thread for 16 elements.
pub fn plan(p: &MultiplyAdd) -> Plan {
    Plan::elements(&MULTIPLY_ADD, p.count as usize / 16)
}

/// See [`MULTIPLY_ADD`].
pub fn multiply_add<R: Real>(p: &MultiplyAdd, x: &[R], y: &mut [R]) {
    let (a, b) = (R::of(p.a.into()), R::of(p.b.into()));
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = *x;
        (0..p.rounds).for_each(|_| *y = a * *y + b);
    }
}

/// Elements that one core takes at a time: enough sums at once for the latency of a multiply-add.
const TILE: usize = 192;

/// [`multiply_add`] in vectors, on all threads.
pub fn multiply_add_fast(p: &MultiplyAdd, x: &[f32], y: &mut [f32]) {
    let count = p.count as usize;
    let y = Shared::new(y);
    in_blocks(count, TILE, count * p.rounds as usize, |block| {
        // SAFETY: each thread makes elements of its own.
        let (x, y) = (&x[block.clone()], unsafe { y.part(block.start, block.len()) });
        widest(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_mut(TILE).zip(x.chunks(TILE)) {
                    let mut sums = [0.0; TILE];
                    sums[..x.len()].copy_from_slice(x);
                    for _ in 0..p.rounds {
                        sums.iter_mut().for_each(|sum| *sum = p.a.mul_add(*sum, p.b));
                    }
                    y.copy_from_slice(&sums[..x.len()]);
                }
            },
        );
    });
}
