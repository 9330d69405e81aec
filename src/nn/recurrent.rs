//! What the layers RNN, LSTM and GRU have in common: layers one above the other, directions, shapes, dropout between layers.

use crate::error::{Error, Result};
use crate::ops::dropout;
use crate::ops::recurrent::{Cell, Chains, Lengths, Order, RecurrentWeights, Sizes, Stacked, fits, stagger};
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};

/// The options of all kinds together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    pub cell: Cell,
    pub input_size: usize,
    pub hidden_size: usize,
    pub num_layers: usize,
    pub bias: bool,
    pub batch_first: bool,
    pub dropout: f64,
    pub bidirectional: bool,
    /// 0: none.
    pub proj_size: usize,
}

impl Config {
    /// D: how many directions there are.
    fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// S: the size of h.
    fn state_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }
}

/// The parameters of one layer in one direction, or of a single cell.
#[derive(Clone, Debug)]
pub struct Weights {
    w_ih: ParameterId,
    w_hh: ParameterId,
    biases: Option<[ParameterId; 2]>,
    w_hr: Option<ParameterId>,
}

impl Weights {
    /// Makes them. Each is called `prefix`, then PyTorch's name, then `suffix`.
    pub fn new(
        init: &mut Initializer,
        (prefix, suffix): (&str, &str),
        config: &Config,
        input_size: usize,
    ) -> Weights {
        let Config { hidden_size: hidden, bias, proj_size, .. } = *config;
        let bound = 1.0 / (hidden as f32).sqrt();
        // A number that is too large to count is refused when the parameters are built.
        let rows = config.cell.parts().saturating_mul(hidden);
        let mut parameter =
            |name: &str, shape: &[usize]| init.uniform(format!("{prefix}{name}{suffix}"), shape, bound);
        Weights {
            w_ih: parameter("weight_ih", &[rows, input_size]),
            w_hh: parameter("weight_hh", &[rows, config.state_size()]),
            biases: bias.then(|| [parameter("bias_ih", &[rows]), parameter("bias_hh", &[rows])]),
            w_hr: (proj_size > 0).then(|| parameter("weight_hr", &[proj_size, hidden])),
        }
    }

    /// The parameters as values of the tape.
    fn on(&self, tape: &mut Tape) -> Result<RecurrentWeights> {
        let biases = match self.biases {
            Some([b_ih, b_hh]) => Some([tape.parameter(b_ih)?, tape.parameter(b_hh)?]),
            None => None,
        };
        let w_hr = self.w_hr.map(|w_hr| tape.parameter(w_hr)).transpose()?;
        Ok(RecurrentWeights {
            w_ih: tape.parameter(self.w_ih)?,
            w_hh: tape.parameter(self.w_hh)?,
            biases,
            w_hr,
        })
    }

    /// Runs x [T, B, I] through two directions of a layer at once, each from its states h and c: the outputs side by side, and the
    /// final states of each.
    fn run_both(
        [first, second]: [&Weights; 2],
        tape: &mut Tape,
        cell: Cell,
        x: Var,
        states: [[Option<Var>; 2]; 2],
        lengths: Option<&Lengths>,
    ) -> Result<(Var, [[Option<Var>; 2]; 2])> {
        let weights = [first.on(tape)?, second.on(tape)?];
        let h0 = states.map(|[h0, _]| h0);
        let (y, h, c) = match cell {
            Cell::Rnn(nonlinearity) => {
                let [y, first, second] = tape.bidirectional_rnn(x, h0, weights, nonlinearity, lengths)?;
                (y, [first, second], [None; 2])
            }
            Cell::Gru => {
                let [y, first, second] = tape.bidirectional_gru(x, h0, weights, lengths)?;
                (y, [first, second], [None; 2])
            }
            Cell::Lstm => {
                let [y, h, h_reverse, c, c_reverse] = tape.bidirectional_lstm(x, states, weights, lengths)?;
                (y, [h, h_reverse], [Some(c), Some(c_reverse)])
            }
        };
        Ok((y, [[Some(h[0]), c[0]], [Some(h[1]), c[1]]]))
    }

    /// Runs x [T, B, I] through the layer from the states h and c, 0 where not given: its output and final states. Only an
    /// LSTM has a second state.
    pub fn run(
        &self,
        tape: &mut Tape,
        cell: Cell,
        x: Var,
        [h, c]: [Option<Var>; 2],
        order: Order<'_>,
    ) -> Result<(Var, [Option<Var>; 2])> {
        let weights = self.on(tape)?;
        Ok(match cell {
            Cell::Rnn(nonlinearity) => {
                let [y, h] = tape.rnn(x, h, weights, nonlinearity, order)?;
                (y, [Some(h), None])
            }
            Cell::Gru => {
                let [y, h] = tape.gru(x, h, weights, order)?;
                (y, [Some(h), None])
            }
            Cell::Lstm => {
                let [y, h, c] = tape.lstm(x, [h, c], weights, order)?;
                (y, [Some(h), Some(c)])
            }
        })
    }
}

