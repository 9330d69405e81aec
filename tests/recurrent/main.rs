//! What recurrent layers promise besides their gradients: they compute the same as simple operations put together, rows of a batch
//! do not affect each other, a sequence may be cut in two, and padding changes nothing.

#[path = "../common/mod.rs"]
mod common;

mod layers;
mod look_up;

use bptt::cpu::real::Bounded;
use bptt::device::{Device, Host};
use bptt::ops::recurrent::{Order, RecurrentWeights};
use bptt::prelude::*;
use common::devices;
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
