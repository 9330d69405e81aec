//! Recurrent operations, layers and cells.

use std::sync::Arc;

use crate::error::Result;
use crate::nn::{
    CellConfig, Gru, GruCell, GruConfig, Lstm, LstmCell, LstmConfig, Rnn, RnnCell, RnnCellConfig, RnnConfig,
};
use crate::ops::indices::Indices;
use crate::ops::recurrent::{Cell, Lengths, Nonlinearity, Order, RecurrentWeights, Stacked};
use crate::parameters::Initializer;
use crate::tape::{DropoutStream, Tape, Var};
use crate::verify::gradients::Computation;

/// Every cell as an operation, as layers and as a single step, with each of its options.
pub fn layers() -> Vec<Computation> {
    let mut table = Vec::new();
    for nonlinearity in [Nonlinearity::Tanh, Nonlinearity::Relu] {
        for (bias, state) in [(false, false), (false, true), (true, false), (true, true)] {
            table.push(operation(Op::Rnn(nonlinearity), bias, state));
        }
    }
    for op in [Op::Lstm { projected: false }, Op::Lstm { projected: true }, Op::Gru] {
        table.extend([(false, false), (true, true)].map(|(bias, state)| operation(op, bias, state)));
    }
    table.extend([
        staggered(Cell::Rnn(Nonlinearity::Tanh), 3, true, false),
        staggered(Cell::Rnn(Nonlinearity::Tanh), 2, false, true),
        staggered(Cell::Lstm, 2, true, true),
        staggered(Cell::Gru, 2, true, true),
        staggered(Cell::Gru, 2, false, false),
    ]);
    let rnn = RnnConfig { input_size: 2, hidden_size: 3, ..RnnConfig::default() };
    let lstm = LstmConfig { input_size: 2, hidden_size: 3, ..LstmConfig::default() };
    let gru = GruConfig { input_size: 2, hidden_size: 3, ..GruConfig::default() };
    table.extend([
        looked_up(Layer::Rnn(rnn), false),
        looked_up(Layer::Lstm(lstm), false),
        looked_up(Layer::Gru(gru), false),
        looked_up(Layer::Lstm(LstmConfig { bidirectional: true, bias: false, ..lstm }), false),
        looked_up(Layer::Gru(GruConfig { num_layers: 2, bias: false, ..gru }), true),
        looked_up(Layer::Gru(GruConfig { batch_first: true, ..gru }), false),
    ]);
    let batch = |time| Data { time, batch: Some(3), states: true, lengths: false };
    let ragged = |time| Data { lengths: true, ..batch(time) };
    let single = |time| Data { batch: None, ..batch(time) };
    for (layer, data) in [
        (Layer::Rnn(RnnConfig { num_layers: 2, ..rnn }), batch(3)),
        (Layer::Rnn(RnnConfig { num_layers: 3, batch_first: true, ..rnn }), batch(4)),
        (
            Layer::Rnn(RnnConfig { num_layers: 2, bias: false, ..rnn }),
            Data { batch: Some(1), states: false, ..batch(3) },
        ),
        (Layer::Rnn(RnnConfig { num_layers: 2, nonlinearity: Nonlinearity::Relu, ..rnn }), single(3)),
        (Layer::Rnn(RnnConfig { num_layers: 2, bidirectional: true, ..rnn }), ragged(4)),
        (Layer::Rnn(RnnConfig { num_layers: 2, dropout: 0.5, ..rnn }), batch(3)),
        (Layer::Lstm(LstmConfig { num_layers: 2, ..lstm }), batch(3)),
        (Layer::Lstm(LstmConfig { bidirectional: true, batch_first: true, ..lstm }), ragged(4)),
        (
            Layer::Lstm(LstmConfig {
                num_layers: 2,
                bidirectional: true,
                proj_size: 2,
                dropout: 0.3,
                ..lstm
            }),
            ragged(3),
        ),
        (Layer::Lstm(LstmConfig { proj_size: 1, bias: false, ..lstm }), single(3)),
        (Layer::Lstm(lstm), Data { states: false, ..ragged(5) }),
        (Layer::Gru(GruConfig { num_layers: 2, ..gru }), batch(3)),
        (Layer::Gru(GruConfig { num_layers: 2, bidirectional: true, dropout: 0.5, ..gru }), ragged(4)),
        (
            Layer::Lstm(LstmConfig { bidirectional: true, bias: false, ..lstm }),
            Data { states: false, ..batch(3) },
        ),
        (Layer::Gru(GruConfig { bidirectional: true, ..gru }), Data { states: false, ..batch(3) }),
        (
            Layer::Gru(GruConfig { bias: false, batch_first: true, ..gru }),
            Data { states: false, ..ragged(5) },
        ),
        (Layer::Gru(gru), single(3)),
    ] {
        table.push(network(&layer, data.time, data.batch, data.states, data.lengths));
    }
    table.extend(cells());
    table.push(Computation::new("mask_steps", &[("x", &[3, 2, 2])], |tape, v| {
        let lengths = Lengths::new(tape.device(), &[3, 1])?;
        tape.mask_steps(v[0], &lengths)
    }));
    table.push(Computation::new("dropout", &[("x", &[5, 7])], |tape, v| {
        tape.set_training(Some(DropoutStream { seed: 1, calls: 5 }));
        tape.dropout(v[0], 0.4)
    }));
    table
}

