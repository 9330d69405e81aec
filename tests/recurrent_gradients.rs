//! The gradients of recurrent layers in special uses: of final states alone, of a second pass, of learned initial states, of one
//! value in several places, and with the length of a single sequence.

mod common;

use bptt::device::Host;
use bptt::prelude::*;
use common::devices;

/// A layer on [T, B, I] = [4, 2, 3] with H = 5.
fn layer(device: &Device) -> (Lstm, Parameters, Tensor) {
    let mut init = Initializer::new(device, 2);
    let config = LstmConfig { input_size: 3, hidden_size: 5, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "lstm", &config).unwrap();
    let x = Tensor::uniform(device, [4, 2, 3], [-1.0, 1.0], 3, 0).unwrap();
    (lstm, init.build().unwrap(), x)
}

fn gradient(tape: &Tape, var: Var) -> Vec<f32> {
    tape.gradient(var).unwrap().expect("a gradient has arrived").to_vec().unwrap()
}

fn weights(parameters: &Parameters) -> Vec<f32> {
    let gradient = |(name, _): (&str, Shape)| {
        let id = parameters.id(name).unwrap();
        parameters.gradient(id).unwrap().to_vec().unwrap()
    };
    parameters.names().flat_map(gradient).collect()
}

/// The gradient of the whole is the sum of those through each result alone: nothing is lost or counted twice where only
/// the output, only h_n or only c_n has one.
#[test]
fn gradients_of_single_results_add_up() {
    for device in devices() {
        let (lstm, parameters, x) = layer(&device);
        // Which of the output, h_n and c_n count.
        let run = |parts: [bool; 3]| {
            parameters.zero_grad();
            let mut tape = Tape::new(&parameters);
            let x = tape.input(&x);
            let states = lstm.forward(&mut tape, x, None).unwrap();
            let results = [states.output, states.h_n(&mut tape).unwrap(), states.c_n(&mut tape).unwrap()];
            let mut total = None;
            for (stream, (result, counts)) in (0..).zip(results.into_iter().zip(parts)) {
                let shape = tape.value(result).unwrap().shape();
                let weight = Tensor::uniform(&device, shape, [-1.0, 1.0], 9, stream).unwrap();
                let weight = tape.constant(&weight);
                if counts {
                    let product = tape.mul(result, weight).unwrap();
                    let sum = tape.sum(product).unwrap();
                    total = Some(total.map_or(sum, |total| tape.add(total, sum).unwrap()));
                }
            }
            tape.backward(total.unwrap()).unwrap();
            [gradient(&tape, x), weights(&parameters)].concat()
        };
        let whole = run([true; 3]);
        let alone = [[true, false, false], [false, true, false], [false, false, true]].map(run);
        for part in &alone {
            assert!(part.iter().any(|g| *g != 0.0), "{device:?}");
        }
        for (i, whole) in whole.iter().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|k| alone[k][i]);
            // Four results, each right to 2e-4 of the largest terms (the limit of the conformance cases).
            let limit = 2e-4 * (whole.abs() + a.abs() + b.abs() + c.abs()) + 1e-6;
            assert!((whole - (a + b + c)).abs() <= limit, "{device:?}, {i}: {whole} and {a} + {b} + {c}");
        }
    }
}

/// A second pass over a retained tape adds the same gradients again, bit for bit.
#[test]
fn a_second_pass_gives_the_same() {
    for device in devices() {
        let (lstm, parameters, x) = layer(&device);
        let mut tape = Tape::new(&parameters);
        let x = tape.constant(&x);
        let states = lstm.forward(&mut tape, x, None).unwrap();
        let loss = tape.sum(states.output).unwrap();
        tape.backward_retained(loss).unwrap();
        let once = weights(&parameters);
        parameters.zero_grad();
        tape.backward(loss).unwrap();
        assert_eq!(weights(&parameters), once, "{device:?}");
    }
}

