//! Twin of `shaders/rnn_backward.wgsl`.

use std::ops::Range;

use super::halves;
use super::packed::{Packed, Strided};
use super::real::Real;
use super::recurrence::{recurrent_kernel, tanh_slope};
use super::steps::ended;
use super::threads::Shared;
use super::vector::widest;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of the backward pass of a plain recurrent layer: da_t = (dy_t + dh + da·W_hh) ⊙ act'(a_t). The header of
    /// `shaders/rnn_backward.wgsl` has the equations with shapes, and the parameters.
    pub static RNN_BACKWARD = rnn_backward(RnnBackward {
        batch: u32, hidden: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        fresh: u32, base: u32, relu: u32, ragged: u32,
    }; dy: read Float, w_hh: read Float, h: read Float, lengths: read I32, dh: update F32, da: update Kept);
    fast rnn_backward_fast;
    "rnn_backward.wgsl" in "recurrent_backward.wgsl": 1 columns of 1 hidden, 16 rows in 4 rounds,
        "held of 192": 192 units
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
    let (steps, hidden) = (p.span(), p.hidden as usize);
    for step in steps.all_backward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain)..];
        let dh = &mut dh[steps.row_of_carried(step.chain) * hidden..];
        let h = &h[p.base as usize + steps.row_of_slot(step.chain, step.after) * hidden..];
        let now = steps.row_of_step(step.chain, step.time) * hidden;
        for i in 0..steps.batch * hidden {
            let (row, unit) = (i / hidden, i % hidden);
            let mut arriving = if p.fresh == 1 && step.first { R::zero() } else { dh[i] };
            if let Some(later) = step.later {
                let later = (steps.row_of_step(step.chain, later) + row) * hidden;
                arriving = arriving + R::sum((0..hidden).map(|k| da[later + k] * w_hh[k * hidden + unit]));
            }
            if ended(p.ragged, lengths, row, step.time) {
                dh[i] = arriving;
                da.put(now + i, R::zero());
            } else {
                let dy = dy[steps.row_of_output(step, row) * hidden + unit];
                dh[i] = R::zero();
                da.put(now + i, (dy + arriving) * slope(p.relu == 1, h[i]));
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
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let (da, dtype) = da.parts();
    let (dh, da) = (Shared::new(dh), Shared::new(da));
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        let at_step = |time: usize| (steps.row_of_step(chain, time) + rows.start) * hidden;
        // SAFETY: what belongs to the block's rows.
        let dh = unsafe { dh.part((steps.row_of_carried(chain) + rows.start) * hidden, len) };
        for step in steps.backward(chain) {
            if p.fresh == 1 && step.first {
                dh.fill(0.0);
            }
            if let Some(later) = step.later {
                // SAFETY: the block's rows of one step.
                w.add_product(unsafe { da.part(at_step(later), len) }, dh);
            }
            // SAFETY: the block's rows of another step.
            let da = unsafe { da.part(at_step(step.time), len) };
            let slot = steps.row_of_slot(chain, step.after) + rows.start;
            let h = &h[p.base as usize + slot * hidden..][..len];
            // All rows of dy where they are neighbours, else each by itself.
            let many = if steps.outputs() == 1 { rows.len() } else { 1 };
            let chunk = (many * hidden).max(1);
            widest(
                #[inline(always)]
                || {
                    let chunks = da.chunks_mut(chunk).zip(dh.chunks(chunk)).zip(h.chunks(chunk));
                    for (k, ((da, dh), h)) in chunks.enumerate() {
                        let dy = &dy[steps.row_of_output(step, rows.start + k * many) * hidden..];
                        let terms = da.iter_mut().zip(dy).zip(dh).zip(h);
                        match p.relu == 1 {
                            true => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(true, *y)),
                            false => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(false, *y)),
                        }
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
    Packed::with_all(steps.chains, Strided::dense(w_hh, hidden), hidden, hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}
