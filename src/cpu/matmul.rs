//! Twin of `shaders/matmul.wgsl`.

use std::ops::Range;

use super::packed::{PANEL, Packed, Strided, TILE, Target, with_rows};
use super::real::Real;
use super::threads::{Shared, in_blocks, in_large_blocks};
use crate::kernel::{Limits, MAX_GROUPS, Plan, Processor, SUBGROUP};
use crate::plans::{Site, Way};

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
        { "subgroup", "matmul_subgroup.wgsl" & "matmul_any.wgsl", [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup NN", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_nn.wgsl", [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup NT", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_nt.wgsl", [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
        { "subgroup TN", "matmul_subgroup.wgsl" & "matmul_fours.wgsl" & "matmul_tn.wgsl", [("ROWS", 16), ("BLOCKS", 2)], needs SUBGROUP },
    ]
}

/// The variants by their place above.
const TILE_64: usize = 0;
const TILE_32: usize = 1;
const ANY: usize = 2;
const NN: usize = 3;
const NT: usize = 4;
const TN: usize = 5;

impl Way for Plan {
    fn name(&self) -> String {
        self.kernel.variants[self.variant].name.into()
    }
}

/// One workgroup a tile of c. On a GPU large tiles where there are enough of them to fill it, else small ones. On an
/// adapter made of software that has subgroups, the variant for the arrangement of a and b: ten times as fast there.
pub fn plan(p: &Matmul, limits: &Limits) -> Plan {
    if limits.processor == Processor::Software && limits.allow(&MATMUL.variants[ANY]) {
        let variant = [NN, NT, TN].into_iter().find(|variant| p.suits(*variant)).unwrap_or(ANY);
        return p.plan_of(variant);
    }
    let large = p.plan_of(TILE_64);
    if large.grid[0] * large.grid[1] >= 64 { large } else { p.plan_of(TILE_32) }
}

impl Matmul {
    /// How to run a variant.
    fn plan_of(&self, variant: usize) -> Plan {
        let (rows, cols) = match variant {
            TILE_64 | TILE_32 => [MATMUL.variants[variant].constant("TILE"); 2].into(),
            _ => (MATMUL.variants[variant].constant("ROWS"), 32),
        };
        let groups = |n: u32, tile: u32| n.div_ceil(tile).clamp(1, MAX_GROUPS);
        Plan { kernel: &MATMUL, variant, grid: [groups(self.n, cols), groups(self.m, rows), 1] }
    }

    /// Whether a variant can compute it: those that load four neighbours at once want them dense and aligned.
    fn suits(&self, variant: usize) -> bool {
        let fours = |sizes: &[u32]| sizes.iter().all(|size| size.is_multiple_of(4));
        let even = fours(&[self.k, self.n, self.a_offset, self.b_offset]) && self.n > 0;
        match variant {
            NN => even && self.a_col == 1 && self.b_col == 1 && fours(&[self.a_row, self.b_row]),
            NT => even && self.a_col == 1 && self.b_row == 1 && fours(&[self.a_row, self.b_col]),
            TN => even && self.a_row == 1 && self.b_col == 1 && fours(&[self.m, self.a_col, self.b_row]),
            _ => true,
        }
    }

    /// What its speed depends on: the sizes, whether c is added to, which factors are dense along their rows, whether a
    /// variant can load by fours.
    pub fn site(&self) -> Site {
        let dense = u32::from(self.a_col == 1) + 2 * u32::from(self.b_col == 1);
        let fours = u32::from((NN..=TN).any(|variant| self.suits(variant)));
        Site { kernel: MATMUL.name, shape: [self.m, self.n, self.k, self.accumulate, dense, fours] }
    }

    /// A plan for each variant that can compute it.
    pub fn plans(&self) -> Vec<Plan> {
        let suitable = (0..MATMUL.variants.len()).filter(|variant| self.suits(*variant));
        suitable.map(|variant| self.plan_of(variant)).collect()
    }
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
