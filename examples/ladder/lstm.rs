//! The ladder of the LSTM layer: computes all states h [T, B, H] for x [T, B, I], from zero states.

mod kernels;

use std::sync::Arc;

use bptt::cpu::real::Bounded;
use bptt::device::{Arg, Host};
use bptt::kernel::{Limits, Plan, Processor, Real};
use bptt::prelude::*;

use self::kernels::{
    ADD, ELEMENTWISE, Elementwise, GATES, Gates, MULTIPLY, SEQUENCE, SIGMOID, STEP, Sequence, Step, TANH,
    cell,
};
use super::matmul::Way;
use super::rung::{Ladder, Launches, Record, Rung, exact, looked_at, numbers, poisoned};

/// Threads of a workgroup of rungs 4 and 5, and the most units that rung 5 has room for.
const THREADS: usize = 64;
const MOST_UNITS: usize = 1024;
/// llvmpipe ends the loops of a thread after 65,535 iterations, counted over all its loops.
const MOST_ITERATIONS: usize = 60_000;

/// The layer: sizes T, B, I, H, and what it computes with.
struct Layer {
    sizes: [usize; 4],
    x: Vec<f32>,
    /// W_ihᵀ [I, 4H] and W_hhᵀ [H, 4H].
    w_ih: Vec<f32>,
    w_hh: Vec<f32>,
    bias: Vec<f32>,
}

/// The ladder for sizes T, B, I, H.
pub fn ladder(size: Option<&[usize]>, limits: &Limits) -> Result<Ladder> {
    let default = match limits.processor {
        // Small enough that launches count beside the arithmetic.
        Processor::Cpu | Processor::Software => [64, 4, 16, 16],
        Processor::Gpu => [64, 8, 64, 64],
    };
    let asked = size.map_or(Ok(default), <[usize; 4]>::try_from);
    let fits = |[time, batch, input, hidden]: &[usize; 4]| {
        (1..=4096).contains(time)
            && [batch, input].iter().all(|n| (1..=4096).contains(*n))
            && (1..=MOST_UNITS).contains(hidden)
    };
    let Some(sizes @ [time, batch, input, hidden]) = asked.ok().filter(fits) else {
        let size = size.unwrap_or_default();
        let message = format!("--size {size:?}: a layer takes T,B,I,H, from 1 to 4096 and H to {MOST_UNITS}");
        return Err(Error::argument("ladder", message));
    };
    let iterations = time * hidden.div_ceil(THREADS) * (hidden + 5);
    if limits.processor == Processor::Software && iterations > MOST_ITERATIONS {
        let message = format!(
            "--size {sizes:?}: rung 5_sequence would take {iterations} iterations a thread, and software adapters end loops \
             after 65,535 without a word; take fewer steps or units"
        );
        return Err(Error::argument("ladder", message));
    }
    let bound = 1.0 / (hidden as f32).sqrt();
    let layer = Arc::new(Layer {
        sizes,
        x: numbers(1, time * batch * input, 1.0),
        w_ih: numbers(2, input * 4 * hidden, bound),
        w_hh: numbers(3, hidden * 4 * hidden, bound),
        bias: numbers(4, 4 * hidden, bound),
    });
    let rows = looked_at(batch, time * 4 * hidden * (input + hidden));
    let checked = rows.len();
    let rung = |name, change, kernels, prepare: fn(&Layer, &Device) -> Result<Box<Record>>| {
        let layer = layer.clone();
        Rung { name, change, kernels, prepare: Box::new(move |device| prepare(&layer, device)) }
    };
    Ok(Ladder {
        title: format!(
            "lstm: T {time}, B {batch}, I {input}, H {hidden}; {checked} of {batch} sequences are checked, every step of them"
        ),
        traffic: "moved",
        operations: 2.0 * (time * batch * 4 * hidden * (input + hidden)) as f64,
        rungs: vec![
            rung("1_elementwise", "two products and eleven operations a step", &["elementwise"], unfused),
            rung("2_gates", "one launch for all that follows the products", &["gates"], fused),
            rung("3_inputs", "the inputs of all steps in one product", &["gates"], inputs_first),
            rung("4_step", "product and gates in one launch a step", &["step"], stepwise),
            rung("5_sequence", "all steps in one launch", &["sequence"], in_sequence),
            rung("6_package", "all of it, chosen by shape and adapter", &["matmul"], package),
        ],
        reference: Box::new(move |got| layer.expected(got, rows.clone())),
    })
}

