//! The gradients of every operation and of whole networks. They are compared with finite differences in 64 bits, and on each
//! device with the reference, within derived limits.

mod common;

use std::path::Path;

use bptt::device::Device;
use bptt::error::Result;
use bptt::nn::{GruConfig, LstmConfig, RnnConfig};
use bptt::ops::cross_entropy::CrossEntropyLoss;
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use bptt::parameters::Precision;
use bptt::tape::{Tape, Var};
use bptt::verify::gradients::{Computation, compare, compare_in, gradient_check};
use bptt::verify::{Layer, computations, network};
use common::{devices, gpu};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

#[test]
fn gradients_agree_with_finite_differences() {
    for computation in computations() {
        for seed in 0..3 {
            let report = gradient_check(&computation, seed).unwrap();
            assert!(report.passed(), "{computation:?}, seed {seed}: {report}");
        }
    }
}

fn agrees_with_the_reference(device: &Device, computation: &Computation, precision: Precision) {
    let report = compare_in(device, computation, precision, 0).unwrap();
    assert!(report.passed(), "{computation:?} in {precision:?} on {device:?}: {report}");
}

#[test]
fn devices_agree_with_the_reference() {
    for device in devices() {
        for computation in computations() {
            for precision in Precision::ALL {
                agrees_with_the_reference(&device, &computation, precision);
            }
        }
    }
}

/// An operation that is added without a computation in the table fails here.
#[test]
fn every_operation_is_in_the_table() {
    let table = computations();
    let checked: Vec<&str> = table.iter().flat_map(|computation| computation.operations().unwrap()).collect();
    let ops = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let files = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files(&ops).flat_map(|path| match path.is_dir() {
        true => files(&path).collect(),
        false => vec![path],
    });
    let mut found = 0;
    for file in files {
        let mut text = std::fs::read_to_string(file).unwrap();
        text.retain(|c| !c.is_whitespace());
        let calls = [
            "push",
            "push_all",
            "activation",
            "binary",
            "unary",
            "softmax_along",
            "regression",
            "side_by_side",
        ];
        for call in calls {
            let call = format!("self.{call}(\"");
            for name in text.split(&call).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(checked.contains(&name), "{name} is in no computation of verify::computations()");
                found += 1;
            }
        }
    }
    assert!(found >= 32, "this test finds the operations by how they call the tape, and found only {found}");
}

/// The kinds of layers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Rnn(Nonlinearity),
    /// With a projection or without.
    Lstm(bool),
    Gru,
}

/// A kind of layer, whether it is bidirectional, and whether batch-first.
fn layer_options() -> impl Strategy<Value = (Kind, bool, bool)> {
    let kinds = [
        Kind::Rnn(Nonlinearity::Tanh),
        Kind::Rnn(Nonlinearity::Relu),
        Kind::Lstm(false),
        Kind::Lstm(true),
        Kind::Gru,
    ];
    (prop::sample::select(kinds.to_vec()), any::<bool>(), any::<bool>())
}