/// The most layers: more are a mistake that would only use up the memory.
const MAX_LAYERS: usize = 1 << 16;

/// Layers of one kind, in one or both directions.
#[derive(Clone, Debug)]
pub struct Stack {
    op: &'static str,
    name: String,
    config: Config,
    /// By layer, then by direction.
    layers: Vec<Vec<Weights>>,
}

/// What a [`Stack`] returns.
#[derive(Clone, Debug)]
pub struct Output {
    pub output: Var,
    /// Of each layer and direction, h and c after its last step: [B, S] and [B, H].
    last: Vec<[Option<Var>; 2]>,
    unbatched: bool,
}

impl Output {
    /// The final states of a kind (0: h, 1: c): [L·D, B, size], or [L·D, size] of a single sequence.
    pub fn states(&self, tape: &mut Tape, which: usize) -> Result<Var> {
        let last: Vec<Var> = self.last.iter().filter_map(|states| states[which]).collect();
        let shape = tape.value(last[0])?.shape();
        let (batch, size, rows) = (shape[0], shape[1], last.len());
        let all = if rows == 1 { last[0] } else { tape.stack(&last, 0)? };
        match self.unbatched {
            true => tape.reshape(all, [rows, size]),
            false => tape.reshape(all, [rows, batch, size]),
        }
    }
}

impl Stack {
    pub fn new(init: &mut Initializer, op: &'static str, name: &str, config: Config) -> Result<Stack> {
        let Config { input_size, hidden_size, num_layers, proj_size, .. } = config;
        if input_size == 0 || hidden_size == 0 || num_layers == 0 {
            let message = format!(
                "{name}: sizes must be at least 1, got input_size {input_size}, hidden_size {hidden_size}, num_layers \
                 {num_layers}"
            );
            return Err(Error::argument(op, message));
        }
        if num_layers > MAX_LAYERS {
            let message = format!("{name}: num_layers must be at most {MAX_LAYERS}, got {num_layers}");
            return Err(Error::argument(op, message));
        }
        if proj_size >= hidden_size && proj_size > 0 {
            let message =
                format!("{name}: proj_size must be below hidden_size {hidden_size}, got {proj_size}");
            return Err(Error::argument(op, message));
        }
        if !dropout::is_probability(config.dropout) {
            let message = format!("{name}: dropout must be from 0 to 1, got {}", config.dropout);
            return Err(Error::argument(op, message));
        }
        if config.dropout > 0.0 && num_layers == 1 {
            log::warn!(
                "{op} {name}: dropout {} acts between layers, and there is only one: it does nothing",
                config.dropout
            );
        }
        let directions = config.directions();
        let mut layer = |k: usize| {
            let input_size = if k == 0 { input_size } else { directions.saturating_mul(config.state_size()) };
            let mut direction = |suffix: &str| {
                let names = (&*format!("{name}."), &*format!("_l{k}{suffix}"));
                Weights::new(init, names, &config, input_size)
            };
            ["", "_reverse"][..directions].iter().map(|suffix| direction(suffix)).collect()
        };
        Ok(Stack { op, name: name.into(), layers: (0..num_layers).map(&mut layer).collect(), config })
    }

