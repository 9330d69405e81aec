//! A recurrent layer whose kind (RNN, LSTM or GRU) is chosen when the program runs.

use serde::{Deserialize, Serialize};

use super::recurrent::{Config, Output, Stack};
use crate::error::{Error, Result};
use crate::ops::recurrent::{Cell, Nonlinearity};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// The kinds of recurrent layers, by their names on the command line and in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// As [`Rnn`](super::Rnn).
    #[default]
    Rnn,
    /// As [`Lstm`](super::Lstm).
    Lstm,
    /// As [`Gru`](super::Gru).
    Gru,
}

impl CellKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::Rnn => "rnn",
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
        }
    }

    /// G, the number of gates: W_ih and W_hh have G·H rows.
    pub fn gates(self) -> usize {
        self.with(Nonlinearity::Tanh).parts()
    }

    /// How many states a layer carries from step to step: h, and of an LSTM c.
    pub fn states(self) -> usize {
        if self == CellKind::Lstm { 2 } else { 1 }
    }

    /// The cell, as operations take it.
    pub(crate) fn with(self, nonlinearity: Nonlinearity) -> Cell {
        match self {
            CellKind::Rnn => Cell::Rnn(nonlinearity),
            CellKind::Lstm => Cell::Lstm,
            CellKind::Gru => Cell::Gru,
        }
    }
}

/// The options of a [`Recurrent`]: those that [`Rnn`](super::Rnn), [`Lstm`](super::Lstm) and [`Gru`](super::Gru) share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentConfig {
    /// The kind.
    pub cell: CellKind,
    /// The activation of an RNN. It has no effect on the others.
    pub nonlinearity: Nonlinearity,
    /// I: features of the input at each step.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// L: layers, each reading the output of the one below.
    pub num_layers: usize,
    /// The probability of dropout on the outputs of every layer but the last, while the tape is training.
    pub dropout: f64,
}

/// Layers of any kind, in one direction, over time-major input. Parameters as those of [`Rnn`](super::Rnn),
/// [`Lstm`](super::Lstm) or [`Gru`](super::Gru).
#[derive(Clone, Debug)]
pub struct Recurrent {
    config: RecurrentConfig,
    stack: Stack,
}

/// What a [`Recurrent`] returns.
#[derive(Clone, Debug)]
pub struct RecurrentOutput {
    /// h of the last layer at every step: [T, B, H].
    pub output: Var,
    states: Output,
    kinds: usize,
}

impl RecurrentOutput {
    /// The states after the last step, to go on from: h_n [L, B, H], and of an LSTM c_n [L, B, H].
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn states(&self, tape: &mut Tape) -> Result<Vec<Var>> {
        (0..self.kinds).map(|which| self.states.states(tape, which)).collect()
    }
}

impl Recurrent {
    /// Makes the layers and their parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0 or `dropout` is not in 0..=1.
    pub fn new(init: &mut Initializer, name: &str, config: &RecurrentConfig) -> Result<Recurrent> {
        let RecurrentConfig { cell, nonlinearity, input_size, hidden_size, num_layers, dropout } = *config;
        let stack = Config {
            cell: cell.with(nonlinearity),
            input_size,
            hidden_size,
            num_layers,
            bias: true,
            batch_first: false,
            dropout,
            bidirectional: false,
            proj_size: 0,
        };
        Ok(Recurrent { config: *config, stack: Stack::new(init, "Recurrent", name, stack)? })
    }

    /// Its options.
    pub fn config(&self) -> &RecurrentConfig {
        &self.config
    }

    /// Runs x [T, B, I] through the layers, from `states` as [`RecurrentOutput::states`] gives them, or from 0 where there
    /// are none.
    ///
    /// # Errors
    /// [`Error::Argument`] when T is 0, shapes do not fit, or there are some states but not all; [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var, states: &[Var]) -> Result<RecurrentOutput> {
        let kinds = self.config.cell.states();
        if !states.is_empty() && states.len() != kinds {
            let cell = self.config.cell.name();
            let message = format!("{cell} layers carry {kinds} states or none, got {}", states.len());
            return Err(Error::argument("Recurrent", message));
        }
        let initial = [0, 1].map(|which| states.get(which).copied());
        let states = self.stack.forward(tape, x, initial, None)?;
        Ok(RecurrentOutput { output: states.output, states, kinds })
    }
}
