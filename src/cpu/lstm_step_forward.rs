//! Twin of `shaders/lstm_step_forward.wgsl`.

use super::common::{sigmoid, tanh_rational};
use super::real::Real;
use super::recurrence::{add_biases, add_product_transposed, ended, two_slots};
use crate::kernel;

kernel! {
    /// One time step of an LSTM layer: c_t = f ⊙ c + i ⊙ g, h_t = o ⊙ tanh(c_t), the gates being functions of
    /// x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ. Slot `before` of h and of c holds the states of the step computed before, slot
    /// `after` of c takes c_t; h_t begins at element `out`. Slot s of h begins at element base + s·batch·width, of c at
    /// s·batch·hidden. A sequence that has ended keeps its states. i, f, g and o are kept in `gates`.
    pub static LSTM_STEP_FORWARD = lstm_step_forward(LstmStepForward {
        batch: u32, hidden: u32, width: u32, step: u32, before: u32, after: u32, base: u32, out: u32, projected: u32,
        bias: u32, ragged: u32,
    }; xw: read F32, w_hh: read F32, b_ih: read F32, b_hh: read F32, lengths: read I32, gates: update F32,
       c: update F32, h: update F32);
    fast lstm_step_forward_fast;
    variants [{ "elements", "lstm_step_forward.wgsl", [] }]
}

/// See [`LSTM_STEP_FORWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_step_forward<R: Real>(
    p: &LstmStepForward,
    xw: &[R],
    w_hh: &[R],
    b_ih: &[R],
    b_hh: &[R],
    lengths: &[i32],
    gates: &mut [R],
    c: &mut [R],
    h: &mut [R],
) {
    let [batch, hidden, width] = [p.batch, p.hidden, p.width].map(|n| n as usize);
    let size = batch * hidden;
    let previous = p.base as usize + p.before as usize * batch * width;
    for row in 0..batch {
        let start = (p.step as usize * batch + row) * 4 * hidden;
        for unit in 0..hidden {
            let i = row * hidden + unit;
            let a = [0, 1, 2, 3].map(|gate| {
                let column = gate * hidden + unit;
                let terms = (0..width).map(|k| h[previous + row * width + k] * w_hh[column * width + k]);
                let mut a = xw[start + column] + R::sum(terms);
                if p.bias == 1 {
                    a = a + (b_ih[column] + b_hh[column]);
                }
                a
            });
            let g = [a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()];
            for gate in 0..4 {
                gates[start + gate * hidden + unit] = g[gate];
            }
            let old = c[p.before as usize * size + i];
            let mut cell = g[1] * old + g[0] * g[2];
            let mut state = g[3] * cell.tanh();
            if ended(p.ragged, lengths, row, p.step) {
                cell = old;
                state = if p.projected == 1 { R::zero() } else { h[previous + i] };
            }
            c[p.after as usize * size + i] = cell;
            h[p.out as usize + i] = state;
        }
    }
}

/// [`lstm_step_forward`] with the product as a matmul, made in `gates`.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_step_forward_fast(
    p: &LstmStepForward,
    xw: &[f32],
    w_hh: &[f32],
    b_ih: &[f32],
    b_hh: &[f32],
    lengths: &[i32],
    gates: &mut [f32],
    c: &mut [f32],
    h: &mut [f32],
) {
    let [batch, hidden, width] = [p.batch, p.hidden, p.width].map(|n| n as usize);
    let (size, now) = (batch * hidden, p.step as usize * batch * 4 * hidden);
    let gates = &mut gates[now..][..4 * size];
    let previous = p.base as usize + p.before as usize * batch * width;
    add_biases(4 * hidden, &xw[now..][..4 * size], b_ih, b_hh, gates);
    add_product_transposed(p.batch, 4 * p.hidden, p.width, &h[previous..][..batch * width], w_hh, gates);
    let (old, new) = two_slots(c, size, p.before, p.after);
    for row in 0..batch {
        let at = row * hidden;
        let (old, new) = (&old[at..][..hidden], &mut new[at..][..hidden]);
        let out = p.out as usize + at;
        let (i, rest) = gates[4 * at..][..4 * hidden].split_at_mut(hidden);
        let (f, rest) = rest.split_at_mut(hidden);
        let (g, o) = rest.split_at_mut(hidden);
        i.iter_mut().for_each(|a| *a = sigmoid(*a));
        f.iter_mut().for_each(|a| *a = sigmoid(*a));
        g.iter_mut().for_each(|a| *a = tanh_rational(*a));
        o.iter_mut().for_each(|a| *a = sigmoid(*a));
        if ended(p.ragged, lengths, row, p.step) {
            new.copy_from_slice(old);
            match p.projected == 1 {
                true => h[out..][..hidden].fill(0.0),
                false => h.copy_within(previous + at..previous + at + hidden, out),
            }
            continue;
        }
        let h = &mut h[out..][..hidden];
        for k in 0..hidden {
            new[k] = f[k] * old[k] + i[k] * g[k];
            h[k] = o[k] * tanh_rational(new[k]);
        }
    }
}
