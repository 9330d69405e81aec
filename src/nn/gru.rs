//! Gated recurrent units: torch.nn.GRU.

use super::RnnOutput;
use super::recurrent::{Config, Stack};
use crate::error::Result;
use crate::ops::recurrent::{Cell, Lengths};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// The options of a [`Gru`], with the names and defaults of torch.nn.GRU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GruConfig {
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
}

impl Default for GruConfig {
    fn default() -> Self {
        GruConfig {
            input_size: 1,
            hidden_size: 1,
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
        }
    }
}

/// Layers of gated recurrent units (Cho et al., arXiv 1406.1078), as torch.nn.GRU.
///
/// The reset gate r multiplies h·W_hnᵀ + b_hn, after the product, and not h before it as in the paper's last version. Each layer
/// computes, at every step t,
///
/// ```text
/// r = σ(x_t·W_irᵀ + b_ir + h_{t−1}·W_hrᵀ + b_hr)
/// z = σ(x_t·W_izᵀ + b_iz + h_{t−1}·W_hzᵀ + b_hz)
/// n = tanh(x_t·W_inᵀ + b_in + r ⊙ (h_{t−1}·W_hnᵀ + b_hn))
/// h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}
/// ```
///
/// where x_t [B, I] is its input and h_t [B, H] its state and output. Layer k > 0 reads the outputs of layer k − 1.
///
/// | parameter of layer k | shape | |
/// |---|---|---|
/// | `weight_ih_l{k}` | [3H, I], for k > 0 [3H, D·H] | W_ir, W_iz, W_in, in this order of rows |
/// | `weight_hh_l{k}` | [3H, H] | W_hr, W_hz, W_hn |
/// | `bias_ih_l{k}`, `bias_hh_l{k}` | `[3H]` | b_ir, b_iz, b_in; b_hr, b_hz, b_hn, with `bias` |
///
/// Those of the backward direction have the suffix `_reverse`. All begin with random numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct Gru {
    config: GruConfig,
    stack: Stack,
}

impl Gru {
    /// Makes the layers and their parameters, whose names begin with `name.`: `name.weight_ih_l0` and so on.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when a size is 0 or `dropout` is not in 0..=1.
    pub fn new(init: &mut Initializer, name: &str, config: &GruConfig) -> Result<Gru> {
        let GruConfig { input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional } =
            *config;
        let stack = Config {
            cell: Cell::Gru,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size: 0,
        };
        Ok(Gru { config: *config, stack: Stack::new(init, "Gru", name, stack)? })
    }

    /// Its options.
    pub fn config(&self) -> &GruConfig {
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

    /// Like [`Gru::forward`], for sequences of different lengths: what torch.nn.GRU does with a packed sequence. Steps
    /// behind a sequence's end change nothing, the output there is 0, and the final states are those at its own end.
    ///
    /// # Errors
    /// As [`Gru::forward`]; also when the lengths do not fit x.
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
