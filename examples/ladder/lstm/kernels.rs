//! The kernels of the rungs, with their twins: what each shader computes, in f32 on the CPU device.

use bptt::kernel;
use bptt::kernel::Real;

kernel! {
    /// `y[r, c] = op(a[r, a_start + c], b[r, c])`: op 0 adds, 1 multiplies, 2 is σ and 3 tanh of a.
    pub static ELEMENTWISE = elementwise(Elementwise {
        rows: u32, width: u32, op: u32, a_pitch: u32, a_start: u32, b_pitch: u32,
    }; a: read F32, b: read F32, y: write F32);
    variants [{ "elements", (include_str!("1_elementwise.wgsl")), [] }]
}

pub const ADD: u32 = 0;
pub const MULTIPLY: u32 = 1;
pub const SIGMOID: u32 = 2;
pub const TANH: u32 = 3;

fn elementwise<R: Real>(p: &Elementwise, a: &[R], b: &[R], y: &mut [R]) {
    for row in 0..p.rows as usize {
        for col in 0..p.width as usize {
            let left = a[row * p.a_pitch as usize + p.a_start as usize + col];
            let of_b = row * p.b_pitch as usize + col;
            y[row * p.width as usize + col] = match p.op {
                ADD => left + b[of_b],
                MULTIPLY => left * b[of_b],
                SIGMOID => left.sigmoid(),
                _ => left.tanh(),
            };
        }
    }
}

kernel! {
    /// The gates and states of a step, of `xw` (from row `start` on) and `hw`.
    pub static GATES = gates(Gates { batch: u32, hidden: u32, start: u32 };
        xw: read F32, hw: read F32, bias: read F32, c: update F32, h: write F32);
    variants [{ "elements", (include_str!("2_gates.wgsl")), [] }]
}

fn gates<R: Real>(p: &Gates, xw: &[R], hw: &[R], bias: &[R], c: &mut [R], h: &mut [R]) {
    let [hidden, start] = [p.hidden, p.start].map(|n| n as usize);
    for n in 0..p.batch as usize * hidden {
        let (row, unit) = (n / hidden, n % hidden);
        let columns = [0, 1, 2, 3].map(|gate| gate * hidden + unit);
        let sums =
            columns.map(|col| xw[(start + row) * 4 * hidden + col] + hw[row * 4 * hidden + col] + bias[col]);
        (c[n], h[n]) = cell(sums, c[n]);
    }
}

/// c' and h' of the sums of i, f, g, o and of c.
pub fn cell<R: Real>([i, f, g, o]: [R; 4], c: R) -> (R, R) {
    let cell = f.sigmoid() * c + i.sigmoid() * g.tanh();
    (cell, o.sigmoid() * cell.tanh())
}

kernel! {
    /// As `gates`, with the product of `before` and `w_hh`.
    pub static STEP = step(Step { batch: u32, hidden: u32, start: u32 };
        xw: read F32, w_hh: read F32, bias: read F32, before: read F32, c: update F32, h: write F32);
    variants [{ "a unit a thread", (include_str!("4_step.wgsl")), [] }]
}

fn step<R: Real>(p: &Step, xw: &[R], w_hh: &[R], bias: &[R], before: &[R], c: &mut [R], h: &mut [R]) {
    let hidden = p.hidden as usize;
    for n in 0..p.batch as usize * hidden {
        let (row, unit) = (n / hidden, n % hidden);
        let sums = [0, 1, 2, 3].map(|gate| {
            let col = gate * hidden + unit;
            let sum = R::sum((0..hidden).map(|k| before[row * hidden + k] * w_hh[k * 4 * hidden + col]));
            sum + (xw[(p.start as usize + row) * 4 * hidden + col] + bias[col])
        });
        (c[n], h[n]) = cell(sums, c[n]);
    }
}

kernel! {
    /// All steps from zero states.
    pub static SEQUENCE = sequence(Sequence { time: u32, batch: u32, hidden: u32 };
        xw: read F32, w_hh: read F32, bias: read F32, h: write F32);
    variants [{ "a row a workgroup", (include_str!("5_sequence.wgsl")), [] }]
}

fn sequence<R: Real>(p: &Sequence, xw: &[R], w_hh: &[R], bias: &[R], h: &mut [R]) {
    let size = (p.batch * p.hidden) as usize;
    let (mut before, mut c) = (vec![R::zero(); size], vec![R::zero(); size]);
    for (t, h) in h.chunks_exact_mut(size).enumerate() {
        let p = Step { batch: p.batch, hidden: p.hidden, start: t as u32 * p.batch };
        step(&p, xw, w_hh, bias, &before, &mut c, h);
        before.copy_from_slice(h);
    }
}