/// What a layer is given: the arguments of [`network`].
#[derive(Clone, Copy)]
struct Data {
    time: usize,
    batch: Option<usize>,
    states: bool,
    lengths: bool,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Rnn(Nonlinearity),
    Lstm { projected: bool },
    Gru,
}

/// A recurrent operation with gradients of everything that goes in. Its result is the output; in [`network`] gradients come from
/// the final states too.
fn operation(op: Op, bias: bool, state: bool) -> Computation {
    let name = format!("{op:?}, bias {bias}, initial state {state}");
    let (parts, width) = match op {
        Op::Rnn(_) => (1, 3),
        Op::Lstm { projected } => (4, if projected { 2 } else { 3 }),
        Op::Gru => (3, 3),
    };
    let (input, recurrent, column) = ([3 * parts, 2], [3 * parts, width], [3 * parts]);
    let mut inputs: Vec<(&str, &[usize])> = vec![("x", &[4, 2, 2]), ("w_ih", &input), ("w_hh", &recurrent)];
    if bias {
        inputs.extend([("b_ih", &column[..]), ("b_hh", &column)]);
    }
    let projection = [width, 3];
    if width != 3 {
        inputs.push(("w_hr", &projection));
    }
    let (h0, c0) = ([2, width], [2, 3]);
    if state {
        inputs.push(("h0", &h0));
        if matches!(op, Op::Lstm { .. }) {
            inputs.push(("c0", &c0));
        }
    }
    Computation::new(name, &inputs, move |tape, v| {
        let mut rest = v[3..].iter().copied();
        let mut next = |given: bool| given.then(|| rest.next().expect("as many inputs as were named"));
        let biases = next(bias).zip(next(bias)).map(|(b_ih, b_hh)| [b_ih, b_hh]);
        let w_hr = next(width != 3);
        let weights = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases, w_hr };
        let (h0, c0) = (next(state), next(state && matches!(op, Op::Lstm { .. })));
        let order = Order::default();
        Ok(match op {
            Op::Rnn(nonlinearity) => tape.rnn(v[0], h0, weights, nonlinearity, order)?[0],
            Op::Lstm { .. } => tape.lstm(v[0], [h0, c0], weights, order)?[0],
            Op::Gru => tape.gru(v[0], h0, weights, order)?[0],
        })
    })
}

/// Layers that share their launches, each some steps behind the one below, with gradients of everything that goes in. With `bias`
/// there is dropout between them; with `states` they begin from initial states, and sequences end early. The result is Σ output ⊙ c
/// + Σ h_n ⊙ d over the final states, of which each has a weight of its own.
fn staggered(cell: Cell, layers: usize, bias: bool, states: bool) -> Computation {
    // Two whole blocks and a part of one.
    const TIME: usize = 10;
    const BATCH: usize = 4;
    const HIDDEN: usize = 4;
    let name =
        format!("{layers} layers at once of {cell:?}, bias {bias}, initial states and lengths {states}");
    let rows = cell.parts() * HIDDEN;
    let (first, weight, column, state) = ([rows, 2], [rows, HIDDEN], [rows], [BATCH, HIDDEN]);
    let kinds = if cell == Cell::Lstm { 2 } else { 1 };
    let mut inputs: Vec<(&str, &[usize])> = vec![("x", &[TIME, BATCH, 2]), ("c", &[TIME, BATCH, HIDDEN])];
    for layer in 0..layers {
        inputs.push(("w_ih", if layer == 0 { &first } else { &weight }));
        inputs.push(("w_hh", &weight));
        inputs.extend([("b", &column[..]); 2].into_iter().filter(|_| bias));
        inputs.extend([("state", &state[..]); 2].into_iter().take(kinds).filter(|_| states));
        inputs.extend([("d", &state[..]); 2].into_iter().take(kinds));
    }
    Computation::new(name, &inputs, move |tape, v| {
        let mut rest = v[2..].iter().copied();
        let mut next = || rest.next().expect("as many inputs as were named");
        let (mut all, mut initial, mut finals) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..layers {
            let [w_ih, w_hh] = [next(), next()];
            let biases = bias.then(|| [next(), next()]);
            all.push(RecurrentWeights { w_ih, w_hh, biases, w_hr: None });
            let h0 = states.then(&mut next);
            let c0 = (states && kinds == 2).then(&mut next);
            initial.push([h0, c0]);
            finals.extend((0..kinds).map(|_| next()));
        }
        let stagger = tape.value(v[0])?.dtype().alignment() / (BATCH * HIDDEN);
        let lengths = states.then(|| Lengths::new(tape.device(), &[10, 3, 4, 1])).transpose()?;
        tape.set_training(Some(DropoutStream { seed: 3, calls: 0 }));
        let dropout = if bias { 0.3 } else { 0.0 };
        let stacked = Stacked { stagger, dropout, lengths: lengths.as_ref() };
        let (y, last) = tape.layers(cell, v[0], &initial, &all, stacked)?;
        let mut total = weighted(tape, y, v[1])?;
        for (state, weight) in last.into_iter().flatten().flatten().zip(finals) {
            let part = weighted(tape, state, weight)?;
            total = tape.add(total, part)?;
        }
        Ok(total)
    })
}

