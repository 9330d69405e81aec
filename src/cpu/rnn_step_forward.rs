//! Twin of `shaders/rnn_step_forward.wgsl`.

use super::common::tanh_rational;
use super::matmul::{Matmul, matmul_fast};
use super::real::Real;
use crate::kernel;

kernel! {
    /// One time step of a plain recurrent layer: h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h_{t-1}·W_hhᵀ). h holds the initial
    /// state at slot 0 and h_t at slot t+1; slot s begins at element base + s·batch·hidden.
    pub static RNN_STEP_FORWARD = rnn_step_forward(RnnStepForward {
        batch: u32, hidden: u32, step: u32, base: u32, relu: u32, bias: u32,
    }; xw: read F32, w_hh: read F32, b_ih: read F32, b_hh: read F32, h: update F32);
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
    h: &mut [R],
) {
    let (batch, hidden) = (p.batch as usize, p.hidden as usize);
    let (size, step) = (batch * hidden, p.step as usize);
    let (previous, next) = h[p.base as usize + step * size..][..2 * size].split_at_mut(size);
    for row in 0..batch {
        for unit in 0..hidden {
            let terms = (0..hidden).map(|k| previous[row * hidden + k] * w_hh[unit * hidden + k]);
            let mut a = xw[step * size + row * hidden + unit] + R::sum(terms);
            if p.bias == 1 {
                a = a + (b_ih[unit] + b_hh[unit]);
            }
            next[row * hidden + unit] = if p.relu == 1 { a.max(R::zero()) } else { a.tanh() };
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
    h: &mut [f32],
) {
    let (size, step) = ((p.batch * p.hidden) as usize, p.step as usize);
    let hidden = p.hidden as usize;
    let (previous, next) = h[p.base as usize + step * size..][..2 * size].split_at_mut(size);
    next.copy_from_slice(&xw[step * size..][..size]);
    if p.bias == 1 {
        for row in next.chunks_exact_mut(hidden.max(1)) {
            for ((a, b_ih), b_hh) in row.iter_mut().zip(b_ih).zip(b_hh) {
                *a += b_ih + b_hh;
            }
        }
    }
    let product = Matmul {
        m: p.batch,
        n: p.hidden,
        k: p.hidden,
        a_row: p.hidden,
        a_col: 1,
        b_row: 1,
        b_col: p.hidden,
        accumulate: 1,
        ..Default::default()
    };
    matmul_fast(&product, previous, w_hh, next);
    if p.relu == 1 {
        next.iter_mut().for_each(|a| *a = a.max(0.0));
    } else {
        next.iter_mut().for_each(|a| *a = tanh_rational(*a));
    }
}
