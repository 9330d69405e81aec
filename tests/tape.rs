//! The tape: what it records, what it keeps, and which gradients a backward pass adds up.

mod common;

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::nn::{Linear, LinearConfig, Rnn, RnnConfig};
use bptt::ops::cross_entropy::CrossEntropyLoss;
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use bptt::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use bptt::parameters::{Initializer, Parameters};
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use common::devices;

/// A recurrent layer and a linear one, of which some tests leave a part unused.
struct Model {
    parameters: Parameters,
    rnn: Rnn,
    fc: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        let mut init = Initializer::new(device, 0);
        let config = RnnConfig { input_size: 2, hidden_size: 3, ..RnnConfig::default() };
        let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
        let config = LinearConfig { in_features: 3, out_features: 4, bias: true };
        let fc = Linear::new(&mut init, "fc", &config).unwrap();
        Model { parameters: init.build().unwrap(), rnn, fc }
    }

    /// The loss over [4, 1, 2], and the last state.
    fn loss(&self, tape: &mut Tape, x: Var, h0: Option<Var>) -> (Var, Var) {
        let labels = Indices::new(tape.device(), [4, 1], &[1, 0, 3, 2]).unwrap();
        let states = self.rnn.forward(tape, x, h0).unwrap();
        let logits = self.fc.forward(tape, states.output).unwrap();
        let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).unwrap();
        (loss, states.h_n(tape).unwrap())
    }

    fn gradients(&self) -> Vec<Vec<f32>> {
        let id = |name| self.parameters.id(name).unwrap();
        let gradient = |(name, _)| self.parameters.gradient(id(name)).unwrap().to_vec().unwrap();
        self.parameters.names().map(gradient).collect()
    }
}

fn sequence(device: &Device, seed: u64) -> Tensor {
    Tensor::uniform(device, [4, 1, 2], [-1.0, 1.0], seed, 0).unwrap()
}

fn input_gradient(tape: &Tape, x: Var) -> Vec<f32> {
    tape.gradient(x).unwrap().expect("a gradient has reached the input").to_vec().unwrap()
}

fn doubled(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| 2.0 * x).collect()
}

#[test]
fn gradients_add_up_until_they_are_cleared() {
    for device in devices() {
        let model = Model::new(&device);
        let mut tape = Tape::new(&model.parameters);
        let x = tape.input(&sequence(&device, 1));
        let (loss, _) = model.loss(&mut tape, x, None);
        tape.backward_retained(loss).unwrap();
        let (once, input_once) = (model.gradients(), input_gradient(&tape, x));
        assert!(once.iter().flatten().any(|g| *g != 0.0));
        // Doubling is exact, so that the bits must agree.
        tape.backward(loss).unwrap();
        assert_eq!(model.gradients(), once.iter().map(|g| doubled(g)).collect::<Vec<_>>());
        assert_eq!(input_gradient(&tape, x), doubled(&input_once));

        model.parameters.zero_grad();
        tape.clear();
        let x = tape.input(&sequence(&device, 1));
        let (loss, _) = model.loss(&mut tape, x, None);
        tape.backward(loss).unwrap();
        assert_eq!(model.gradients(), once);
        assert_eq!(input_gradient(&tape, x), input_once);
    }
}

#[test]
fn a_second_pass_needs_a_retained_tape() {
    let device = Device::cpu();
    let model = Model::new(&device);
    let mut tape = Tape::new(&model.parameters);
    let x = tape.constant(&sequence(&device, 1));
    let (loss, _) = model.loss(&mut tape, x, None);
    tape.backward(loss).unwrap();
    let error = tape.backward(loss).unwrap_err().to_string();
    assert!(error.contains("backward_retained"), "{error}");
}

#[test]
fn a_pass_releases_what_the_nodes_have_kept() {
    let in_use_after = |backward: fn(&mut Tape, Var) -> Result<()>| {
        let device = Device::cpu();
        let mut tape = Tape::without_parameters(&device);
        let logits = tape.input(&Tensor::uniform(&device, [8, 128], [-1.0, 1.0], 1, 0).unwrap());
        let labels = Indices::new(&device, [8], &[0; 8]).unwrap();
        let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).unwrap();
        let loss = tape.scale(loss, 2.0).unwrap();
        backward(&mut tape, loss).unwrap();
        let in_use = device.stats().bytes_in_use;
        tape.clear();
        drop(labels);
        assert_eq!(device.stats().bytes_in_use, 0);
        in_use
    };
    let kept_by_the_loss = 4 * 8 * 128;
    let released = in_use_after(|tape, loss| tape.backward(loss));
    assert_eq!(in_use_after(|tape, loss| tape.backward_retained(loss)), released + kept_by_the_loss);
}