/// Layers of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// torch.nn.RNN.
    Rnn(RnnConfig),
    /// torch.nn.LSTM.
    Lstm(LstmConfig),
    /// torch.nn.GRU.
    Gru(GruConfig),
}

/// A layer that has been made.
enum Made {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

impl Layer {
    fn make(&self, init: &mut Initializer) -> Result<Made> {
        Ok(match self {
            Layer::Rnn(config) => Made::Rnn(Rnn::new(init, "rnn", config)?),
            Layer::Lstm(config) => Made::Lstm(Lstm::new(init, "rnn", config)?),
            Layer::Gru(config) => Made::Gru(Gru::new(init, "rnn", config)?),
        })
    }

    /// Input size, rows of the final states, sizes of h and of c, directions, and whether it is batch-first.
    fn sizes(&self) -> (usize, usize, [usize; 2], usize, bool) {
        let (input, layers, sizes, bidirectional, batch_first) = match *self {
            Layer::Rnn(c) => (c.input_size, c.num_layers, [c.hidden_size; 2], c.bidirectional, c.batch_first),
            Layer::Gru(c) => (c.input_size, c.num_layers, [c.hidden_size; 2], c.bidirectional, c.batch_first),
            Layer::Lstm(c) => {
                let width = if c.proj_size > 0 { c.proj_size } else { c.hidden_size };
                (c.input_size, c.num_layers, [width, c.hidden_size], c.bidirectional, c.batch_first)
            }
        };
        let directions = if bidirectional { 2 } else { 1 };
        (input, layers * directions, sizes, directions, batch_first)
    }
}

impl Made {
    /// Output and final states.
    fn run(
        &self,
        tape: &mut Tape,
        x: Var,
        states: &[Var],
        lengths: Option<&Lengths>,
    ) -> Result<(Var, Vec<Var>)> {
        let h0 = states.first().copied();
        let rnn =
            |tape: &mut Tape, states: crate::nn::RnnOutput| Ok((states.output, vec![states.h_n(tape)?]));
        match self {
            Made::Rnn(layer) => layer.run(tape, x, h0, lengths).and_then(|s| rnn(tape, s)),
            Made::Gru(layer) => layer.run(tape, x, h0, lengths).and_then(|s| rnn(tape, s)),
            Made::Lstm(layer) => {
                let result = layer.run(tape, x, h0.map(|h0| [h0, states[1]]), lengths)?;
                Ok((result.output, vec![result.h_n(tape)?, result.c_n(tape)?]))
            }
        }
    }
}

/// Recurrent layers as a computation. They read a batch of sequences, or one sequence without the batch dimension (`None`), of
/// `time` steps each, or with `lengths` of 1, 2, .. `time`, 1, .. steps.
///
/// The result is Σ output ⊙ c + Σ h_n ⊙ d (+ Σ c_n ⊙ e), so that gradients come from all that the layers give. The gradients of
/// c, d and e are the output and the final states themselves, so that these are compared too. Dropout is on.
pub fn network(layer: &Layer, time: usize, batch: Option<usize>, states: bool, lengths: bool) -> Computation {
    let (input, rows, sizes, directions, batch_first) = layer.sizes();
    let sequence = |width| match batch {
        None => vec![time, width],
        Some(batch) if batch_first => vec![batch, time, width],
        Some(batch) => vec![time, batch, width],
    };
    let state = |size| match batch {
        None => vec![rows, size],
        Some(batch) => vec![rows, batch, size],
    };
    let (x, c) = (sequence(input), sequence(directions * sizes[0]));
    let (h_n, c_n) = (state(sizes[0]), state(sizes[1]));
    let lstm = matches!(layer, Layer::Lstm(_));
    let mut inputs = vec![("x", &x[..]), ("c", &c), ("d", &h_n)];
    if lstm {
        inputs.push(("e", &c_n));
    }
    if states {
        inputs.push(("h0", &h_n));
        if lstm {
            inputs.push(("c0", &c_n));
        }
    }
    let name = format!("{layer:?}, time {time}, batch {batch:?}, states {states}, lengths {lengths}");
    let (layer, finals) = (*layer, if lstm { 2 } else { 1 });
    let lengths: Option<Vec<usize>> =
        lengths.then(|| (0..batch.unwrap_or(1)).map(|row| row % time + 1).collect());
    Computation::of_model(name, &inputs, move |init| {
        let (layer, lengths) = (layer.make(init)?, lengths.clone());
        Ok(Arc::new(move |tape, v| {
            tape.set_training(Some(DropoutStream { seed: 3, calls: 0 }));
            let lengths = lengths.as_ref().map(|l| Lengths::new(tape.device(), l)).transpose()?;
            let (output, last) = layer.run(tape, v[0], &v[2 + finals..], lengths.as_ref())?;
            let mut total = weighted(tape, output, v[1])?;
            for (state, weight) in last.into_iter().zip(&v[2..]) {
                let part = weighted(tape, state, *weight)?;
                total = tape.add(total, part)?;
            }
            Ok(total)
        }))
    })
}

/// Recurrent layers over rows of a table of few. The result is Σ output ⊙ c + Σ x ⊙ d, so that the table gets gradients from the
/// layers and from the look-up; one of its rows is never looked up.
fn looked_up(layer: Layer, ragged: bool) -> Computation {
    // So many steps that the table is few in half precision too.
    let (time, batch) = (14, 3);
    let tokens: [i32; 42] = std::array::from_fn(|n| (n * n % 5) as i32);
    let (input, _, sizes, directions, batch_first) = layer.sizes();
    let name = format!("{layer:?} over rows of a table, lengths {ragged}");
    let lead = if batch_first { [batch, time] } else { [time, batch] };
    let of_steps = |width: usize| [lead[0], lead[1], width];
    let (table, c, d) = ([5, input], of_steps(directions * sizes[0]), of_steps(input));
    Computation::of_model(name, &[("table", &table), ("c", &c), ("d", &d)], move |init| {
        let layer = layer.make(init)?;
        Ok(Arc::new(move |tape, v| {
            let tokens = Indices::new(tape.device(), lead, &tokens)?;
            let lengths = ragged.then(|| Lengths::new(tape.device(), &[14, 1, 2])).transpose()?;
            let x = tape.embedding(&tokens, v[0], None)?;
            let (output, _) = layer.run(tape, x, &[], lengths.as_ref())?;
            let (output, x) = (weighted(tape, output, v[1])?, weighted(tape, x, v[2])?);
            tape.add(output, x)
        }))
    })
}

/// Σ x ⊙ weight.
fn weighted(tape: &mut Tape, x: Var, weight: Var) -> Result<Var> {
    let product = tape.mul(x, weight)?;
    tape.sum(product)
}

/// The cells, which compute a single step.
fn cells() -> Vec<Computation> {
    let config = CellConfig { input_size: 2, hidden_size: 3, bias: true };
    vec![
        Computation::of_model("RnnCell", &[("x", &[4, 2]), ("h", &[4, 3])], |init| {
            let config = RnnCellConfig { input_size: 2, hidden_size: 3, ..RnnCellConfig::default() };
            let cell = RnnCell::new(init, "cell", &config)?;
            Ok(Arc::new(move |tape, v| cell.forward(tape, v[0], Some(v[1]))))
        }),
        Computation::of_model("GruCell", &[("x", &[2]), ("h", &[3])], move |init| {
            let cell = GruCell::new(init, "cell", &config)?;
            Ok(Arc::new(move |tape, v| cell.forward(tape, v[0], Some(v[1]))))
        }),
        Computation::of_model("LstmCell", &[("x", &[4, 2]), ("h", &[4, 3]), ("c", &[4, 3])], move |init| {
            let cell = LstmCell::new(init, "cell", &config)?;
            Ok(Arc::new(move |tape, v| {
                let [h, c] = cell.forward(tape, v[0], Some([v[1], v[2]]))?;
                tape.mul(h, c)
            }))
        }),
    ]
}
