//! Twin of `shaders/unary.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// A function of every element: `y[i] = f(x[i])`, where `op` says what f is: [`EXP`], [`LOG`] or [`SQRT`].
    pub static UNARY = unary(Unary { op: u32, count: u32 }; x: read Float, y: write Float);
    variants [{ "elements", "unary.wgsl", [] }]
}

/// e^x.
pub const EXP: u32 = 0;
/// The natural logarithm.
pub const LOG: u32 = 1;
/// The square root.
pub const SQRT: u32 = 2;

/// See [`UNARY`].
pub fn unary<R: Real>(p: &Unary, x: &[R], y: &mut [R]) {
    for (y, x) in y[..p.count as usize].iter_mut().zip(x) {
        *y = match p.op {
            EXP => x.exp(),
            LOG => x.ln(),
            _ => x.sqrt(),
        };
    }
}
