//! Twin of `shaders/lstm_step_backward.wgsl`.

use super::common::tanh_rational;
use super::real::Real;
use super::recurrence::{add_product, ended, tanh_slope};
use crate::kernel;

kernel! {
    /// One time step of the backward pass of an LSTM layer, with dh_t = dy_t + dh + da_later·W_hh and
    /// dc_t = dc + dh_t ⊙ o ⊙ (1 − tanh²c_t): da = (dc_t·g·i(1−i), dc_t·c·f(1−f), dc_t·i·(1−g²), dh_t·tanh c_t·o(1−o)), dc
    /// becomes dc_t ⊙ f, dh 0. A sequence that has ended hands dh and dc on. The slots of c are as in
    /// [`LSTM_STEP_FORWARD`](super::lstm_step_forward::LSTM_STEP_FORWARD).
    pub static LSTM_STEP_BACKWARD = lstm_step_backward(LstmStepBackward {
        batch: u32, hidden: u32, step: u32, row_of_dy: u32, later: u32, first: u32, before: u32, after: u32, ragged: u32,
    }; dy: read F32, w_hh: read F32, gates: read F32, c: read F32, lengths: read I32, dh: update F32,
       dc: update F32, da: update F32);
    fast lstm_step_backward_fast;
    variants [{ "elements", "lstm_step_backward.wgsl", [] }]
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

/// See [`LSTM_STEP_BACKWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_step_backward<R: Real>(
    p: &LstmStepBackward,
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
    for n in 0..size {
        let (row, unit) = (n / hidden, n % hidden);
        let start = (p.step as usize * batch + row) * width + unit;
        let mut arriving = dh[n];
        if p.first == 0 {
            let later = (p.later as usize * batch + row) * width;
            arriving = arriving + R::sum((0..width).map(|k| da[later + k] * w_hh[k * hidden + unit]));
        }
        if ended(p.ragged, lengths, row, p.step) {
            dh[n] = arriving;
            (0..4).for_each(|gate| da[start + gate * hidden] = R::zero());
            continue;
        }
        let gate = [0, 1, 2, 3].map(|gate| gates[start + gate * hidden]);
        let (before, after) = (c[p.before as usize * size + n], c[p.after as usize * size + n]);
        let dh_t = dy[p.row_of_dy as usize * size + n] + arriving;
        let [da_i, da_f, da_g, da_o, rest] = unit_gradients(gate, before, after.tanh(), dh_t, dc[n]);
        dh[n] = R::zero();
        dc[n] = rest;
        da[start] = da_i;
        da[start + hidden] = da_f;
        da[start + 2 * hidden] = da_g;
        da[start + 3 * hidden] = da_o;
    }
}

/// [`lstm_step_backward`] with the product as a matmul.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_step_backward_fast(
    p: &LstmStepBackward,
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
    if p.first == 0 {
        let later = &da[p.later as usize * batch * width..][..batch * width];
        add_product(p.batch, p.hidden, 4 * p.hidden, later, w_hh, dh);
    }
    for row in 0..batch {
        let at = row * hidden;
        let start = (p.step as usize * batch + row) * width;
        let da = &mut da[start..][..width];
        if ended(p.ragged, lengths, row, p.step) {
            da.fill(0.0);
            continue;
        }
        let (da_i, rest) = da.split_at_mut(hidden);
        let (da_f, rest) = rest.split_at_mut(hidden);
        let (da_g, da_o) = rest.split_at_mut(hidden);
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| &gates[start + gate * hidden..][..hidden]);
        let [before, after] = [p.before, p.after].map(|slot| &c[slot as usize * size + at..][..hidden]);
        let dy = &dy[p.row_of_dy as usize * size + at..][..hidden];
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