/// Networks of all sizes, drawn by proptest; the environment variable PROPTEST_CASES asks for more of them.
fn networks_agree_with_the_reference(device: &Device, cases: u32, precisions: &[Precision]) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(cases),
        max_shrink_iters: 256,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    };
    // Hidden sizes beside the tile of the matrix product too. Over more steps than these the limits lose their meaning.
    let hidden = prop_oneof![3 => 1..=9usize, 1 => 31..=33usize];
    let sizes = (1..=9usize, hidden, 1..=3usize, 1..=12usize, prop::option::of(0..=9usize));
    let strategy = (
        layer_options(),
        sizes,
        any::<[bool; 3]>(),
        prop::sample::select(vec![0.0, 0.4]),
        any::<u64>().no_shrink(),
    );
    let outcome = TestRunner::new(config).run(&strategy, |(options, sizes, flags, dropout, seed)| {
        let (input_size, hidden_size, num_layers, time, batch) = sizes;
        let [bias, states, lengths] = flags;
        let (kind, bidirectional, batch_first) = options;
        let layer = match kind {
            Kind::Rnn(nonlinearity) => Layer::Rnn(RnnConfig {
                input_size,
                hidden_size,
                num_layers,
                nonlinearity,
                bias,
                batch_first,
                dropout,
                bidirectional,
            }),
            Kind::Lstm(projected) => Layer::Lstm(LstmConfig {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                dropout,
                bidirectional,
                proj_size: if projected { hidden_size / 2 } else { 0 },
            }),
            Kind::Gru => Layer::Gru(GruConfig {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                dropout,
                bidirectional,
            }),
        };
        let network = network(&layer, time, batch, states, lengths && batch.is_some());
        for precision in precisions {
            let report = compare_in(device, &network, *precision, seed)
                .map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            // Rounded to halves a unit of relu may be on the other side of its corner: its gradient is then there or gone
            // as a whole, which its limit knows but the error over everything does not.
            let corners = matches!(kind, Kind::Rnn(Nonlinearity::Relu)) && *precision != Precision::F32;
            let right = if corners { report.share <= 1.0 } else { report.passed() };
            prop_assert!(right, "{network:?} in {precision:?}, seed {seed}: {report}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("on {device:?}: {failure}"));
}

#[test]
fn networks_on_the_cpu_agree_with_the_reference() {
    networks_agree_with_the_reference(&Device::cpu(), 48, &[Precision::F32]);
}

#[test]
fn networks_on_the_gpu_agree_with_the_reference() {
    networks_agree_with_the_reference(gpu(), 48, &[Precision::F32]);
}

const HALVES: [Precision; 2] = [Precision::F16, Precision::BF16];

#[test]
fn networks_on_the_cpu_agree_with_the_reference_in_halves() {
    networks_agree_with_the_reference(&Device::cpu(), 24, &HALVES);
}

#[test]
fn networks_on_the_gpu_agree_with_the_reference_in_halves() {
    networks_agree_with_the_reference(gpu(), 24, &HALVES);
}

/// Many steps, where what is left to hold is the error over everything. Every gradient points where it should: the cosine of the
/// angle to the reference is at least 0.9999, which is one less half of the NMSE.
#[test]
fn long_sequences_agree_with_the_reference() {
    let (input_size, hidden_size, num_layers) = (5, 17, 2);
    let rnn = |nonlinearity| {
        let rest = RnnConfig::default();
        Layer::Rnn(RnnConfig { input_size, hidden_size, num_layers, nonlinearity, ..rest })
    };
    for layer in [
        rnn(Nonlinearity::Tanh),
        rnn(Nonlinearity::Relu),
        Layer::Lstm(LstmConfig { input_size, hidden_size, num_layers, ..LstmConfig::default() }),
        Layer::Gru(GruConfig { input_size, hidden_size, num_layers, ..GruConfig::default() }),
    ] {
        for device in devices() {
            for precision in Precision::ALL {
                let network = network(&layer, 150, Some(4), true, true);
                let report = compare_in(&device, &network, precision, 0).unwrap();
                assert!(report.passed(), "{network:?} in {precision:?} on {device:?}: {report}");
                let gradients = report.tensors.iter().filter(|(name, _)| name.starts_with("the gradient"));
                for (name, nmse) in gradients {
                    assert!(*nmse <= 2e-4, "{network:?} in {precision:?} on {device:?}: {name}, NMSE {nmse}");
                }
                // Most limits of single elements say nothing here.
                assert!(2 * report.loose > report.elements, "{} of {}", report.loose, report.elements);
            }
        }
    }
}

/// Arguments up to ±100, and logits up to ±10,000, where exponentials overflow and activations saturate.
#[test]
fn large_arguments_stay_finite_and_right() {
    let large = |name, forward: fn(&mut Tape, Var) -> Result<Var>| {
        Computation::new(name, &[("x", &[4, 2, 3])], move |tape, v| {
            let x = tape.scale(v[0], 100.0)?;
            forward(tape, x)
        })
    };
    let recurrent = |name: &'static str, parts: usize, forward: fn(&mut Tape, Var, RecurrentWeights) -> _| {
        let (w_ih, w_hh) = ([3 * parts, 3], [3 * parts, 3]);
        let inputs: [(_, &[usize]); 3] = [("x", &[4, 2, 3]), ("w_ih", &w_ih), ("w_hh", &w_hh)];
        Computation::new(name, &inputs, move |tape, v| -> Result<Var> {
            let x = tape.scale(v[0], 100.0)?;
            forward(tape, x, RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr: None })
        })
    };
    for computation in [
        large("sigmoid", |tape, x| tape.sigmoid(x)),
        large("tanh", |tape, x| tape.tanh(x)),
        large("relu", |tape, x| tape.relu(x)),
        large("cross_entropy", |tape, x| {
            let logits = tape.scale(x, 100.0)?;
            let labels = Indices::new(tape.device(), [4, 2], &[0, 1, 2, 0, 1, 2, 0, 1])?;
            tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default())
        }),
        recurrent("rnn, tanh", 1, |tape, x, weights| {
            Ok(tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default())?[0])
        }),
        recurrent("rnn, relu", 1, |tape, x, weights| {
            Ok(tape.rnn(x, None, weights, Nonlinearity::Relu, Order::default())?[0])
        }),
        recurrent("lstm", 4, |tape, x, weights| Ok(tape.lstm(x, [None; 2], weights, Order::default())?[0])),
        recurrent("gru", 3, |tape, x, weights| Ok(tape.gru(x, None, weights, Order::default())?[0])),
    ] {
        for device in devices() {
            agrees_with_the_reference(&device, &computation, Precision::F32);
        }
    }
}

