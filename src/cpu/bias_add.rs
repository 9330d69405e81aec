//! Twin of `shaders/bias_add.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// Adds a bias to every row: `y[r, c] = x[r, c] + bias[c]`.
    pub static BIAS_ADD = bias_add(BiasAdd { rows: u32, cols: u32 }; x: read Float, bias: read Float, y: write Float);
    fast bias_add_fast;
    variants [
        { "elements", "bias_add.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "bias_add.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`BIAS_ADD`].
#[inline(always)]
pub fn bias_add<R: Real>(p: &BiasAdd, x: &[R], bias: &[R], y: &mut [R]) {
    let cols = p.cols as usize;
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        for c in 0..cols {
            y[c] = x[c] + bias[c];
        }
    }
}

/// What an element costs, in multiplications: to read and to write it.
const COST: usize = 32;

/// [`bias_add`], some rows a thread, with the widest vectors.
pub fn bias_add_fast(p: &BiasAdd, x: &[f32], bias: &[f32], y: &mut [f32]) {
    let [rows, cols] = [p.rows, p.cols].map(|n| n as usize);
    let y = Shared::new(y);
    in_blocks(rows, 1, COST * rows * cols, |rows| {
        let (from, len) = (rows.start * cols, rows.len() * cols);
        // SAFETY: each thread makes rows of its own.
        let (x, y) = (&x[from..][..len], unsafe { y.part(from, len) });
        widest(
            #[inline(always)]
            || bias_add(p, x, bias, y),
        );
    });
}
