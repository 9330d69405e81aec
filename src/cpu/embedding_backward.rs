//! Twin of `shaders/embedding_backward.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Gradient of a look-up: `dweight[v, :] = Σ_i dy[order[i], :]` over i in `starts[v]..starts[v + 1]`, plus the old
    /// dweight where `accumulate` is 1. Row `padding` gets nothing. `order` holds the positions of the tokens sorted by token, ascending within one.
    pub static EMBEDDING_BACKWARD = embedding_backward(EmbeddingBackward {
        rows: u32, width: u32, padding: u32, accumulate: u32,
    };
        starts: read I32, order: read I32, dy: read F32, dweight: update F32);
    variants [{ "elements", "embedding_backward.wgsl", [] }]
}

/// The value of `padding` where no row is.
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
