//! Layers that make a single step at a time: torch.nn.RNNCell, LSTMCell and GRUCell.

use super::recurrent::{Config, Weights};
use crate::error::{Error, Result};
use crate::ops::recurrent::{Cell, Nonlinearity, Order};
use crate::parameters::Initializer;
use crate::tape::{Tape, Var};

/// The sizes of an [`LstmCell`] or a [`GruCell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellConfig {
    /// I: features of the input.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// Whether there are biases.
    pub bias: bool,
}

impl Default for CellConfig {
    fn default() -> Self {
        CellConfig { input_size: 1, hidden_size: 1, bias: true }
    }
}

/// The options of an [`RnnCell`], with the names and defaults of torch.nn.RNNCell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnnCellConfig {
    /// I: features of the input.
    pub input_size: usize,
    /// H: features of the state.
    pub hidden_size: usize,
    /// Whether there are biases.
    pub bias: bool,
    /// The activation.
    pub nonlinearity: Nonlinearity,
}

impl Default for RnnCellConfig {
    fn default() -> Self {
        RnnCellConfig { input_size: 1, hidden_size: 1, bias: true, nonlinearity: Nonlinearity::Tanh }
    }
}

/// One step of an [`Rnn`](super::Rnn) with one layer, as torch.nn.RNNCell. Parameters: `weight_ih` [H, I], `weight_hh` [H, H],
/// and with `bias` `bias_ih` `[H]` and `bias_hh` `[H]`; all begin with random numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct RnnCell(Single);

/// One step of an [`Lstm`](super::Lstm) with one layer, as torch.nn.LSTMCell. Parameters, with rows in the order i, f, g, o:
/// `weight_ih` [4H, I], `weight_hh` [4H, H], and with `bias` `bias_ih` `[4H]` and `bias_hh` `[4H]`; all begin with random
/// numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct LstmCell(Single);

/// One step of a [`Gru`](super::Gru) with one layer, as torch.nn.GRUCell. Parameters, with rows in the order r, z, n:
/// `weight_ih` [3H, I], `weight_hh` [3H, H], and with `bias` `bias_ih` `[3H]` and `bias_hh` `[3H]`; all begin with random
/// numbers from U(−1/√H, 1/√H).
#[derive(Clone, Debug)]
pub struct GruCell(Single);

#[derive(Clone, Debug)]
struct Single {
    op: &'static str,
    name: String,
    cell: Cell,
    input_size: usize,
    hidden_size: usize,
    weights: Weights,
}

impl RnnCell {
    /// Makes the cell and its parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &RnnCellConfig) -> Result<RnnCell> {
        let RnnCellConfig { input_size, hidden_size, bias, nonlinearity } = *config;
        let config = CellConfig { input_size, hidden_size, bias };
        Ok(RnnCell(Single::new(init, "RnnCell", name, Cell::Rnn(nonlinearity), &config)?))
    }

    /// The state after x [B, I] (`[I]` for a single sequence) from the state h [B, H] (`[H]`; 0 where not given).
    ///
    /// # Errors
    /// [`Error::Argument`] when shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var, h: Option<Var>) -> Result<Var> {
        Ok(self.0.forward(tape, x, [h, None])?.0)
    }
}

impl GruCell {
    /// Makes the cell and its parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &CellConfig) -> Result<GruCell> {
        Ok(GruCell(Single::new(init, "GruCell", name, Cell::Gru, config)?))
    }

    /// As [`RnnCell::forward`].
    ///
    /// # Errors
    /// As [`RnnCell::forward`].
    pub fn forward(&self, tape: &mut Tape, x: Var, h: Option<Var>) -> Result<Var> {
        Ok(self.0.forward(tape, x, [h, None])?.0)
    }
}

impl LstmCell {
    /// Makes the cell and its parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &CellConfig) -> Result<LstmCell> {
        Ok(LstmCell(Single::new(init, "LstmCell", name, Cell::Lstm, config)?))
    }

    /// The states h and c after x [B, I] (`[I]` for a single sequence) from the states h and c, each [B, H] (`[H]`; 0 where
    /// not given).
    ///
    /// # Errors
    /// As [`RnnCell::forward`].
    pub fn forward(&self, tape: &mut Tape, x: Var, states: Option<[Var; 2]>) -> Result<[Var; 2]> {
        let (h, c) = self.0.forward(tape, x, [states.map(|s| s[0]), states.map(|s| s[1])])?;
        Ok([h, c.expect("an LSTM has a second state")])
    }
}

impl Single {
    fn new(
        init: &mut Initializer,
        op: &'static str,
        name: &str,
        cell: Cell,
        config: &CellConfig,
    ) -> Result<Single> {
        let CellConfig { input_size, hidden_size, bias } = *config;
        if input_size == 0 || hidden_size == 0 {
            let message = format!(
                "{name}: sizes must be at least 1, got input_size {input_size}, hidden_size {hidden_size}"
            );
            return Err(Error::argument(op, message));
        }
        let config = Config {
            cell,
            input_size,
            hidden_size,
            num_layers: 1,
            bias,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            proj_size: 0,
        };
        let weights = Weights::new(init, (&format!("{name}."), ""), &config, input_size);
        Ok(Single { op, name: name.into(), cell, input_size, hidden_size, weights })
    }

    /// A sequence of one step.
    fn forward(&self, tape: &mut Tape, x: Var, states: [Option<Var>; 2]) -> Result<(Var, Option<Var>)> {
        let shape = tape.value(x)?.shape();
        let batch = match *shape {
            [features] if features == self.input_size => None,
            [batch, features] if features == self.input_size => Some(batch),
            _ => {
                let size = self.input_size;
                let name = &self.name;
                let message = format!("{name}: input must be [B, {size}] or [{size}], got {shape:?}");
                return Err(Error::argument(self.op, message));
            }
        };
        let sequence = tape.reshape(x, [1, batch.unwrap_or(1), self.input_size])?;
        let mut before = [None; 2];
        for (before, state) in before.iter_mut().zip(states.into_iter().zip(["h", "c"])) {
            *before = match state {
                (Some(state), name) => Some(self.state(tape, (state, name), batch)?),
                (None, _) => None,
            };
        }
        let (_, [h, c]) = self.weights.run(tape, self.cell, sequence, before, Order::default())?;
        let mut after = |state: Var| match batch {
            Some(_) => Ok(state),
            None => tape.reshape(state, [self.hidden_size]),
        };
        Ok((after(h.expect("every cell has a state"))?, c.map(after).transpose()?))
    }

    /// A state as [B, H].
    fn state(&self, tape: &mut Tape, (state, which): (Var, &str), batch: Option<usize>) -> Result<Var> {
        let shape = tape.value(state)?.shape();
        let expected = match batch {
            Some(batch) => vec![batch, self.hidden_size],
            None => vec![self.hidden_size],
        };
        if *shape != *expected {
            let message = format!("{}: the state {which} must be {expected:?}, got {shape:?}", self.name);
            return Err(Error::argument(self.op, message));
        }
        tape.reshape(state, [batch.unwrap_or(1), self.hidden_size])
    }
}
