//! Twin of `shaders/lstm_forward.wgsl`.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided};
use super::real::Real;
use super::recurrence::recurrent_kernel;
use super::steps::{Step, ended};
use super::threads::Shared;
use super::vector::Lanes;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of an LSTM layer: i, f, o = σ(..), g = tanh(..) of xw_t + h·W_hhᵀ, c_t = f ⊙ c + i ⊙ g, h_t = o ⊙ tanh(c_t). The header of
    /// `shaders/lstm_forward.wgsl` has the equations with shapes, the parameters, and where the states lie.
    pub static LSTM_FORWARD = lstm_forward(LstmForward {
        batch: u32, hidden: u32, width: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        fresh: u32, base: u32,
        projected: u32, ragged: u32,
    }; xw: read Float, w_hh: read Float, lengths: read I32, gates: update Float,
       c: update Kept, h: update Kept);
    fast lstm_forward_fast;
    "lstm_forward.wgsl" in "recurrent_forward.wgsl": 4 columns of 1 width, 8 rows in 2 rounds,
        "held of 96": 96 units
}

impl LstmForward {
    /// The first element of h_t, or with a projection of o ⊙ tanh(c_t).
    fn out(&self, step: Step) -> usize {
        let [hidden, width, base] = [self.hidden, self.width, self.base].map(|n| n as usize);
        let steps = self.span();
        match self.projected == 1 {
            true => base + steps.rows_of_slots() * width + steps.row_of_step(step.chain, step.time) * hidden,
            false => base + steps.row_of_slot(step.chain, step.after) * hidden,
        }
    }
}

/// See [`LSTM_FORWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_forward<R: Real>(
    p: &LstmForward,
    xw: &[R],
    w_hh: &[R],
    lengths: &[i32],
    gates: &mut [R],
    mut c: Kept<'_, R>,
    mut h: Kept<'_, R>,
) {
    let (steps, [hidden, width]) = (p.span(), [p.hidden, p.width].map(|n| n as usize));
    for step in steps.all_forward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain)..];
        let [before, after] = [step.before, step.after].map(|slot| steps.row_of_slot(step.chain, slot));
        let (previous, out) = (p.base as usize + before * width, p.out(step));
        if p.fresh == 1 && step.first {
            for i in 0..steps.batch * hidden {
                h.put(previous + i, R::zero());
                c.put(before * hidden + i, R::zero());
            }
        }
        for row in 0..steps.batch {
            let start = (steps.row_of_step(step.chain, step.time) + row) * 4 * hidden;
            for unit in 0..hidden {
                let n = row * hidden + unit;
                let a = [0, 1, 2, 3].map(|gate| {
                    let column = gate * hidden + unit;
                    let terms =
                        (0..width).map(|k| h[previous + row * width + k] * w_hh[k * 4 * hidden + column]);
                    xw[start + column] + R::sum(terms)
                });
                let [i, f, g, o] = [a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()];
                gates[start + unit] = i;
                gates[start + hidden + unit] = f;
                gates[start + 2 * hidden + unit] = g;
                gates[start + 3 * hidden + unit] = o;
                let old = c[before * hidden + n];
                let mut cell = f * old + i * g;
                let mut state = o * cell.tanh();
                if ended(p.ragged, lengths, row, step.time) {
                    cell = old;
                    state = if p.projected == 1 { R::zero() } else { h[previous + n] };
                }
                c.put(after * hidden + n, cell);
                h.put(out + n, state);
            }
        }
    }
}

/// [`lstm_forward`] with W_hhᵀ packed, vectors, and blocks of rows on several threads.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn lstm_forward_fast(
    p: &LstmForward,
    xw: &[f32],
    w_hh: &[f32],
    lengths: &[i32],
    gates: &mut [f32],
    mut c: Kept<'_, f32>,
    mut h: Kept<'_, f32>,
) {
    let (steps, [hidden, width]) = (p.span(), [p.hidden, p.width].map(|n| n as usize));
    let ((c, c_dtype), (h, h_dtype)) = (c.parts(), h.parts());
    let (gates, c, h) = (Shared::new(gates), Shared::new(c), Shared::new(h));
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        for step in steps.forward(chain) {
            let now = (steps.row_of_step(chain, step.time) + rows.start) * 4 * hidden;
            let slots = [step.before, step.after].map(|slot| steps.row_of_slot(chain, slot) + rows.start);
            let before = p.base as usize + slots[0] * width;
            // SAFETY: what belongs to the block's rows: gates, two slots of c, the state before, and where the new one goes.
            let gates = unsafe { gates.part(now, 4 * len) };
            // SAFETY: as above; the two slots differ.
            let [old, new] = slots.map(|slot| unsafe { c.part(slot * hidden, len) });
            // SAFETY: as above.
            let previous = unsafe { h.part(before, rows.len() * width) };
            // SAFETY: as above; it is not where the state before is.
            let out = unsafe { h.part(p.out(step) + rows.start * hidden, len) };
            gates.copy_from_slice(&xw[now..][..4 * len]);
            if p.fresh == 1 && step.first {
                previous.fill(0.0);
                old.fill(0.0);
            } else {
                w.add_product(previous, gates);
            }
            Arch::new().dispatch(Units { hidden, gates, old, new, h: out });
            halves::round(c_dtype, new);
            halves::round(h_dtype, out);
            for k in (0..rows.len()).filter(|k| ended(p.ragged, lengths, rows.start + k, step.time)) {
                let row = k * hidden..(k + 1) * hidden;
                new[row.clone()].copy_from_slice(&old[row.clone()]);
                match p.projected == 1 {
                    true => out[row].fill(0.0),
                    false => out[row.clone()].copy_from_slice(&previous[row]),
                }
            }
        }
    };
    Packed::with_all(steps.chains, Strided::dense(w_hh, 4 * hidden), width, 4 * hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}

/// Some rows of a step: `gates` holds a, and gets i, f, g, o; `new` and `h` get the states.
struct Units<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    old: &'a [f32],
    new: &'a mut [f32],
    h: &'a mut [f32],
}

impl WithSimd for Units<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let hidden = self.hidden.max(1);
        let states = self.old.chunks_exact(hidden).zip(self.new.chunks_exact_mut(hidden));
        let rows = self.gates.chunks_exact_mut(4 * hidden).zip(states).zip(self.h.chunks_exact_mut(hidden));
        for ((gates, (old, new)), h) in rows {
            let (i, rest) = gates.split_at_mut(hidden);
            let (f, rest) = rest.split_at_mut(hidden);
            let (g, o) = rest.split_at_mut(hidden);
            for at in (0..hidden).step_by(S::F32_LANES) {
                let input = Lanes::load(simd, i, at).sigmoid();
                let forget = Lanes::load(simd, f, at).sigmoid();
                let candidate = tanh_rational(Lanes::load(simd, g, at));
                let output = Lanes::load(simd, o, at).sigmoid();
                let cell = forget * Lanes::load(simd, old, at) + input * candidate;
                input.store(i, at);
                forget.store(f, at);
                candidate.store(g, at);
                output.store(o, at);
                cell.store(new, at);
                (output * tanh_rational(cell)).store(h, at);
            }
        }
    }
}
