//! Twin of `shaders/gru_forward.wgsl`.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::halves;
use super::packed::{Packed, Strided};
use super::real::{Number, Real};
use super::recurrence::recurrent_kernel;
use super::steps::ended;
use super::threads::Shared;
use super::vector::Lanes;
use crate::kernel::Kept;

recurrent_kernel! {
    /// Steps of a GRU layer: r, z = σ(..), n = tanh(..) of xw_t and h·W_hhᵀ + b_hh, h_t = (1 − z) ⊙ n + z ⊙ h. The header of
    /// `shaders/gru_forward.wgsl` has the equations with shapes, the parameters, and where the states lie.
    pub static GRU_FORWARD = gru_forward(GruForward {
        batch: u32, hidden: u32, time: u32, start: i32, steps: u32, reverse: u32, chains: u32, lowest: u32, stagger: u32,
        fresh: u32, base: u32, bias: u32, ragged: u32,
    }; xw: read Float, w_hh: read Float, b_hh: read Float, lengths: read I32, gates: update Float,
       h: update Kept);
    fast gru_forward_fast;
    "gru_forward.wgsl" in "recurrent_forward.wgsl": 3 columns of 1 hidden, 8 rows in 2 rounds,
        "held of 112": 112 units
}

/// See [`GRU_FORWARD`].
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_forward<R: Real>(
    p: &GruForward,
    xw: &[R],
    w_hh: &[R],
    b_hh: &[R],
    lengths: &[i32],
    gates: &mut [R],
    mut h: Kept<'_, R>,
) {
    let (steps, hidden, base) = (p.span(), p.hidden as usize, p.base as usize);
    for step in steps.all_forward() {
        let w_hh = &w_hh[p.product().first_weight(step.chain)..];
        let b_hh = if p.bias == 1 { &b_hh[step.chain * 3 * hidden..] } else { b_hh };
        let now = steps.row_of_step(step.chain, step.time);
        let [before, after] =
            [step.before, step.after].map(|slot| base + steps.row_of_slot(step.chain, slot) * hidden);
        if p.fresh == 1 && step.first {
            (before..before + steps.batch * hidden).for_each(|i| h.put(i, R::zero()));
        }
        for row in 0..steps.batch {
            let start = (now + row) * 3 * hidden;
            for unit in 0..hidden {
                let i = row * hidden + unit;
                let ah = [0, 1, 2].map(|gate| {
                    let column = gate * hidden + unit;
                    let terms =
                        (0..hidden).map(|k| h[before + row * hidden + k] * w_hh[k * 3 * hidden + column]);
                    if p.bias == 1 { R::sum(terms) + b_hh[column] } else { R::sum(terms) }
                });
                let ax = [0, 1, 2].map(|gate| xw[start + gate * hidden + unit]);
                let r = (ax[0] + ah[0]).sigmoid();
                let z = (ax[1] + ah[1]).sigmoid();
                let q = ah[2];
                let n = (ax[2] + r * q).tanh();
                gates[start + unit] = r;
                gates[start + hidden + unit] = z;
                gates[start + 2 * hidden + unit] = q;
                gates[(3 * steps.rows_of_steps() + now) * hidden + i] = n;
                let old = h[before + i];
                let state = (R::of(1.0) - z) * n + z * old;
                h.put(after + i, if ended(p.ragged, lengths, row, step.time) { old } else { state });
            }
        }
    }
}

/// [`gru_forward`] with W_hhᵀ packed, vectors, and blocks of rows on several threads.
#[allow(clippy::too_many_arguments, reason = "the kernel's buffers")]
pub fn gru_forward_fast(
    p: &GruForward,
    xw: &[f32],
    w_hh: &[f32],
    b_hh: &[f32],
    lengths: &[i32],
    gates: &mut [f32],
    mut h: Kept<'_, f32>,
) {
    let (steps, hidden) = (p.span(), p.hidden as usize);
    let (h, dtype) = h.parts();
    let (gates, h) = (Shared::new(gates), Shared::new(&mut h[p.base as usize..]));
    let block = |w: Packed<'_>, chain: usize, rows: Range<usize>| {
        let len = rows.len() * hidden;
        let b_hh = if p.bias == 1 { &b_hh[chain * 3 * hidden..][..3 * hidden] } else { b_hh };
        for step in steps.forward(chain) {
            let row = steps.row_of_step(chain, step.time) + rows.start;
            let now = row * 3 * hidden;
            // SAFETY: what belongs to the block's rows: two different places in the gates, two slots of h.
            let rzq = unsafe { gates.part(now, 3 * len) };
            // SAFETY: as above, at the other place.
            let n = unsafe { gates.part((3 * steps.rows_of_steps() + row) * hidden, len) };
            // SAFETY: as above; the two slots differ.
            let [previous, next] = [step.before, step.after]
                .map(|slot| unsafe { h.part((steps.row_of_slot(chain, slot) + rows.start) * hidden, len) });
            match p.bias == 1 {
                true => rzq.chunks_exact_mut((3 * hidden).max(1)).for_each(|row| row.copy_from_slice(b_hh)),
                false => rzq.fill(0.0),
            }
            match p.fresh == 1 && step.first {
                true => previous.fill(0.0),
                false => w.add_product(previous, rzq),
            }
            let x = &xw[now..][..3 * len];
            Arch::new().dispatch(Units { hidden, rzq, n, x, old: previous, new: next });
            halves::round(dtype, next);
            for k in (0..rows.len()).filter(|k| ended(p.ragged, lengths, rows.start + k, step.time)) {
                let row = k * hidden..(k + 1) * hidden;
                next[row.clone()].copy_from_slice(&previous[row]);
            }
        }
    };
    Packed::with_all(steps.chains, Strided::dense(w_hh, 3 * hidden), hidden, 3 * hidden, |w| {
        let work = p.product().work(p.steps);
        steps.in_rows(work, |chain, rows| block(w.get(chain), chain, rows));
    });
}

/// Some rows of a step: `x` is x·W_ihᵀ + b_ih; `rzq` holds h·W_hhᵀ + b_hh, and gets r, z and q; `n` and `new` get n and the state.
struct Units<'a> {
    hidden: usize,
    rzq: &'a mut [f32],
    n: &'a mut [f32],
    x: &'a [f32],
    old: &'a [f32],
    new: &'a mut [f32],
}

impl WithSimd for Units<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let hidden = self.hidden.max(1);
        let states = self.old.chunks_exact(hidden).zip(self.new.chunks_exact_mut(hidden));
        let sources = self.x.chunks_exact(3 * hidden).zip(self.n.chunks_exact_mut(hidden));
        let rows = self.rzq.chunks_exact_mut(3 * hidden).zip(sources).zip(states);
        for ((rzq, (x, n)), (old, new)) in rows {
            let (r, rest) = rzq.split_at_mut(hidden);
            let (z, q) = rest.split_at_mut(hidden);
            for at in (0..hidden).step_by(S::F32_LANES) {
                let input_r = Lanes::load(simd, &x[..hidden], at);
                let input_z = Lanes::load(simd, &x[hidden..2 * hidden], at);
                let input_n = Lanes::load(simd, &x[2 * hidden..], at);
                let reset = (input_r + Lanes::load(simd, r, at)).sigmoid();
                let update = (input_z + Lanes::load(simd, z, at)).sigmoid();
                let candidate = tanh_rational(input_n + reset * Lanes::load(simd, q, at));
                reset.store(r, at);
                update.store(z, at);
                candidate.store(n, at);
                let kept = update * Lanes::load(simd, old, at);
                ((update.like(1.0) - update) * candidate + kept).store(new, at);
            }
        }
    }
}
