//! Twin of `shaders/matmul.wgsl`.

use std::ops::Range;

use super::packed::{PANEL, Packed, Strided, TILE, Target, with_rows};
use super::real::Real;
use super::threads::{Shared, in_blocks, in_large_blocks};
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

/// How much of the sums one pass over c adds up: a panel of the right factor so deep stays in the cache near a core.
const DEPTH: usize = 512;
/// Rows of a that stay there too while they meet all panels.
const ROWS: usize = 128;
/// With at most so many rows of a, and no more than columns, each panel is packed by the thread that needs it: packing costs
/// as much as a few rows, and what another thread has packed as much as packing. With a single panel each thread packs all.
const FEW: usize = 256;

/// What is lost to a vector that is not full, and to putting a sum into its place, in multiplications.
const VECTOR: usize = 16;

/// [`matmul`] by packed panels. The same row gives the same bits in any company, on any number of threads.
pub fn matmul_fast(p: &Matmul, a: &[f32], b: &[f32], c: &mut [f32]) {
    let [m, n, k] = [p.m, p.n, p.k].map(|n| n as usize);
    if m * n * k == 0 {
        return if p.accumulate == 0 {
            c[..m * n].fill(0.0)
        };
    }
    let a = Strided { data: &a[p.a_offset as usize..], row: p.a_row as usize, col: p.a_col as usize };
    let b = Strided { data: &b[p.b_offset as usize..], row: p.b_row as usize, col: p.b_col as usize };
    let c = Shared::new(&mut c[..m * n]);
    let work = |depth: usize| m * n.next_multiple_of(VECTOR) * (depth + VECTOR);
    let parts = (0..k).step_by(DEPTH).map(|start| (start, DEPTH.min(k - start)));
    let target = |start: usize, row: usize, column: usize, rows: usize| Target {
        c: &c,
        start: row * n + column,
        pitch: n,
        rows,
        add: p.accumulate == 1 || start > 0,
    };
    // Some rows of a, from column `start` on, times all columns of a part of b.
    let times = |b: Packed<'_>, start: usize, depth: usize, rows: Range<usize>| {
        for first in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - first);
            // SAFETY: each thread makes rows of its own.
            with_rows(a.from(first, start), count, depth, |a| unsafe {
                b.product(a, &target(start, first, 0, count));
            });
        }
    };
    if n <= PANEL {
        return in_large_blocks(m, TILE, work(k), |rows| {
            for (start, depth) in parts.clone() {
                Packed::with(b.from(start, 0), depth, n, |b| times(b, start, depth, rows.clone()));
            }
        });
    }
    for (start, depth) in parts {
        let b = b.from(start, 0);
        if m > FEW.min(n) {
            Packed::with(b, depth, n, |b| {
                in_blocks(m, TILE, work(depth), |rows| times(b, start, depth, rows));
            });
            continue;
        }
        with_rows(a.from(0, start), m, depth, |a| {
            in_blocks(n, PANEL, work(depth), |columns| {
                for first in columns.clone().step_by(PANEL) {
                    let width = PANEL.min(columns.end - first);
                    // SAFETY: each thread makes columns of its own.
                    Packed::with(b.from(0, first), depth, width, |b| unsafe {
                        b.product(a, &target(start, 0, first, m));
                    });
                }
            });
        });
    }
}
