//! Twin of `shaders/tanh.wgsl`.

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::{Lanes, starts};
use crate::kernel;

kernel! {
    /// The hyperbolic tangent, to 4e-7: `y[i] = tanh x[i]`.
    pub static TANH = tanh(Tanh { count: u32 }; x: read F32, y: write F32);
    fast tanh_fast;
    variants [{ "elements", "tanh.wgsl", [] }]
}

/// See [`TANH`].
pub fn tanh<R: Real>(p: &Tanh, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = x.tanh();
    }
}

/// What an element costs, in multiplications.
const COST: usize = 32;

/// [`tanh`], some elements a thread, with vectors.
pub fn tanh_fast(p: &Tanh, x: &[f32], y: &mut [f32]) {
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
            tanh_rational(Lanes::load(simd, self.x, at)).store(self.y, at);
        }
    }
}
