//! Twin of `shaders/rnn_forward.wgsl`.

use std::ops::Range;

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided, TILE};
use super::real::{Number, Real};
use super::recurrence::{Product, ended, forward_steps, recurrent_kernel};
use super::threads::{Shared, in_large_blocks};
use super::vector::widest;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of a plain recurrent layer: h_t = act(xw_t + h·W_hhᵀ). The header of `shaders/rnn_forward.wgsl` has the equations
    /// with shapes, the parameters, and where the states lie.
    pub static RNN_FORWARD = rnn_forward(RnnForward {
        batch: u32, hidden: u32, start: u32, steps: u32, reverse: u32,
        /// Whether the state before the first of the steps is 0 and not in its slot yet: it is written too.
        fresh: u32,
        base: u32, relu: u32, ragged: u32,
    }; xw: read Float, w_hh: read Float, lengths: read I32, h: update Kept);
    fast rnn_forward_fast;
    "rnn_forward.wgsl" in "recurrent_forward.wgsl": 1 columns of 1 hidden, 16 rows in 4 rounds,
        "held of 192": 192 units
}

impl RnnForward {
    /// The product of a step.
    pub fn product(&self) -> Product {
        Product { batch: self.batch, hidden: self.hidden, columns: 1, inner: self.hidden }
    }
}

/// See [`RNN_FORWARD`].
// ANCHOR: twin
pub fn rnn_forward<R: Real>(p: &RnnForward, xw: &[R], w_hh: &[R], lengths: &[i32], mut h: Kept<'_, R>) {
    let (batch, hidden) = (p.batch as usize, p.hidden as usize);
    let size = batch * hidden;
    for step in forward_steps(p.start, p.steps, p.reverse) {
        let [before, after] = [step.before, step.after].map(|slot| p.base as usize + slot * size);
        if p.fresh == 1 && step.first {
            (before..before + size).for_each(|i| h.put(i, R::zero()));
        }
        for row in 0..batch {
            for unit in 0..hidden {
                let i = row * hidden + unit;
                let terms = (0..hidden).map(|k| h[before + row * hidden + k] * w_hh[k * hidden + unit]);
                let a = xw[step.time * size + i] + R::sum(terms);
                let mut next = if p.relu == 1 { a.max(R::zero()) } else { a.tanh() };
                if ended(p.ragged, lengths, row, step.time) {
                    next = h[before + i];
                }
                h.put(after + i, next);
            }
        }
    }
}
// ANCHOR_END: twin

/// [`rnn_forward`] with W_hhᵀ packed, vectors, and blocks of rows on several threads.
pub fn rnn_forward_fast(p: &RnnForward, xw: &[f32], w_hh: &[f32], lengths: &[i32], mut h: Kept<'_, f32>) {
    let (batch, hidden, size) = (p.batch as usize, p.hidden as usize, (p.batch * p.hidden) as usize);
    let (h, dtype) = h.parts();
    let h = Shared::new(&mut h[p.base as usize..]);
    let block = |w: Packed<'_>, rows: Range<usize>| {
        let (at, len) = (rows.start * hidden, rows.len() * hidden);
        for step in forward_steps(p.start, p.steps, p.reverse) {
            // SAFETY: the states of the block's rows, in two different slots.
            let [previous, next] =
                [step.before, step.after].map(|slot| unsafe { h.part(slot * size + at, len) });
            next.copy_from_slice(&xw[step.time * size + at..][..len]);
            match p.fresh == 1 && step.first {
                true => previous.fill(0.0),
                false => w.add_product(previous, next),
            }
            widest(
                #[inline(always)]
                || match p.relu == 1 {
                    // Not f32::max, which loses NaN.
                    true => next.iter_mut().for_each(|a| *a = Number::max(*a, 0.0)),
                    false => next.iter_mut().for_each(|a| *a = tanh_rational(*a)),
                },
            );
            halves::round(dtype, next);
            for k in (0..rows.len()).filter(|k| ended(p.ragged, lengths, rows.start + k, step.time)) {
                let row = k * hidden..(k + 1) * hidden;
                next[row.clone()].copy_from_slice(&previous[row]);
            }
        }
    };
    Packed::with(Strided::dense(w_hh, hidden), hidden, hidden, |w| {
        in_large_blocks(batch, TILE, p.product().work(p.steps), |rows| block(w, rows));
    });
}
