//! A look inside a trained model: states, gates and gradients at every step of a piece of data.
//!
//! The layers are unrolled with elementary operations of the tape, one step after the other, with the model's own weights.
//! To each h_t a probe is added, an input of zeros: its gradient is the total gradient of the loss with respect to h_t,
//! through the output of that step, the steps behind it and the layers above.

#[cfg(test)]
mod tests;

use super::model::{CharModel, SeriesModel};
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::nn::CellKind;
use crate::ops::cross_entropy::{CrossEntropyLoss, Reduction};
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::ops::regression_loss::RegressionLoss;
use crate::parameters::Parameters;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// What happens inside a model that reads B sequences of T steps, with H features of the state. L_b is the loss of sequence b.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// The mean of L_b over the sequences.
    pub loss: f64,
    /// The layers, the one that reads the input first.
    pub layers: Vec<InspectedLayer>,
}

/// A layer of an [`Inspection`].
#[derive(Clone, Debug)]
pub struct InspectedLayer {
    /// h_t: [T, B, H].
    pub states: Vec<f32>,
    /// dL_b/dh_t: [T, B, H].
    pub gradients: Vec<f32>,
    /// i, f, g and o of an LSTM, r, z and n of a GRU, and of an RNN h itself.
    pub gates: Vec<Gate>,
}

/// A gate of a layer.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its letter.
    pub name: &'static str,
    /// The function that it is the value of.
    pub function: GateFunction,
    /// Its values: [T, B, H].
    pub values: Vec<f32>,
}

/// The function that ends a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateFunction {
    /// 1 / (1 + e^-x), from 0 to 1.
    Sigmoid,
    /// From -1 to 1.
    Tanh,
    /// max(x, 0).
    Relu,
}

impl GateFunction {
    /// The values below and above which it hardly changes with its argument.
    pub fn limits(self) -> [f32; 2] {
        match self {
            GateFunction::Sigmoid => [0.1, 0.9],
            GateFunction::Tanh => [-0.9, 0.9],
            GateFunction::Relu => [f32::MIN_POSITIVE, f32::INFINITY],
        }
    }
}

impl Gate {
    /// The shares of its values below the lower and above the upper of [`GateFunction::limits`].
    pub fn saturation(&self) -> [f64; 2] {
        let [low, high] = self.function.limits();
        let share = |is: &dyn Fn(f32) -> bool| {
            self.values.iter().filter(|x| is(**x)).count() as f64 / self.values.len() as f64
        };
        [share(&|x| x < low), share(&|x| x > high)]
    }
}

impl Inspection {
    /// For each layer and each step, the norm of dL_b/dh_t, averaged over the sequences: `[L][T]`.
    pub fn gradient_norms(&self) -> Vec<Vec<f64>> {
        let norm = |gradient: &[f32]| gradient.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let mean = |step: &[f32]| step.chunks_exact(self.hidden).map(norm).sum::<f64>() / self.batch as f64;
        let of = |layer: &InspectedLayer| {
            layer.gradients.chunks_exact(self.batch * self.hidden).map(mean).collect()
        };
        self.layers.iter().map(of).collect()
    }
}

/// Which outputs of a text's piece make its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// The mean over all steps.
    All,
    /// The last step alone: its gradient shows how far back an error reaches.
    Last,
}

/// Looks into a model of text that reads `tokens` from the state 0 and is to say `targets`; L is the mean cross-entropy of
/// the `outputs`.
///
/// # Errors
/// [`Error::Argument`] when there is no token, there are not as many targets as tokens, or one is not of the vocabulary;
/// [`Error::Gpu`] on a fault.
pub fn inspect_text(
    model: &CharModel,
    tokens: &[i32],
    targets: &[i32],
    outputs: Outputs,
) -> Result<Inspection> {
    let (steps, config) = (tokens.len(), &model.config);
    if steps == 0 || steps != targets.len() {
        let message =
            format!("takes a target for each of one or more tokens, got {steps} and {}", targets.len());
        return Err(Error::argument("inspect", message));
    }
    let mut unroll = Unroll::new(&model.parameters);
    let tokens = Indices::new(model.parameters.device(), [steps, 1], tokens)?;
    let x = match config.embedding {
        Some(_) => {
            let weight = unroll.weight("embedding.weight")?;
            unroll.tape.embedding(&tokens, weight, None)?
        }
        None => unroll.tape.constant(&tokens.one_hot(model.vocabulary.len())?),
    };
    let h = unroll.layers(x, config.cell, config.nonlinearity, config.layers)?;
    let (h, targets) = match outputs {
        Outputs::All => (h, targets),
        Outputs::Last => (unroll.tape.narrow(h, 0, steps - 1, 1)?, &targets[steps - 1..]),
    };
    let logits = if config.linear { unroll.linear(h, "fc.weight", "fc.bias")? } else { h };
    let targets = Indices::new(model.parameters.device(), [targets.len(), 1], targets)?;
    let loss = unroll.tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
    unroll.finish(loss)
}

