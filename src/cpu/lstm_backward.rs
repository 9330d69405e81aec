//! Twin of `shaders/lstm_backward.wgsl`.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided};
use super::real::{Number, Real};
use super::recurrence::{recurrent_kernel, tanh_slope};
use super::steps::{Step, ended};
use super::threads::Shared;
use super::vector::Lanes;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of the backward pass of an LSTM layer: from dh_t = dy_t + dh + da·W_hh and dc_t to da_t = (da_i, da_f, da_g, da_o). The
    /// header of `shaders/lstm_backward.wgsl` has the equations with shapes, and the parameters.
    pub static LSTM_BACKWARD = lstm_backward(LstmBackward {
        batch: u32, hidden: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        fresh: u32, projected: u32, ragged: u32,
    }; dy: read Float, w_hh: read Float, gates: read Float, c: read Float, lengths: read I32, dh: update F32,
       dc: update F32, da: update Kept);
    fast lstm_backward_fast;
    "lstm_backward.wgsl" in "recurrent_backward.wgsl": 1 columns of 4 hidden, 16 rows in 4 rounds,
        "held of 96": 96 units
}

impl LstmBackward {
    /// The row of dy that is of a row of the batch.
    fn row_of_dy(&self, step: Step, row: usize) -> usize {
        if self.projected == 1 { row } else { self.span().row_of_output(step, row) }
    }
}

// ANCHOR: gradients
/// The gradients (da_i, da_f, da_g, da_o, dc) of a unit with the gates (i, f, g, o), the cell state before the step and
/// t = tanh of the one after it.
#[inline(always)]
fn unit_gradients<R: Number>([i, f, g, o]: [R; 4], before: R, t: R, dh: R, dc: R) -> [R; 5] {
    let one = i.like(1.0);
    let dc = dc + dh * o * tanh_slope(t);
    [
        dc * g * i * (one - i),
        dc * before * f * (one - f),
        dc * i * tanh_slope(g),
        dh * t * o * (one - o),
        dc * f,
    ]
}
// ANCHOR_END: gradients

/// See [`LSTM_BACKWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_backward<R: Real>(
    p: &LstmBackward,
    dy: &[R],
    w_hh: &[R],
    gates: &[R],
    c: &[R],
    lengths: &[i32],
    dh: &mut [R],
    dc: &mut [R],
    mut da: Kept<'_, R>,
) {
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let (size, width) = (steps.batch * hidden, 4 * hidden);
    for step in steps.all_backward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain).min(w_hh.len())..];
        let carried = steps.row_of_carried(step.chain) * hidden;
        let [dh, dc] = [&mut *dh, &mut *dc].map(|all| &mut all[carried..][..size]);
        let states = [step.before, step.after].map(|slot| &c[steps.row_of_slot(step.chain, slot) * hidden..]);
        if p.fresh == 1 && step.first {
            dh.fill(R::zero());
            dc.fill(R::zero());
        }
        for n in 0..size {
            let (row, unit) = (n / hidden, n % hidden);
            let start = (steps.row_of_step(step.chain, step.time) + row) * width + unit;
            let mut arriving = dh[n];
            if let Some(later) = step.later.filter(|_| p.projected == 0) {
                let later = (steps.row_of_step(step.chain, later) + row) * width;
                arriving = arriving + R::sum((0..width).map(|k| da[later + k] * w_hh[k * hidden + unit]));
            }
            if ended(p.ragged, lengths, row, step.time) {
                dh[n] = arriving;
                (0..4).for_each(|gate| da.put(start + gate * hidden, R::zero()));
                continue;
            }
            let gate = [0, 1, 2, 3].map(|gate| gates[start + gate * hidden]);
            let [before, after] = states.map(|c| c[n]);
            let dh_t = dy[p.row_of_dy(step, row) * hidden + unit] + arriving;
            let [da_i, da_f, da_g, da_o, rest] = unit_gradients(gate, before, after.tanh(), dh_t, dc[n]);
            dh[n] = R::zero();
            dc[n] = rest;
            da.put(start, da_i);
            da.put(start + hidden, da_f);
            da.put(start + 2 * hidden, da_g);
            da.put(start + 3 * hidden, da_o);
        }
    }
}

