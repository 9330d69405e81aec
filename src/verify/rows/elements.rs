//! Cases for kernels whose elements are independent.

use crate::cpu::binary::{ADD, BINARY, Binary, DIV, MUL, SUB};
use crate::cpu::cast::{CAST, Cast};
use crate::cpu::copy::Copy;
use crate::cpu::fill::{FILL, Fill};
use crate::cpu::multiply_add::{self, MultiplyAdd};
use crate::cpu::philox_uniform::{self, PhiloxUniform};
use crate::cpu::regression_loss::{HUBER, L1, MSE, REGRESSION_LOSS, RegressionLoss};
use crate::cpu::relu::{RELU, Relu};
use crate::cpu::relu_backward::{RELU_BACKWARD, ReluBackward};
use crate::cpu::scale::{SCALE, Scale};
use crate::cpu::scale_by::{SCALE_BY, ScaleBy};
use crate::cpu::sigmoid::{SIGMOID, Sigmoid};
use crate::cpu::sigmoid_backward::{SIGMOID_BACKWARD, SigmoidBackward};
use crate::cpu::tanh::{TANH, Tanh};
use crate::cpu::tanh_backward::{TANH_BACKWARD, TanhBackward};
use crate::cpu::unary::{EXP, LOG, SQRT, UNARY, Unary};
use crate::cpu::walk::{MAX_RANK, flat};
use crate::kernel::{GROUP, Kernel};
use crate::verify::{Case, Draw, Value};

pub fn binary(draw: &mut Draw) -> Case {
    let op = draw.pick(&[ADD, SUB, MUL, DIV]);
    let (walk, a, b) = if draw.flag() == 1 {
        let count = draw.dim(GROUP);
        (flat(count), count, count)
    } else {
        let sizes = sizes(draw);
        let ((left, a), (right, b)) = (dense(draw, &sizes), dense(draw, &sizes));
        (std::array::from_fn(|d| [sizes[d], left[d], right[d]]), a, b)
    };
    let count = walk.iter().map(|[n, ..]| n).product();
    // Divisors that keep the quotients within what f32 can hold.
    let right = if op == DIV { draw.between(b, 0.25, 4.0) } else { draw.reals(b) };
    let values = vec![draw.reals(a), right, Value::Output(count as usize)];
    Case::new(Binary::new(op, count, &walk), draw.elements(&BINARY, count), values)
}

/// The sizes of six dimensions, the innermost first.
fn sizes(draw: &mut Draw) -> [u32; MAX_RANK] {
    let (n0, n1, n2) = (draw.dim(8), draw.dim(8), draw.dim(8));
    [n0, n1, n2, draw.pick(&[1, 1, 2]), draw.pick(&[1, 1, 2]), draw.pick(&[1, 1, 3])]
}

/// The strides of a tensor of these sizes, of which some are repeated, and its number of elements.
fn dense(draw: &mut Draw, sizes: &[u32; MAX_RANK]) -> ([u32; MAX_RANK], u32) {
    let mut count = 1;
    let strides = sizes.map(|n| {
        let stride = if draw.pick(&[false, false, true]) { 0 } else { count };
        count *= if stride == 0 { 1 } else { n };
        stride
    });
    (strides, count)
}

pub fn scale(draw: &mut Draw) -> Case {
    let p = Scale { count: draw.dim(GROUP), factor: draw.pick(&[0.0, 1.0, -2.5, 1e-3]) };
    let values = vec![draw.reals(p.count), Value::Output(p.count as usize)];
    Case::new(p, draw.fours(&SCALE, p.count), values)
}

pub fn scale_by(draw: &mut Draw) -> Case {
    let (rows, width) = (draw.dim(GROUP), draw.dim(GROUP).max(1));
    let p = ScaleBy { count: rows * width, width };
    let values = vec![draw.reals(p.count), draw.reals(rows), Value::Output(p.count as usize)];
    Case::new(p, draw.elements(&SCALE_BY, p.count), values)
}

pub fn regression_loss(draw: &mut Draw) -> Case {
    let p = RegressionLoss {
        count: draw.dim(GROUP),
        kind: draw.pick(&[MSE, L1, HUBER]),
        delta: draw.pick(&[1.0, 0.25, 1e3]),
        scale: draw.pick(&[1.0, 0.125]),
    };
    let (mut x, labels) = (draw.reals(p.count), draw.reals(p.count));
    if let (Value::Reals(x), Value::Reals(labels)) = (&mut x, &labels) {
        // Some are equal: the absolute value has its corner there.
        x.iter_mut().zip(labels).skip(1).step_by(3).for_each(|(x, label)| *x = *label);
    }
    let [losses, dx] = [Value::Output(p.count as usize), Value::Output(p.count as usize)];
    Case::new(p, draw.fours(&REGRESSION_LOSS, p.count), vec![x, labels, losses, dx])
}

pub fn cast(draw: &mut Draw) -> Case {
    let count = draw.dim(4 * GROUP);
    let values = vec![draw.reals(count), Value::Output(count as usize)];
    Case::new(Cast { count }, draw.fours(&CAST, count), values)
}

pub fn fill(draw: &mut Draw) -> Case {
    let p = Fill { count: draw.dim(GROUP), value: draw.pick(&[0.0, 1.0, -2.5, 1e30]) };
    Case::new(p, draw.fours(&FILL, p.count), vec![Value::Output(p.count as usize)])
}

/// Elements of a tensor that is written with gaps, so that it stays below the least binding that adapters have.
const MOST_WITH_GAPS: u32 = 1 << 22;

