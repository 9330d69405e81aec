//! Long short-term memory: torch.nn.LSTM.

use super::recurrent::{Config, Output, Stack};
use crate::error::Result;
use crate::ops::recurrent::{Cell, Lengths};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// The options of an [`Lstm`], with the names and defaults of torch.nn.LSTM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmConfig {
    /// I: features of the input at each step.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// L: layers, each reading the output of the one below.
    pub num_layers: usize,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether input and output are [B, T, ..] rather than [T, B, ..]. States are [L·D, B, ..] either way.
    pub batch_first: bool,
    /// The probability of dropout on the outputs of every layer but the last, while the tape is training.
    pub dropout: f64,
    /// Whether each layer also runs backward, from the last step to the first. D is then 2, else 1; the output has those of both
    /// directions side by side, the forward one first.
    pub bidirectional: bool,
    /// P: the size that h is projected to, less than H; 0 for no projection.
    pub proj_size: usize,
}

impl Default for LstmConfig {
    fn default() -> Self {
        LstmConfig {
            input_size: 1,
            hidden_size: 1,
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            proj_size: 0,
        }
    }
}

/// Layers of long short-term memory, as torch.nn.LSTM.
///
/// Sources: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; forget gate: Gers, Schmidhuber and Cummins 2000;
/// projection: Sak, Senior and Beaufays, arXiv 1402.1128.
///
/// Each layer computes, at every step t,
///
/// ```text
/// a = x_t·W_ihᵀ + b_ih + h_{t−1}·W_hhᵀ + b_hh      in four parts of H columns: a_i, a_f, a_g, a_o
/// i = σ(a_i),  f = σ(a_f),  g = tanh(a_g),  o = σ(a_o)
/// c_t = f ⊙ c_{t−1} + i ⊙ g
/// h_t = o ⊙ tanh(c_t)                              with a projection (o ⊙ tanh(c_t))·W_hrᵀ
/// ```
///
/// where x_t [B, I] is its input, h_t [B, S] its state and output, and c_t [B, H] its cell state. S is H, or with a projection
/// P. Layer k > 0 reads the outputs of layer k − 1.
///
/// | parameter of layer k | shape | |
/// |---|---|---|
/// | `weight_ih_l{k}` | [4H, I], for k > 0 [4H, D·S] | W_ih, rows in the order i, f, g, o |
/// | `weight_hh_l{k}` | [4H, S] | W_hh, rows in the same order |
/// | `bias_ih_l{k}`, `bias_hh_l{k}` | `[4H]` | b_ih, b_hh, with `bias` |
/// | `weight_hr_l{k}` | [P, H] | W_hr, with a projection |
///
/// Those of the backward direction have the suffix `_reverse`. All begin with random numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct Lstm {
    config: LstmConfig,
    stack: Stack,
}

/// What an [`Lstm`] returns: see [`Lstm::forward`].
#[derive(Clone, Debug)]
pub struct LstmOutput {
    /// h of the last layer at every step: [T, B, D·S], or [B, T, D·S] when batch-first.
    pub output: Var,
    states: Output,
}

impl LstmOutput {
    /// h of all layers and directions after each sequence's last step: [L·D, B, S], or [L·D, S] of a single sequence. Row
    /// k·D + d is of layer k and direction d.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn h_n(&self, tape: &mut Tape) -> Result<Var> {
        self.states.states(tape, 0)
    }

    /// c of all layers and directions after each sequence's last step: [L·D, B, H], or [L·D, H] of a single sequence.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn c_n(&self, tape: &mut Tape) -> Result<Var> {
        self.states.states(tape, 1)
    }
}

impl Lstm {
    /// Makes the layers and their parameters, whose names begin with `name.`: `name.weight_ih_l0` and so on.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when a size is 0, `dropout` is not in 0..=1, or `proj_size` is not
    /// less than H.
    pub fn new(init: &mut Initializer, name: &str, config: &LstmConfig) -> Result<Lstm> {
        let LstmConfig {
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
        } = *config;
        let stack = Config {
            cell: Cell::Lstm,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
        };
        Ok(Lstm { config: *config, stack: Stack::new(init, "Lstm", name, stack)? })
    }

    /// Its options.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// Runs x [T, B, I] ([B, T, I] when batch-first; [T, I] for a single sequence) through the layers, from the initial states h0
    /// [L·D, B, S] and c0 [L·D, B, H] (0 where not given).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when T is 0 or shapes do not fit;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var, states: Option<[Var; 2]>) -> Result<LstmOutput> {
        self.run(tape, x, states, None)
    }

    /// Like [`Lstm::forward`], for sequences of different lengths: what torch.nn.LSTM does with a packed sequence. Steps
    /// behind a sequence's end change nothing, the output there is 0, and the final states are those at its own end.
    ///
    /// # Errors
    /// As [`Lstm::forward`]; also when the lengths do not fit x.
    pub fn forward_lengths(
        &self,
        tape: &mut Tape,
        x: Var,
        states: Option<[Var; 2]>,
        lengths: &Lengths,
    ) -> Result<LstmOutput> {
        self.run(tape, x, states, Some(lengths))
    }

    /// Either of the two: with lengths or without.
    pub(crate) fn run(
        &self,
        tape: &mut Tape,
        x: Var,
        states: Option<[Var; 2]>,
        lengths: Option<&Lengths>,
    ) -> Result<LstmOutput> {
        let states = self.stack.forward(tape, x, [states.map(|s| s[0]), states.map(|s| s[1])], lengths)?;
        Ok(LstmOutput { output: states.output, states })
    }
}
