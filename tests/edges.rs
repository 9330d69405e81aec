//! Operations at the edges of what they are defined for: empty sums, more rows than a grid has, masks, NaN, infinity.

mod common;

use bptt::device::Host;
use bptt::nn::{Linear, LinearConfig, Rnn, RnnConfig};
use bptt::ops::cross_entropy::CrossEntropyLoss;
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use bptt::optim::{Adam, AdamConfig, Optimizer};
use bptt::parameters::Initializer;
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use common::devices;

fn values(tape: &Tape, var: Var) -> Vec<f32> {
    tape.value(var).unwrap().to_vec().unwrap()
}

#[test]
fn a_product_over_nothing_is_zero() {
    for device in devices() {
        // What the pool hands out next must not shine through.
        drop(Tensor::from_f32(&device, [6], &[7.0; 6]).unwrap());
        let mut tape = Tape::without_parameters(&device);
        let a = tape.constant(&Tensor::from_f32(&device, [2, 0], &[]).unwrap());
        let b = tape.constant(&Tensor::from_f32(&device, [0, 3], &[]).unwrap());
        let c = tape.matmul(a, b).unwrap();
        assert_eq!(values(&tape, c), [0.0; 6], "{device:?}");
    }
}

#[test]
fn a_product_has_more_rows_than_a_grid() {
    let rows = 65_535 * 64 + 1;
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let column: Vec<f32> = (0..rows).map(|i| (i % 1000) as f32).collect();
        let a = tape.constant(&Tensor::from_f32(&device, [rows, 1], &column).unwrap());
        let b = tape.constant(&Tensor::from_f32(&device, [1, 1], &[2.0]).unwrap());
        let c = tape.matmul(a, b).unwrap();
        let wrong = values(&tape, c).iter().zip(&column).position(|(c, a)| *c != 2.0 * a);
        assert_eq!(wrong, None, "{device:?}");
    }
}

/// As in PyTorch: torch.nn.functional.cross_entropy(torch.tensor([[1., -torch.inf, -torch.inf]]), torch.tensor([0])) is 0.
#[test]
fn masked_logits_cost_nothing() {
    for device in devices() {
        for mask in [f32::NEG_INFINITY, -3e38] {
            let mut tape = Tape::without_parameters(&device);
            let logits = tape.input(&Tensor::from_f32(&device, [1, 3], &[1.0, mask, mask]).unwrap());
            let labels = Indices::new(&device, [1], &[0]).unwrap();
            let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).unwrap();
            tape.backward(loss).unwrap();
            assert_eq!(values(&tape, loss), [0.0], "{device:?} {mask}");
            let gradient = tape.gradient(logits).unwrap().unwrap().to_vec().unwrap();
            assert!(gradient.iter().all(|g| g.abs() <= 1e-30), "{device:?} {mask} {gradient:?}");
        }
    }
}

#[test]
fn nan_is_not_lost() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let x = tape.constant(&Tensor::from_f32(&device, [2], &[f32::NAN, 0.5]).unwrap());
        let results = [tape.tanh(x).unwrap(), tape.sigmoid(x).unwrap(), tape.relu(x).unwrap()];
        for (op, result) in ["tanh", "sigmoid", "relu"].iter().zip(results) {
            let result = values(&tape, result);
            assert!(result[0].is_nan() && result[1].is_finite(), "{device:?} {op} {result:?}");
        }
        // Row 0 of two begins with NaN: it stays, in its row.
        let mut input = |shape: &[usize], values: &[f32]| {
            tape.constant(&Tensor::from_f32(&device, shape, values).unwrap())
        };
        let x = input(&[2, 2, 1], &[f32::NAN, 0.5, 0.5, 0.5]);
        let layers = [1, 3, 4].map(|parts| {
            let weights = vec![0.5; parts];
            let (w_ih, w_hh) = (input(&[parts, 1], &weights), input(&[parts, 1], &weights));
            RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None }
        });
        let (rnn, gru, lstm, order) = (layers[0], layers[1], layers[2], Order::default());
        let results = [
            ("rnn, tanh", tape.rnn(x, None, rnn, Nonlinearity::Tanh, order).unwrap()[0]),
            ("rnn, relu", tape.rnn(x, None, rnn, Nonlinearity::Relu, order).unwrap()[0]),
            ("gru", tape.gru(x, None, gru, order).unwrap()[0]),
            ("lstm", tape.lstm(x, [None; 2], lstm, order).unwrap()[0]),
        ];
        for (op, result) in results {
            let nan: Vec<bool> = values(&tape, result).iter().map(|x| x.is_nan()).collect();
            assert_eq!(nan, [true, false, true, false], "{device:?} {op}");
        }
    }
}

