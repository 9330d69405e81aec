//! Twin of `shaders/sigmoid.wgsl`.

use pulp::{Arch, Simd, WithSimd};

use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::{Lanes, starts};
use crate::kernel;

kernel! {
    /// The logistic function: `y[i] = 1 / (1 + e^-x[i])`.
    pub static SIGMOID = sigmoid(Sigmoid { count: u32 }; x: read F32, y: write F32);
    fast sigmoid_fast;
    variants [{ "elements", "sigmoid.wgsl", [] }]
}

/// See [`SIGMOID`].
pub fn sigmoid<R: Real>(p: &Sigmoid, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.sigmoid();
    }
}

/// What an element costs, in multiplications.
const COST: usize = 32;

/// [`sigmoid`], some elements a thread, with vectors.
pub fn sigmoid_fast(p: &Sigmoid, x: &[f32], y: &mut [f32]) {
    let y = Shared::new(y);
    in_blocks(p.count as usize, GRAIN, COST * p.count as usize, |block| {
        // SAFETY: each thread makes elements of its own.
        let y = unsafe { y.part(block.start, block.len()) };
        Arch::new().dispatch(Elements { x: &x[block], y });
    });
}

struct Elements<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Elements<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for at in starts::<S>(self.x) {
            Lanes::load(simd, self.x, at).sigmoid().store(self.y, at);
        }
    }
}
