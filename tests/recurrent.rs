//! What recurrent layers promise besides their gradients: they compute the same as simple operations put together, rows of a batch
//! do not affect each other, a sequence may be cut in two, and padding changes nothing.

mod common;

use bptt::cpu::real::Bounded;
use bptt::device::{Detail, Device, GpuOptions, Host};
use bptt::kernel::Dtype;
use bptt::nn::{CellKind, Recurrent, RecurrentConfig};
use bptt::ops::recurrent::{Order, RecurrentWeights, Stacked};
use bptt::plans::Plans;
use bptt::prelude::*;
use common::{devices, open_gpu};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

const CELLS: [Cell; 3] = [Cell::Rnn, Cell::Lstm, Cell::Gru];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Rnn,
    Lstm,
    Gru,
}

/// A layer of one direction with its inputs, which follow from a seed.
#[derive(Clone, Copy, Debug)]
struct Problem {
    cell: Cell,
    time: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    seed: u64,
}

/// The inputs on a tape: x, w_ih, w_hh, b_ih, b_hh, h0, c0.
type Inputs = [Var; 7];

impl Problem {
    fn parts(&self) -> usize {
        match self.cell {
            Cell::Rnn => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    fn shapes(&self) -> [Vec<usize>; 7] {
        let Problem { time, batch, input, hidden, .. } = *self;
        let rows = self.parts() * hidden;
        [
            vec![time, batch, input],
            vec![rows, input],
            vec![rows, hidden],
            vec![rows],
            vec![rows],
            vec![batch, hidden],
            vec![batch, hidden],
        ]
    }

    fn tensors(&self, device: &Device) -> [Tensor; 7] {
        let mut stream = 0;
        self.shapes().map(|shape| {
            stream += 1;
            Tensor::uniform(device, &shape[..], [-1.0, 1.0], self.seed, stream).unwrap()
        })
    }

    /// The layer: all h and the final states.
    fn run(&self, tape: &mut Tape, v: &Inputs, order: Order<'_>) -> (Var, Vec<Var>) {
        let [x, w_ih, w_hh, b_ih, b_hh, h0, c0] = *v;
        let weights = RecurrentWeights { w_ih, w_hh, biases: Some([b_ih, b_hh]), w_hr: None };
        match self.cell {
            Cell::Rnn => {
                let [y, h] = tape.rnn(x, Some(h0), weights, Nonlinearity::Tanh, order).unwrap();
                (y, vec![h])
            }
            Cell::Gru => {
                let [y, h] = tape.gru(x, Some(h0), weights, order).unwrap();
                (y, vec![h])
            }
            Cell::Lstm => {
                let [y, h, c] = tape.lstm(x, [Some(h0), Some(c0)], weights, order).unwrap();
                (y, vec![h, c])
            }
        }
    }

    /// The same from linear layers and elementwise operations.
    fn composed(&self, tape: &mut Tape, v: &Inputs) -> Var {
        let [x, w_ih, w_hh, b_ih, b_hh, mut h, mut c] = *v;
        let (parts, hidden) = (self.parts(), self.hidden);
        let part = |tape: &mut Tape, all: Var, width: Option<usize>, k: usize| {
            let dims: Vec<usize> = [parts, hidden].into_iter().chain(width).collect();
            let all = tape.reshape(all, &dims[..]).unwrap();
            tape.select(all, 0, k).unwrap()
        };
        let mut states = Vec::new();
        for step in 0..self.time {
            let x = tape.select(x, 0, step).unwrap();
            let sums = |tape: &mut Tape, k: usize| {
                let (w, b) = (part(tape, w_ih, Some(self.input), k), part(tape, b_ih, None, k));
                let from_x = tape.linear(x, w, Some(b)).unwrap();
                let (w, b) = (part(tape, w_hh, Some(hidden), k), part(tape, b_hh, None, k));
                [from_x, tape.linear(h, w, Some(b)).unwrap()]
            };
            let gate = |tape: &mut Tape, k: usize| {
                let [a, b] = sums(tape, k);
                tape.add(a, b).unwrap()
            };
            match self.cell {
                Cell::Rnn => {
                    let a = gate(tape, 0);
                    h = tape.tanh(a).unwrap();
                }
                Cell::Lstm => {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|k| gate(tape, k));
                    let [i, f, o] = [i, f, o].map(|a| tape.sigmoid(a).unwrap());
                    let g = tape.tanh(g).unwrap();
                    let (kept, new) = (tape.mul(f, c).unwrap(), tape.mul(i, g).unwrap());
                    c = tape.add(kept, new).unwrap();
                    let squashed = tape.tanh(c).unwrap();
                    h = tape.mul(o, squashed).unwrap();
                }
                Cell::Gru => {
                    let [r, z] = [0, 1].map(|k| gate(tape, k)).map(|a| tape.sigmoid(a).unwrap());
                    let [from_x, q] = sums(tape, 2);
                    let reset = tape.mul(r, q).unwrap();
                    let n = tape.add(from_x, reset).unwrap();
                    let n = tape.tanh(n).unwrap();
                    // n + z ⊙ (h − n)
                    let minus = tape.scale(n, -1.0).unwrap();
                    let difference = tape.add(h, minus).unwrap();
                    let step = tape.mul(z, difference).unwrap();
                    h = tape.add(n, step).unwrap();
                }
            }
            states.push(h);
        }
        tape.stack(&states, 0).unwrap()
    }
}

fn inputs(tape: &mut Tape, tensors: &[Tensor; 7]) -> Inputs {
    std::array::from_fn(|i| tape.input(&tensors[i]))
}

/// The result and the gradients of all inputs of Σ result ⊙ cotangent.
fn outcome(
    device: &Device,
    tensors: &[Tensor; 7],
    run: impl FnOnce(&mut Tape, &Inputs) -> Var,
) -> Vec<Option<Vec<f64>>> {
    let mut tape = Tape::without_parameters(device);
    let v = inputs(&mut tape, tensors);
    let result = run(&mut tape, &v);
    let y = tape.value(result).unwrap().clone();
    let cotangent = Tensor::uniform(device, y.shape(), [-1.0, 1.0], 77, 0).unwrap();
    tape.backward_from(result, &cotangent).unwrap();
    let gradient = |v: &Var| tape.gradient(*v).unwrap().map(|g| g.to_f64().unwrap());
    std::iter::once(Some(y.to_f64().unwrap())).chain(v.iter().map(gradient)).collect()
}

/// Row b of the first `outer` steps of values [.., batch, width].
fn row<T: Copy>(values: &[T], batch: usize, outer: usize, b: usize, width: usize) -> Vec<T> {
    (0..outer).flat_map(|o| values[(o * batch + b) * width..][..width].iter().copied()).collect()
}

fn problems() -> impl Strategy<Value = Problem> {
    let sizes = (1..=6usize, 1..=5usize, 1..=7usize, prop_oneof![1..=9usize, 31..=33usize]);
    (select(CELLS.to_vec()), sizes, any::<u64>()).prop_map(|(cell, (time, batch, input, hidden), seed)| {
        Problem { cell, time, batch, input, hidden, seed }
    })
}

/// Layers one above the other with their inputs, which follow from a seed.
#[derive(Clone, Debug)]
struct Pile {
    /// The lowest layer.
    lowest: Problem,
    layers: usize,
    /// How many steps each is behind the one below.
    stagger: usize,
    lengths: Option<Vec<usize>>,
    /// Whether there are initial states.
    states: bool,
    /// The probability of dropout between the layers.
    dropout: f64,
}

impl Pile {
    /// x, and of each layer w_ih, w_hh, b_ih, b_hh and where they are given h0 and c0.
    fn tensors(&self, device: &Device) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        for layer in 0..self.layers {
            let input = if layer == 0 { self.lowest.input } else { self.lowest.hidden };
            let seed = self.lowest.seed.wrapping_add(layer as u64);
            let problem = Problem { input, seed, ..self.lowest };
            let own = problem.tensors(device);
            tensors.extend(own[usize::from(layer > 0)..5].iter().cloned());
            tensors.extend(own[5..].iter().take(self.kinds()).cloned());
        }
        tensors
    }

