//! Twin of `shaders/rnn_step_forward.wgsl`.

use super::common::tanh_rational;
use super::real::Real;
use super::recurrence::{add_biases, add_product_transposed, ended, two_slots};
use crate::kernel;

kernel! {
    /// One time step of a plain recurrent layer: h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ). Slot `before` of h holds the
    /// state of the step computed before, slot `after` takes h_t; slot s begins at element base + s·batch·hidden. A sequence
    /// that has ended keeps its state.
    pub static RNN_STEP_FORWARD = rnn_step_forward(RnnStepForward {
        batch: u32, hidden: u32, step: u32, before: u32, after: u32, base: u32, relu: u32, bias: u32, ragged: u32,
    }; xw: read F32, w_hh: read F32, b_ih: read F32, b_hh: read F32, lengths: read I32, h: update F32);
    fast rnn_step_forward_fast;
    variants [{ "elements", "rnn_step_forward.wgsl", [] }]
}

/// See [`RNN_STEP_FORWARD`].
pub fn rnn_step_forward<R: Real>(
    p: &RnnStepForward,
    xw: &[R],
    w_hh: &[R],
    b_ih: &[R],
    b_hh: &[R],
    lengths: &[i32],
    h: &mut [R],
) {
    let (batch, hidden) = (p.batch as usize, p.hidden as usize);
    let size = batch * hidden;
    let slot = |s: u32| p.base as usize + s as usize * size;
    for row in 0..batch {
        for unit in 0..hidden {
            let i = row * hidden + unit;
            let terms = (0..hidden).map(|k| h[slot(p.before) + row * hidden + k] * w_hh[unit * hidden + k]);
            let mut a = xw[p.step as usize * size + i] + R::sum(terms);
            if p.bias == 1 {
                a = a + (b_ih[unit] + b_hh[unit]);
            }
            let mut next = if p.relu == 1 { a.max(R::zero()) } else { a.tanh() };
            if ended(p.ragged, lengths, row, p.step) {
                next = h[slot(p.before) + i];
            }
            h[slot(p.after) + i] = next;
        }
    }
}

/// [`rnn_step_forward`] with the product as a matmul and the rest as vectorised loops over rows.
pub fn rnn_step_forward_fast(
    p: &RnnStepForward,
    xw: &[f32],
    w_hh: &[f32],
    b_ih: &[f32],
    b_hh: &[f32],
    lengths: &[i32],
    h: &mut [f32],
) {
    let (hidden, size) = (p.hidden as usize, (p.batch * p.hidden) as usize);
    let (previous, next) = two_slots(&mut h[p.base as usize..], size, p.before, p.after);
    add_biases(hidden, &xw[p.step as usize * size..][..size], b_ih, b_hh, next);
    add_product_transposed(p.batch, p.hidden, p.hidden, previous, w_hh, next);
    if p.relu == 1 {
        // Not f32::max, which loses NaN.
        next.iter_mut().for_each(|a| *a = Real::max(*a, 0.0));
    } else {
        next.iter_mut().for_each(|a| *a = tanh_rational(*a));
    }
    for row in 0..p.batch as usize {
        if ended(p.ragged, lengths, row, p.step) {
            let row = row * hidden..(row + 1) * hidden;
            next[row.clone()].copy_from_slice(&previous[row]);
        }
    }
}
