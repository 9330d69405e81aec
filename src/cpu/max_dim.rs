//! Twin of `shaders/max_dim.wgsl`.

use super::real::Real;
use super::threads::{Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// The largest elements of lines, and where they are: for x [outer, pitch, inner], `y[o, i] = max_k x[o, k, i]` and the
    /// first such k in `index[o, i]`, over k in `start..start + n`, and over what y and index hold already where `accumulate`
    /// is 1. NaN counts as larger than any number.
    pub static MAX_DIM = max_dim(MaxDim { outer: u32, pitch: u32, inner: u32, start: u32, n: u32, accumulate: u32 };
        x: read Float, y: update Float, index: update I32);
    fast max_dim_fast;
    variants [{ "elements", "max_dim.wgsl", [] }]
}

/// See [`MAX_DIM`].
pub fn max_dim<R: Real>(p: &MaxDim, x: &[R], y: &mut [R], index: &mut [i32]) {
    let [pitch, inner, start, n] = [p.pitch, p.inner, p.start, p.n].map(|n| n as usize);
    for at in 0..(p.outer * p.inner) as usize {
        let element = |k: usize| x[(at / inner * pitch + k) * inner + at % inner];
        let (mut best, mut found) = (element(start), start as i32);
        if p.accumulate == 1 {
            (best, found) = (y[at], index[at]);
        }
        for k in start..start + n {
            let x = element(k);
            if x > best || (x.value().is_nan() && !best.value().is_nan()) {
                (best, found) = (x, k as i32);
            }
        }
        (y[at], index[at]) = (best, found);
    }
}

/// What an element costs, in multiplications.
const COST: usize = 32;
/// From so many neighbouring lines on they are taken together.
const MANY: usize = 8;

/// [`max_dim`], some lines a thread, neighbouring ones together with the widest vectors.
pub fn max_dim_fast(p: &MaxDim, x: &[f32], y: &mut [f32], index: &mut [i32]) {
    let [outer, pitch, inner, n] = [p.outer, p.pitch, p.inner, p.n].map(|n| n as usize);
    let (y, index) = (Shared::new(y), Shared::new(index));
    in_blocks(outer, 1, COST * outer * n * inner, |outers| {
        let (from, lines) = (outers.start * inner, outers.len() * inner);
        let x = &x[from * pitch..][..lines * pitch];
        // SAFETY: each thread makes lines of its own.
        let (y, index) = unsafe { (y.part(from, lines), index.part(from, lines)) };
        let p = MaxDim { outer: outers.len() as u32, ..*p };
        match inner < MANY {
            true => max_dim(&p, x, y, index),
            false => widest(
                #[inline(always)]
                || lines_together(&p, x, y, index),
            ),
        }
    });
}

/// [`max_dim`] along the rows of x, as they lie in memory, all lines of a row together.
#[inline(always)]
fn lines_together(p: &MaxDim, x: &[f32], y: &mut [f32], index: &mut [i32]) {
    let [pitch, inner, start, n] = [p.pitch, p.inner, p.start, p.n].map(|n| n as usize);
    let lines =
        x.chunks_exact(pitch * inner).zip(y.chunks_exact_mut(inner)).zip(index.chunks_exact_mut(inner));
    for ((x, y), index) in lines {
        if p.accumulate != 1 {
            y.copy_from_slice(&x[start * inner..][..inner]);
            index.fill(start as i32);
        }
        for (k, x) in (start as i32..).zip(x[start * inner..].chunks_exact(inner).take(n)) {
            for ((best, found), x) in y.iter_mut().zip(&mut *index).zip(x) {
                // Without a branch, so that vectors are made of it.
                let better = (*x > *best) | (x.is_nan() & !best.is_nan());
                *best = if better { *x } else { *best };
                *found = if better { k } else { *found };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ties, NaN, alone and several in a line, and lines that have neighbours enough or not.
    #[test]
    fn together_lines_give_what_they_give_alone() {
        let values = [1.0, f32::NAN, 2.0, 2.0, -1.0, f32::NEG_INFINITY, f32::INFINITY];
        for inner in [1, 7, 8, 19] {
            for accumulate in [0, 1] {
                let p = MaxDim { outer: 3, pitch: 6, inner, start: 1, n: 4, accumulate };
                let x: Vec<f32> = (0..18 * inner as usize).map(|i| values[i * i / 3 % 7]).collect();
                let y: Vec<f32> = (0..3 * inner as usize).map(|i| values[i % 7]).collect();
                let mut alone = (y.clone(), vec![0; y.len()]);
                let mut together = alone.clone();
                max_dim(&p, &x, &mut alone.0, &mut alone.1);
                max_dim_fast(&p, &x, &mut together.0, &mut together.1);
                let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                assert_eq!((bits(together.0), together.1), (bits(alone.0), alone.1), "{p:?}");
            }
        }
    }
}
