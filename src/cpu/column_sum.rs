//! Twin of `shaders/column_sum.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel::{MAX_GROUPS, Plan, Processor};

crate::kernel! {
    /// Sums rows: for each of `outer` matrices `x[o]` of `pitch` rows, `y[o, c] = scale · Σ_r x[o, start + r, c]` over `rows`
    /// rows, plus the old `y[o, c]` where `accumulate` is 1. The gradient of a bias, and the sum over any dimension.
    pub static COLUMN_SUM = column_sum(ColumnSum {
        outer: u32, rows: u32, cols: u32, start: u32, pitch: u32, scale: f32, accumulate: u32,
    }; x: read Float, y: update Float);
    fast column_sum_fast;
    variants [
        { "8 columns", "column_sum.wgsl" & "elements_of_one.wgsl", [("COLUMNS", 8), ("LANES", 32)] },
        { "32 columns", "column_sum.wgsl" & "elements_of_one.wgsl", [("COLUMNS", 32), ("LANES", 8)] },
        { "a thread a column", "column_sum.wgsl" & "elements_of_one.wgsl", [("COLUMNS", 8), ("LANES", 1)] },
        { "a thread four columns", "column_sum.wgsl" & "elements_of_four.wgsl", [("COLUMNS", 8), ("LANES", 1)] },
    ]
}

/// With so many columns workgroups of 32 columns are enough to fill a GPU. With fewer, those of 8 are used: they are more, and
/// have more threads for each column. They still read whole sectors of 32 bytes.
const WIDE: u32 = 4096;

/// Up to so many rows software adds up with one thread for each column: barriers cost it more than they save, and it silently
/// ends a loop after 65,535 iterations.
const MOST_ALONE: u32 = 60_000;

/// The variants by their place above.
const EIGHT: usize = 0;
const THIRTY_TWO: usize = 1;
const ALONE: usize = 2;
const FOUR_ALONE: usize = 3;

/// How to run it.
pub fn plan(p: &ColumnSum, processor: Processor) -> Plan {
    let alone = processor == Processor::Software && may_be_alone(p);
    let variant = match (alone, p.cols.is_multiple_of(4)) {
        (true, true) => FOUR_ALONE,
        (true, false) => ALONE,
        (false, _) if p.cols >= WIDE => THIRTY_TWO,
        (false, _) => EIGHT,
    };
    plan_of(variant, p)
}

/// How to run a variant of it.
fn plan_of(variant: usize, p: &ColumnSum) -> Plan {
    let columns =
        COLUMN_SUM.variants[variant].constant("COLUMNS") * if variant == FOUR_ALONE { 4 } else { 1 };
    let groups = p.cols.div_ceil(columns).saturating_mul(p.outer);
    Plan { kernel: &COLUMN_SUM, variant, grid: [groups.clamp(1, MAX_GROUPS), 1, 1] }
}

/// Every way to run it.
pub fn plans(p: &ColumnSum) -> Vec<Plan> {
    let able = |variant: &usize| match *variant {
        FOUR_ALONE => may_be_alone(p) && p.cols.is_multiple_of(4),
        ALONE => may_be_alone(p),
        _ => true,
    };
    (EIGHT..=FOUR_ALONE).filter(able).map(|variant| plan_of(variant, p)).collect()
}

/// Whether a thread can add up a column by itself.
fn may_be_alone(p: &ColumnSum) -> bool {
    p.rows <= MOST_ALONE
}

/// See [`COLUMN_SUM`].
pub fn column_sum<R: Real>(p: &ColumnSum, x: &[R], y: &mut [R]) {
    let [outer, rows, cols, start, pitch] = [p.outer, p.rows, p.cols, p.start, p.pitch].map(|n| n as usize);
    let scale = R::of(p.scale.into());
    for o in 0..outer {
        for (c, y) in y[o * cols..][..cols].iter_mut().enumerate() {
            let sum = scale * R::sum((0..rows).map(|r| x[(o * pitch + start + r) * cols + c]));
            *y = if p.accumulate == 1 { *y + sum } else { sum };
        }
    }
}

/// Columns that [`column_sum_fast`] sums at a time.
const BLOCK: usize = 64;
/// What adding an element costs, in multiplications.
const ADDING: usize = 8;

/// [`column_sum`] along the rows, as they lie in memory, in 64 bits: gradients that cancel give 0 (see the shader).
pub fn column_sum_fast(p: &ColumnSum, x: &[f32], y: &mut [f32]) {
    let [outer, rows, cols, start, pitch] = [p.outer, p.rows, p.cols, p.start, p.pitch].map(|n| n as usize);
    for o in 0..outer {
        let x = &x[(o * pitch + start) * cols..][..rows * cols];
        let y = Shared::new(&mut y[o * cols..][..cols]);
        in_blocks(cols, BLOCK, ADDING * rows * cols, |columns| {
            // SAFETY: each thread sums columns of its own.
            let y = unsafe { y.part(columns.start, columns.len()) };
            widest(
                #[inline(always)]
                || {
                    let mut first = columns.start;
                    for y in y.chunks_mut(BLOCK) {
                        add_up(p, x, cols, first, y);
                        first += BLOCK;
                    }
                },
            );
        });
    }
}

/// Sums up to [`BLOCK`] columns, in as many registers as they need.
#[inline(always)]
fn add_up(p: &ColumnSum, x: &[f32], cols: usize, first: usize, y: &mut [f32]) {
    let mut done = 0;
    while done < y.len() {
        let (from, y) = (first + done, &mut y[done..]);
        done += match y.len() {
            BLOCK.. => columns::<BLOCK>(p, x, cols, from, y),
            32.. => columns::<32>(p, x, cols, from, y),
            16.. => columns::<16>(p, x, cols, from, y),
            8.. => columns::<8>(p, x, cols, from, y),
            _ => columns::<1>(p, x, cols, from, y),
        };
    }
}

/// Sums N columns, and returns N.
#[inline(always)]
fn columns<const N: usize>(p: &ColumnSum, x: &[f32], cols: usize, first: usize, y: &mut [f32]) -> usize {
    let mut sums = [0.0f64; N];
    for row in x.chunks_exact(cols) {
        let row: &[f32; N] = row[first..].first_chunk().expect("the columns lie inside the rows");
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    for (y, sum) in y.iter_mut().zip(sums) {
        let sum = p.scale * sum as f32;
        *y = if p.accumulate == 1 { *y + sum } else { sum };
    }
    N
}
