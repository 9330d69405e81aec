//! Twin of `shaders/unary.wgsl`.

use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::{Exp, map, widest};
use crate::kernel;

kernel! {
    /// A function of every element: `y[i] = f(x[i])`, where `op` says what f is: [`EXP`], [`LOG`] or [`SQRT`].
    pub static UNARY = unary(Unary { op: u32, count: u32 }; x: read Float, y: write Float);
    fast unary_fast;
    variants [{ "elements", "unary.wgsl", [] }]
}

/// e^x.
pub const EXP: u32 = 0;
/// The natural logarithm.
pub const LOG: u32 = 1;
/// The square root.
pub const SQRT: u32 = 2;

/// See [`UNARY`].
#[inline(always)]
pub fn unary<R: Real>(p: &Unary, x: &[R], y: &mut [R]) {
    let each = y[..p.count as usize].iter_mut().zip(x);
    // A loop for each, so that vectors are made of those that can be.
    match p.op {
        EXP => each.for_each(|(y, x)| *y = x.exp()),
        LOG => each.for_each(|(y, x)| *y = x.ln()),
        _ => each.for_each(|(y, x)| *y = x.sqrt()),
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 32;

/// [`unary`], some elements a thread, with the widest vectors, of the logarithm without.
pub fn unary_fast(p: &Unary, x: &[f32], y: &mut [f32]) {
    let count = p.count as usize;
    if p.op == EXP {
        return map(Exp, &x[..count], y);
    }
    let y = Shared::new(y);
    in_blocks(count, GRAIN, COST * count, |block| {
        let p = Unary { count: block.len() as u32, ..*p };
        // SAFETY: each thread makes elements of its own.
        let (x, y) = (&x[block.start..], unsafe { y.part(block.start, block.len()) });
        widest(
            #[inline(always)]
            || unary(&p, x, y),
        );
    });
}
