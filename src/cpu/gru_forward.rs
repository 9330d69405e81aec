//! Twin of `shaders/gru_forward.wgsl`.

use super::common::{sigmoid, tanh_rational};
use super::real::Real;
use super::recurrence::{Product, add_product, ended, forward_steps, two_slots};
use crate::kernel;
use crate::kernel::{LEAST, Limits};

kernel! {
    /// Steps of a GRU layer, `steps` from `start` on, upwards, or in `reverse` downwards: h_t = (1 − z) ⊙ n + z ⊙ h with
    /// r, z = σ(..), q = h·W_hnᵀ + b_hn and n = tanh(x_t·W_inᵀ + b_in + r ⊙ q); `w_hh` is W_hhᵀ. The slots of h are as in
    /// [`RNN_FORWARD`](super::rnn_forward::RNN_FORWARD). A sequence that has ended keeps its state. r, z and q
    /// and, behind those of all steps, n are kept in `gates`.
    pub static GRU_FORWARD = gru_forward(GruForward {
        batch: u32, hidden: u32, time: u32, start: u32, steps: u32, reverse: u32, fresh: u32, base: u32, bias: u32, ragged: u32,
    }; xw: read F32, w_hh: read F32, b_ih: read F32, b_hh: read F32, lengths: read I32, gates: update F32,
       h: update F32);
    fast gru_forward_fast;
    variants [
        { "tiles", "gru_forward.wgsl" & "recurrent_steps.wgsl" & "recurrent_tiles.wgsl",
            [("COLUMNS", 3), ("SLICES", 16), ("UNITS", 16), ("ROWS", 8), ("ROUND", 4), ("ROUNDS", 2)] },
        { "lanes", "gru_forward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_one.wgsl",
            [("COLUMNS", 3)], needs Limits { subgroup: 8, ..LEAST } },
        { "lanes of four", "gru_forward.wgsl" & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "lanes_of_four.wgsl",
            [("COLUMNS", 3)], needs Limits { subgroup: 8, ..LEAST } },
    ]
}

impl GruForward {
    /// The product of a step.
    pub fn product(&self) -> Product {
        Product { batch: self.batch, hidden: self.hidden, columns: 3, inner: self.hidden }
    }
}

/// See [`GRU_FORWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_forward<R: Real>(
    p: &GruForward,
    xw: &[R],
    w_hh: &[R],
    b_ih: &[R],
    b_hh: &[R],
    lengths: &[i32],
    gates: &mut [R],
    h: &mut [R],
) {
    let [batch, hidden, time] = [p.batch, p.hidden, p.time].map(|n| n as usize);
    let size = batch * hidden;
    for step in forward_steps(p.start, p.steps, p.reverse) {
        let [before, after] = [step.before, step.after].map(|slot| p.base as usize + slot * size);
        if p.fresh == 1 && step.first {
            h[before..][..size].fill(R::zero());
        }
        for row in 0..batch {
            let start = (step.time * batch + row) * 3 * hidden;
            for unit in 0..hidden {
                let i = row * hidden + unit;
                let a = [0, 1, 2].map(|gate| {
                    let column = gate * hidden + unit;
                    let terms =
                        (0..hidden).map(|k| h[before + row * hidden + k] * w_hh[k * 3 * hidden + column]);
                    let (x, sum) = (xw[start + column], R::sum(terms));
                    if p.bias == 1 { (x + b_ih[column], sum + b_hh[column]) } else { (x, sum) }
                });
                let r = (a[0].0 + a[0].1).sigmoid();
                let z = (a[1].0 + a[1].1).sigmoid();
                let q = a[2].1;
                let n = (a[2].0 + r * q).tanh();
                gates[start + unit] = r;
                gates[start + hidden + unit] = z;
                gates[start + 2 * hidden + unit] = q;
                gates[(3 * time + step.time) * size + i] = n;
                let old = h[before + i];
                let state = (R::of(1.0) - z) * n + z * old;
                h[after + i] = if ended(p.ragged, lengths, row, step.time) { old } else { state };
            }
        }
    }
}

/// [`gru_forward`] with the product as a matmul, made in `gates`.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_forward_fast(
    p: &GruForward,
    xw: &[f32],
    w_hh: &[f32],
    b_ih: &[f32],
    b_hh: &[f32],
    lengths: &[i32],
    gates: &mut [f32],
    h: &mut [f32],
) {
    let [batch, hidden, time] = [p.batch, p.hidden, p.time].map(|n| n as usize);
    let size = batch * hidden;
    let (rzq, n) = gates.split_at_mut(3 * time * size);
    for step in forward_steps(p.start, p.steps, p.reverse) {
        let now = step.time * 3 * size;
        let (rzq, n) = (&mut rzq[now..][..3 * size], &mut n[step.time * size..][..size]);
        let [previous, next] = two_slots(&mut h[p.base as usize..], size, step.before, step.after);
        match p.bias == 1 {
            true => rzq
                .chunks_exact_mut((3 * hidden).max(1))
                .for_each(|row| row.copy_from_slice(&b_hh[..3 * hidden])),
            false => rzq.fill(0.0),
        }
        match p.fresh == 1 && step.first {
            true => previous.fill(0.0),
            false => add_product(p.batch, 3 * p.hidden, p.hidden, previous, w_hh, rzq),
        }
        for row in 0..batch {
            let at = row * hidden;
            let (r, rest) = rzq[3 * at..][..3 * hidden].split_at_mut(hidden);
            let (z, q) = rest.split_at_mut(hidden);
            let [x_r, x_z, x_n] = [0, 1, 2].map(|gate| &xw[now + 3 * at + gate * hidden..][..hidden]);
            let (n, old, new) =
                (&mut n[at..][..hidden], &previous[at..][..hidden], &mut next[at..][..hidden]);
            let bias = |gate: usize, k: usize| if p.bias == 1 { b_ih[gate * hidden + k] } else { 0.0 };
            for k in 0..hidden {
                r[k] = sigmoid(x_r[k] + bias(0, k) + r[k]);
                z[k] = sigmoid(x_z[k] + bias(1, k) + z[k]);
                n[k] = tanh_rational(x_n[k] + bias(2, k) + r[k] * q[k]);
                new[k] = (1.0 - z[k]) * n[k] + z[k] * old[k];
            }
            if ended(p.ragged, lengths, row, step.time) {
                new.copy_from_slice(old);
            }
        }
    }
}