    /// How many initial states of a layer are given.
    fn kinds(&self) -> usize {
        match (self.states, self.lowest.cell) {
            (false, _) => 0,
            (true, Cell::Lstm) => 2,
            (true, _) => 1,
        }
    }

    /// All h of the uppermost layer, and the final states of each, h first.
    fn run(&self, tape: &mut Tape, v: &[Var], lengths: Option<&Lengths>, at_once: bool) -> Vec<Var> {
        let (mut states, mut weights) = (Vec::new(), Vec::new());
        for own in v[1..].chunks(4 + self.kinds()) {
            states.push([own.get(4).copied(), own.get(5).copied()]);
            weights.push(RecurrentWeights {
                w_ih: own[0],
                w_hh: own[1],
                biases: Some([own[2], own[3]]),
                w_hr: None,
            });
        }
        let h0: Vec<_> = states.iter().map(|[h0, _]| *h0).collect();
        let (x, order) = (v[0], Order { reverse: false, lengths });
        let evaluating = self.lowest.seed.is_multiple_of(3);
        tape.set_training(Some(DropoutStream { seed: 3, calls: 7 }).filter(|_| !evaluating));
        if at_once {
            let stacked = Stacked { stagger: self.stagger, dropout: self.dropout, lengths };
            let (y, last) = match self.lowest.cell {
                Cell::Rnn => tape.rnn_layers(x, &h0, &weights, Nonlinearity::Tanh, stacked).unwrap(),
                Cell::Gru => tape.gru_layers(x, &h0, &weights, stacked).unwrap(),
                Cell::Lstm => {
                    let (y, last) = tape.lstm_layers(x, &states, &weights, stacked).unwrap();
                    (y, last.into_iter().flatten().collect())
                }
            };
            return std::iter::once(y).chain(last).collect();
        }
        let (mut y, mut last) = (x, Vec::new());
        for (layer, (states, weights)) in states.into_iter().zip(weights).enumerate() {
            if layer > 0 {
                y = tape.dropout(y, self.dropout).unwrap();
            }
            let outputs = match self.lowest.cell {
                Cell::Rnn => tape.rnn(y, states[0], weights, Nonlinearity::Tanh, order).unwrap().to_vec(),
                Cell::Gru => tape.gru(y, states[0], weights, order).unwrap().to_vec(),
                Cell::Lstm => tape.lstm(y, states, weights, order).unwrap().to_vec(),
            };
            y = outputs[0];
            last.extend_from_slice(&outputs[1..]);
        }
        std::iter::once(y).chain(last).collect()
    }
}