    /// Runs x through the layers from the initial states, [L·D, B, size] (0 where not given).
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: Var,
        states: [Option<Var>; 2],
        lengths: Option<&Lengths>,
    ) -> Result<Output> {
        let shape = tape.value(x)?.shape();
        let Config { cell, input_size, hidden_size, num_layers, batch_first, dropout, .. } = self.config;
        if !matches!(shape.len(), 2 | 3) || shape.last() != Some(&input_size) {
            let expected = format!("input must be [.., {input_size}] of 2 or 3 dimensions, got {shape:?}");
            return self.refuse(&expected);
        }
        let unbatched = shape.len() == 2;
        let mut sequence = match unbatched {
            true => tape.reshape(x, [shape[0], 1, input_size])?,
            false if batch_first => tape.transpose(x, 0, 1)?,
            false => x,
        };
        let dims = tape.value(sequence)?.shape();
        let (time, batch) = (dims[0], dims[1]);
        let sizes = [self.config.state_size(), hidden_size];
        let mut initial = [None; 2];
        for which in 0..2 {
            initial[which] = states[which]
                .map(|state| {
                    self.initial_state(tape, (state, ["h0", "c0"][which]), batch, sizes[which], unbatched)
                })
                .transpose()?;
        }
        if time == 0 {
            return self.refuse("input must have at least one step, got none");
        }
        if let Some(Err(message)) = lengths.map(|lengths| lengths.check(time, batch)) {
            return self.refuse(&message);
        }
        let directions = self.config.directions();
        let mut before = Vec::with_capacity(num_layers * directions);
        for row in 0..num_layers * directions {
            let mut states = [None; 2];
            for (state, all) in states.iter_mut().zip(initial) {
                *state = all.map(|all| tape.select(all, 0, row)).transpose()?;
            }
            before.push(states);
        }
        let last;
        (sequence, last) = match self.stagger(tape, sequence)? {
            Some(stagger) => {
                let weights =
                    self.layers.iter().map(|layer| layer[0].on(tape)).collect::<Result<Vec<_>>>()?;
                let stacked = Stacked { stagger, dropout, lengths };
                tape.layers(cell, sequence, &before, &weights, stacked)?
            }
            None => self.one_after_the_other(tape, sequence, &before, lengths)?,
        };
        let output = match unbatched {
            true => {
                let width = tape.value(sequence)?.shape()[2];
                tape.reshape(sequence, [time, width])?
            }
            false if batch_first => tape.transpose(sequence, 0, 1)?,
            false => sequence,
        };
        Ok(Output { output, last, unbatched })
    }

    /// How many steps of x [T, B, I] each layer is to be behind the one below; `None` where each begins when that has ended.
    fn stagger(&self, tape: &Tape, x: Var) -> Result<Option<usize>> {
        let Config {
            cell, hidden_size: hidden, num_layers: layers, bidirectional, proj_size, dropout, ..
        } = self.config;
        let device = tape.device();
        let dropout = dropout > 0.0 && tape.training().is_some();
        // Whoever looks at the numbers of each layer wants each by itself, and so does the search for those that are not finite.
        let looked_at = device.keeps_values() || tape.detects_nonfinite();
        if bidirectional || proj_size > 0 || looked_at {
            return Ok(None);
        }
        let shape = tape.value(x)?.shape();
        let sizes = Sizes { time: shape[0], batch: shape[1], hidden, layers, dropout };
        Ok(stagger(cell, sizes, tape.precision()?.dtype(), device))
    }

    /// Runs x [T, B, I] through the layers, from the states before: the output, and the states after.
    fn one_after_the_other(
        &self,
        tape: &mut Tape,
        x: Var,
        before: &[[Option<Var>; 2]],
        lengths: Option<&Lengths>,
    ) -> Result<(Var, Vec<[Option<Var>; 2]>)> {
        let Config { cell, hidden_size, proj_size, dropout, .. } = self.config;
        let (shape, dtype) = (tape.value(x)?.shape(), tape.precision()?.dtype());
        let (sizes, binding) = ([shape[0], shape[1], hidden_size], tape.device().limits().binding);
        // With a projection each step is launches of its own, which directions cannot share.
        let both = Chains::Directions { reverse: false };
        let together = proj_size == 0 && fits(cell, both, 2, sizes, dtype, binding);
        let (mut sequence, mut last) = (x, Vec::with_capacity(before.len()));
        for (k, (layer, before)) in
            self.layers.iter().zip(before.chunks(self.config.directions())).enumerate()
        {
            sequence = match (&layer[..], before) {
                ([first, second], [before, before_reverse]) if together => {
                    let (both, before) = ([first, second], [*before, *before_reverse]);
                    let (y, after) = Weights::run_both(both, tape, cell, sequence, before, lengths)?;
                    last.extend(after);
                    y
                }
                _ => {
                    let mut outputs = Vec::with_capacity(layer.len());
                    for (d, (weights, before)) in layer.iter().zip(before).enumerate() {
                        let order = Order { reverse: d == 1, lengths };
                        let (y, after) = weights.run(tape, cell, sequence, *before, order)?;
                        outputs.push(y);
                        last.push(after);
                    }
                    if outputs.len() == 2 { tape.concat(&outputs, 2)? } else { outputs[0] }
                }
            };
            if k + 1 < self.layers.len() {
                sequence = tape.dropout(sequence, dropout)?;
            }
        }
        Ok((sequence, last))
    }

    /// The error of this layer.
    fn refuse<T>(&self, message: &str) -> Result<T> {
        Err(Error::argument(self.op, format!("{}: {message}", self.name)))
    }

    /// An initial state as [L·D, B, size], from [L·D, size] for a single sequence.
    fn initial_state(
        &self,
        tape: &mut Tape,
        (state, name): (Var, &str),
        batch: usize,
        size: usize,
        unbatched: bool,
    ) -> Result<Var> {
        let rows = self.config.num_layers * self.config.directions();
        let shape = tape.value(state)?.shape();
        let expected: &[usize] = if unbatched { &[rows, size] } else { &[rows, batch, size] };
        if *shape != *expected {
            return self.refuse(&format!("the initial state {name} must be {expected:?}, got {shape:?}"));
        }
        tape.reshape(state, [rows, batch, size])
    }
}