pub fn copy(draw: &mut Draw) -> Case {
    // Some variants take four neighbours at a time.
    let unit = draw.pick(&[1, 4]);
    let [start, to] = [draw.below(70), draw.below(70)].map(|n| n.next_multiple_of(unit));
    let (walk, x, y) = if draw.flag() == 1 {
        let count = draw.dim(GROUP).next_multiple_of(unit);
        (flat(count), count, count)
    } else {
        let mut sizes = sizes(draw);
        sizes[0] = sizes[0].next_multiple_of(unit);
        let (x_strides, x) = dense(draw, &sizes);
        // What is written lies dense or with gaps, its dimensions in some order.
        let (first, gap) = (draw.below(MAX_RANK as u32) as usize, draw.pick(&[0, 0, 3, 4]));
        // Along a dimension of size 1 a gap makes five times as much of all that is written.
        let gap = if sizes.iter().product::<u32>() > MOST_WITH_GAPS { 0 } else { gap };
        let (mut y_strides, mut y) = ([0; MAX_RANK], 1);
        for d in (0..MAX_RANK).map(|d| (d + first) % MAX_RANK) {
            y_strides[d] = y;
            y *= sizes[d] + if d == first { gap } else { 0 };
        }
        (std::array::from_fn(|d| [sizes[d], x_strides[d], y_strides[d]]), x, y)
    };
    let count = walk.iter().map(|[n, ..]| n).product();
    let [x, y] = [start + x, to + y].map(|least| least + draw.pick(&[0, 5]));
    let values = vec![draw.reals(x), draw.reals(y)];
    let p = Copy::new(count, start, to, &walk);
    let plans = draw.each_strided(p.plans());
    Case::new(p, plans, values)
}

pub fn unary(draw: &mut Draw) -> Case {
    // Arguments that keep the results within what f32 can hold.
    let (op, low, high) =
        draw.pick(&[(EXP, -80.0, 80.0), (EXP, -2.0, 2.0), (LOG, 1e-3, 1e3), (SQRT, 0.0, 100.0)]);
    let p = Unary { op, count: draw.dim(GROUP) };
    let values = vec![draw.between(p.count, low, high), Value::Output(p.count as usize)];
    Case::new(p, draw.elements(&UNARY, p.count), values)
}

pub fn sigmoid(draw: &mut Draw) -> Case {
    activation(draw, &SIGMOID, |count| Sigmoid { count })
}

pub fn tanh(draw: &mut Draw) -> Case {
    activation(draw, &TANH, |count| Tanh { count })
}

pub fn relu(draw: &mut Draw) -> Case {
    activation(draw, &RELU, |count| Relu { count })
}

fn activation<P>(draw: &mut Draw, kernel: &'static Kernel, params: fn(u32) -> P) -> Case
where
    P: bytemuck::Pod + std::fmt::Debug + Send + Sync,
{
    let count = draw.dim(GROUP);
    // Ordinary arguments half of the time, because many of the hard ones end in saturation.
    let x = if draw.flag() == 1 { draw.between(count, -9.0, 9.0) } else { draw.reals(count) };
    Case::new(params(count), draw.elements(kernel, count), vec![x, Value::Output(count as usize)])
}

pub fn sigmoid_backward(draw: &mut Draw) -> Case {
    gradient(draw, &SIGMOID_BACKWARD, |count| SigmoidBackward { count }, 0.0)
}

pub fn tanh_backward(draw: &mut Draw) -> Case {
    gradient(draw, &TANH_BACKWARD, |count| TanhBackward { count }, -1.0)
}

pub fn relu_backward(draw: &mut Draw) -> Case {
    gradient(draw, &RELU_BACKWARD, |count| ReluBackward { count }, 0.0)
}

/// A case for the gradient of an activation, from outputs between `least` and 1, both included.
fn gradient<P>(draw: &mut Draw, kernel: &'static Kernel, params: fn(u32) -> P, least: f32) -> Case
where
    P: bytemuck::Pod + std::fmt::Debug + Send + Sync,
{
    let count = draw.dim(GROUP);
    let mut y = draw.between(count, least - 0.2, 1.2);
    if let Value::Reals(y) = &mut y {
        y.iter_mut().for_each(|y| *y = y.clamp(least, 1.0));
    }
    let values = vec![y, draw.reals(count), Value::Output(count as usize)];
    Case::new(params(count), draw.elements(kernel, count), values)
}

pub fn philox_uniform(draw: &mut Draw) -> Case {
    let (low, high) = draw.pick(&[(0.0, 1.0), (-0.1, 0.1), (2.0, 30.0)]);
    let (seed_low, seed_high) = (draw.below(u32::MAX), draw.below(u32::MAX));
    let p =
        PhiloxUniform { count: draw.dim(4 * GROUP), seed_low, seed_high, stream: draw.below(9), low, high };
    let plans = vec![draw.strided(philox_uniform::plan(&p))];
    Case::new(p, plans, vec![Value::Output(p.count as usize)])
}

pub fn multiply_add(draw: &mut Draw) -> Case {
    let count = draw.multiple(16, GROUP);
    let p = MultiplyAdd { count, rounds: draw.below(9), a: 0.5, b: draw.pick(&[0.0, 1.5]) };
    let plans = vec![draw.strided(multiply_add::plan(&p))];
    Case::new(p, plans, vec![draw.reals(p.count), Value::Output(p.count as usize)])
}