impl Pile {
    /// The outputs, and the gradients of all inputs of Σ output ⊙ weight.
    fn outcome(&self, device: &Device, at_once: bool) -> Vec<Vec<f64>> {
        let mut tape = Tape::without_parameters(device);
        let v: Vec<Var> = self.tensors(device).iter().map(|tensor| tape.input(tensor)).collect();
        let given = self.lengths.as_ref().map(|lengths| Lengths::new(device, lengths).unwrap());
        let outputs = self.run(&mut tape, &v, given.as_ref(), at_once);
        let mut total = None;
        for (k, output) in outputs.iter().enumerate() {
            let shape = tape.value(*output).unwrap().shape();
            let weight = tape.constant(&Tensor::uniform(device, shape, [-1.0, 1.0], 9, k as u32).unwrap());
            let part = tape.mul(*output, weight).unwrap();
            let part = tape.sum(part).unwrap();
            total = Some(total.map_or(part, |total| tape.add(total, part).unwrap()));
        }
        tape.backward(total.unwrap()).unwrap();
        let outputs: Vec<_> = outputs.iter().map(|var| tape.value(*var).unwrap().to_f64().unwrap()).collect();
        let gradients = v.iter().map(|var| tape.gradient(*var).unwrap().unwrap().to_f64().unwrap());
        outputs.into_iter().chain(gradients).collect()
    }
}

fn piles() -> impl Strategy<Value = Pile> {
    let sizes = (1..=40usize, select(vec![1, 2, 4usize]), 1..=5usize, select(vec![4, 8, 16, 64usize]));
    let several = (2..=4usize, 1..=3usize, any::<bool>(), any::<bool>());
    let lengths = prop::collection::vec(1..=40usize, 4);
    (select(CELLS.to_vec()), sizes, several, lengths, any::<u64>()).prop_map(
        |(cell, (time, batch, input, hidden), (layers, blocks, states, ragged), lengths, seed)| {
            let lowest = Problem { cell, time, batch, input, hidden, seed };
            // So many steps end at an aligned element.
            let stagger = blocks * 64usize.div_ceil(batch * hidden);
            let lengths =
                ragged.then(|| lengths[..batch].iter().map(|length| (length - 1) % time + 1).collect());
            Pile { lowest, layers, stagger, lengths, states, dropout: if seed % 2 == 0 { 0.4 } else { 0.0 } }
        },
    )
}

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(24),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// The output and the final states on [`Device::bounded`]: what is exact, and how far a device may be from it.
fn bounded(problem: &Problem, reverse: bool, lengths: Option<&[usize]>) -> Vec<Vec<Bounded>> {
    let device = Device::bounded();
    let mut tape = Tape::without_parameters(&device);
    let v = inputs(&mut tape, &problem.tensors(&device));
    let lengths = lengths.map(|lengths| Lengths::new(&device, lengths).unwrap());
    let (y, last) = problem.run(&mut tape, &v, Order { reverse, lengths: lengths.as_ref() });
    let values = |var| tape.value(var).unwrap().read_back().unwrap().wait().unwrap().bounded();
    std::iter::once(y).chain(last).map(values).collect()
}

