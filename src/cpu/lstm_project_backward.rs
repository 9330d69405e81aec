//! Twin of `shaders/lstm_project_backward.wgsl`.

use super::real::Real;
use super::recurrence::{add_product, ended};
use crate::kernel;

kernel! {
    /// The gradient that arrives at the projected state of one time step of an LSTM layer: dp_t = dy_t + dh + da_later·W_hh.
    /// A sequence that has ended hands dh on and has dp 0.
    pub static LSTM_PROJECT_BACKWARD = lstm_project_backward(LstmProjectBackward {
        batch: u32, gates: u32, width: u32, step: u32, later: u32, first: u32, ragged: u32,
    }; dy: read F32, w_hh: read F32, da: read F32, lengths: read I32, dh: update F32, dp: update F32);
    fast lstm_project_backward_fast;
    variants [{ "elements", "lstm_project_backward.wgsl", [] }]
}

/// See [`LSTM_PROJECT_BACKWARD`].
pub fn lstm_project_backward<R: Real>(
    p: &LstmProjectBackward,
    dy: &[R],
    w_hh: &[R],
    da: &[R],
    lengths: &[i32],
    dh: &mut [R],
    dp: &mut [R],
) {
    let [batch, gates, width] = [p.batch, p.gates, p.width].map(|n| n as usize);
    let now = p.step as usize * batch * width;
    for i in 0..batch * width {
        let (row, unit) = (i / width, i % width);
        let mut arriving = dh[i];
        if p.first == 0 {
            let later = (p.later as usize * batch + row) * gates;
            arriving = arriving + R::sum((0..gates).map(|k| da[later + k] * w_hh[k * width + unit]));
        }
        let ended = ended(p.ragged, lengths, row, p.step);
        dh[i] = if ended { arriving } else { R::zero() };
        dp[now + i] = if ended { R::zero() } else { dy[now + i] + arriving };
    }
}

/// [`lstm_project_backward`] with the product as a matmul.
pub fn lstm_project_backward_fast(
    p: &LstmProjectBackward,
    dy: &[f32],
    w_hh: &[f32],
    da: &[f32],
    lengths: &[i32],
    dh: &mut [f32],
    dp: &mut [f32],
) {
    let [batch, gates, width] = [p.batch, p.gates, p.width].map(|n| n as usize);
    let now = p.step as usize * batch * width;
    if p.first == 0 {
        let later = &da[p.later as usize * batch * gates..][..batch * gates];
        add_product(p.batch, p.width, p.gates, later, w_hh, dh);
    }
    for row in 0..batch {
        let dh = &mut dh[row * width..][..width];
        let dp = &mut dp[now + row * width..][..width];
        if ended(p.ragged, lengths, row, p.step) {
            dp.fill(0.0);
            continue;
        }
        let terms = dp.iter_mut().zip(&dy[now + row * width..]).zip(dh);
        terms.for_each(|((dp, dy), dh)| *dp = dy + std::mem::take(dh));
    }
}
