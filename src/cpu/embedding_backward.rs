//! Twin of `shaders/embedding_backward.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
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
    ]
}

/// The value of `padding` where there is no such row.
pub const NO_PADDING: u32 = u32::MAX;

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