proptest! {
    #![proptest_config(config())]

    /// In 64 bits, where both are exact but for a few roundings.
    #[test]
    fn a_layer_is_what_it_would_be_if_composed(problem in problems()) {
        let device = Device::reference();
        let tensors = problem.tensors(&device);
        let fused = outcome(&device, &tensors, |tape, v| problem.run(tape, v, Order::default()).0);
        let composed = outcome(&device, &tensors, |tape, v| problem.composed(tape, v));
        for (k, (fused, composed)) in fused.iter().zip(&composed).enumerate() {
            let (Some(fused), Some(composed)) = (fused, composed) else {
                // c0 of a cell that has none.
                prop_assert_eq!((fused, composed), (&None, &None));
                continue;
            };
            let scale = composed.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
            for (a, b) in fused.iter().zip(composed) {
                prop_assert!((a - b).abs() <= 1e-12 * scale, "result {}: {} and {}", k, a, b);
            }
        }
    }

    /// The rows of a batch in another order give the same rows, bit for bit, and so do their gradients.
    #[test]
    fn rows_do_not_know_of_each_other(problem in problems(), shift in 1..5usize) {
        let Problem { time, batch, hidden, input, .. } = problem;
        // Row b of the second run is row (b + shift) % batch of the first.
        let moved = |values: &[f32], outer: usize, width: usize| -> Vec<f32> {
            let at = |o: usize, b: usize| (o * batch + (b + shift) % batch) * width;
            (0..outer).flat_map(|o| (0..batch).flat_map(move |b| at(o, b)..at(o, b) + width)).map(|i| values[i]).collect()
        };
        for device in devices() {
            let tensors = problem.tensors(&device);
            let mut rotated = tensors.clone();
            for (k, outer, width) in [(0, time, input), (5, 1, hidden), (6, 1, hidden)] {
                let values = moved(&tensors[k].to_vec().unwrap(), outer, width);
                rotated[k] = Tensor::from_f32(&device, tensors[k].shape(), &values).unwrap();
            }
            let results = [&tensors, &rotated].map(|tensors| {
                let mut tape = Tape::without_parameters(&device);
                let v = inputs(&mut tape, tensors);
                let (y, _) = problem.run(&mut tape, &v, Order::default());
                // A cotangent that is the same for every row.
                let step = Tensor::uniform(&device, [time, hidden], [-1.0, 1.0], 5, 0).unwrap().to_vec().unwrap();
                let cotangent: Vec<f32> = step.chunks(hidden).flat_map(|row| row.repeat(batch)).collect();
                let cotangent = Tensor::from_f32(&device, [time, batch, hidden], &cotangent).unwrap();
                tape.backward_from(y, &cotangent).unwrap();
                let gradient = |k: usize| tape.gradient(v[k]).unwrap().map(|g| g.to_vec().unwrap());
                let y = tape.value(y).unwrap().to_vec().unwrap();
                let states = [5, 6].map(|k| (gradient(k).unwrap_or(vec![0.0; batch * hidden]), 1, hidden));
                let [dh0, dc0] = states;
                [(y, time, hidden), (gradient(0).unwrap(), time, input), dh0, dc0]
            });
            let [first, second] = &results;
            for ((a, outer, width), (b, ..)) in first.iter().zip(second) {
                prop_assert_eq!(&moved(a, *outer, *width), b, "on {:?}", device);
            }
        }
    }

    /// Layers that share their launches, each some steps behind the one below, are layers one after the other. In 64 bits, where
    /// both are exact but for a few roundings.
    #[test]
    fn layers_at_once_are_layers_one_after_the_other(pile in piles()) {
        let results = [true, false].map(|at_once| pile.outcome(&Device::reference(), at_once));
        let [at_once, one_by_one] = results;
        prop_assert_eq!(at_once.len(), one_by_one.len());
        for (k, (a, b)) in at_once.iter().zip(&one_by_one).enumerate() {
            let scale = b.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                prop_assert!((a - b).abs() <= 1e-12 * scale, "result {}: {} and {}", k, a, b);
            }
        }
    }

    /// T steps are T1 steps, then T2 from the states that the first part ended with. The two differ by at most what each
    /// may differ from the exact result.
    #[test]
    fn a_sequence_may_be_cut(problem in problems(), cut in 0..5usize) {
        let Problem { time, batch, input, hidden, .. } = problem;
        prop_assume!(time > 1);
        let cut = 1 + cut % (time - 1);
        let limits = bounded(&problem, false, None).remove(0);
        for device in devices() {
            let tensors = problem.tensors(&device);
            let mut tape = Tape::without_parameters(&device);
            let v = inputs(&mut tape, &tensors);
            let (whole, _) = problem.run(&mut tape, &v, Order::default());
            let x = tensors[0].to_vec().unwrap();
            let (first, second) = x.split_at(cut * batch * input);
            let mut part = |values: &[f32], steps: usize| {
                tape.constant(&Tensor::from_f32(&device, [steps, batch, input], values).unwrap())
            };
            let (first, second) = (part(first, cut), part(second, time - cut));
            let mut of_part = v;
            of_part[0] = first;
            let (y, last) = problem.run(&mut tape, &of_part, Order::default());
            let mut joined = tape.value(y).unwrap().to_vec().unwrap();
            of_part[0] = second;
            of_part[5] = last[0];
            of_part[6] = *last.get(1).unwrap_or(&v[6]);
            let (y, _) = problem.run(&mut tape, &of_part, Order::default());
            joined.extend(tape.value(y).unwrap().to_vec().unwrap());
            let whole = tape.value(whole).unwrap().to_vec().unwrap();
            prop_assert_eq!(whole.len(), time * batch * hidden);
            for (i, ((a, b), limit)) in whole.iter().zip(&joined).zip(&limits).enumerate() {
                let error = f64::from((a - b).abs());
                prop_assert!(error <= 2.0 * limit.error, "{:?}, element {}: {} and {}", device, i, a, b);
            }
        }
    }

    /// Each sequence of a padded batch, in either direction, gives what it gives alone, whatever the padding holds; behind
    /// its end the output is 0, and its final state is that at its own end.
    #[test]
    fn padding_changes_nothing(problem in problems(), lengths in prop::collection::vec(1..=6usize, 5), reverse: bool) {
        let Problem { time, batch, input, hidden, .. } = problem;
        let lengths: Vec<usize> = lengths[..batch].iter().map(|length| (length - 1) % time + 1).collect();
        let limits = bounded(&problem, reverse, Some(&lengths));
        for device in devices() {
            let tensors = problem.tensors(&device);
            let mut tape = Tape::without_parameters(&device);
            let v = inputs(&mut tape, &tensors);
            let all = Lengths::new(&device, &lengths).unwrap();
            let (y, last) = problem.run(&mut tape, &v, Order { reverse, lengths: Some(&all) });
            let y = tape.value(y).unwrap().to_vec().unwrap();
            let last: Vec<Vec<f32>> = last.iter().map(|s| tape.value(*s).unwrap().to_vec().unwrap()).collect();
            for (b, length) in lengths.iter().enumerate() {
                let mut alone = v;
                for (k, steps, width) in [(0, *length, input), (5, 1, hidden), (6, 1, hidden)] {
                    let values = row(&tensors[k].to_vec().unwrap(), batch, steps, b, width);
                    let shape: &[usize] = if k == 0 { &[steps, 1, width] } else { &[1, width] };
                    alone[k] = tape.constant(&Tensor::from_f32(&device, shape, &values).unwrap());
                }
                let (y_alone, last_alone) = problem.run(&mut tape, &alone, Order { reverse, lengths: None });
                let of_batch = row(&y, batch, time, b, hidden);
                let (within, behind) = of_batch.split_at(length * hidden);
                prop_assert!(behind.iter().all(|x| *x == 0.0), "{:?}: {:?}", device, behind);
                let alone = tape.value(y_alone).unwrap().to_vec().unwrap();
                let mut compared = vec![(within.to_vec(), alone, row(&limits[0], batch, *length, b, hidden))];
                for ((of_batch, alone), limits) in last.iter().zip(last_alone).zip(&limits[1..]) {
                    let alone = tape.value(alone).unwrap().to_vec().unwrap();
                    let of_batch = row(of_batch, batch, 1, b, hidden);
                    compared.push((of_batch, alone, row(limits, batch, 1, b, hidden)));
                }
                for (of_batch, alone, limits) in compared {
                    prop_assert_eq!(of_batch.len(), alone.len());
                    for ((a, b), limit) in of_batch.iter().zip(&alone).zip(limits) {
                        let error = f64::from((a - b).abs());
                        prop_assert!(error <= 2.0 * limit.error, "{:?}: {} and {}", device, a, b);
                    }
                }
            }
        }
    }
}