#[test]
fn detach_truncates_backpropagation() {
    for device in devices() {
        let model = Model::new(&device);
        let (first, second) = (sequence(&device, 1), sequence(&device, 2));
        let two_chunks = |truncate: bool| {
            let mut tape = Tape::new(&model.parameters);
            let x = tape.input(&first);
            let (_, mut h) = model.loss(&mut tape, x, None);
            if truncate {
                h = tape.detach(h).unwrap();
                assert!(!tape.requires_grad(h).unwrap());
            }
            let state = tape.value(h).unwrap().clone();
            let x2 = tape.input(&second);
            let (loss, _) = model.loss(&mut tape, x2, Some(h));
            model.parameters.zero_grad();
            tape.backward(loss).unwrap();
            let reached = tape.gradient(x).unwrap().is_some();
            (model.gradients(), reached, state)
        };
        let (truncated, reached, state) = two_chunks(true);
        assert!(!reached, "a gradient has passed the cut");

        let mut tape = Tape::new(&model.parameters);
        let (x, h0) = (tape.constant(&second), tape.constant(&state));
        let (loss, _) = model.loss(&mut tape, x, Some(h0));
        model.parameters.zero_grad();
        tape.backward(loss).unwrap();
        assert_eq!(truncated, model.gradients());

        let (whole, reached, _) = two_chunks(false);
        assert!(reached && whole != truncated, "without the cut the gradient goes further back");
    }
}

#[test]
fn nothing_is_recorded_without_gradients() {
    let device = Device::cpu();
    let model = Model::new(&device);
    let mut tape = Tape::new(&model.parameters);
    let (loss, _) = tape
        .no_grad(|tape| {
            let x = tape.input(&sequence(&device, 1));
            Ok(model.loss(tape, x, None))
        })
        .unwrap();
    assert_eq!(tape.nodes().count(), 0);
    assert!(!tape.requires_grad(loss).unwrap() && tape.backward(loss).is_err());
    let x = tape.no_grad(|tape| Ok(tape.input(&sequence(&device, 1)))).unwrap();
    assert!(!tape.requires_grad(x).unwrap());
    // Constants need no rules either.
    let x = tape.constant(&sequence(&device, 1));
    tape.tanh(x).unwrap();
    assert_eq!(tape.nodes().count(), 0);

    let failed: Result<()> = tape.no_grad(|_| Err(Error::Interrupted));
    assert!(failed.is_err());
    let x = tape.input(&sequence(&device, 1));
    tape.tanh(x).unwrap();
    assert_eq!(
        tape.nodes().map(|node| node.name).collect::<Vec<_>>(),
        ["tanh"],
        "recording goes on, also after an error"
    );
}

