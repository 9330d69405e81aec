//! torch.nn.LSTM.

use super::recurrent::{Config, Output, Stack};
use crate::error::Result;
use crate::ops::recurrent::{Cell, Lengths};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// What an [`Lstm`] is, with the names and defaults of torch.nn.LSTM.
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
    /// The probability of dropout between layers, while the tape is training.
    pub dropout: f64,
    /// Whether each layer also runs from the last step to the first: D is then 2, else 1, and the outputs of both directions
    /// stand side by side, the forward one first.
    pub bidirectional: bool,
    /// P: the size that h is projected to, below H; 0 for no projection.
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

/// Layers of long short-term memory, as torch.nn.LSTM: i, f, o = σ(..), g = tanh(..) of x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh,
/// c_t = f ⊙ c + i ⊙ g, h_t = o ⊙ tanh(c_t), or with a projection (o ⊙ tanh(c_t))·W_hrᵀ. S, the size of h, is H, or P.
/// Parameters of layer k, all from U(−1/√H, 1/√H), with rows in the order i, f, g, o: `weight_ih_l{k}` [4H, I or D·S],
/// `weight_hh_l{k}` [4H, S], `bias_ih_l{k}` `[4H]`, `bias_hh_l{k}` `[4H]`, `weight_hr_l{k}` [P, H], those of the other
/// direction with the suffix `_reverse`.
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
    /// Makes the layers' parameters, their names beginning with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when an option is out of its range.
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

    /// What it is.
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
