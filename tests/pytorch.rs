//! Results compared with those that PyTorch computed (tests/pytorch), on every device.

mod common;

use std::collections::BTreeMap;

use bptt::data::text::{CHARSEQ, HIHELLO, LONGSEQ, Vocabulary, Windows};
use bptt::device::{Device, Host};
use bptt::nn::{Linear, LinearConfig, Rnn, RnnConfig};
use bptt::ops::cross_entropy::{ClassWeights, CrossEntropyLoss, Reduction};
use bptt::ops::indices::Indices;
use bptt::optim::{Adam, AdamConfig, Optimizer};
use bptt::parameters::{Initializer, Parameters};
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use common::{Stored, assert_conforms, devices, stored};

/// An experiment on a sentence, built from layers as a user of PyTorch would: batch-first, one-hot input.
struct Experiment {
    parameters: Parameters,
    rnn: Rnn,
    fc: Option<Linear>,
    x: Tensor,
    targets: Indices,
}

impl Experiment {
    fn new(device: &Device, text: &str, window: usize, layers: usize, linear: bool) -> Self {
        let vocabulary = Vocabulary::from_text(text);
        let classes = vocabulary.len();
        let windows = Windows::new(&vocabulary.encode(text).unwrap(), window).unwrap();
        let shape = [windows.batch, windows.time];
        let mut init = Initializer::new(device, 0);
        let config = RnnConfig {
            input_size: classes,
            hidden_size: classes,
            num_layers: layers,
            batch_first: true,
            ..RnnConfig::default()
        };
        let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
        let config = LinearConfig { in_features: classes, out_features: classes, bias: true };
        let fc = linear.then(|| Linear::new(&mut init, "fc", &config).unwrap());
        Experiment {
            parameters: init.build().unwrap(),
            rnn,
            fc,
            x: Indices::new(device, shape, &windows.inputs).unwrap().one_hot(classes).unwrap(),
            targets: Indices::new(device, shape, &windows.targets).unwrap(),
        }
    }

    /// Sets every parameter from `PREFIX<name>`.
    fn load(&self, tensors: &BTreeMap<String, Stored>, prefix: &str) {
        for (name, shape) in self.parameters.names() {
            let stored = &tensors[&format!("{prefix}{name}")];
            assert_eq!(*shape, stored.shape[..], "{name}");
            self.parameters.set(name, Host::F32(&stored.f32())).unwrap();
        }
    }

    /// The loss of a forward pass, after a backward pass.
    fn backward(&self, tape: &mut Tape) -> Var {
        tape.clear();
        let x = tape.constant(&self.x);
        let states = self.rnn.forward(tape, x, None).unwrap();
        let logits = match &self.fc {
            Some(fc) => fc.forward(tape, states.output).unwrap(),
            None => states.output,
        };
        let loss = tape.cross_entropy(logits, &self.targets, &CrossEntropyLoss::default()).unwrap();
        self.parameters.zero_grad();
        tape.backward(loss).unwrap();
        loss
    }
}

fn follows_pytorch(file: &str, text: &str) {
    let tensors = stored(file);
    for device in devices() {
        for seed in 0..3 {
            let experiment = Experiment::new(&device, text, text.chars().count() - 1, 1, false);
            experiment.load(&tensors, &format!("seed{seed}.param."));
            let config = AdamConfig { lr: 0.1, ..AdamConfig::default() };
            let mut adam = Adam::new(&experiment.parameters, config).unwrap();
            let mut tape = Tape::new(&experiment.parameters);
            for (step, expected) in tensors[&format!("seed{seed}.loss")].values.iter().enumerate() {
                let loss = experiment.backward(&mut tape);
                let loss = f64::from(tape.value(loss).unwrap().to_vec().unwrap()[0]);
                adam.step(None).unwrap();
                let error = (loss - expected).abs() / expected;
                assert!(
                    error <= 1e-4,
                    "{device:?} seed {seed} step {step}: loss {loss}, PyTorch's {expected}"
                );
            }
        }
    }
}

#[test]
fn hihello_follows_pytorch_for_50_steps() {
    follows_pytorch("hihello", HIHELLO);
}

#[test]
fn charseq_follows_pytorch_for_50_steps() {
    follows_pytorch("charseq", CHARSEQ);
}

