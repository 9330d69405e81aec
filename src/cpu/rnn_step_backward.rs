//! Twin of `shaders/rnn_step_backward.wgsl`.

use super::real::Real;
use super::recurrence::{add_product, ended, tanh_slope};
use crate::kernel;

kernel! {
    /// One time step of the backward pass of a plain recurrent layer: da_t = (dy_t + dh + da_later·W_hh) ⊙ act'(a_t). `dh`
    /// is handed on by sequences that have ended, else used up. The slots of h are as in
    /// [`RNN_STEP_FORWARD`](super::rnn_step_forward::RNN_STEP_FORWARD).
    pub static RNN_STEP_BACKWARD = rnn_step_backward(RnnStepBackward {
        batch: u32, hidden: u32, step: u32, later: u32, first: u32, after: u32, base: u32, relu: u32, ragged: u32,
    }; dy: read F32, w_hh: read F32, h: read F32, lengths: read I32, dh: update F32, da: update F32);
    fast rnn_step_backward_fast;
    variants [{ "elements", "rnn_step_backward.wgsl", [] }]
}

/// See [`RNN_STEP_BACKWARD`].
pub fn rnn_step_backward<R: Real>(
    p: &RnnStepBackward,
    dy: &[R],
    w_hh: &[R],
    h: &[R],
    lengths: &[i32],
    dh: &mut [R],
    da: &mut [R],
) {
    let (hidden, size) = (p.hidden as usize, (p.batch * p.hidden) as usize);
    let now = p.step as usize * size;
    for i in 0..size {
        let (row, unit) = (i / hidden, i % hidden);
        let mut arriving = dh[i];
        if p.first == 0 {
            let later = p.later as usize * size + row * hidden;
            arriving = arriving + R::sum((0..hidden).map(|k| da[later + k] * w_hh[k * hidden + unit]));
        }
        if ended(p.ragged, lengths, row, p.step) {
            dh[i] = arriving;
            da[now + i] = R::zero();
        } else {
            let y = h[p.base as usize + p.after as usize * size + i];
            dh[i] = R::zero();
            da[now + i] = (dy[now + i] + arriving) * slope(p.relu == 1, y);
        }
    }
}

/// act' as a function of the activation's result.
#[inline(always)]
fn slope<R: Real>(relu: bool, y: R) -> R {
    if relu { R::of(1.0).where_positive(y) } else { tanh_slope(y) }
}

/// [`rnn_step_backward`] with the product as a matmul.
pub fn rnn_step_backward_fast(
    p: &RnnStepBackward,
    dy: &[f32],
    w_hh: &[f32],
    h: &[f32],
    lengths: &[i32],
    dh: &mut [f32],
    da: &mut [f32],
) {
    let (hidden, size) = (p.hidden as usize, (p.batch * p.hidden) as usize);
    let now = p.step as usize * size;
    let dh = &mut dh[..size];
    if p.first == 0 {
        let later = &da[p.later as usize * size..][..size];
        add_product(p.batch, p.hidden, p.hidden, later, w_hh, dh);
    }
    let h = &h[p.base as usize + p.after as usize * size..][..size];
    let rows = dh.chunks_exact_mut(hidden.max(1)).zip(da[now..][..size].chunks_exact_mut(hidden.max(1)));
    for (row, (dh, da)) in rows.enumerate() {
        if ended(p.ragged, lengths, row, p.step) {
            da.fill(0.0);
            continue;
        }
        let at = row * hidden;
        let terms = da.iter_mut().zip(&dy[now + at..]).zip(&*dh).zip(&h[at..]);
        match p.relu == 1 {
            true => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(true, *y)),
            false => terms.for_each(|(((da, dy), dh), y)| *da = (dy + dh) * slope(false, *y)),
        }
        dh.fill(0.0);
    }
}
