//! Twin of `shaders/bias_add.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Adds a bias to every row: `y[r, c] = x[r, c] + bias[c]`.
    pub static BIAS_ADD = bias_add(BiasAdd { rows: u32, cols: u32 }; x: read F32, bias: read F32, y: write F32);
    variants [{ "elements", "bias_add.wgsl", [] }]
}

/// See [`BIAS_ADD`].
pub fn bias_add<R: Real>(p: &BiasAdd, x: &[R], bias: &[R], y: &mut [R]) {
    let cols = p.cols as usize;
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        for c in 0..cols {
            y[c] = x[c] + bias[c];
        }
    }
}