/// The trajectories of two correct programs part on longseq, so single steps are compared: from PyTorch's parameters and
/// Adam state, the loss, every gradient, and every parameter after the update.
#[test]
fn longseq_makes_pytorchs_steps() {
    let tensors = stored("longseq");
    for device in devices() {
        for step in [0, 10, 20, 40] {
            let at = format!("step{step}.");
            let experiment = Experiment::new(&device, LONGSEQ, 10, 2, true);
            experiment.load(&tensors, &format!("{at}param."));
            let config = AdamConfig { lr: 0.1, ..AdamConfig::default() };
            let mut adam = Adam::new(&experiment.parameters, config).unwrap();
            let mut state = adam.state().unwrap();
            for (name, _, values) in &mut state {
                *values = match name.as_str() {
                    "step" => tensors[&format!("{at}t")].f32(),
                    moment => tensors[&format!("{at}{moment}")].f32(),
                };
            }
            adam.load_state(&state).unwrap();

            let mut tape = Tape::new(&experiment.parameters);
            let loss = experiment.backward(&mut tape);
            let label = |what: &str| format!("{device:?} step {step} {what}");
            let expected = |key: &str| &tensors[&format!("{at}expect.{key}")].values;
            let loss = tape.value(loss).unwrap().to_vec().unwrap();
            assert_conforms(&label("loss"), &loss, expected("loss"), 2e-5);
            for (name, _) in experiment.parameters.names() {
                let id = experiment.parameters.id(name).unwrap();
                let gradient = experiment.parameters.gradient(id).unwrap().to_vec().unwrap();
                assert_conforms(&label(name), &gradient, expected(&format!("grad.{name}")), 2e-4);
            }
            adam.step(None).unwrap();
            for (name, _, values) in experiment.parameters.to_host().unwrap() {
                assert_conforms(&label(&name), &values, expected(&format!("param.{name}")), 1e-3);
            }
        }
    }
}

#[test]
fn cross_entropy_is_pytorchs() {
    let tensors = stored("losses");
    for device in devices() {
        let cases = (0..).take_while(|i| tensors.contains_key(&format!("case{i}.logits")));
        let count = cases
            .map(|i| {
                let key = |key: &str| format!("case{i}.{key}");
                let logits = &tensors[&key("logits")];
                let options = &tensors[&key("options")].values;
                let weight = tensors.get(&key("weight"));
                let options = CrossEntropyLoss {
                    label_smoothing: options[0] as f32,
                    ignore_index: options[1] as i32,
                    reduction: if options[2] == 0.0 { Reduction::Mean } else { Reduction::Sum },
                    weight: weight.map(|weight| ClassWeights::new(&device, &weight.f32()).unwrap()),
                    ..CrossEntropyLoss::default()
                };
                let labels = &tensors[&key("labels")];
                let labels = Indices::new(&device, &labels.shape[..], &labels.i32()).unwrap();
                let mut tape = Tape::without_parameters(&device);
                let x = tape.input(&Tensor::from_f32(&device, &logits.shape[..], &logits.f32()).unwrap());
                let loss = tape.cross_entropy(x, &labels, &options).unwrap();
                tape.backward(loss).unwrap();
                let label = |what: &str| format!("{device:?} case {i} {what}");
                let loss = tape.value(loss).unwrap().to_vec().unwrap();
                assert_conforms(&label("loss"), &loss, &tensors[&key("expect.loss")].values, 2e-5);
                let gradient = tape.gradient(x).unwrap().unwrap().to_vec().unwrap();
                assert_conforms(&label("gradient"), &gradient, &tensors[&key("expect.grad")].values, 2e-4);
            })
            .count();
        assert_eq!(count, 16, "cases of losses.safetensors");
    }
}

/// A mean over no rows at all is NaN with gradient 0, as torch.nn.functional.cross_entropy(torch.ones(2, 3),
/// torch.tensor([-100, -100])) is.
#[test]
fn a_mean_over_no_rows_is_nan() {
    for device in devices() {
        let labels = Indices::new(&device, [2], &[-100, -100]).unwrap();
        let mut tape = Tape::without_parameters(&device);
        let x = tape.input(&Tensor::from_f32(&device, [2, 3], &[1.0; 6]).unwrap());
        let loss = tape.cross_entropy(x, &labels, &CrossEntropyLoss::default()).unwrap();
        tape.backward(loss).unwrap();
        assert!(tape.value(loss).unwrap().to_vec().unwrap()[0].is_nan(), "{device:?}");
        assert_eq!(tape.gradient(x).unwrap().unwrap().to_vec().unwrap(), [0.0; 6], "{device:?}");
    }
}
