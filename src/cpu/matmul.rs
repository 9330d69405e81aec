//! Twin of `shaders/matmul.wgsl`. How it can be run is in `matmul_ways.rs`.

use std::ops::Range;

use super::packed::{PANEL, Packed, Strided, TILE, Target, with_rows};
use super::real::Real;
use super::threads::{Shared, in_blocks, in_large_blocks};
use crate::kernel::{COOPERATIVE, SUBGROUP};

crate::kernel! {
    /// Matrix product in parts: `c[s, i, j]` = Σ_k a(i, k)·b(k, j) over the k of part s, from s·depth to (s + 1)·depth or to the
    /// end. To part 0 is added `bias[j]` where `biases` is 1, `bias[j] + bias_2[j]` where it is 2; to each part the old c where
    /// `accumulate` is 1. Element (i, k) of a is `a[a_offset + i·a_row + k·a_col]`, of b likewise; c is dense.
    pub static MATMUL = matmul(Matmul {
        m: u32, n: u32, k: u32,
        /// How many k a part sums over: k for a single part, else a multiple of 4.
        depth: u32,
        a_offset: u32, a_row: u32, a_col: u32, b_offset: u32, b_row: u32, b_col: u32, biases: u32, accumulate: u32,
    }; a: read Float, b: read Float, bias: read Float, bias_2: read Float, c: update Float);
    fast matmul_fast;
    variants [
        // ANCHOR: variants
        { "tile 128 of fours", "matmul.wgsl" & "matmul_fours.wgsl", [("TILE", 128), ("THREADS", 16), ("BLOCKS", 2)] },
        { "tile 64 of fours", "matmul.wgsl" & "matmul_fours.wgsl", [("TILE", 64), ("THREADS", 16), ("BLOCKS", 1)] },
        { "tile 32 of fours", "matmul.wgsl" & "matmul_fours.wgsl", [("TILE", 32), ("THREADS", 8), ("BLOCKS", 1)] },
        // ANCHOR_END: variants
        { "few rows of fours", "matmul_few.wgsl" & "matmul_fours.wgsl",
            [("DOWN", 2), ("ACROSS", 1), ("QUADS_DOWN", 1), ("QUADS_ACROSS", 4), ("LANES", 32), ("SUMS", 8)] },
        { "tile 128", "matmul.wgsl" & "matmul_ones.wgsl", [("TILE", 128), ("THREADS", 16), ("BLOCKS", 2)] },
        { "tile 64", "matmul.wgsl" & "matmul_ones.wgsl", [("TILE", 64), ("THREADS", 16), ("BLOCKS", 1)] },
        { "tile 32", "matmul.wgsl" & "matmul_ones.wgsl", [("TILE", 32), ("THREADS", 8), ("BLOCKS", 1)] },
        { "few rows", "matmul_few.wgsl" & "matmul_ones.wgsl",
            [("DOWN", 2), ("ACROSS", 1), ("QUADS_DOWN", 1), ("QUADS_ACROSS", 4), ("LANES", 32), ("SUMS", 8)] },
        { "few columns", "matmul_few.wgsl" & "matmul_ones.wgsl",
            [("DOWN", 1), ("ACROSS", 2), ("QUADS_DOWN", 4), ("QUADS_ACROSS", 1), ("LANES", 32), ("SUMS", 8)] },
        { "subgroup", "matmul_subgroup.wgsl" & "matmul_ones.wgsl" & "matmul_any.wgsl",
            [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup NN", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_nn.wgsl",
            [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup NT", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_nt.wgsl",
            [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup TN", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_tn.wgsl",
            [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "cooperative 64", "matmul_cooperative.wgsl", [("SIDE", 4)],
            needs COOPERATIVE, stored [F16, F16, F32, F32, F32] },
        { "cooperative 32", "matmul_cooperative.wgsl", [("SIDE", 2)],
            needs COOPERATIVE, stored [F16, F16, F32, F32, F32] },
    ]
}

impl Matmul {
    /// How many parts there are: at least one.
    pub fn parts(&self) -> u32 {
        self.k.div_ceil(self.depth.max(1)).max(1)
    }

    /// What is added to column j of part 0.
    #[inline(always)]
    fn added<R: Real>(&self, bias: &[R], bias_2: &[R], j: usize) -> Option<R> {
        match self.biases {
            0 => None,
            1 => Some(bias[j]),
            _ => Some(bias[j] + bias_2[j]),
        }
    }
}

/// See [`MATMUL`].
pub fn matmul<R: Real>(p: &Matmul, a: &[R], b: &[R], bias: &[R], bias_2: &[R], c: &mut [R]) {
    let [m, n, k, depth] = [p.m, p.n, p.k, p.depth].map(|n| n as usize);
    for part in 0..p.parts() as usize {
        for i in 0..m {
            for j in 0..n {
                let at_a = |k| p.a_offset as usize + i * p.a_row as usize + k * p.a_col as usize;
                let at_b = |k| p.b_offset as usize + k * p.b_row as usize + j * p.b_col as usize;
                let ks = part * depth..k.min((part + 1) * depth);
                let mut sum = R::sum(ks.map(|k| a[at_a(k)] * b[at_b(k)]));
                if let Some(added) = p.added(bias, bias_2, j).filter(|_| part == 0) {
                    sum = sum + added;
                }
                let c = &mut c[(part * m + i) * n + j];
                *c = if p.accumulate == 1 { *c + sum } else { sum };
            }
        }
    }
}

/// How many k one pass over c sums over: a panel of the right factor with so many rows stays in the cache near a core.
const DEPTH: usize = 512;
/// Rows of a that stay in the cache too while they are multiplied with all panels.
const ROWS: usize = 128;
/// With at most so many rows of a, and no more rows than columns, each thread packs the panels that it needs. Packing costs as much
/// as multiplying a few rows, and reading what another thread has packed costs as much as packing. A single panel is packed by
/// each thread.
const FEW: usize = 256;

/// What a vector that is not full costs, and what storing a sum costs, in multiplications.
const VECTOR: usize = 16;

/// [`matmul`] by packed panels. The same row gives the same bits in any company, on any number of threads.
pub fn matmul_fast(p: &Matmul, a: &[f32], b: &[f32], bias: &[f32], bias_2: &[f32], c: &mut [f32]) {
    if p.depth >= p.k {
        return part_fast(p, a, b, [bias, bias_2], c);
    }
    let all = (p.m * p.n) as usize;
    for part in 0..p.parts() {
        let start = part * p.depth;
        let one = Matmul {
            k: p.depth.min(p.k - start),
            a_offset: p.a_offset + start * p.a_col,
            b_offset: p.b_offset + start * p.b_row,
            biases: if part == 0 { p.biases } else { 0 },
            ..*p
        };
        part_fast(&one, a, b, [bias, bias_2], &mut c[part as usize * all..][..all]);
    }
}

/// A part as a product of its own.
fn part_fast(p: &Matmul, a: &[f32], b: &[f32], biases: [&[f32]; 2], c: &mut [f32]) {
    let [m, n, k] = [p.m, p.n, p.k].map(|n| n as usize);
    let c = &mut c[..m * n];
    if m * n * k == 0 {
        for (j, c) in c.chunks_exact_mut(n.max(1)).flat_map(|row| row.iter_mut().enumerate()) {
            let sum = p.added(biases[0], biases[1], j).unwrap_or(0.0);
            *c = if p.accumulate == 1 { *c + sum } else { sum };
        }
        return;
    }
    let used = [0, 1].map(|at| &biases[at][..if at < p.biases as usize { n } else { 0 }]);
    let a = Strided { data: &a[p.a_offset as usize..], row: p.a_row as usize, col: p.a_col as usize };
    let b = Strided { data: &b[p.b_offset as usize..], row: p.b_row as usize, col: p.b_col as usize };
    let c = Shared::new(c);
    let work = |depth: usize| m * n.next_multiple_of(VECTOR) * (depth + VECTOR);
    let parts = (0..k).step_by(DEPTH).map(|start| (start, DEPTH.min(k - start)));
    let target = |start: usize, row: usize, column: usize, rows: usize| Target {
        c: &c,
        start: row * n + column,
        pitch: n,
        rows,
        add: p.accumulate == 1 || start > 0,
        biases: used.map(|bias| if start + DEPTH >= k { bias.get(column..).unwrap_or(&[]) } else { &[] }),
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
