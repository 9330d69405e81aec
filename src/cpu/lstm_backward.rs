//! Twin of `shaders/lstm_backward.wgsl`.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided, TILE};
use super::real::{Number, Real};
use super::recurrence::{Product, Step, backward_steps, ended, recurrent_kernel, tanh_slope};
use super::threads::{Shared, in_large_blocks};
use super::vector::Lanes;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of the backward pass of an LSTM layer: from dh_t = dy_t + dh + da·W_hh and dc_t to da_t = (da_i, da_f, da_g, da_o). The
    /// header of `shaders/lstm_backward.wgsl` has the equations with shapes, and the parameters.
    pub static LSTM_BACKWARD = lstm_backward(LstmBackward {
        batch: u32, hidden: u32, time: u32, start: u32, steps: u32, reverse: u32, fresh: u32, projected: u32, ragged: u32,
    }; dy: read Float, w_hh: read Float, gates: read Float, c: read Float, lengths: read I32, dh: update F32,
       dc: update F32, da: update Kept);
    fast lstm_backward_fast;
    "lstm_backward.wgsl" in "recurrent_backward.wgsl": 1 columns of 4 hidden, 16 rows in 4 rounds,
        "held of 96": 96 units
}

impl LstmBackward {
    /// The product of a step.
    pub fn product(&self) -> Product {
        Product { batch: self.batch, hidden: self.hidden, columns: 1, inner: 4 * self.hidden }
    }

    /// The step of dy that is dy_t.
    fn row_of_dy(&self, step: Step) -> usize {
        if self.projected == 1 { 0 } else { step.time }
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
    let [batch, hidden] = [p.batch, p.hidden].map(|n| n as usize);
    let (size, width) = (batch * hidden, 4 * hidden);
    for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
        if p.fresh == 1 && step.first {
            [&mut *dh, dc].into_iter().for_each(|carried| carried[..size].fill(R::zero()));
        }
        for n in 0..size {
            let (row, unit) = (n / hidden, n % hidden);
            let start = (step.time * batch + row) * width + unit;
            let mut arriving = dh[n];
            if let Some(later) = step.later.filter(|_| p.projected == 0) {
                let later = (later * batch + row) * width;
                arriving = arriving + R::sum((0..width).map(|k| da[later + k] * w_hh[k * hidden + unit]));
            }
            if ended(p.ragged, lengths, row, step.time) {
                dh[n] = arriving;
                (0..4).for_each(|gate| da.put(start + gate * hidden, R::zero()));
                continue;
            }
            let gate = [0, 1, 2, 3].map(|gate| gates[start + gate * hidden]);
            let (before, after) = (c[step.before * size + n], c[step.after * size + n]);
            let dh_t = dy[p.row_of_dy(step) * size + n] + arriving;
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
    let [batch, hidden] = [p.batch, p.hidden].map(|n| n as usize);
    let (size, width) = (batch * hidden, 4 * hidden);
    let (da, dtype) = da.parts();
    let (dh, dc, da) = (Shared::new(dh), Shared::new(dc), Shared::new(da));
    let block = |w: Packed<'_>, rows: Range<usize>| {
        let (at, len) = (rows.start * hidden, rows.len() * hidden);
        // SAFETY: what belongs to the block's rows.
        let [dh, dc] = [&dh, &dc].map(|carried| unsafe { carried.part(at, len) });
        for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
            if p.fresh == 1 && step.first {
                dh.fill(0.0);
                dc.fill(0.0);
            }
            if let Some(later) = step.later.filter(|_| p.projected == 0) {
                // SAFETY: the block's rows of one step.
                w.add_product(unsafe { da.part(later * 4 * size + 4 * at, 4 * len) }, dh);
            }
            let start = step.time * 4 * size + 4 * at;
            // SAFETY: the block's rows of another step.
            let da = unsafe { da.part(start, 4 * len) };
            let [before, after] = [step.before, step.after].map(|slot| &c[slot * size + at..][..len]);
            Arch::new().dispatch(Units {
                hidden,
                gates: &gates[start..][..4 * len],
                before,
                after,
                dy: &dy[p.row_of_dy(step) * size + at..][..len],
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
    Packed::with(Strided::dense(w_hh, hidden), inner, hidden, |w| {
        in_large_blocks(batch, TILE, p.product().work(p.steps), |rows| block(w, rows));
    });
}

/// Some rows of a step: `da` gets the gradients of a; `dh` and `dc` get what goes on to the next step. `passes` tells of a row
/// whether its sequence has ended.
struct Units<'a, P> {
    hidden: usize,
    gates: &'a [f32],
    before: &'a [f32],
    after: &'a [f32],
    dy: &'a [f32],
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
            let [before, after, dy] =
                [self.before, self.after, self.dy].map(|x| &x[row * hidden..][..hidden]);
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