/// Padding that is not finite meets no product.
#[test]
fn padding_may_hold_anything() {
    for device in devices() {
        let mut init = Initializer::new(&device, 4);
        let config = LstmConfig { input_size: 2, hidden_size: 3, bidirectional: true, ..Default::default() };
        let lstm = Lstm::new(&mut init, "lstm", &config).unwrap();
        let parameters = init.build().unwrap();
        let lengths = Lengths::new(&device, &[1, 3]).unwrap();
        let gradients = [0.25, f32::NAN].map(|padding| {
            let mut x = [0.5, -0.5, 0.1, 0.2, padding, padding, 0.3, 0.4, padding, padding, 0.7, 0.6];
            x[1] = -0.75;
            parameters.zero_grad();
            let mut tape = Tape::new(&parameters);
            let x = tape.input(&Tensor::from_f32(&device, [3, 2, 2], &x).unwrap());
            let states = lstm.forward_lengths(&mut tape, x, None, &lengths).unwrap();
            let loss = tape.sum(states.output).unwrap();
            tape.backward(loss).unwrap();
            let mut all = vec![tape.gradient(x).unwrap().unwrap().to_vec().unwrap()];
            for (name, _) in parameters.names() {
                let id = parameters.id(name).unwrap();
                all.push(parameters.gradient(id).unwrap().to_vec().unwrap());
            }
            all
        });
        assert!(gradients[0].iter().flatten().all(|x| x.is_finite()));
        assert_eq!(gradients[0], gradients[1], "{device:?}");
    }
}