impl Layer {
    /// The expected h of some rows of the batch. Each step starts from the h of the step before as the rung computed it, so that
    /// rounding of one step is no error of the next; c is carried on with its error. So limits do not grow with time.
    fn expected(&self, got: &[f64], rows: impl Iterator<Item = usize>) -> Vec<(usize, Bounded)> {
        let [time, batch, input, hidden] = self.sizes;
        let [x, w_ih, w_hh, bias] = [&self.x, &self.w_ih, &self.w_hh, &self.bias].map(|x| exact(x));
        let mut expected = Vec::new();
        for row in rows {
            let mut c = exact(&vec![0.0; hidden]);
            let mut before = c.clone();
            for t in 0..time {
                let start = (t * batch + row) * hidden;
                let x = &x[(t * batch + row) * input..][..input];
                for (unit, c) in c.iter_mut().enumerate() {
                    // The limit holds for whatever order in which the three are added.
                    let sums = [0, 1, 2, 3].map(|gate| {
                        let col = gate * hidden + unit;
                        let product = |x: &[Bounded], w: &[Bounded]| {
                            Bounded::sum(x.iter().enumerate().map(|(k, x)| *x * w[k * 4 * hidden + col]))
                        };
                        Bounded::sum([product(x, &w_ih), product(&before, &w_hh), bias[col]].into_iter())
                    });
                    let h;
                    (*c, h) = cell(sums, *c);
                    expected.push((start + unit, h));
                }
                let own = got[start..][..hidden].iter();
                before = own.map(|value| Bounded { value: *value, error: 0.0 }).collect();
            }
        }
        expected
    }

    /// Weights and bias.
    fn weights(&self, device: &Device) -> Result<[Tensor; 3]> {
        let [_, _, input, hidden] = self.sizes;
        Ok([
            Tensor::from_f32(device, [input, 4 * hidden], &self.w_ih)?,
            Tensor::from_f32(device, [hidden, 4 * hidden], &self.w_hh)?,
            Tensor::from_f32(device, [4 * hidden], &self.bias)?,
        ])
    }

    /// x as one tensor.
    fn inputs(&self, device: &Device) -> Result<Tensor> {
        let [time, batch, input, _] = self.sizes;
        Tensor::from_f32(device, [time * batch, input], &self.x)
    }

    /// x of each step.
    fn steps(&self, device: &Device) -> Result<Vec<Tensor>> {
        let [_, batch, input, _] = self.sizes;
        let steps = self.x.chunks_exact(batch * input);
        steps.map(|x| Tensor::from_f32(device, [batch, input], x)).collect()
    }

    /// c; and h, before the first step and after each step.
    fn states(&self, device: &Device) -> Result<(Tensor, Vec<Tensor>)> {
        let [time, batch, _, hidden] = self.sizes;
        let zero = Tensor::from_f32(device, [batch, hidden], &vec![0.0; batch * hidden])?;
        let mut h = vec![zero];
        for _ in 0..time {
            h.push(poisoned(device, [batch, hidden])?);
        }
        Ok((poisoned(device, [batch, hidden])?, h))
    }
}

impl Launches {
    /// y = a · b, by rung 2 of the other ladder.
    fn matmul(&mut self, a: &Tensor, b: &Tensor, y: &Tensor) -> Result<()> {
        self.product(Way::Coalesced, [a, b, y], a.count() + b.count() + y.count())
    }

    /// c and h of a step, whose rows of xw begin at `start`.
    fn gates(&mut self, start: usize, [xw, hw, bias, c, h]: [&Tensor; 5]) -> Result<()> {
        let [batch, hidden, start] = [h.shape()[0], h.shape()[1], start].map(|n| n as u32);
        let args = [xw.read(), hw.read(), bias.read(), c.update(), h.write()];
        let numbers = 2 * hw.count() + bias.count() + 3 * h.count();
        self.launch(&Plan::elements(&GATES, h.count()), &Gates { batch, hidden, start }, &args, numbers)
    }

