//! The plain recurrent layer: torch.nn.RNN.

use super::recurrent::{Config, Output, Stack};
use crate::error::Result;
use crate::ops::recurrent::{Cell, Lengths, Nonlinearity};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// The options of an [`Rnn`], with the names and defaults of torch.nn.RNN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RnnConfig {
    /// I: features of the input at each step.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// L: layers, each reading the output of the one below.
    pub num_layers: usize,
    /// The activation.
    pub nonlinearity: Nonlinearity,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether input and output are [B, T, ..] rather than [T, B, ..]. States are [L·D, B, ..] either way.
    pub batch_first: bool,
    /// The probability of dropout on the outputs of every layer but the last, while the tape is training.
    pub dropout: f64,
    /// Whether each layer also runs backward, from the last step to the first. D is then 2, else 1; the output has those of both
    /// directions side by side, the forward one first.
    pub bidirectional: bool,
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
            dropout: 0.0,
            bidirectional: false,
        }
    }
}

/// Plain recurrent layers (Elman, "Finding Structure in Time", 1990), as torch.nn.RNN.
///
/// Each layer computes, at every step t,
///
/// ```text
/// h_t = act(x_t·W_ihᵀ + b_ih + h_{t−1}·W_hhᵀ + b_hh)
/// ```
///
/// where x_t [B, I] is its input and h_t [B, H] its state and output. Layer k > 0 reads the outputs of layer k − 1.
///
/// | parameter of layer k | shape | |
/// |---|---|---|
/// | `weight_ih_l{k}` | [H, I], for k > 0 [H, D·H] | W_ih |
/// | `weight_hh_l{k}` | [H, H] | W_hh |
/// | `bias_ih_l{k}`, `bias_hh_l{k}` | `[H]` | b_ih, b_hh, with `bias` |
///
/// Those of the backward direction have the suffix `_reverse`. All begin with random numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct Rnn {
    config: RnnConfig,
    stack: Stack,
}

/// What an [`Rnn`] or a [`Gru`](super::Gru) returns: see [`Rnn::forward`].
#[derive(Clone, Debug)]
pub struct RnnOutput {
    /// The states of the last layer at every step: [T, B, D·H], or [B, T, D·H] when batch-first.
    pub output: Var,
    pub(super) states: Output,
}

impl RnnOutput {
    pub(super) fn new(states: Output) -> Self {
        RnnOutput { output: states.output, states }
    }

    /// The states of all layers and directions after each sequence's last step: [L·D, B, H], or [L·D, H] of a single
    /// sequence. Row k·D + d is of layer k and direction d.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn h_n(&self, tape: &mut Tape) -> Result<Var> {
        self.states.states(tape, 0)
    }
}

impl Rnn {
    /// Makes the layers and their parameters, whose names begin with `name.`: `name.weight_ih_l0` and so on.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when a size is 0 or `dropout` is not in 0..=1.
    pub fn new(init: &mut Initializer, name: &str, config: &RnnConfig) -> Result<Rnn> {
        let RnnConfig {
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            nonlinearity,
        } = *config;
        let stack = Config {
            cell: Cell::Rnn(nonlinearity),
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size: 0,
        };
        Ok(Rnn { config: *config, stack: Stack::new(init, "Rnn", name, stack)? })
    }

    /// Its options.
    pub fn config(&self) -> &RnnConfig {
        &self.config
    }

    /// Runs x [T, B, I] ([B, T, I] when batch-first; [T, I] for a single sequence) through the layers, from the initial
    /// states h0 [L·D, B, H] (0 where not given).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when T is 0 or shapes do not fit;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var, h0: Option<Var>) -> Result<RnnOutput> {
        self.run(tape, x, h0, None)
    }

    /// Like [`Rnn::forward`], for sequences of different lengths: what torch.nn.RNN does with a packed sequence. Steps
    /// behind a sequence's end change nothing, the output there is 0, and the final states are those at its own end.
    ///
    /// # Errors
    /// As [`Rnn::forward`]; also when the lengths do not fit x.
    pub fn forward_lengths(
        &self,
        tape: &mut Tape,
        x: Var,
        h0: Option<Var>,
        lengths: &Lengths,
    ) -> Result<RnnOutput> {
        self.run(tape, x, h0, Some(lengths))
    }

    /// Either of the two: with lengths or without.
    pub(crate) fn run(
        &self,
        tape: &mut Tape,
        x: Var,
        h0: Option<Var>,
        lengths: Option<&Lengths>,
    ) -> Result<RnnOutput> {
        let states = self.stack.forward(tape, x, [h0, None], lengths)?;
        Ok(RnnOutput::new(states))
    }
}