/// Masks are fresh from call to call, the same on every device, and begin anew from the same stream.
#[test]
fn dropout_masks_are_the_same_everywhere() {
    let masks = devices().map(|device| {
        let mut tape = Tape::without_parameters(&device);
        let x = Tensor::from_f32(&device, [1000], &[1.0; 1000]).unwrap();
        let x = tape.constant(&x);
        assert_eq!(tape.dropout(x, 0.5).unwrap(), x, "no dropout without training");
        tape.set_training(Some(DropoutStream { seed: 9, calls: 0 }));
        let mask = |tape: &mut Tape| {
            let y = tape.dropout(x, 0.25).unwrap();
            tape.value(y).unwrap().to_vec().unwrap()
        };
        let (first, second) = (mask(&mut tape), mask(&mut tape));
        assert_ne!(first, second);
        assert_eq!(tape.training(), Some(DropoutStream { seed: 9, calls: 2 }));
        tape.set_training(Some(DropoutStream { seed: 9, calls: 1 }));
        assert_eq!(mask(&mut tape), second);
        let kept = first.iter().filter(|x| **x != 0.0).count() as f64;
        assert!(first.iter().all(|x| *x == 0.0 || (*x - 4.0 / 3.0).abs() < 1e-6));
        // Six standard deviations.
        assert!((kept - 750.0).abs() < 6.0 * (1000.0f64 * 0.25 * 0.75).sqrt(), "{kept} of 1000 kept");
        first
    });
    assert_eq!(masks[0], masks[1]);
}

/// Dropout acts on the output of every layer but the last, with a mask of its own for each: three layers are three single
/// ones with [`Tape::dropout`] between them, bit for bit.
#[test]
fn dropout_acts_between_layers() {
    for device in devices() {
        let config = |input_size, num_layers, dropout| GruConfig {
            input_size,
            hidden_size: 4,
            num_layers,
            dropout,
            bidirectional: true,
            ..GruConfig::default()
        };
        let mut init = Initializer::new(&device, 6);
        let whole = Gru::new(&mut init, "whole", &config(2, 3, 0.3)).unwrap();
        let hidden = Gru::new(&mut init, "all_dropped", &config(2, 3, 1.0)).unwrap();
        let single = [("single0", 2), ("single1", 8), ("single2", 8)]
            .map(|(name, input)| Gru::new(&mut init, name, &config(input, 1, 0.0)).unwrap());
        let parameters = init.build().unwrap();
        let all = parameters.to_host().unwrap();
        let of = |prefix: &str| -> Vec<(String, Vec<f32>)> {
            let mine = all.iter().filter(|(name, ..)| name.starts_with(prefix));
            mine.map(|(name, _, values)| (name.clone(), values.clone())).collect()
        };
        for ((name, _), (_, values)) in of("single").iter().zip(of("whole.")) {
            parameters.set(name, Host::F32(&values)).unwrap();
        }

        let mut tape = Tape::new(&parameters);
        let x = Tensor::uniform(&device, [3, 2, 2], [-1.0, 1.0], 1, 0).unwrap();
        let x = tape.constant(&x);
        let stream = DropoutStream { seed: 8, calls: 40 };
        let mut outputs = Vec::new();
        for training in [Some(stream), None] {
            tape.set_training(training);
            let y = whole.forward(&mut tape, x, None).unwrap().output;
            if training.is_some() {
                assert_eq!(tape.training(), Some(DropoutStream { calls: 42, ..stream }));
            }
            tape.set_training(training);
            let mut z = x;
            for (k, layer) in single.iter().enumerate() {
                z = layer.forward(&mut tape, z, None).unwrap().output;
                if k < 2 {
                    z = tape.dropout(z, 0.3).unwrap();
                }
            }
            let [y, z] = [y, z].map(|var| tape.value(var).unwrap().to_vec().unwrap());
            assert_eq!(y, z, "{device:?}, training {training:?}");
            outputs.push(y);
        }
        assert_ne!(outputs[0], outputs[1]);
        // With everything dropped the last layer sees zeros: its output does not depend on x.
        tape.set_training(Some(stream));
        let zeros = tape.constant(&Tensor::from_f32(&device, [3, 2, 2], &[0.0; 12]).unwrap());
        let [of_x, of_zeros] = [x, zeros].map(|x| {
            let y = hidden.forward(&mut tape, x, None).unwrap().output;
            tape.value(y).unwrap().to_vec().unwrap()
        });
        assert_eq!(of_x, of_zeros);
    }
}

