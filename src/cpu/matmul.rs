//! Twin of `shaders/matmul.wgsl`.

use super::real::Real;
use crate::kernel::{MAX_GROUPS, Plan};

crate::kernel! {
    /// Matrix product: `c[i, j]` = Σ_k a(i, k) · b(k, j), plus the old `c[i, j]` where `accumulate` is 1. Element (i, k) of a
    /// is `a[a_offset + i·a_row + k·a_col]`, of b likewise; c is dense.
    pub static MATMUL = matmul(Matmul {
        m: u32, n: u32, k: u32, a_offset: u32, a_row: u32, a_col: u32, b_offset: u32, b_row: u32, b_col: u32,
        accumulate: u32,
    }; a: read F32, b: read F32, c: update F32);
    fast matmul_fast;
    variants [
        { "tile 64", "matmul.wgsl", [("TILE", 64), ("THREADS", 16), ("DEPTH", 16)] },
        { "tile 32", "matmul.wgsl", [("TILE", 32), ("THREADS", 16), ("DEPTH", 16)] },
    ]
}

/// One workgroup a tile of c: large tiles where there are enough of them to fill a GPU, else small ones.
pub fn plan(p: &Matmul) -> Plan {
    let tiles = |variant: usize| {
        let tile = MATMUL.variants[variant].constant("TILE");
        [p.n.div_ceil(tile), p.m.div_ceil(tile), 1].map(|groups| groups.clamp(1, MAX_GROUPS))
    };
    let [x, y, _] = tiles(0);
    let variant = if x * y >= 64 { 0 } else { 1 };
    Plan { kernel: &MATMUL, variant, grid: tiles(variant) }
}

/// See [`MATMUL`].
pub fn matmul<R: Real>(p: &Matmul, a: &[R], b: &[R], c: &mut [R]) {
    for i in 0..p.m as usize {
        for j in 0..p.n as usize {
            let at_a = |k| p.a_offset as usize + i * p.a_row as usize + k * p.a_col as usize;
            let at_b = |k| p.b_offset as usize + k * p.b_row as usize + j * p.b_col as usize;
            let sum = R::sum((0..p.k as usize).map(|k| a[at_a(k)] * b[at_b(k)]));
            let c = &mut c[i * p.n as usize + j];
            *c = if p.accumulate == 1 { *c + sum } else { sum };
        }
    }
}

/// Products of at most so many multiplications are quicker in the plain loop than in the `gemm` crate.
const SMALL: usize = 2048;

/// [`matmul`] through the `gemm` crate.
pub fn matmul_fast(p: &Matmul, a: &[f32], b: &[f32], c: &mut [f32]) {
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    if m * n * k <= SMALL {
        return matmul(p, a, b, c);
    }
    // The last element that gemm will touch; slicing checks that it lies inside.
    let last_a = p.a_offset as usize + (m - 1) * p.a_row as usize + (k - 1) * p.a_col as usize;
    let last_b = p.b_offset as usize + (k - 1) * p.b_row as usize + (n - 1) * p.b_col as usize;
    let (a, b, c) = (&a[p.a_offset as usize..=last_a], &b[p.b_offset as usize..=last_b], &mut c[..m * n]);
    // SAFETY: the slices above hold every element that the strides reach, and c is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            p.accumulate == 1,
            a.as_ptr(),
            p.a_col as isize,
            p.a_row as isize,
            b.as_ptr(),
            p.b_col as isize,
            p.b_row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            if m * n * k > 1 << 22 { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None },
        );
    }
}
