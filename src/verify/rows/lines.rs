//! Cases for kernels that work along lines and rows of a tensor.

use crate::cpu::gather::{GATHER, Gather};
use crate::cpu::gather_backward::{GATHER_BACKWARD, GatherBackward};
use crate::cpu::layer_norm::{self, LayerNorm};
use crate::cpu::layer_norm_backward::{self, LayerNormBackward};
use crate::cpu::max_dim::{MAX_DIM, MaxDim};
use crate::cpu::softmax::{self, Softmax};
use crate::cpu::softmax_backward::{self, SoftmaxBackward};
use crate::kernel::GROUP;
use crate::verify::{Case, Draw, Value};

pub fn max_dim(draw: &mut Draw) -> Case {
    let (outer, n, inner) = (draw.dim(4), draw.dim(8).max(1), draw.dim(16));
    let start = draw.pick(&[0, 0, 3]);
    let p = MaxDim { outer, pitch: start + n + draw.below(3), inner, start, n, accumulate: draw.flag() };
    let lines = outer * inner;
    let index = match p.accumulate {
        1 => Value::Ints(draw.ints(lines, start.max(1))),
        _ => Value::Output(lines as usize),
    };
    let values = vec![draw.reals(p.outer * p.pitch * inner), draw.updated(lines, p.accumulate), index];
    Case::new(p, draw.elements(&MAX_DIM, lines), values)
}

pub fn gather(draw: &mut Draw) -> Case {
    let p = Gather { outer: draw.dim(4), n: draw.dim(8).max(1), m: draw.dim(8), inner: draw.dim(8) };
    let count = p.outer * p.m * p.inner;
    let index = Value::Ints(draw.ints(count, p.n));
    let values = vec![draw.reals(p.outer * p.n * p.inner), index, Value::Output(count as usize)];
    Case::new(p, draw.elements(&GATHER, count), values)
}

pub fn gather_backward(draw: &mut Draw) -> Case {
    let (outer, n, inner, m) = (draw.dim(4), draw.dim(4).max(1), draw.dim(8), draw.dim(8).min(200));
    let start = draw.pick(&[0, 0, 3]);
    let pitch = start + m + draw.below(3);
    let p = GatherBackward { outer, n, inner, pitch, start, m, accumulate: draw.flag() };
    let (count, chosen) = (outer * n * inner, outer * pitch * inner);
    let index = Value::Ints(draw.ints(chosen, n));
    let values = vec![index, draw.reals(chosen), draw.updated(count, p.accumulate)];
    Case::new(p, draw.elements(&GATHER_BACKWARD, count), values)
}

pub fn softmax(draw: &mut Draw) -> Case {
    let p = Softmax { rows: draw.dim(8), cols: draw.dim(GROUP).max(1), log: draw.flag() };
    let count = p.rows * p.cols;
    let extreme = draw.pick(&[false, false, true]);
    let x = if extreme { draw.between(count, -1e30, 1e30) } else { draw.reals(count) };
    let plans = draw.each_strided(softmax::plans(&p));
    Case::new(p, plans, vec![x, Value::Output(count as usize)])
}

pub fn softmax_backward(draw: &mut Draw) -> Case {
    let p = SoftmaxBackward { rows: draw.dim(8), cols: draw.dim(GROUP).max(1), log: draw.flag() };
    let count = p.rows * p.cols;
    let y = if p.log == 1 { draw.between(count, -20.0, 0.0) } else { draw.between(count, 0.0, 1.0) };
    let plans = draw.each_strided(softmax_backward::plans(&p));
    Case::new(p, plans, vec![y, draw.reals(count), Value::Output(count as usize)])
}

pub fn layer_norm(draw: &mut Draw) -> Case {
    let p = LayerNorm {
        rows: draw.dim(8),
        cols: draw.dim(GROUP).max(1),
        eps: draw.pick(&[1e-5, 1e-2]),
        weighted: draw.flag(),
        biased: draw.flag(),
    };
    let count = p.rows * p.cols;
    // With larger means the variance would lose its digits: no limit could be derived.
    let (low, high) = draw.pick(&[(-2.0, 2.0), (5.0, 6.0)]);
    let values = vec![
        draw.between(count, low, high),
        optional(draw, p.weighted, p.cols),
        optional(draw, p.biased, p.cols),
        Value::Output(count as usize),
        Value::Output(2 * p.rows as usize),
    ];
    let plans = draw.each_strided(layer_norm::plans(&p));
    Case::new(p, plans, values)
}

pub fn layer_norm_backward(draw: &mut Draw) -> Case {
    let p = LayerNormBackward { rows: draw.dim(8), cols: draw.dim(GROUP).max(1), weighted: draw.flag() };
    let count = p.rows * p.cols;
    let values = vec![
        draw.between(count, -2.0, 2.0),
        optional(draw, p.weighted, p.cols),
        draw.between(2 * p.rows, 0.2, 2.0),
        draw.reals(count),
        Value::Output(count as usize),
        Value::Output(count as usize),
    ];
    let plans = draw.each_strided(layer_norm_backward::plans(&p));
    Case::new(p, plans, values)
}

fn optional(draw: &mut Draw, given: u32, count: u32) -> Value {
    if given == 1 { draw.reals(count) } else { Value::Absent }
}