#[test]
fn a_parameter_that_is_not_reached_has_gradient_zero() {
    for device in devices() {
        let model = Model::new(&device);
        let fc = model.parameters.id("fc.weight").unwrap();
        let fc_gradient = || model.parameters.gradient(fc).unwrap().to_vec().unwrap();
        let mut adam = Adam::new(&model.parameters, AdamConfig::default()).unwrap();
        let mut sgd = Sgd::new(&model.parameters, SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
        let mut tape = Tape::new(&model.parameters);
        // First a pass that reaches it, whose gradient must not stay.
        let x = tape.constant(&sequence(&device, 1));
        let (loss, _) = model.loss(&mut tape, x, None);
        tape.backward(loss).unwrap();
        assert!(fc_gradient().iter().any(|g| *g != 0.0));

        model.parameters.zero_grad();
        let before = model.parameters.to_host().unwrap();
        let states = model.rnn.forward(&mut tape, x, None).unwrap();
        let sum = tape.sum(states.output).unwrap();
        tape.backward(sum).unwrap();
        adam.clip_grad_norm(1.0).unwrap();
        adam.step(None).unwrap();
        sgd.step(None).unwrap();
        assert!(fc_gradient().iter().all(|g| *g == 0.0));
        for ((name, _, before), (_, _, after)) in before.iter().zip(model.parameters.to_host().unwrap()) {
            assert!(after.iter().all(|x| x.is_finite()), "{name}");
            assert_eq!(name.starts_with("fc."), *before == after, "{name}");
        }
    }
}

#[test]
fn a_value_belongs_to_one_tape_until_it_is_cleared() {
    let device = Device::cpu();
    let x = sequence(&device, 1);
    let (mut tape, mut other) = (Tape::without_parameters(&device), Tape::without_parameters(&device));
    let (foreign, old) = (other.input(&x), tape.input(&x));
    tape.clear();
    let own = tape.input(&x);
    for var in [foreign, old] {
        let cotangent = Tensor::uniform(&device, [4, 1, 2], [0.0, 1.0], 0, 0).unwrap();
        let results = [
            tape.value(var).err(),
            tape.requires_grad(var).err(),
            tape.gradient(var).err(),
            tape.detach(var).err(),
            tape.tanh(var).err(),
            tape.add(own, var).err(),
            tape.stack(&[own, var], 0).err(),
            tape.backward_from(var, &cotangent).err(),
            tape.push("own", &[var], x.clone(), || Box::new(|_| Ok(()))).err(),
        ];
        for result in results {
            let error = result.expect("a value of another tape is refused").to_string();
            assert!(error.contains("another tape"), "{error}");
        }
    }
}

/// The gradient of a value with respect to itself, whatever kind of value it is.
#[test]
fn a_pass_may_begin_at_an_input_or_a_parameter() {
    let device = Device::cpu();
    let mut init = Initializer::new(&device, 0);
    let id = init.uniform("p", [1], 1.0);
    let parameters = init.build().unwrap();
    let mut tape = Tape::new(&parameters);
    let (p, x) = (tape.parameter(id).unwrap(), tape.input(&Tensor::from_f32(&device, [1], &[3.0]).unwrap()));
    for pass in 1..=2 {
        tape.backward(p).unwrap();
        tape.backward(x).unwrap();
        assert_eq!(parameters.gradient(id).unwrap().to_vec().unwrap(), [pass as f32]);
        assert_eq!(input_gradient(&tape, x), [pass as f32]);
    }
}

/// The loss's own gradient, 1, is never stored: what stands in for it must be the same.
#[test]
fn the_gradient_of_the_loss_may_be_implied_or_given() {
    for device in devices() {
        let gradient = |backward: fn(&mut Tape, Var) -> Result<()>| {
            let model = Model::new(&device);
            let mut tape = Tape::new(&model.parameters);
            let x = tape.constant(&sequence(&device, 1));
            let (loss, _) = model.loss(&mut tape, x, None);
            backward(&mut tape, loss).unwrap();
            model.gradients()
        };
        let implied = gradient(|tape, loss| tape.backward(loss));
        let given = gradient(|tape, loss| {
            let one = Tensor::from_f32(tape.device(), [1], &[1.0])?;
            tape.backward_from(loss, &one)
        });
        assert_eq!(implied, given);
        let scaled = gradient(|tape, loss| {
            let loss = tape.scale(loss, 2.0)?;
            tape.backward(loss)
        });
        assert_eq!(implied.iter().map(|g| doubled(g)).collect::<Vec<_>>(), scaled);
    }
}

#[test]
fn a_search_names_the_first_operation_with_a_value_that_is_not_finite() {
    for device in devices() {
        let scaled = |x: f32, factors: [f32; 3], search: bool| {
            let mut tape = Tape::without_parameters(&device);
            tape.detect_nonfinite(search);
            let mut y = tape.input(&Tensor::from_f32(&device, [1], &[x])?);
            for factor in factors {
                let positive = tape.relu(y)?;
                y = tape.scale(positive, factor)?;
            }
            tape.backward(y)
        };
        // Forward 1e30, 1e60; backward 1e-30, 1, 1e30 of what is finite forward; both where nothing is wrong. No number is so
        // small that a device may take it for 0.
        let cases = [
            (1.0, [1e30, 1e30, 1.0], Some(("the output of scale", "node 3 "))),
            (1e-30, [1e30, 1e30, 1e-30], None),
            (2e-38, [1e30, 1e30, 1.0], Some(("the gradient of input 0 of scale", "node 1 "))),
        ];
        for (x, factors, expected) in cases {
            assert!(scaled(x, factors, false).is_ok(), "nobody looks unless asked to");
            match (scaled(x, factors, true), expected) {
                (Ok(()), None) => {}
                (Err(Error::NonFinite { what, at }), Some((whose, node))) => {
                    assert_eq!(what, whose);
                    assert!(at.as_ref().is_some_and(|at| at.starts_with(node)), "{at:?}");
                }
                (result, _) => panic!("{x:e} times {factors:?} gave {result:?}, not {expected:?}"),
            }
        }
    }
}

/// An operation with more inputs than a machine word has bits.
#[test]
fn an_operation_may_have_any_number_of_inputs() {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let parts: Vec<Var> =
        (0..200).map(|i| tape.input(&Tensor::from_f32(&device, [1], &[i as f32]).unwrap())).collect();
    let all = tape.stack(&parts, 0).unwrap();
    let cotangent: Vec<f32> = (0..200).map(|i| 0.5 * i as f32).collect();
    tape.backward_from(all, &Tensor::from_f32(&device, [200, 1], &cotangent).unwrap()).unwrap();
    let gradients: Vec<f32> = parts.iter().flat_map(|part| input_gradient(&tape, *part)).collect();
    assert_eq!(gradients, cotangent);
}

fn with_rule(rule: fn(&mut bptt::tape::Gradients<'_>) -> Result<()>) {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let x = tape.input(&sequence(&device, 1));
    let y = tape.push("own", &[x, x], sequence(&device, 2), || Box::new(rule)).unwrap();
    let _ = tape.backward_from(y, &sequence(&device, 3));
}

#[test]
#[should_panic(expected = "own gave input 1 no gradient")]
fn a_rule_that_forgets_an_input_is_caught() {
    with_rule(|g| g.give(0, g.of_output()?));
}

#[test]
#[should_panic(expected = "own gave input 0 two gradients")]
fn a_rule_that_gives_an_input_two_gradients_is_caught() {
    with_rule(|g| {
        g.give(0, g.of_output()?)?;
        g.give(0, g.of_output()?)
    });
}

/// Runs `work` with so little stack that recursion over a sequence would overflow it.
fn with_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work);
    thread.unwrap().join().unwrap();
}

