//! Twin of `shaders/rnn_backward.wgsl`.

use std::ops::Range;

use super::halves;
use super::packed::{Packed, Strided, TILE};
use super::real::Real;
use super::recurrence::{Product, backward_steps, ended, recurrent_kernel, tanh_slope};
use super::threads::{Shared, in_large_blocks};
use super::vector::widest;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of the backward pass of a plain recurrent layer: da_t = (dy_t + dh + da·W_hh) ⊙ act'(a_t). The header of
    /// `shaders/rnn_backward.wgsl` has the equations with shapes, and the parameters.
    pub static RNN_BACKWARD = rnn_backward(RnnBackward {
        batch: u32, hidden: u32, time: u32, start: u32, steps: u32, reverse: u32, fresh: u32, base: u32, relu: u32, ragged: u32,
    }; dy: read Float, w_hh: read Float, h: read Float, lengths: read I32, dh: update F32, da: update Kept);
    fast rnn_backward_fast;
    "rnn_backward.wgsl" in "recurrent_backward.wgsl": 1 columns of 1 hidden, 16 rows in 4 rounds,
        "held of 192": 192 units
}

impl RnnBackward {
    /// The product of a step.
    pub fn product(&self) -> Product {
        Product { batch: self.batch, hidden: self.hidden, columns: 1, inner: self.hidden }
    }
}

/// See [`RNN_BACKWARD`].
pub fn rnn_backward<R: Real>(
    p: &RnnBackward,
    dy: &[R],
    w_hh: &[R],
    h: &[R],
    lengths: &[i32],
    dh: &mut [R],
    mut da: Kept<'_, R>,
) {
    let (hidden, size) = (p.hidden as usize, (p.batch * p.hidden) as usize);
    for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
        let now = step.time * size;
        for i in 0..size {
            let (row, unit) = (i / hidden, i % hidden);
            let mut arriving = if p.fresh == 1 && step.first { R::zero() } else { dh[i] };
            if let Some(later) = step.later {
                let later = later * size + row * hidden;
                arriving = arriving + R::sum((0..hidden).map(|k| da[later + k] * w_hh[k * hidden + unit]));
            }
            if ended(p.ragged, lengths, row, step.time) {
                dh[i] = arriving;
                da.put(now + i, R::zero());
            } else {
                let y = h[p.base as usize + step.after * size + i];
                dh[i] = R::zero();
                da.put(now + i, (dy[now + i] + arriving) * slope(p.relu == 1, y));
            }
        }
    }
}

/// act' as a function of the activation's result.
#[inline(always)]
fn slope<R: Real>(relu: bool, y: R) -> R {
    if relu { R::of(1.0).where_positive(y) } else { tanh_slope(y) }
}

/// [`rnn_backward`] with W_hh packed, vectors, and blocks of rows on several threads.
pub fn rnn_backward_fast(
    p: &RnnBackward,
    dy: &[f32],
    w_hh: &[f32],
    h: &[f32],
    lengths: &[i32],
    dh: &mut [f32],
    mut da: Kept<'_, f32>,
) {
    let (batch, hidden, size) = (p.batch as usize, p.hidden as usize, (p.batch * p.hidden) as usize);
    let (da, dtype) = da.parts();
    let (dh, da) = (Shared::new(dh), Shared::new(da));
    let block = |w: Packed<'_>, rows: Range<usize>| {
        let (at, len) = (rows.start * hidden, rows.len() * hidden);
        // SAFETY: what belongs to the block's rows.
        let dh = unsafe { dh.part(at, len) };
        for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
            if p.fresh == 1 && step.first {
                dh.fill(0.0);
            }
            if let Some(later) = step.later {
                // SAFETY: the block's rows of one step.
                w.add_product(unsafe { da.part(later * size + at, len) }, dh);
            }
            // SAFETY: the block's rows of another step.
            let da = unsafe { da.part(step.time * size + at, len) };
            let (dy, h) =
                (&dy[step.time * size + at..][..len], &h[p.base as usize + step.after * size + at..][..len]);
            widest(
                #[inline(always)]
                || {
                    let terms = da.iter_mut().zip(dy).zip(&*dh).zip(h);
                    match p.relu == 1 {
                        true => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(true, *y)),
                        false => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(false, *y)),
                    }
                },
            );
            halves::round(dtype, da);
            for k in 0..rows.len() {
                let row = k * hidden..(k + 1) * hidden;
                match ended(p.ragged, lengths, rows.start + k, step.time) {
                    true => da[row].fill(0.0),
                    false => dh[row].fill(0.0),
                }
            }
        }
    };
    Packed::with(Strided::dense(w_hh, hidden), hidden, hidden, |w| {
        in_large_blocks(batch, TILE, p.product().work(p.steps), |rows| block(w, rows));
    });
}
