//! Twin of `shaders/embedding_backward.wgsl` and `shaders/embedding_backward_lanes.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel::{MAX_GROUPS, Plan, Processor};

crate::kernel! {
    /// Gradient of a look-up: `dweight[v, :] = Σ_i dy[order[i], :]` over i in `starts[v]..starts[v + 1]`, plus the old dweight where
    /// `accumulate` is 1. Row `padding` gets nothing. `order` holds the positions of the tokens, sorted by token and, of one
    /// token, ascending.
    pub static EMBEDDING_BACKWARD = embedding_backward(EmbeddingBackward {
        rows: u32, width: u32, padding: u32, accumulate: u32,
    };
        starts: read I32, order: read I32, dy: read Float, dweight: update Float);
    fast embedding_backward_fast;
    variants [
        { "elements", "embedding_backward.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "embedding_backward.wgsl" & "elements_of_four.wgsl", [] },
        { "lanes", "embedding_backward_lanes.wgsl" & "elements_of_one.wgsl", [("COLUMNS", 16), ("LANES", 16)] },
        { "lanes of four", "embedding_backward_lanes.wgsl" & "elements_of_four.wgsl", [("COLUMNS", 16), ("LANES", 16)] },
    ]
}

/// The value of `padding` where there is no such row.
pub const NO_PADDING: u32 = u32::MAX;

/// From so many positions of a token on, on average, they are shared by lanes: the most frequent tokens then have many more, and
/// would hold up the others.
const OFTEN: usize = 16;

/// How to run it for so many positions. Software has no need of lanes: its threads come one after the other.
pub fn plan(p: &EmbeddingBackward, positions: usize, processor: Processor) -> Plan {
    let ways = plans(p);
    let (alone, lanes) = ways.split_at(ways.len() / 2);
    let often = processor == Processor::Gpu && positions / OFTEN >= p.rows as usize;
    let ways = if often { lanes } else { alone };
    ways[ways.len() - 1]
}

/// Every way to run it: by threads alone and by lanes, each with elements and, where rows come in fours, with fours.
pub fn plans(p: &EmbeddingBackward) -> Vec<Plan> {
    let kernel = &EMBEDDING_BACKWARD;
    let (rows, width) = (p.rows as usize, p.width as usize);
    let of_lanes = |variant: usize, wide: usize| {
        let blocks = (width / wide).div_ceil(kernel.variants[variant].constant("COLUMNS") as usize);
        let groups = (rows * blocks).clamp(1, MAX_GROUPS as usize) as u32;
        Plan { kernel, variant, grid: [groups, 1, 1] }
    };
    match width.is_multiple_of(4) {
        true => vec![
            Plan::elements(kernel, rows * width),
            Plan::fours(kernel, rows * width),
            of_lanes(2, 1),
            of_lanes(3, 4),
        ],
        false => vec![Plan::elements(kernel, rows * width), of_lanes(2, 1)],
    }
}

/// See [`EMBEDDING_BACKWARD`].
pub fn embedding_backward<R: Real>(
    p: &EmbeddingBackward,
    starts: &[i32],
    order: &[i32],
    dy: &[R],
    dweight: &mut [R],
) {
    let width = p.width as usize;
    for v in 0..p.rows as usize {
        let (start, end) = if v == p.padding as usize { (0, 0) } else { (starts[v], starts[v + 1]) };
        let positions = &order[start as usize..end as usize];
        for (w, dweight) in dweight[v * width..][..width].iter_mut().enumerate() {
            let sum = R::sum(positions.iter().map(|i| dy[*i as usize * width + w]));
            *dweight = if p.accumulate == 1 { *dweight + sum } else { sum };
        }
    }
}

/// Columns that [`embedding_backward_fast`] sums at a time.
const BLOCK: usize = 64;
/// What adding an element costs, in multiplications.
const ADDING: usize = 16;

/// [`embedding_backward`], some rows a thread, along the rows of dy, in 64 bits: gradients that cancel give 0.
pub fn embedding_backward_fast(
    p: &EmbeddingBackward,
    starts: &[i32],
    order: &[i32],
    dy: &[f32],
    dweight: &mut [f32],
) {
    let [rows, width] = [p.rows, p.width].map(|n| n as usize);
    let dweight = Shared::new(dweight);
    in_blocks(rows, 1, ADDING * (rows * width + dy.len()), |rows| {
        for v in rows {
            let (start, end) = if v == p.padding as usize { (0, 0) } else { (starts[v], starts[v + 1]) };
            let positions = &order[start as usize..end as usize];
            // SAFETY: each thread makes rows of its own.
            let row = unsafe { dweight.part(v * width, width) };
            for (block, dweight) in row.chunks_mut(BLOCK).enumerate() {
                let mut sums = [0.0f64; BLOCK];
                widest(
                    #[inline(always)]
                    || {
                        for i in positions {
                            let dy = &dy[*i as usize * width + block * BLOCK..][..dweight.len()];
                            sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += f64::from(*dy));
                        }
                    },
                );
                for (dweight, sum) in dweight.iter_mut().zip(sums) {
                    *dweight = if p.accumulate == 1 { *dweight + sum as f32 } else { sum as f32 };
                }
            }
        }
    });
}