/// Looks into a model of a time series that forecasts the scaled `targets` `[B]` from scaled `windows` [T, B, C]; L_b is the
/// squared error of forecast b.
///
/// # Errors
/// [`Error::Argument`] when there is no target or the windows are not as many; [`Error::Gpu`] on a fault.
pub fn inspect_series(model: &SeriesModel, windows: &[f32], targets: &[f32]) -> Result<Inspection> {
    let (batch, columns) = (targets.len(), model.config.columns.len());
    let steps = windows.len() / (batch * columns).max(1);
    if steps == 0 || windows.len() != steps * batch * columns {
        let numbers = windows.len();
        let message =
            format!("takes windows [T, {batch}, {columns}] for {batch} targets, got {numbers} numbers");
        return Err(Error::argument("inspect", message));
    }
    let device = model.parameters.device();
    let mut unroll = Unroll::new(&model.parameters);
    let x = unroll.tape.constant(&Tensor::from_f32(device, [steps, batch, columns], windows)?);
    let h = unroll.layers(x, model.config.cell, Nonlinearity::Tanh, model.config.layers)?;
    let last = unroll.tape.select(h, 0, steps - 1)?;
    let forecast = unroll.linear(last, "fc.weight", "fc.bias")?;
    let targets = unroll.tape.constant(&Tensor::from_f32(device, [batch, 1], targets)?);
    let loss = RegressionLoss { reduction: Reduction::Sum, ..RegressionLoss::default() };
    let loss = unroll.tape.mse_loss(forecast, targets, &loss)?;
    unroll.finish(loss)
}

/// Layers that are unrolled on a tape of their own. Weights are constants of it: the model's gradients stay as they are.
struct Unroll<'m> {
    parameters: &'m Parameters,
    tape: Tape,
    layers: Vec<UnrolledLayer>,
}

struct UnrolledLayer {
    /// [T, B, H]
    states: Var,
    /// [T, B, H]
    probes: Var,
    /// Of each gate its values [B, H] at each step.
    gates: Vec<(&'static str, GateFunction, Vec<Var>)>,
}

impl<'m> Unroll<'m> {
    fn new(parameters: &'m Parameters) -> Self {
        Unroll { parameters, tape: Tape::without_parameters(parameters.device()), layers: Vec::new() }
    }

    fn weight(&mut self, name: &str) -> Result<Var> {
        let missing = || Error::argument("inspect", format!("the model has no parameter '{name}'"));
        let id = self.parameters.id(name).ok_or_else(missing)?;
        Ok(self.tape.constant(&self.parameters.value(id)?))
    }

    fn linear(&mut self, x: Var, weight: &str, bias: &str) -> Result<Var> {
        let (weight, bias) = (self.weight(weight)?, self.weight(bias)?);
        self.tape.linear(x, weight, Some(bias))
    }

    /// h of the last layer at every step, [T, B, H], for x [T, B, I].
    fn layers(&mut self, x: Var, cell: CellKind, nonlinearity: Nonlinearity, count: usize) -> Result<Var> {
        let mut x = x;
        for k in 0..count {
            x = self.layer(x, cell, nonlinearity, k)?;
        }
        Ok(x)
    }

    fn layer(&mut self, x: Var, cell: CellKind, nonlinearity: Nonlinearity, k: usize) -> Result<Var> {
        let name = |of: &str| format!("rnn.{of}_l{k}");
        let xw = self.linear(x, &name("weight_ih"), &name("bias_ih"))?;
        let (w_hh, b_hh) = (self.weight(&name("weight_hh"))?, self.weight(&name("bias_hh"))?);
        let shape = self.tape.value(xw)?.shape();
        let (steps, batch, hidden) = (shape[0], shape[1], shape[2] / cell.gates());

        let zeros = Tensor::empty(self.parameters.device(), Dtype::F32, [steps, batch, hidden])?;
        zeros.fill(0.0)?;
        let tape = &mut self.tape;
        let probes = tape.input(&zeros);
        let first = tape.constant(&zeros);
        let mut now = [tape.select(first, 0, 0)?; 2];
        let mut states = Vec::with_capacity(steps);
        let mut gates: Vec<(&str, GateFunction, Vec<Var>)> = Vec::new();
        for step in 0..steps {
            let xw = tape.select(xw, 0, step)?;
            let hw = tape.linear(now[0], w_hh, Some(b_hh))?;
            let of_step = unrolled(tape, cell, nonlinearity, [xw, hw], &mut now)?;
            let probe = tape.select(probes, 0, step)?;
            now[0] = tape.add(now[0], probe)?;
            states.push(now[0]);
            if gates.is_empty() {
                gates = of_step
                    .iter()
                    .map(|(name, function, _)| (*name, *function, Vec::with_capacity(steps)))
                    .collect();
            }
            gates.iter_mut().zip(of_step).for_each(|(gate, (.., value))| gate.2.push(value));
        }
        let states = tape.stack(&states, 0)?;
        self.layers.push(UnrolledLayer { states, probes, gates });
        Ok(states)
    }