/// [`lstm_backward`] with W_hh packed, vectors, and blocks of rows on several threads.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_backward_fast(
    p: &LstmBackward,
    dy: &[f32],
    w_hh: &[f32],
    gates: &[f32],
    c: &[f32],
    lengths: &[i32],
    dh: &mut [f32],
    dc: &mut [f32],
    mut da: Kept<'_, f32>,
) {
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let width = 4 * hidden;
    let (da, dtype) = da.parts();
    let (dh, dc, da) = (Shared::new(dh), Shared::new(dc), Shared::new(da));
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        let at_step = |time: usize| (steps.row_of_step(chain, time) + rows.start) * width;
        let carried = (steps.row_of_carried(chain) + rows.start) * hidden;
        // SAFETY: what belongs to the block's rows.
        let [dh, dc] = [&dh, &dc].map(|all| unsafe { all.part(carried, len) });
        for step in steps.backward(chain) {
            if p.fresh == 1 && step.first {
                dh.fill(0.0);
                dc.fill(0.0);
            }
            if let Some(later) = step.later.filter(|_| p.projected == 0) {
                // SAFETY: the block's rows of one step.
                w.add_product(unsafe { da.part(at_step(later), 4 * len) }, dh);
            }
            let start = at_step(step.time);
            // SAFETY: the block's rows of another step.
            let da = unsafe { da.part(start, 4 * len) };
            let [before, after] = [step.before, step.after]
                .map(|slot| &c[(steps.row_of_slot(chain, slot) + rows.start) * hidden..][..len]);
            Arch::new().dispatch(Units {
                hidden,
                gates: &gates[start..][..4 * len],
                before,
                after,
                dy: &dy[p.row_of_dy(step, rows.start) * hidden..],
                pitch: steps.outputs() * hidden,
                dh,
                dc,
                da: &mut *da,
                // A sequence that has ended hands on what is carried.
                passes: |k| ended(p.ragged, lengths, rows.start + k, step.time),
            });
            halves::round(dtype, da);
        }
    };
    // With a projection there is no product, and perhaps no matrix of that shape.
    let (w_hh, inner) = if p.projected == 1 { (&[][..], 0) } else { (w_hh, width) };
    Packed::with_all(steps.chains, Strided::dense(w_hh, hidden), inner, hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}

/// Some rows of a step: `da` gets the gradients of a; `dh` and `dc` get what goes on to the next step. `passes` tells of a row
/// whether its sequence has ended.
struct Units<'a, P> {
    hidden: usize,
    gates: &'a [f32],
    before: &'a [f32],
    after: &'a [f32],
    /// Its rows are `pitch` apart.
    dy: &'a [f32],
    pitch: usize,
    dh: &'a mut [f32],
    dc: &'a mut [f32],
    da: &'a mut [f32],
    passes: P,
}

impl<P: Fn(usize) -> bool> WithSimd for Units<'_, P> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let hidden = self.hidden.max(1);
        let carried = self.dh.chunks_exact_mut(hidden).zip(self.dc.chunks_exact_mut(hidden));
        for (row, (da, (dh, dc))) in self.da.chunks_exact_mut(4 * hidden).zip(carried).enumerate() {
            if (self.passes)(row) {
                da.fill(0.0);
                continue;
            }
            let gates = [0, 1, 2, 3].map(|gate| &self.gates[(4 * row + gate) * hidden..][..hidden]);
            let [before, after] = [self.before, self.after].map(|x| &x[row * hidden..][..hidden]);
            let dy = &self.dy[row * self.pitch..][..hidden];
            let (da_i, rest) = da.split_at_mut(hidden);
            let (da_f, rest) = rest.split_at_mut(hidden);
            let (da_g, da_o) = rest.split_at_mut(hidden);
            for at in (0..hidden).step_by(S::F32_LANES) {
                // Written out: a vector must not pass through a function that is not compiled for it.
                let [i, f, g, o] = gates;
                let gate = [
                    Lanes::load(simd, i, at),
                    Lanes::load(simd, f, at),
                    Lanes::load(simd, g, at),
                    Lanes::load(simd, o, at),
                ];
                let t = tanh_rational(Lanes::load(simd, after, at));
                let arriving = Lanes::load(simd, dy, at) + Lanes::load(simd, dh, at);
                let (before, carried) = (Lanes::load(simd, before, at), Lanes::load(simd, dc, at));
                let gradients = unit_gradients(gate, before, t, arriving, carried);
                gradients[0].store(da_i, at);
                gradients[1].store(da_f, at);
                gradients[2].store(da_g, at);
                gradients[3].store(da_o, at);
                gradients[4].store(dc, at);
            }
            dh.fill(0.0);
        }
    }
}
