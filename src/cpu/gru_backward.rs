//! Twin of `shaders/gru_backward.wgsl`.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::halves;
use super::packed::{Packed, Strided};
use super::real::{Number, Real};
use super::recurrence::{recurrent_kernel, tanh_slope};
use super::steps::ended;
use super::threads::Shared;
use super::vector::Lanes;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of the backward pass of a GRU layer: from dh_t = dy_t + dh + da_h·W_hh to da_x and da_h, the gradients of both products.
    /// The header of `shaders/gru_backward.wgsl` has the equations with shapes, and the parameters.
    pub static GRU_BACKWARD = gru_backward(GruBackward {
        batch: u32, hidden: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        fresh: u32, base: u32, ragged: u32,
    }; dy: read Float, w_hh: read Float, gates: read Float, h: read Float, lengths: read I32, dh: update F32,
       da_x: update Float, da_h: update Kept);
    fast gru_backward_fast;
    "gru_backward.wgsl" in "recurrent_backward.wgsl": 1 columns of 3 hidden, 16 rows in 4 rounds,
        "held of 112": 112 units
}

// ANCHOR: gradients
/// The gradients (da_r, da_z, da_n, dh) of a unit with the gates (r, z, q, n) and the state before the step.
#[inline(always)]
fn unit_gradients<R: Number>([r, z, q, n]: [R; 4], before: R, dh: R) -> [R; 4] {
    let one = z.like(1.0);
    let da_n = dh * (one - z) * tanh_slope(n);
    [da_n * q * r * (one - r), dh * (before - n) * z * (one - z), da_n, dh * z]
}
// ANCHOR_END: gradients

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
    mut da_h: Kept<'_, R>,
) {
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let width = 3 * hidden;
    for step in steps.all_backward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain)..];
        let dh = &mut dh[steps.row_of_carried(step.chain) * hidden..];
        let h = &h[p.base as usize + steps.row_of_slot(step.chain, step.before) * hidden..];
        let now = steps.row_of_step(step.chain, step.time);
        for i in 0..steps.batch * hidden {
            let (row, unit) = (i / hidden, i % hidden);
            let start = (now + row) * width + unit;
            let mut arriving = if p.fresh == 1 && step.first { R::zero() } else { dh[i] };
            if let Some(later) = step.later {
                let later = (steps.row_of_step(step.chain, later) + row) * width;
                arriving = arriving + R::sum((0..width).map(|k| da_h[later + k] * w_hh[k * hidden + unit]));
            }
            let [r, z, q] = [0, 1, 2].map(|gate| gates[start + gate * hidden]);
            let n = gates[(3 * steps.rows_of_steps() + now) * hidden + i];
            let dy = dy[steps.row_of_output(step, row) * hidden + unit];
            let mut gradients = unit_gradients([r, z, q, n], h[i], dy + arriving);
            if ended(p.ragged, lengths, row, step.time) {
                gradients = [R::zero(), R::zero(), R::zero(), arriving];
            }
            let [da_r, da_z, da_n, rest] = gradients;
            dh[i] = rest;
            let gradients = [[da_r, da_z, da_n], [da_r, da_z, da_n * r]];
            for gate in 0..3 {
                da_x[start + gate * hidden] = gradients[0][gate];
                da_h.put(start + gate * hidden, gradients[1][gate]);
            }
        }
    }
}

/// [`gru_backward`] with W_hh packed, vectors, and blocks of rows on several threads.
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
    mut da_h: Kept<'_, f32>,
) {
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let width = 3 * hidden;
    let (da_h, dtype) = da_h.parts();
    let (dh, da_x, da_h) = (Shared::new(dh), Shared::new(da_x), Shared::new(da_h));
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        let row_at = |time: usize| steps.row_of_step(chain, time) + rows.start;
        // SAFETY: what belongs to the block's rows.
        let dh = unsafe { dh.part((steps.row_of_carried(chain) + rows.start) * hidden, len) };
        for step in steps.backward(chain) {
            if p.fresh == 1 && step.first {
                dh.fill(0.0);
            }
            if let Some(later) = step.later {
                // SAFETY: the block's rows of one step.
                w.add_product(unsafe { da_h.part(row_at(later) * width, 3 * len) }, dh);
            }
            let start = row_at(step.time) * width;
            let slot = steps.row_of_slot(chain, step.before) + rows.start;
            // SAFETY: the block's rows of another step.
            let [da_x, da_h] = [&da_x, &da_h].map(|da| unsafe { da.part(start, 3 * len) });
            Arch::new().dispatch(Units {
                hidden,
                rzq: &gates[start..][..3 * len],
                n: &gates[(3 * steps.rows_of_steps() + row_at(step.time)) * hidden..][..len],
                before: &h[p.base as usize + slot * hidden..][..len],
                dy: &dy[steps.row_of_output(step, rows.start) * hidden..],
                pitch: steps.outputs() * hidden,
                dh,
                da_x,
                da_h: &mut *da_h,
                // A sequence that has ended hands on what is carried.
                passes: |k| ended(p.ragged, lengths, rows.start + k, step.time),
            });
            halves::round(dtype, da_h);
        }
    };
    Packed::with_all(steps.chains, Strided::dense(w_hh, hidden), width, hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}

/// Some rows of a step: `da_x` and `da_h` get the gradients of both products, `dh` what goes on to the next step. `passes` tells
/// of a row whether its sequence has ended.
struct Units<'a, P> {
    hidden: usize,
    rzq: &'a [f32],
    n: &'a [f32],
    before: &'a [f32],
    /// Its rows are `pitch` apart.
    dy: &'a [f32],
    pitch: usize,
    dh: &'a mut [f32],
    da_x: &'a mut [f32],
    da_h: &'a mut [f32],
    passes: P,
}

impl<P: Fn(usize) -> bool> WithSimd for Units<'_, P> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let hidden = self.hidden.max(1);
        let products = self.da_x.chunks_exact_mut(3 * hidden).zip(self.da_h.chunks_exact_mut(3 * hidden));
        for (row, ((da_x, da_h), dh)) in products.zip(self.dh.chunks_exact_mut(hidden)).enumerate() {
            if (self.passes)(row) {
                da_x.fill(0.0);
                da_h.fill(0.0);
                continue;
            }
            let [r, z, q] = [0, 1, 2].map(|gate| &self.rzq[(3 * row + gate) * hidden..][..hidden]);
            let [n, before] = [self.n, self.before].map(|x| &x[row * hidden..][..hidden]);
            let dy = &self.dy[row * self.pitch..][..hidden];
            for at in (0..hidden).step_by(S::F32_LANES) {
                // Written out: a vector must not pass through a function that is not compiled for it.
                let reset = Lanes::load(simd, r, at);
                let kept =
                    [reset, Lanes::load(simd, z, at), Lanes::load(simd, q, at), Lanes::load(simd, n, at)];
                let arriving = Lanes::load(simd, dy, at) + Lanes::load(simd, dh, at);
                let [da_r, da_z, da_n, rest] = unit_gradients(kept, Lanes::load(simd, before, at), arriving);
                rest.store(dh, at);
                da_r.store(&mut da_x[..hidden], at);
                da_z.store(&mut da_x[hidden..2 * hidden], at);
                da_n.store(&mut da_x[2 * hidden..], at);
                da_r.store(&mut da_h[..hidden], at);
                da_z.store(&mut da_h[hidden..2 * hidden], at);
                (da_n * reset).store(&mut da_h[2 * hidden..], at);
            }
        }
    }
}
