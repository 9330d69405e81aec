//! Layers that share their launches, each some steps behind the one below.

use bptt::device::{Device, GpuOptions};
use bptt::kernel::Dtype;
use bptt::nn::{CellKind, Recurrent, RecurrentConfig};
use bptt::ops::recurrent::{Order, RecurrentWeights, Stacked};
use bptt::plans::Plans;
use bptt::prelude::*;
use proptest::prelude::*;
use proptest::sample::select;

use crate::common::{devices, open_gpu};
use crate::{CELLS, Cell, Problem, config};

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

proptest! {
    #![proptest_config(config())]

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
