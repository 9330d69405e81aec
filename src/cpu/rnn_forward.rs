//! Twin of `shaders/rnn_forward.wgsl`.

use std::ops::Range;

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided};
use super::real::{Number, Real};
use super::recurrence::recurrent_kernel;
use super::steps::ended;
use super::threads::Shared;
use super::vector::widest;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of a plain recurrent layer: h_t = act(xw_t + h·W_hhᵀ). The header of `shaders/rnn_forward.wgsl` has the equations
    /// with shapes, the parameters, and where the states lie.
    pub static RNN_FORWARD = rnn_forward(RnnForward {
        batch: u32, hidden: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        /// Whether the state before the first of all steps is 0 and not in its slot yet: it is written too.
        fresh: u32,
        base: u32, relu: u32, ragged: u32,
    }; xw: read Float, w_hh: read Float, lengths: read I32, h: update Kept);
    fast rnn_forward_fast;
    "rnn_forward.wgsl" in "recurrent_forward.wgsl": 1 columns of 1 hidden, 16 rows in 4 rounds,
        "held of 192": 192 units
}

/// See [`RNN_FORWARD`].
// ANCHOR: twin
pub fn rnn_forward<R: Real>(p: &RnnForward, xw: &[R], w_hh: &[R], lengths: &[i32], mut h: Kept<'_, R>) {
    let (steps, hidden, base) = (p.span(), p.hidden as usize, p.base as usize);
    for step in steps.all_forward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain)..];
        let now = steps.row_of_step(step.chain, step.time) * hidden;
        let [before, after] =
            [step.before, step.after].map(|slot| base + steps.row_of_slot(step.chain, slot) * hidden);
        if p.fresh == 1 && step.first {
            (before..before + steps.batch * hidden).for_each(|i| h.put(i, R::zero()));
        }
        for row in 0..steps.batch {
            for unit in 0..hidden {
                let i = row * hidden + unit;
                let terms = (0..hidden).map(|k| h[before + row * hidden + k] * w_hh[k * hidden + unit]);
                let a = xw[now + i] + R::sum(terms);
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
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let (h, dtype) = h.parts();
    let h = Shared::new(&mut h[p.base as usize..]);
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        for step in steps.forward(chain) {
            let now = (steps.row_of_step(chain, step.time) + rows.start) * hidden;
            let [before, after] =
                [step.before, step.after].map(|slot| (steps.row_of_slot(chain, slot) + rows.start) * hidden);
            // SAFETY: the states of the block's rows, in two different slots.
            let [previous, next] = [before, after].map(|at| unsafe { h.part(at, len) });
            next.copy_from_slice(&xw[now..][..len]);
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
    Packed::with_all(steps.chains, Strided::dense(w_hh, hidden), hidden, hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}