/// y = x², whose gradient is 2·x·dy, with `factor` of the device in place of 2.
fn square(factor: fn(&Device) -> f32) -> Computation {
    Computation::new("square", &[("x", &[3, 4])], move |tape, v| {
        let x = tape.value(v[0])?.clone();
        let y = tape.no_grad(|tape| tape.mul(v[0], v[0]))?;
        let y = tape.value(y)?.clone();
        let factor = factor(tape.device());
        tape.push("square", v, y, || {
            Box::new(move |g| {
                let mut tape = Tape::without_parameters(&x.device());
                let (x, dy) = (tape.constant(&x), tape.constant(&g.of_output()?));
                let dx = tape.mul(x, dy)?;
                let dx = tape.scale(dx, factor)?;
                g.give(0, tape.value(dx)?.clone())
            })
        })
    })
}

#[test]
fn a_wrong_rule_is_caught_by_finite_differences() {
    assert!(gradient_check(&square(|_| 2.0), 0).unwrap().passed());
    // The sign flipped, one of the two factors forgotten, and an error of half a part in a million.
    for factor in [|_: &Device| -2.0, |_: &Device| 1.0, |_: &Device| 2.000_001] {
        let report = gradient_check(&square(factor), 0).unwrap();
        assert!(!report.passed(), "{report}");
        assert_eq!(report.tensor, "the gradient of x");
    }
}

#[test]
fn a_rule_that_is_wrong_on_one_device_is_caught_by_the_comparison() {
    let reference = |device: &Device| device.info().name.starts_with("reference");
    assert!(reference(&Device::bounded()));
    for device in devices() {
        assert!(compare(&device, &square(|_| 2.0), 0).unwrap().passed());
        let wrong =
            square(|device| if device.info().name.starts_with("reference") { 2.0 } else { 2.000_002 });
        let report = compare(&device, &wrong, 0).unwrap();
        assert!(!report.passed(), "{report}");
        assert_eq!(report.tensor, "the gradient of x");
    }
}