#[test]
fn an_infinite_gradient_stops_the_optimizer_before_the_parameters() {
    for device in devices() {
        let mut init = Initializer::new(&device, 0);
        let x = init.uniform("x", [3], 1.0);
        let parameters = init.build().unwrap();
        parameters.set("x", Host::F32(&[1.0, 2.0, 3.0])).unwrap();
        let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
        let mut backpropagate = |gradient: &[f32]| {
            let mut tape = Tape::new(&parameters);
            let var = tape.parameter(x).unwrap();
            let same = tape.scale(var, 1.0).unwrap();
            adam.zero_grad();
            tape.backward_from(same, &Tensor::from_f32(&device, [3], gradient).unwrap()).unwrap();
            adam.clip_grad_norm(1.0).unwrap();
            adam.step(None).unwrap();
            adam.control().state().unwrap()
        };
        assert!(!backpropagate(&[1.0, 1.0, 1.0]).stopped);
        let good = parameters.to_host().unwrap().remove(0).2;
        assert!(backpropagate(&[1.0, f32::INFINITY, 1.0]).stopped, "{device:?}");
        let state = backpropagate(&[1.0, 1.0, 1.0]);
        assert!(state.stopped && state.steps == 1, "{device:?} {state:?}");
        assert_eq!(parameters.to_host().unwrap().remove(0).2, good, "{device:?}");
    }
}

#[test]
fn a_layer_on_a_tape_of_another_model_is_refused() {
    for device in devices() {
        let model = |seed| {
            let mut init = Initializer::new(&device, seed);
            let config = LinearConfig { in_features: 2, out_features: 2, bias: true };
            let linear = Linear::new(&mut init, "fc", &config).unwrap();
            (linear, init.build().unwrap())
        };
        let ((linear, _), (_, other)) = (model(0), model(1));
        for mut tape in [Tape::new(&other), Tape::without_parameters(&device)] {
            let x = tape.constant(&Tensor::from_f32(&device, [1, 2], &[1.0, 2.0]).unwrap());
            assert!(linear.forward(&mut tape, x).is_err(), "{device:?}");
        }
    }
}

#[test]
fn labels_have_the_shape_of_the_logits_rows() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let logits = tape.constant(&Tensor::from_f32(&device, [2, 3, 2], &[0.0; 12]).unwrap());
        let mut loss = |shape: &[usize]| {
            let labels = Indices::new(&device, shape, &[1; 6]).unwrap();
            tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).map(drop)
        };
        assert!(loss(&[2, 3]).is_ok() && loss(&[6]).is_ok());
        let error = loss(&[3, 2]).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[3, 2]"), "{error}");
    }
}

#[test]
fn the_state_of_a_single_sequence_goes_back_in() {
    for device in devices() {
        let mut init = Initializer::new(&device, 0);
        let config = RnnConfig { input_size: 2, hidden_size: 3, num_layers: 2, ..RnnConfig::default() };
        let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
        let parameters = init.build().unwrap();
        let mut tape = Tape::new(&parameters);
        let x = tape.constant(&Tensor::from_f32(&device, [4, 2], &[0.5; 8]).unwrap());
        let states = rnn.forward(&mut tape, x, None).unwrap();
        let h_n = states.h_n(&mut tape).unwrap();
        assert_eq!(*tape.value(h_n).unwrap().shape(), [2, 3]);
        rnn.forward(&mut tape, x, Some(h_n)).unwrap();
    }
}

#[test]
fn two_parameters_of_one_name_are_refused() {
    for device in devices() {
        let mut init = Initializer::new(&device, 0);
        init.uniform("fc.weight", [2], 1.0);
        init.uniform("fc.weight", [3], 1.0);
        let error = init.build().unwrap_err().to_string();
        assert!(error.contains("fc.weight"), "{error}");
    }
}

/// As in PyTorch: what is masked with -∞ has probability 0, and the others share the rest.
#[test]
fn masked_classes_have_probability_zero() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let row = [0.5, f32::NEG_INFINITY, 0.5, -3e38];
        let x = tape.input(&Tensor::from_f32(&device, [1, 4], &row).unwrap());
        let (y, log) = (tape.softmax(x, 1).unwrap(), tape.log_softmax(x, 1).unwrap());
        let (p, logp) = (values(&tape, y), values(&tape, log));
        assert!(
            (p[0] - 0.5).abs() < 1e-6 && p[1] <= 1e-30 && p[2] == p[0] && p[3] <= 1e-30,
            "{device:?} {p:?}"
        );
        assert!((logp[0] + 2f32.ln()).abs() < 1e-6 && logp[1] < -1e30, "{device:?} {logp:?}");
        tape.backward_from(y, &Tensor::from_f32(&device, [1, 4], &[1.0, 2.0, 3.0, 4.0]).unwrap()).unwrap();
        let gradient = tape.gradient(x).unwrap().unwrap().to_vec().unwrap();
        assert!(
            (gradient[0] + 0.5).abs() < 1e-6 && (gradient[2] - 0.5).abs() < 1e-6,
            "{device:?} {gradient:?}"
        );
        assert!(gradient[1].abs() <= 1e-30 && gradient[3].abs() <= 1e-30, "{device:?} {gradient:?}");
    }
}