    /// y = op(a, b) of y's width, with the columns of a from `start` on. Where b has one row, it is used for all rows.
    fn elementwise(
        &mut self,
        op: u32,
        (a, start): (&Tensor, usize),
        b: Option<&Tensor>,
        y: &Tensor,
    ) -> Result<()> {
        let [rows, width] = [y.shape()[0], y.shape()[1]].map(|n| n as u32);
        let of_b = b.map_or(Arg::absent(), Tensor::read);
        let b_count = b.map_or(0, Tensor::count);
        let b_pitch = if b_count == width as usize { 0 } else { width };
        let (a_pitch, a_start) = (a.shape()[1] as u32, start as u32);
        let p = Elementwise { rows, width, op, a_pitch, a_start, b_pitch };
        let args = [a.read(), of_b, y.write()];
        self.launch(&Plan::elements(&ELEMENTWISE, y.count()), &p, &args, 2 * y.count() + b_count)
    }
}

/// Rung 1: an LSTM written from its equations, in a framework that runs each operation by itself.
fn unfused(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [_, batch, _, hidden] = layer.sizes;
    let [w_ih, w_hh, bias] = layer.weights(device)?;
    let x = layer.steps(device)?;
    let (c, h) = layer.states(device)?;
    let wide = || poisoned(device, [batch, 4 * hidden]);
    let [xw, hw, both, sum] = [wide()?, wide()?, wide()?, wide()?];
    let narrow = || poisoned(device, [batch, hidden]);
    let [i, f, g, o] = [narrow()?, narrow()?, narrow()?, narrow()?];
    let [kept, new, bent] = [narrow()?, narrow()?, narrow()?];
    Ok(Box::new(move |launches| {
        c.fill(0.0)?;
        for (t, x) in x.iter().enumerate() {
            launches.matmul(x, &w_ih, &xw)?;
            launches.matmul(&h[t], &w_hh, &hw)?;
            launches.elementwise(ADD, (&xw, 0), Some(&hw), &both)?;
            launches.elementwise(ADD, (&both, 0), Some(&bias), &sum)?;
            launches.elementwise(SIGMOID, (&sum, 0), None, &i)?;
            launches.elementwise(SIGMOID, (&sum, hidden), None, &f)?;
            launches.elementwise(TANH, (&sum, 2 * hidden), None, &g)?;
            launches.elementwise(SIGMOID, (&sum, 3 * hidden), None, &o)?;
            launches.elementwise(MULTIPLY, (&f, 0), Some(&c), &kept)?;
            launches.elementwise(MULTIPLY, (&i, 0), Some(&g), &new)?;
            launches.elementwise(ADD, (&kept, 0), Some(&new), &c)?;
            launches.elementwise(TANH, (&c, 0), None, &bent)?;
            launches.elementwise(MULTIPLY, (&o, 0), Some(&bent), &h[t + 1])?;
        }
        Ok(h[1..].to_vec())
    }))
}

/// Rung 2.
fn fused(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [_, batch, _, hidden] = layer.sizes;
    let [w_ih, w_hh, bias] = layer.weights(device)?;
    let x = layer.steps(device)?;
    let (c, h) = layer.states(device)?;
    let wide = || poisoned(device, [batch, 4 * hidden]);
    let [xw, hw] = [wide()?, wide()?];
    Ok(Box::new(move |launches| {
        c.fill(0.0)?;
        for (t, x) in x.iter().enumerate() {
            launches.matmul(x, &w_ih, &xw)?;
            launches.matmul(&h[t], &w_hh, &hw)?;
            launches.gates(0, [&xw, &hw, &bias, &c, &h[t + 1]])?;
        }
        Ok(h[1..].to_vec())
    }))
}

