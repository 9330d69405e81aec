//! Twin of `shaders/rnn_step_backward.wgsl`.

use super::matmul::{Matmul, matmul_fast};
use super::real::Real;
use crate::kernel;

kernel! {
    /// One time step of the backward pass of a plain recurrent layer: da_t = (dy_t + da_{t+1}·W_hh) ⊙ act'(a_t).
    /// `h` as in [`RNN_STEP_FORWARD`](super::rnn_step_forward::RNN_STEP_FORWARD).
    pub static RNN_STEP_BACKWARD = rnn_step_backward(RnnStepBackward {
        batch: u32, hidden: u32, step: u32, base: u32, relu: u32, last: u32,
    }; dy: read F32, w_hh: read F32, h: read F32, da: update F32);
    fast rnn_step_backward_fast;
    variants [{ "elements", "rnn_step_backward.wgsl", [] }]
}

/// The step's slice of da, and the slice of the step after it.
fn steps<'a, R>(p: &RnnStepBackward, da: &'a mut [R]) -> (&'a mut [R], &'a [R]) {
    let size = (p.batch * p.hidden) as usize;
    let (now, next) = da[p.step as usize * size..].split_at_mut(size);
    (now, if p.last == 1 { &[] } else { &next[..size] })
}

/// See [`RNN_STEP_BACKWARD`].
pub fn rnn_step_backward<R: Real>(p: &RnnStepBackward, dy: &[R], w_hh: &[R], h: &[R], da: &mut [R]) {
    let (hidden, size, step) = (p.hidden as usize, (p.batch * p.hidden) as usize, p.step as usize);
    let (now, next) = steps(p, da);
    for i in 0..size {
        let (row, unit) = (i / hidden, i % hidden);
        let mut dh = dy[step * size + i];
        if p.last == 0 {
            dh = dh + R::sum((0..hidden).map(|k| next[row * hidden + k] * w_hh[k * hidden + unit]));
        }
        let y = h[p.base as usize + (step + 1) * size + i];
        now[i] = dh * derivative(p.relu == 1, y);
    }
}

/// act' as a function of the activation's result.
#[inline(always)]
fn derivative<R: Real>(relu: bool, y: R) -> R {
    let one = R::of(1.0);
    if relu { one.where_positive(y) } else { (one - y) * (one + y) }
}

/// [`rnn_step_backward`] with the product as a matmul.
pub fn rnn_step_backward_fast(p: &RnnStepBackward, dy: &[f32], w_hh: &[f32], h: &[f32], da: &mut [f32]) {
    let (size, step) = ((p.batch * p.hidden) as usize, p.step as usize);
    let (now, next) = steps(p, da);
    now.copy_from_slice(&dy[step * size..][..size]);
    if p.last == 0 {
        let product = Matmul {
            m: p.batch,
            n: p.hidden,
            k: p.hidden,
            a_row: p.hidden,
            a_col: 1,
            b_row: p.hidden,
            b_col: 1,
            accumulate: 1,
            ..Default::default()
        };
        matmul_fast(&product, next, w_hh, now);
    }
    let y = &h[p.base as usize + (step + 1) * size..][..size];
    match p.relu == 1 {
        true => now.iter_mut().zip(y).for_each(|(da, y)| *da *= derivative(true, *y)),
        false => now.iter_mut().zip(y).for_each(|(da, y)| *da *= derivative(false, *y)),
    }
}
