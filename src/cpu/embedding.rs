//! Twin of `shaders/embedding.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// Looks up a row for every token: `y[i, :] = weight[tokens[i], :]`. The tokens lie in 0..rows.
    pub static EMBEDDING = embedding(Embedding { count: u32, width: u32, rows: u32 };
        tokens: read I32, weight: read Float, y: write Float);
    variants [
        { "elements", "embedding.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "embedding.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`EMBEDDING`].
pub fn embedding<R: Real>(p: &Embedding, tokens: &[i32], weight: &[R], y: &mut [R]) {
    let width = p.width as usize;
    for (y, token) in y.chunks_exact_mut(width).zip(&tokens[..p.count as usize]) {
        y.copy_from_slice(&weight[*token as usize * width..][..width]);
    }
}
