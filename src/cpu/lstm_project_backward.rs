//! Twin of `shaders/lstm_project_backward.wgsl`.

use super::real::Real;
use super::steps::ended;
use crate::kernel;

kernel! {
    /// The gradient that arrives at the projected state in one step of an LSTM layer: dp_t = dy_t + dh, then dh = 0. A sequence that
    /// has ended gets dp_t 0 and keeps dh. The header of `shaders/lstm_project_backward.wgsl` has shapes and parameters.
    pub static LSTM_PROJECT_BACKWARD = lstm_project_backward(LstmProjectBackward {
        batch: u32, width: u32, step: u32, ragged: u32,
    }; dy: read Float, lengths: read I32, dh: update F32, dp: update Float);
    variants [{ "elements", "lstm_project_backward.wgsl", [] }]
}

/// See [`LSTM_PROJECT_BACKWARD`].
pub fn lstm_project_backward<R: Real>(
    p: &LstmProjectBackward,
    dy: &[R],
    lengths: &[i32],
    dh: &mut [R],
    dp: &mut [R],
) {
    let [batch, width] = [p.batch, p.width].map(|n| n as usize);
    let now = p.step as usize * batch * width;
    for i in 0..batch * width {
        let arriving = dh[i];
        if ended(p.ragged, lengths, i / width, p.step as usize) {
            dp[now + i] = R::zero();
        } else {
            dh[i] = R::zero();
            dp[now + i] = dy[now + i] + arriving;
        }
    }
}
