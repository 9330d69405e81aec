//! torch.nn.RNN.

use crate::error::{Error, Result};
use crate::ops::rnn::{Nonlinearity, RnnWeights};
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};

/// What an [`Rnn`] is, with the names and defaults of torch.nn.RNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnnConfig {
    /// I: features of the input at each step.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// L: layers, each reading the states of the one below.
    pub num_layers: usize,
    /// The activation.
    pub nonlinearity: Nonlinearity,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether input and output are [B, T, ..] rather than [T, B, ..]. States are [L, B, H] either way.
    pub batch_first: bool,
}

impl Default for RnnConfig {
    fn default() -> Self {
        RnnConfig {
            input_size: 1,
            hidden_size: 1,
            num_layers: 1,
            nonlinearity: Nonlinearity::Tanh,
            bias: true,
            batch_first: false,
        }
    }
}

/// Layers of h_t = act(x_t·W_ihᵀ + b_ih + h_{t-1}·W_hhᵀ + b_hh), as torch.nn.RNN. Parameters of layer k, all from
/// U(−1/√H, 1/√H): `weight_ih_l{k}` [H, I or H], `weight_hh_l{k}` [H, H], `bias_ih_l{k}` `[H]`, `bias_hh_l{k}` `[H]`.
#[derive(Clone, Debug)]
pub struct Rnn {
    config: RnnConfig,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    w_ih: ParameterId,
    w_hh: ParameterId,
    biases: Option<[ParameterId; 2]>,
}

/// What an [`Rnn`] returns: see [`Rnn::forward`].
#[derive(Clone, Debug)]
pub struct RnnOutput {
    /// The states of the last layer at every step: [T, B, H], or [B, T, H] when batch-first.
    pub output: Var,
    /// Of each layer, the states at every step: [T, B, H].
    layers: Vec<Var>,
    time: usize,
    unbatched: bool,
}

impl RnnOutput {
    /// The states of all layers after the last step: [L, B, H], or [L, H] of a single sequence.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn h_n(&self, tape: &mut Tape) -> Result<Var> {
        let last = self.layers.iter().map(|layer| tape.select(*layer, self.time - 1));
        let last = last.collect::<Result<Vec<_>>>()?;
        let h_n = tape.stack(&last)?;
        match self.unbatched {
            true => {
                let shape = tape.value(h_n)?.shape();
                tape.reshape(h_n, [shape[0], shape[2]])
            }
            false => Ok(h_n),
        }
    }
}

impl Rnn {
    /// Makes the layers' parameters, their names beginning with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &RnnConfig) -> Result<Rnn> {
        let RnnConfig { input_size, hidden_size: h, num_layers, bias, .. } = *config;
        if input_size == 0 || h == 0 || num_layers == 0 {
            let message = format!(
                "{name}: sizes must be at least 1, got input_size {input_size}, hidden_size {h}, num_layers {num_layers}"
            );
            return Err(Error::argument("Rnn", message));
        }
        let bound = 1.0 / (h as f32).sqrt();
        let mut parameter =
            |part: &str, shape: &[usize]| init.uniform(format!("{name}.{part}"), shape, bound);
        let mut layer = |k: usize| Layer {
            w_ih: parameter(&format!("weight_ih_l{k}"), &[h, if k == 0 { input_size } else { h }]),
            w_hh: parameter(&format!("weight_hh_l{k}"), &[h, h]),
            biases: bias.then(|| {
                [parameter(&format!("bias_ih_l{k}"), &[h]), parameter(&format!("bias_hh_l{k}"), &[h])]
            }),
        };
        Ok(Rnn { layers: (0..num_layers).map(&mut layer).collect(), config: *config })
    }

    /// What it is.
    pub fn config(&self) -> &RnnConfig {
        &self.config
    }

    /// Runs x [T, B, I] ([B, T, I] when batch-first; [T, I] for a single sequence) through the layers, from the initial
    /// states h0 [L, B, H] (0 where not given).
    ///
    /// # Errors
    /// [`Error::Argument`] when T is 0 or shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var, h0: Option<Var>) -> Result<RnnOutput> {
        let shape = tape.value(x)?.shape();
        let RnnConfig { input_size, hidden_size, num_layers, nonlinearity, batch_first, .. } = self.config;
        if !matches!(shape.len(), 2 | 3) || shape.last() != Some(&input_size) {
            let message = format!("input must be [.., {input_size}] of 2 or 3 dimensions, got {shape:?}");
            return Err(Error::argument("Rnn", message));
        }
        let unbatched = shape.len() == 2;
        let mut state = match unbatched {
            true => tape.reshape(x, [shape[0], 1, input_size])?,
            false if batch_first => tape.transpose(x, 0, 1)?,
            false => x,
        };
        let dims = tape.value(state)?.shape();
        let (time, batch) = (dims[0], dims[1]);
        let h0 = h0.map(|h0| self.initial_state(tape, h0, batch, unbatched)).transpose()?;
        let mut layers = Vec::with_capacity(num_layers);
        for (k, layer) in self.layers.iter().enumerate() {
            let h0 = h0.map(|h0| tape.select(h0, k)).transpose()?;
            let weights = RnnWeights {
                w_ih: tape.parameter(layer.w_ih)?,
                w_hh: tape.parameter(layer.w_hh)?,
                biases: match layer.biases {
                    Some([b_ih, b_hh]) => Some([tape.parameter(b_ih)?, tape.parameter(b_hh)?]),
                    None => None,
                },
            };
            state = tape.rnn(state, h0, weights, nonlinearity)?;
            layers.push(state);
        }
        let output = match unbatched {
            true => tape.reshape(state, [time, hidden_size])?,
            false if batch_first => tape.transpose(state, 0, 1)?,
            false => state,
        };
        Ok(RnnOutput { output, layers, time, unbatched })
    }

    /// h0 as [L, B, H], from [L, H] for a single sequence.
    fn initial_state(&self, tape: &mut Tape, h0: Var, batch: usize, unbatched: bool) -> Result<Var> {
        let (layers, hidden) = (self.config.num_layers, self.config.hidden_size);
        let shape = tape.value(h0)?.shape();
        let expected: &[usize] = if unbatched { &[layers, hidden] } else { &[layers, batch, hidden] };
        if *shape != *expected {
            return Err(Error::argument("Rnn", format!("initial state must be {expected:?}, got {shape:?}")));
        }
        tape.reshape(h0, [layers, batch, hidden])
    }
}
