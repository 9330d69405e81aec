//! Twin of `shaders/gru_backward.wgsl`.

use super::real::Real;
use super::recurrence::{Product, add_product, backward_steps, ended, tanh_slope};
use crate::kernel;
use crate::kernel::{LEAST, Limits};

kernel! {
    /// Steps of the backward pass of a GRU layer of `time` steps, `steps` from `start` on, downwards, or in `reverse` upwards,
    /// with dh_t = dy_t + dh + da_h_later·W_hh:
    /// da_n = dh_t·(1−z)·(1−n²), da_r = da_n·q·r(1−r), da_z = dh_t·(h−n)·z(1−z); da_x = (da_r, da_z, da_n),
    /// da_h = (da_r, da_z, da_n·r), and dh becomes dh_t·z. A sequence that has ended hands dh on. The slots of h are as in
    /// [`GRU_FORWARD`](super::gru_forward::GRU_FORWARD).
    pub static GRU_BACKWARD = gru_backward(GruBackward {
        batch: u32, hidden: u32, time: u32, start: u32, steps: u32, reverse: u32, fresh: u32, base: u32, ragged: u32,
    }; dy: read F32, w_hh: read F32, gates: read F32, h: read F32, lengths: read I32, dh: update F32,
       da_x: update F32, da_h: update F32);
    fast gru_backward_fast;
    variants [
        { "tiles", "gru_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_tiles.wgsl",
            [("COLUMNS", 1), ("SLICES", 16), ("UNITS", 16), ("ROWS", 16), ("ROUND", 4), ("ROUNDS", 4)] },
        { "lanes", "gru_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_one.wgsl",
            [("COLUMNS", 1)], needs Limits { subgroup: 8, ..LEAST } },
        { "lanes of four", "gru_backward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_four.wgsl",
            [("COLUMNS", 1)], needs Limits { subgroup: 8, ..LEAST } },
    ]
}

impl GruBackward {
    /// The product of a step.
    pub fn product(&self) -> Product {
        Product { batch: self.batch, hidden: self.hidden, columns: 1, inner: 3 * self.hidden }
    }
}

/// The gradients (da_r, da_z, da_n, dh) of a unit with the gates (r, z, q, n) and the state before the step.
#[inline(always)]
fn unit_gradients<R: Real>([r, z, q, n]: [R; 4], before: R, dh: R) -> [R; 4] {
    let one = R::of(1.0);
    let da_n = dh * (one - z) * tanh_slope(n);
    [da_n * q * r * (one - r), dh * (before - n) * z * (one - z), da_n, dh * z]
}

/// See [`GRU_BACKWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_backward<R: Real>(
    p: &GruBackward,
    dy: &[R],
    w_hh: &[R],
    gates: &[R],
    h: &[R],
    lengths: &[i32],
    dh: &mut [R],
    da_x: &mut [R],
    da_h: &mut [R],
) {
    let [batch, hidden, time] = [p.batch, p.hidden, p.time].map(|n| n as usize);
    let (size, width) = (batch * hidden, 3 * hidden);
    for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
        for i in 0..size {
            let (row, unit) = (i / hidden, i % hidden);
            let start = (step.time * batch + row) * width + unit;
            let mut arriving = if p.fresh == 1 && step.first { R::zero() } else { dh[i] };
            if let Some(later) = step.later {
                let later = (later * batch + row) * width;
                arriving = arriving + R::sum((0..width).map(|k| da_h[later + k] * w_hh[k * hidden + unit]));
            }
            let [r, z, q] = [0, 1, 2].map(|gate| gates[start + gate * hidden]);
            let n = gates[(3 * time + step.time) * size + i];
            let before = h[p.base as usize + step.before * size + i];
            let mut gradients = unit_gradients([r, z, q, n], before, dy[step.time * size + i] + arriving);
            if ended(p.ragged, lengths, row, step.time) {
                gradients = [R::zero(), R::zero(), R::zero(), arriving];
            }
            let [da_r, da_z, da_n, rest] = gradients;
            dh[i] = rest;
            for (da, gradient) in [(&mut *da_x, [da_r, da_z, da_n]), (&mut *da_h, [da_r, da_z, da_n * r])] {
                (0..3).for_each(|gate| da[start + gate * hidden] = gradient[gate]);
            }
        }
    }
}

/// [`gru_backward`] with the product as a matmul.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_backward_fast(
    p: &GruBackward,
    dy: &[f32],
    w_hh: &[f32],
    gates: &[f32],
    h: &[f32],
    lengths: &[i32],
    dh: &mut [f32],
    da_x: &mut [f32],
    da_h: &mut [f32],
) {
    let [batch, hidden, time] = [p.batch, p.hidden, p.time].map(|n| n as usize);
    let (size, width) = (batch * hidden, 3 * hidden);
    for step in backward_steps(p.start, p.steps, p.reverse, p.time) {
        if p.fresh == 1 && step.first {
            dh[..size].fill(0.0);
        }
        if let Some(later) = step.later {
            let later = &da_h[later * batch * width..][..batch * width];
            add_product(p.batch, p.hidden, 3 * p.hidden, later, w_hh, dh);
        }
        for row in 0..batch {
            let (at, start) = (row * hidden, (step.time * batch + row) * width);
            let (da_x, da_h) = (&mut da_x[start..][..width], &mut da_h[start..][..width]);
            if ended(p.ragged, lengths, row, step.time) {
                da_x.fill(0.0);
                da_h.fill(0.0);
                continue;
            }
            let (da_r, rest) = da_x.split_at_mut(hidden);
            let (da_z, da_n) = rest.split_at_mut(hidden);
            let [r, z, q] = [0, 1, 2].map(|gate| &gates[start + gate * hidden..][..hidden]);
            let n = &gates[(3 * time + step.time) * size + at..][..hidden];
            let before = &h[p.base as usize + step.before * size + at..][..hidden];
            let (dy, dh) = (&dy[step.time * size + at..][..hidden], &mut dh[at..][..hidden]);
            for k in 0..hidden {
                [da_r[k], da_z[k], da_n[k], dh[k]] =
                    unit_gradients([r[k], z[k], q[k], n[k]], before[k], dy[k] + dh[k]);
            }
            da_h.copy_from_slice(da_x);
            da_h[2 * hidden..].iter_mut().zip(r).for_each(|(da, r)| *da *= r);
        }
    }
}
