//! Twin of `shaders/mask_steps.wgsl`.

use super::real::Real;
use crate::kernel;

kernel! {
    /// What belongs to sequences of different lengths: `y[t, b, :] = x[t, b, :]` where `t < lengths[b]`, else 0.
    pub static MASK_STEPS = mask_steps(MaskSteps { time: u32, batch: u32, width: u32 };
        x: read Float, lengths: read I32, y: write Float);
    variants [
        { "elements", "mask_steps.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "mask_steps.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`MASK_STEPS`].
pub fn mask_steps<R: Real>(p: &MaskSteps, x: &[R], lengths: &[i32], y: &mut [R]) {
    let [time, batch, width] = [p.time, p.batch, p.width].map(|n| n as usize);
    for step in 0..time {
        for (row, length) in lengths[..batch].iter().enumerate() {
            let at = (step * batch + row) * width;
            match (step as i32) < *length {
                true => y[at..][..width].copy_from_slice(&x[at..][..width]),
                false => y[at..][..width].fill(R::zero()),
            }
        }
    }
}