const LONG: usize = 20_000;

#[test]
fn a_long_sequence_is_one_node() {
    with_a_small_stack(|| {
        let device = Device::cpu();
        let mut tape = Tape::without_parameters(&device);
        let mut input = |shape: &[usize]| {
            let x = Tensor::uniform(&device, shape, [-0.5, 0.5], 1, 0).unwrap();
            tape.input(&x)
        };
        let (x, w_ih, w_hh, h0) = (input(&[LONG, 2, 3]), input(&[4, 3]), input(&[4, 4]), input(&[2, 4]));
        let weights = RecurrentWeights { w_ih, w_hh, biases: None, w_hr: None };
        let [y, _] = tape.rnn(x, Some(h0), weights, Nonlinearity::Tanh, Order::default()).unwrap();
        let sum = tape.sum(y).unwrap();
        tape.backward(sum).unwrap();
        assert!(input_gradient(&tape, x)[..6].iter().all(|g| *g != 0.0 && g.is_finite()));
    });
}

#[test]
fn a_long_chain_is_walked_and_dropped() {
    with_a_small_stack(|| {
        let device = Device::cpu();
        let mut tape = Tape::without_parameters(&device);
        let x = tape.input(&Tensor::from_f32(&device, [1], &[1.0]).unwrap());
        let mut y = x;
        for _ in 0..LONG {
            y = tape.scale(y, -1.0).unwrap();
            y = tape.add(y, x).unwrap();
        }
        assert_eq!(tape.nodes().count(), 2 * LONG);
        // y becomes x − y with each step: 0, x, 0, ..
        tape.backward(y).unwrap();
        assert_eq!(tape.value(y).unwrap().to_vec().unwrap(), [1.0]);
        assert_eq!(input_gradient(&tape, x), [1.0]);
        drop(tape);
        assert_eq!(device.stats().bytes_in_use, 0);
    });
}