/// What `nn` layers give in each way to run them: whichever `bptt tune` may choose, the results are the same but for roundings, and
/// every time the same bits.
#[test]
fn all_ways_to_run_layers_agree() {
    let device = &open_gpu(&GpuOptions::default());
    let (time, batch, size) = (11, 4, 16);
    for (cell, precision) in [
        (CellKind::Rnn, Precision::F32),
        (CellKind::Lstm, Precision::F32),
        (CellKind::Gru, Precision::F32),
        (CellKind::Lstm, Precision::F16),
    ] {
        let config = RecurrentConfig {
            cell,
            nonlinearity: Nonlinearity::Tanh,
            input_size: size,
            hidden_size: size,
            num_layers: 3,
            dropout: 0.5,
        };
        let mut init = Initializer::in_precision(device, 3, precision);
        let rnn = Recurrent::new(&mut init, "rnn", &config).unwrap();
        let parameters = init.build().unwrap();
        let x = Tensor::uniform(device, [time, batch, size], [-1.0, 1.0], 5, 0).unwrap();
        let x = x.cast(precision.dtype()).unwrap();
        let run = |training: bool| {
            let mut tape = Tape::new(&parameters);
            tape.set_training(training.then_some(DropoutStream { seed: 1, calls: 0 }));
            parameters.zero_grad();
            let x = tape.input(&x);
            let output = rnn.forward(&mut tape, x, &[]).unwrap();
            let mut results = vec![tape.value(output.output).unwrap().to_f64().unwrap()];
            let loss = tape.sum(output.output).unwrap();
            tape.backward(loss).unwrap();
            results.push(tape.gradient(x).unwrap().unwrap().to_f64().unwrap());
            for state in output.states(&mut tape).unwrap() {
                results.push(tape.value(state).unwrap().to_f64().unwrap());
            }
            for (name, _) in parameters.names() {
                let gradient = parameters.gradient(parameters.id(name).unwrap()).unwrap();
                results.push(gradient.to_f64().unwrap());
            }
            results
        };
        let met = |training: bool| {
            let seen = device.record_plans(|| {
                run(training);
                Ok(())
            });
            let mut layers = seen.unwrap().into_iter().filter(|(site, _)| site.kernel.ends_with("_layers"));
            layers.next().unwrap()
        };
        let training = precision == Precision::F32;
        let (site, seen) = met(training);
        let apart = if precision == Precision::F32 { vec![1, 2, 4] } else { vec![2, 4] };
        let names = apart.iter().map(|steps| format!("{steps} steps apart"));
        let names: Vec<String> = std::iter::once("one after the other".into()).chain(names).collect();
        assert_eq!(seen.ways, names);
        let mut results = Vec::new();
        for way in &seen.ways {
            device.set_plans(Plans::from([(site.to_string(), way.clone())]));
            results.push(run(training));
            assert_eq!(results.last(), Some(&run(training)), "{way}");
        }
        device.set_plans(Plans::new());
        let unit = if precision == Precision::F32 { f64::from(f32::EPSILON) } else { 2f64.powi(-10) };
        for (way, result) in seen.ways.iter().zip(&results) {
            for (a, b) in result.iter().zip(&results[0]) {
                let scale = b.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                // Sums in another order: a few units in the last place of the largest number.
                let close = a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 32.0 * unit * scale);
                assert!(close && scale > 0.0, "{cell:?} in {precision:?}, {way}");
            }
        }
    }
}

/// States of an odd number of elements, of which only every 64th is aligned, on every device.
#[test]
fn layers_of_odd_sizes_may_run_at_once() {
    for (cell, layers, stagger) in [(Cell::Rnn, 4, 64), (Cell::Lstm, 2, 128), (Cell::Gru, 3, 64)] {
        let lowest = Problem { cell, time: 150, batch: 3, input: 2, hidden: 5, seed: 1 };
        let lengths = Some(vec![150, 1, 77]);
        let pile = Pile { lowest, layers, stagger, lengths, states: true, dropout: 0.3 };
        for device in devices() {
            let [at_once, one_by_one] = [true, false].map(|at_once| pile.outcome(&device, at_once));
            for (k, (a, b)) in at_once.iter().zip(&one_by_one).enumerate() {
                let scale = b.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                // Sums of up to T·B terms in another order.
                let limit = 450.0 * f64::from(f32::EPSILON) * scale;
                let close = a.iter().zip(b).all(|(a, b)| (a - b).abs() <= limit);
                assert!(close && scale > 0.0, "{cell:?} on {device:?}, result {k}");
            }
        }
    }
}

/// A gradient that arrives in 16 bits at layers of 32: the blocks of the layers below still begin at aligned elements.
#[test]
fn layers_at_once_take_gradients_of_other_types() {
    let lowest = Problem { cell: Cell::Lstm, time: 6, batch: 4, input: 3, hidden: 16, seed: 1 };
    let pile = Pile { lowest, layers: 3, stagger: 1, lengths: None, states: false, dropout: 0.0 };
    for device in devices() {
        let gradients = [true, false].map(|at_once| {
            let mut tape = Tape::without_parameters(&device);
            let v: Vec<Var> = pile.tensors(&device).iter().map(|tensor| tape.input(tensor)).collect();
            let y = pile.run(&mut tape, &v, None, at_once)[0];
            let cotangent = Tensor::uniform(&device, [6, 4, 16], [-1.0, 1.0], 5, 0).unwrap();
            tape.backward_from(y, &cotangent.cast(Dtype::F16).unwrap()).unwrap();
            tape.gradient(v[0]).unwrap().unwrap().to_f64().unwrap()
        });
        let close = gradients[0].iter().zip(&gradients[1]).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "{device:?}: {gradients:?}");
    }
}