/// Initial states may be parameters: they get the gradients that inputs get.
#[test]
fn initial_states_can_be_learnt() {
    for device in devices() {
        let mut init = Initializer::new(&device, 2);
        let config = LstmConfig { input_size: 3, hidden_size: 5, ..LstmConfig::default() };
        let lstm = Lstm::new(&mut init, "lstm", &config).unwrap();
        let learned = ["h0", "c0"].map(|name| init.uniform(name, [1, 2, 5], 0.5));
        let parameters = init.build().unwrap();
        let x = Tensor::uniform(&device, [4, 2, 3], [-1.0, 1.0], 3, 0).unwrap();
        let run = |tape: &mut Tape, states: [Var; 2]| {
            let x = tape.constant(&x);
            let states = lstm.forward(tape, x, Some(states)).unwrap();
            let loss = tape.sum(states.output).unwrap();
            tape.backward(loss).unwrap();
        };
        let mut tape = Tape::new(&parameters);
        let states = learned.map(|id| tape.parameter(id).unwrap());
        run(&mut tape, states);
        let of_parameters = learned.map(|id| parameters.gradient(id).unwrap().to_vec().unwrap());
        parameters.zero_grad();
        let mut tape = Tape::new(&parameters);
        let states = learned.map(|id| tape.input(&parameters.value(id).unwrap()));
        run(&mut tape, states);
        let of_inputs = states.map(|state| gradient(&tape, state));
        assert_eq!(of_parameters, of_inputs, "{device:?}");
        assert!(of_inputs.iter().flatten().all(|g| *g != 0.0));
    }
}

/// A single sequence may have a length too: the shorter one is what it is alone.
#[test]
fn a_single_sequence_may_end_early() {
    for device in devices() {
        let (lstm, parameters, x) = layer(&device);
        let values = x.to_vec().unwrap();
        let single = |steps: usize| Tensor::from_f32(&device, [steps, 3], &values[..steps * 3]).unwrap();
        let mut tape = Tape::new(&parameters);
        let (whole, short) = (tape.constant(&single(4)), tape.constant(&single(2)));
        let lengths = Lengths::new(&device, &[2]).unwrap();
        let padded = lstm.forward_lengths(&mut tape, whole, None, &lengths).unwrap();
        let alone = lstm.forward(&mut tape, short, None).unwrap();
        let [of_padded, of_alone] =
            [padded.output, alone.output].map(|var| tape.value(var).unwrap().to_vec().unwrap());
        assert_eq!(of_padded[..10], of_alone, "{device:?}");
        assert_eq!(of_padded[10..], [0.0; 10], "{device:?}");
        let [of_padded, of_alone] = [&padded, &alone].map(|states| {
            let c_n = states.c_n(&mut tape).unwrap();
            assert_eq!(*tape.value(c_n).unwrap().shape(), [1, 5]);
            tape.value(c_n).unwrap().to_vec().unwrap()
        });
        assert_eq!(of_padded, of_alone, "{device:?}");
    }
}

/// One value as input and as both states, one tensor of weights in both places: the gradients add up.
#[test]
fn one_value_in_several_places_gets_all_its_gradients() {
    for device in devices() {
        let mut init = Initializer::new(&device, 2);
        let config = RnnConfig { input_size: 2, hidden_size: 2, ..RnnConfig::default() };
        let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
        let parameters = init.build().unwrap();
        for (name, shape) in parameters.names() {
            parameters.set(name, Host::F32(&vec![0.3; shape.count()])).unwrap();
        }
        let values = Tensor::from_f32(&device, [1, 1, 2], &[0.4, -0.2]).unwrap();
        let run = |shared: bool| {
            let mut tape = Tape::new(&parameters);
            let x = tape.input(&values);
            let h0 = if shared { x } else { tape.input(&values) };
            let states = rnn.forward(&mut tape, x, Some(h0)).unwrap();
            let loss = tape.sum(states.output).unwrap();
            tape.backward(loss).unwrap();
            [gradient(&tape, x), gradient(&tape, h0)]
        };
        let ([shared, _], [of_x, of_h0]) = (run(true), run(false));
        for (shared, (of_x, of_h0)) in shared.iter().zip(of_x.iter().zip(&of_h0)) {
            assert!((shared - (of_x + of_h0)).abs() <= 1e-6 * shared.abs(), "{device:?}");
        }
    }
}