/// Rung 3, which has no shader of its own: one product of the inputs of all steps reads W_ihᵀ once and has work for more threads.
fn inputs_first(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [time, batch, _, hidden] = layer.sizes;
    let [w_ih, w_hh, bias] = layer.weights(device)?;
    let x = layer.inputs(device)?;
    let (c, h) = layer.states(device)?;
    let xw = poisoned(device, [time * batch, 4 * hidden])?;
    let hw = poisoned(device, [batch, 4 * hidden])?;
    Ok(Box::new(move |launches| {
        c.fill(0.0)?;
        launches.matmul(&x, &w_ih, &xw)?;
        for t in 0..time {
            launches.matmul(&h[t], &w_hh, &hw)?;
            launches.gates(t * batch, [&xw, &hw, &bias, &c, &h[t + 1]])?;
        }
        Ok(h[1..].to_vec())
    }))
}

/// Rung 4.
fn stepwise(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [time, batch, _, hidden] = layer.sizes;
    let [w_ih, w_hh, bias] = layer.weights(device)?;
    let x = layer.inputs(device)?;
    let (c, h) = layer.states(device)?;
    let xw = poisoned(device, [time * batch, 4 * hidden])?;
    let plan = Plan { kernel: &STEP, variant: 0, grid: [hidden.div_ceil(THREADS) as u32, batch as u32, 1] };
    Ok(Box::new(move |launches| {
        c.fill(0.0)?;
        launches.matmul(&x, &w_ih, &xw)?;
        for t in 0..time {
            let [batch, hidden, start] = [batch, hidden, t * batch].map(|n| n as u32);
            let args = [xw.read(), w_hh.read(), bias.read(), h[t].read(), c.update(), h[t + 1].write()];
            let numbers = w_hh.count() + bias.count() + 8 * c.count();
            launches.launch(&plan, &Step { batch, hidden, start }, &args, numbers)?;
        }
        Ok(h[1..].to_vec())
    }))
}

/// Rung 5.
fn in_sequence(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [time, batch, _, hidden] = layer.sizes;
    let [w_ih, w_hh, bias] = layer.weights(device)?;
    let x = layer.inputs(device)?;
    let xw = poisoned(device, [time * batch, 4 * hidden])?;
    let h = poisoned(device, [time * batch, hidden])?;
    let plan = Plan { kernel: &SEQUENCE, variant: 0, grid: [batch as u32, 1, 1] };
    let [time, batch, hidden] = [time, batch, hidden].map(|n| n as u32);
    Ok(Box::new(move |launches| {
        launches.matmul(&x, &w_ih, &xw)?;
        let args = [xw.read(), w_hh.read(), bias.read(), h.write()];
        let numbers = xw.count() + w_hh.count() + bias.count() + h.count();
        launches.launch(&plan, &Sequence { time, batch, hidden }, &args, numbers)?;
        Ok(vec![h.clone()])
    }))
}

/// The last rung: the package's layer. It takes PyTorch's weights, which are those of the other rungs, transposed.
fn package(layer: &Layer, device: &Device) -> Result<Box<Record>> {
    let [time, batch, input, hidden] = layer.sizes;
    let mut init = Initializer::new(device, 0);
    let config = LstmConfig { input_size: input, hidden_size: hidden, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "lstm", &config)?;
    let parameters = init.build()?;
    let transposed = |w: &[f32]| -> Vec<f32> {
        let columns = 4 * hidden;
        (0..columns).flat_map(|col| w.iter().skip(col).step_by(columns).copied()).collect()
    };
    parameters.set("lstm.weight_ih_l0", Host::F32(&transposed(&layer.w_ih)))?;
    parameters.set("lstm.weight_hh_l0", Host::F32(&transposed(&layer.w_hh)))?;
    parameters.set("lstm.bias_ih_l0", Host::F32(&layer.bias))?;
    parameters.set("lstm.bias_hh_l0", Host::F32(&vec![0.0; 4 * hidden]))?;
    let x = layer.inputs(device)?.reshape([time, batch, input])?;
    let mut tape = Tape::new(&parameters);
    Ok(Box::new(move |_| {
        tape.clear();
        let x = tape.constant(&x);
        let states = tape.no_grad(|tape| lstm.forward(tape, x, None))?;
        Ok(vec![tape.value(states.output)?.clone()])
    }))
}
