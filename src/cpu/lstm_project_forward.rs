//! Twin of `shaders/lstm_project_forward.wgsl`.

use super::real::Real;
use super::recurrence::add_product_transposed;
use super::steps::ended;
use crate::kernel;

kernel! {
    /// The projection in one step of an LSTM layer: h_t = m_t·W_hrᵀ. A sequence that has ended keeps its h. The header of
    /// `shaders/lstm_project_forward.wgsl` has shapes and parameters.
    pub static LSTM_PROJECT_FORWARD = lstm_project_forward(LstmProjectForward {
        batch: u32, hidden: u32, width: u32, step: u32, before: u32, after: u32, base: u32, source: u32, ragged: u32,
    }; w_hr: read Float, lengths: read I32, h: update Float);
    fast lstm_project_forward_fast;
    variants [{ "elements", "lstm_project_forward.wgsl", [] }]
}

/// See [`LSTM_PROJECT_FORWARD`].
pub fn lstm_project_forward<R: Real>(p: &LstmProjectForward, w_hr: &[R], lengths: &[i32], h: &mut [R]) {
    let [batch, hidden, width] = [p.batch, p.hidden, p.width].map(|n| n as usize);
    let slot = |s: u32| p.base as usize + s as usize * batch * width;
    for row in 0..batch {
        for unit in 0..width {
            let i = row * width + unit;
            let source = p.source as usize + row * hidden;
            h[slot(p.after) + i] = match ended(p.ragged, lengths, row, p.step as usize) {
                true => h[slot(p.before) + i],
                false => R::sum((0..hidden).map(|k| h[source + k] * w_hr[unit * hidden + k])),
            };
        }
    }
}

/// [`lstm_project_forward`] as a matmul.
pub fn lstm_project_forward_fast(p: &LstmProjectForward, w_hr: &[f32], lengths: &[i32], h: &mut [f32]) {
    let [batch, hidden, width] = [p.batch, p.hidden, p.width].map(|n| n as usize);
    // The slots lie before the sources of all steps.
    let (slots, sources) = h.split_at_mut(p.source as usize);
    let slot = |s: u32| p.base as usize + s as usize * batch * width;
    let next = &mut slots[slot(p.after)..][..batch * width];
    next.fill(0.0);
    add_product_transposed(p.batch, p.width, p.hidden, &sources[..batch * hidden], w_hr, next);
    for row in (0..batch).filter(|row| ended(p.ragged, lengths, *row, p.step as usize)) {
        let from = slot(p.before) + row * width;
        slots.copy_within(from..from + width, slot(p.after) + row * width);
    }
}