/// W_ih multiplies the rows of an embedding where these are fewer than the steps, else those of the steps.
#[test]
fn few_tokens_are_multiplied_once() {
    let (time, batch, hidden) = (8, 2, 4);
    for device in devices() {
        for (tokens, rows) in [(8, 8), (9, time * batch)] {
            let mut tape = Tape::without_parameters(&device);
            let mut input =
                |shape: &[usize]| tape.input(&Tensor::uniform(&device, shape, [-1.0, 1.0], 1, 0).unwrap());
            let (table, w_ih, w_hh) = (input(&[tokens, 3]), input(&[hidden, 3]), input(&[hidden; 2]));
            let weights = RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None };
            let indices = Indices::new(&device, [time, batch], &[1; 16]).unwrap();
            device.start_profile(Detail::Launches).unwrap();
            let x = tape.embedding(&indices, table, None).unwrap();
            let [y, _] = tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default()).unwrap();
            let cotangent = tape.value(y).unwrap().clone();
            tape.backward_from(y, &cotangent).unwrap();
            let profile = device.finish_profile().unwrap();
            let products = profile.launches.iter().filter(|launch| launch.plan.kernel.name == "matmul");
            let sizes: Vec<[u32; 3]> = products.map(|launch| [0, 1, 2].map(|k| launch.params[k])).collect();
            let (rows, hidden, steps) = (rows as u32, hidden as u32, (time * batch) as u32);
            // xw; dx, dW_ih and dW_hh.
            let expected = [[rows, hidden, 3], [rows, 3, hidden], [hidden, 3, rows], [hidden, hidden, steps]];
            assert_eq!(sizes, expected, "{device:?}");
        }
    }
}

/// A look-up without gradients stays one, also where a layer multiplies the table in the place of what was looked up.
#[test]
fn a_look_up_without_gradients_gives_none() {
    let device = Device::cpu();
    for tokens in [2, 9] {
        let mut tape = Tape::without_parameters(&device);
        let mut input =
            |shape: &[usize]| tape.input(&Tensor::uniform(&device, shape, [-1.0, 1.0], 1, 0).unwrap());
        let (table, w_ih, w_hh) = (input(&[tokens, 3]), input(&[4, 3]), input(&[4, 4]));
        let weights = RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None };
        let indices = Indices::new(&device, [8, 2], &[1; 16]).unwrap();
        let x = tape.no_grad(|tape| tape.embedding(&indices, table, None)).unwrap();
        let [y, _] = tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default()).unwrap();
        let loss = tape.sum(y).unwrap();
        tape.backward(loss).unwrap();
        let given = [table, w_ih].map(|var| tape.gradient(var).unwrap().is_some());
        assert_eq!(given, [false, true], "{tokens} tokens");
    }
}

/// Over a table of few rows layers give what they give over its vectors, whatever a row holds that is never looked up: a token
/// that only fills up has its row multiplied step by step.
#[test]
fn rows_that_are_not_looked_up_may_hold_anything() {
    for device in devices() {
        let tokens: Vec<i32> = (0..64).map(|n| n * n % 5).collect();
        assert!(!tokens.contains(&2), "squares are 0, 1 or 4 behind multiples of 5");
        let indices = Indices::new(&device, [32, 2], &tokens).unwrap();
        for (layers, stagger) in [(1, 32), (2, 8)] {
            let results = [None, Some(2)].map(|padding| {
                let mut tape = Tape::without_parameters(&device);
                let uniform = |shape: &[usize], stream| {
                    Tensor::uniform(&device, shape, [-1.0, 1.0], 1, stream).unwrap()
                };
                let mut table = uniform(&[5, 3], 0).to_vec().unwrap();
                table[2 * 3..3 * 3].fill(f32::NAN);
                let table = tape.input(&Tensor::from_f32(&device, [5, 3], &table).unwrap());
                let weights: Vec<_> = (0..layers)
                    .map(|layer| RecurrentWeights {
                        w_ih: tape.input(&uniform(&[96, if layer == 0 { 3 } else { 32 }], 1)),
                        w_hh: tape.input(&uniform(&[96, 32], 2)),
                        biases: Some([3, 4].map(|stream| tape.input(&uniform(&[96], stream)))),
                        w_hr: None,
                    })
                    .collect();
                let x = tape.embedding(&indices, table, padding).unwrap();
                let stacked = Stacked { stagger, dropout: 0.0, lengths: None };
                let (y, _) = tape.gru_layers(x, &vec![None; layers], &weights, stacked).unwrap();
                let cotangent = uniform(&[32, 2, 32], 5);
                tape.backward_from(y, &cotangent).unwrap();
                let [b_ih, b_hh] = weights[0].biases.unwrap();
                let gradients = [table, weights[0].w_ih, weights[0].w_hh, b_ih, b_hh]
                    .map(|var| tape.gradient(var).unwrap().unwrap().to_f64().unwrap());
                (tape.value(y).unwrap().to_f64().unwrap(), gradients)
            });
            let [(y, rows), (expected, steps)] = results;
            for (a, b) in std::iter::once((y, expected)).chain(rows.into_iter().zip(steps)) {
                let scale = b.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                // Sums of T·B terms in another order.
                let limit = 64.0 * f64::from(f32::EPSILON) * scale;
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= limit), "{device:?}: {a:?}, {b:?}");
            }
        }
    }
}
