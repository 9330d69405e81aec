//! Twin of `shaders/lstm_backward.wgsl`.

use super::common::tanh_rational;
use super::real::Real;
use super::recurrence::{Product, Step, add_product, backward_steps, ended, tanh_slope};
use crate::kernel;
use crate::kernel::{LEAST, Limits};

kernel! {
    /// Steps of the backward pass of an LSTM layer of `time` steps, `steps` from `start` on, downwards, or in `reverse`
    /// upwards, with dh_t = dy_t + dh + da_later·W_hh (where `projected` is 1 without the product, dy being that of the one
    /// step alone) and dc_t = dc + dh_t ⊙ o ⊙ (1 − tanh²c_t): da = (dc_t·g·i(1−i), dc_t·c·f(1−f), dc_t·i·(1−g²), dh_t·tanh c_t·o(1−o)), dc
    /// becomes dc_t ⊙ f, dh 0. A sequence that has ended hands dh and dc on. The slots of c are as in
    /// [`LSTM_FORWARD`](super::lstm_forward::LSTM_FORWARD).
    pub static LSTM_BACKWARD = lstm_backward(LstmBackward {
        batch: u32, hidden: u32, time: u32, start: u32, steps: u32, reverse: u32, fresh: u32, projected: u32, ragged: u32,
    }; dy: read F32, w_hh: read F32, gates: read F32, c: read F32, lengths: read I32, dh: update F32,
       dc: update F32, da: update F32);
    fast lstm_backward_fast;
    variants [
        { "tiles", "lstm_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_tiles.wgsl",
            [("COLUMNS", 1), ("SLICES", 16), ("UNITS", 16), ("ROWS", 16), ("ROUND", 4), ("ROUNDS", 4)] },
        { "lanes", "lstm_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_one.wgsl",
            [("COLUMNS", 1)], needs Limits { subgroup: 8, ..LEAST } },
        { "lanes of four", "lstm_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_four.wgsl",
            [("COLUMNS", 1)], needs Limits { subgroup: 8, ..LEAST } },
    ]
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

/// The gradients (da_i, da_f, da_g, da_o, dc) of a unit with the gates (i, f, g, o), the cell state before the step and
/// t = tanh of the one after it.
#[inline(always)]
fn unit_gradients<R: Real>([i, f, g, o]: [R; 4], before: R, t: R, dh: R, dc: R) -> [R; 5] {
    let one = R::of(1.0);
    let dc = dc + dh * o * tanh_slope(t);
    [
        dc * g * i * (one - i),
        dc * before * f * (one - f),
        dc * i * tanh_slope(g),
        dh * t * o * (one - o),
        dc * f,
    ]
}

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
    da: &mut [R],
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
                (0..4).for_each(|gate| da[start + gate * hidden] = R::zero());
                continue;
            }
            let gate = [0, 1, 2, 3].map(|gate| gates[start + gate * hidden]);
            let (before, after) = (c[step.before * size + n], c[step.after * size + n]);
            let dh_t = dy[p.row_of_dy(step) * size + n] + arriving;
            let [da_i, da_f, da_g, da_o, rest] = unit_gradients(gate, before, after.tanh(), dh_t, dc[n]);
            dh[n] = R::zero();
            dc[n] = rest;
            da[start] = da_i;
            da[start + hidden] = da_f;
            da[start + 2 * hidden] = da_g;
            da[start + 3 * hidden] = da_o;
        }
    }
}

/// [`lstm_backward`] with the product as a matmul.
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
    da: &mut [f32],
) {
    let [batch, hidden] = [p.batch, p.hidden].map(|n| n as usize);
    let (size, width) = (batch * hidden, 4 * hidden);
    for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
        if p.fresh == 1 && step.first {
            [&mut *dh, dc].into_iter().for_each(|carried| carried[..size].fill(0.0));
        }
        if let Some(later) = step.later.filter(|_| p.projected == 0) {
            let later = &da[later * batch * width..][..batch * width];
            add_product(p.batch, p.hidden, 4 * p.hidden, later, w_hh, dh);
        }
        for row in 0..batch {
            let at = row * hidden;
            let start = (step.time * batch + row) * width;
            let da = &mut da[start..][..width];
            if ended(p.ragged, lengths, row, step.time) {
                da.fill(0.0);
                continue;
            }
            let (da_i, rest) = da.split_at_mut(hidden);
            let (da_f, rest) = rest.split_at_mut(hidden);
            let (da_g, da_o) = rest.split_at_mut(hidden);
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| &gates[start + gate * hidden..][..hidden]);
            let [before, after] = [step.before, step.after].map(|slot| &c[slot * size + at..][..hidden]);
            let dy = &dy[p.row_of_dy(step) * size + at..][..hidden];
            let (dh, dc) = (&mut dh[at..][..hidden], &mut dc[at..][..hidden]);
            for k in 0..hidden {
                let gate = [i[k], f[k], g[k], o[k]];
                let t = tanh_rational(after[k]);
                [da_i[k], da_f[k], da_g[k], da_o[k], dc[k]] =
                    unit_gradients(gate, before[k], t, dy[k] + dh[k], dc[k]);
                dh[k] = 0.0;
            }
        }
    }
}
