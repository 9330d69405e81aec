//! Layers over an embedding, which multiply the rows of its table where these are few.

use bptt::device::{Detail, Device};
use bptt::ops::recurrent::{Order, RecurrentWeights, Stacked};
use bptt::prelude::*;

use crate::common::{devices, own_devices};

/// W_ih multiplies the rows of an embedding where these are fewer than the steps, else those of the steps.
#[test]
fn few_tokens_are_multiplied_once() {
    let (time, batch, hidden) = (8, 2, 4);
    for (device, changed) in
        own_devices().iter().flat_map(|device| [0, 1, 2, 3].map(|changed| (device, changed)))
    {
        for (tokens, rows) in [(8, 8), (9, time * batch)] {
            let mut tape = Tape::without_parameters(device);
            let mut input =
                |shape: &[usize]| tape.input(&Tensor::uniform(device, shape, [-1.0, 1.0], 1, 0).unwrap());
            let (table, w_ih, w_hh) = (input(&[tokens, 3]), input(&[hidden, 3]), input(&[hidden; 2]));
            let weights = RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None };
            // As they are, with the batch first in two ways, or of another shape.
            let shapes = [vec![time, batch], vec![batch, time], vec![batch, time], vec![time * batch]];
            let shape = &shapes[changed];
            let indices = Indices::new(device, &shape[..], &[1; 16]).unwrap();
            device.start_profile(Detail::Launches).unwrap();
            let x = tape.embedding(&indices, table, None).unwrap();
            let x = match changed {
                0 => x,
                1 => tape.transpose(x, 0, 1).unwrap(),
                2 => tape.permute(x, &[1, 0, 2]).unwrap(),
                _ => tape.reshape(x, [time, batch, 3]).unwrap(),
            };
            let [y, _] = tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default()).unwrap();
            let cotangent = tape.value(y).unwrap().clone();
            tape.backward_from(y, &cotangent).unwrap();
            let profile = device.finish_profile().unwrap();
            let products = profile.launches.iter().filter(|launch| launch.plan.kernel.name == "matmul");
            let sizes: Vec<[u32; 3]> = products.map(|launch| [0, 1, 2].map(|k| launch.params[k])).collect();
            let (rows, hidden, steps) = (rows as u32, hidden as u32, (time * batch) as u32);
            // xw; dx, dW_ih and dW_hh.
            let expected = [[rows, hidden, 3], [rows, 3, hidden], [hidden, 3, rows], [hidden, hidden, steps]];
            assert_eq!(sizes, expected, "{device:?}, changed {changed}");
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

/// With the batch first each step takes the tokens that are its own.
#[test]
fn a_look_up_may_have_the_batch_first() {
    let (time, batch) = (6, 3);
    for device in devices() {
        let tokens: Vec<i32> = (0..18).map(|n| n * n % 4).collect();
        let exchanged: Vec<i32> = (0..18).map(|i| tokens[i % batch * time + i / batch]).collect();
        let results = [([batch, time], tokens, true), ([time, batch], exchanged, false)].map(
            |(shape, tokens, transposed)| {
                let mut tape = Tape::without_parameters(&device);
                let mut input = |shape: &[usize]| {
                    tape.input(&Tensor::uniform(&device, shape, [-1.0, 1.0], 1, 0).unwrap())
                };
                let (table, w_ih, w_hh) = (input(&[4, 3]), input(&[20, 3]), input(&[20, 5]));
                let weights = RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None };
                let indices = Indices::new(&device, shape, &tokens).unwrap();
                let mut x = tape.embedding(&indices, table, None).unwrap();
                if transposed {
                    x = tape.transpose(x, 0, 1).unwrap();
                }
                let [y, ..] = tape.lstm(x, [None; 2], weights, Order::default()).unwrap();
                let cotangent = Tensor::uniform(&device, [time, batch, 5], [-1.0, 1.0], 1, 1).unwrap();
                tape.backward_from(y, &cotangent).unwrap();
                let gradients =
                    [table, w_ih, w_hh].map(|var| tape.gradient(var).unwrap().unwrap().to_vec().unwrap());
                (tape.value(y).unwrap().to_vec().unwrap(), gradients)
            },
        );
        assert_eq!(results[0], results[1], "{device:?}");
    }
}