#[test]
fn nan_is_not_lost_in_a_row() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let rows = [1.0, f32::NAN, 2.0, 1.0, 3.0, 2.0];
        let x = tape.constant(&Tensor::from_f32(&device, [2, 3], &rows).unwrap());
        let results = [
            tape.softmax(x, 1).unwrap(),
            tape.log_softmax(x, 1).unwrap(),
            tape.layer_norm(x, [3], None, None, 1e-5).unwrap(),
            tape.max_dim(x, 1, false).unwrap().0,
            tape.sum_dim(x, 1, false).unwrap(),
            tape.mean_dim(x, 1, false).unwrap(),
        ];
        for result in results {
            let (first, second) = {
                let all = values(&tape, result);
                let half = all.len() / 2;
                (all[..half].to_vec(), all[half..].to_vec())
            };
            assert!(first.iter().all(|y| y.is_nan()), "{device:?} {first:?}");
            assert!(second.iter().all(|y| y.is_finite()), "{device:?} {second:?}");
        }
        let element_by_element = [tape.exp(x).unwrap(), tape.log(x).unwrap(), tape.sqrt(x).unwrap()];
        for result in element_by_element {
            let all = values(&tape, result);
            assert!(all.iter().enumerate().all(|(i, y)| y.is_nan() == (i == 1)), "{device:?} {all:?}");
        }
    }
}

/// Every operation on tensors without elements, forward and backward.
#[test]
fn nothing_stays_nothing() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let x = tape.input(&Tensor::from_f32(&device, [0, 3], &[]).unwrap());
        let one = tape.input(&Tensor::from_f32(&device, [1, 3], &[1.0; 3]).unwrap());
        let y = tape.mul(x, one).unwrap();
        let y = tape.layer_norm(y, [3], None, None, 1e-5).unwrap();
        let y = tape.log_softmax(y, 1).unwrap();
        let y = tape.transpose(y, 0, 1).unwrap();
        let index = Indices::new(&device, [2, 0], &[]).unwrap();
        let y = tape.gather(y, 0, &index).unwrap();
        let y = tape.narrow(y, 0, 1, 1).unwrap();
        let y = tape.max_dim(y, 0, true).unwrap().0;
        let y = tape.concat(&[y, y], 1).unwrap();
        let y = tape.sum_dim(y, 1, false).unwrap();
        assert_eq!(values(&tape, y), [0.0], "{device:?}");
        tape.backward(y).unwrap();
        let gradient = |var| tape.gradient(var).unwrap().unwrap().to_vec().unwrap();
        assert_eq!(gradient(one), [0.0; 3], "{device:?}");
        assert_eq!(gradient(x), [0.0; 0], "{device:?}");
    }
}

/// Equal numbers of either sign, in any order: their sum is 0 and not what rounding leaves of it, which Adam would blow up.
#[test]
fn a_bias_gradient_that_cancels_is_zero() {
    for device in devices() {
        for (rows, cols) in [(90, 3), (1002, 40), (8000, 1)] {
            let third = |i: usize| if (i * i / cols).is_multiple_of(2) { 1.0 / 3.0 } else { -1.0 / 3.0 };
            let mut dy: Vec<f32> = (0..rows / 2 * cols).map(third).collect();
            // The other half undoes the first, in another order.
            let undo: Vec<f32> = dy.chunks(cols).rev().flatten().map(|x| -x).collect();
            dy.extend(undo);
            let mut tape = Tape::without_parameters(&device);
            let x = tape.constant(&Tensor::from_f32(&device, [rows, cols], &vec![0.5; rows * cols]).unwrap());
            let bias = tape.input(&Tensor::from_f32(&device, [cols], &vec![0.1; cols]).unwrap());
            let y = tape.bias_add(x, bias).unwrap();
            tape.backward_from(y, &Tensor::from_f32(&device, [rows, cols], &dy).unwrap()).unwrap();
            let gradient = tape.gradient(bias).unwrap().unwrap().to_vec().unwrap();
            assert_eq!(gradient, vec![0.0; cols], "{device:?}, {rows} rows");
        }
    }
}