    /// Walks the tape from `loss`, the sum of L_b, and brings everything to the host.
    fn finish(self, loss: Var) -> Result<Inspection> {
        let Unroll { mut tape, layers: unrolled, .. } = self;
        tape.backward(loss)?;
        let shape = tape.value(unrolled[0].states)?.shape();
        let (steps, batch, hidden) = (shape[0], shape[1], shape[2]);
        let mut layers = Vec::with_capacity(unrolled.len());
        for UnrolledLayer { states, probes, gates } in unrolled {
            let of_gate = |(name, function, values): (&'static str, GateFunction, Vec<Var>)| {
                let all = tape.no_grad(|tape| tape.stack(&values, 0))?;
                Ok(Gate { name, function, values: tape.value(all)?.to_vec()? })
            };
            let gates = gates.into_iter().map(of_gate).collect::<Result<_>>()?;
            let gradients = tape.gradient(probes)?.expect("every state leads to the loss").to_vec()?;
            layers.push(InspectedLayer { states: tape.value(states)?.to_vec()?, gradients, gates });
        }
        Ok(Inspection { steps, batch, hidden, loss: tape.value(loss)?.to_f64()?[0] / batch as f64, layers })
    }
}

/// The gates of a step: name, function, values [B, H].
type Gates = Vec<(&'static str, GateFunction, Var)>;

/// A step of a cell by single operations, from x·W_ihᵀ + b_ih and h·W_hhᵀ + b_hh [B, G·H]: its gates. The states h and c, which
/// only an LSTM has, become those after it.
pub(crate) fn unrolled(
    tape: &mut Tape,
    cell: CellKind,
    nonlinearity: Nonlinearity,
    [xw, hw]: [Var; 2],
    [h, c]: &mut [Var; 2],
) -> Result<Gates> {
    match cell {
        CellKind::Rnn => rnn(tape, xw, hw, h, nonlinearity),
        CellKind::Lstm => lstm(tape, xw, hw, h, c),
        CellKind::Gru => gru(tape, xw, hw, h),
    }
}

/// h = act(xw + hw).
fn rnn(tape: &mut Tape, xw: Var, hw: Var, h: &mut Var, nonlinearity: Nonlinearity) -> Result<Gates> {
    let sum = tape.add(xw, hw)?;
    let (function, value) = match nonlinearity {
        Nonlinearity::Tanh => (GateFunction::Tanh, tape.tanh(sum)?),
        Nonlinearity::Relu => (GateFunction::Relu, tape.relu(sum)?),
    };
    *h = value;
    Ok(vec![("h", function, value)])
}

/// c = f ⊙ c + i ⊙ g, h = o ⊙ tanh(c).
fn lstm(tape: &mut Tape, xw: Var, hw: Var, h: &mut Var, c: &mut Var) -> Result<Gates> {
    let sum = tape.add(xw, hw)?;
    let mut gates = Gates::new();
    for (gate, name) in ["i", "f", "g", "o"].into_iter().enumerate() {
        let sum = part(tape, sum, gate, 4)?;
        gates.push(match name {
            "g" => (name, GateFunction::Tanh, tape.tanh(sum)?),
            _ => (name, GateFunction::Sigmoid, tape.sigmoid(sum)?),
        });
    }
    let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate].2);
    let (kept, new) = (tape.mul(f, *c)?, tape.mul(i, g)?);
    *c = tape.add(kept, new)?;
    let shown = tape.tanh(*c)?;
    *h = tape.mul(o, shown)?;
    Ok(gates)
}

/// n = tanh(.. + r ⊙ ..), h = (1 − z) ⊙ n + z ⊙ h.
fn gru(tape: &mut Tape, xw: Var, hw: Var, h: &mut Var) -> Result<Gates> {
    let mut gates = Gates::new();
    for (gate, name) in ["r", "z"].into_iter().enumerate() {
        let (x, h) = (part(tape, xw, gate, 3)?, part(tape, hw, gate, 3)?);
        let sum = tape.add(x, h)?;
        gates.push((name, GateFunction::Sigmoid, tape.sigmoid(sum)?));
    }
    let (r, z) = (gates[0].2, gates[1].2);
    let (x, q) = (part(tape, xw, 2, 3)?, part(tape, hw, 2, 3)?);
    let reset = tape.mul(r, q)?;
    let sum = tape.add(x, reset)?;
    let n = tape.tanh(sum)?;
    gates.push(("n", GateFunction::Tanh, n));
    let difference = tape.sub(*h, n)?;
    let kept = tape.mul(z, difference)?;
    *h = tape.add(n, kept)?;
    Ok(gates)
}

/// The columns of one of so many gates.
fn part(tape: &mut Tape, all: Var, gate: usize, gates: usize) -> Result<Var> {
    let hidden = tape.value(all)?.shape()[1] / gates;
    tape.narrow(all, 1, gate * hidden, hidden)
}
