//! Losses: compared with what PyTorch computed (tests/pytorch/loss_options.safetensors), over sequences of different lengths, and
//! with arguments that do not fit.

mod common;

use std::collections::BTreeMap;

use bptt::device::Device;
use bptt::error::Result;
use bptt::ops::cross_entropy::{ClassWeights, CrossEntropyLoss, Reduction};
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::Lengths;
use bptt::ops::regression_loss::RegressionLoss;
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use common::{Stored, assert_conforms, devices, stored};

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// What PyTorch computed for one case.
struct Fixture<'a> {
    tensors: &'a BTreeMap<String, Stored>,
    device: &'a Device,
    case: String,
}

impl Fixture<'_> {
    fn part(&self, key: &str) -> Option<&Stored> {
        self.tensors.get(&format!("{}.{key}", self.case))
    }

    fn values(&self, key: &str) -> &[f64] {
        &self.part(key).unwrap_or_else(|| panic!("{} has no {key}", self.case)).values
    }

    fn tensor(&self, key: &str) -> Tensor {
        let stored = self.part(key).unwrap_or_else(|| panic!("{} has no {key}", self.case));
        Tensor::from_f32(self.device, &stored.shape[..], &stored.f32()).unwrap()
    }

    fn reduction(&self) -> Reduction {
        REDUCTIONS[self.values("options")[2] as usize]
    }

    fn cross_entropy(&self) -> CrossEntropyLoss {
        let options = self.values("options");
        let weight = self.part("weight").map(|weight| ClassWeights::new(self.device, &weight.f32()).unwrap());
        CrossEntropyLoss {
            label_smoothing: options[0] as f32,
            ignore_index: options[1] as i32,
            reduction: self.reduction(),
            weight,
            lengths: None,
        }
    }

    /// Holds the loss and the gradients of the inputs to PyTorch's.
    fn check(&self, inputs: &[&str], loss: impl FnOnce(&mut Tape, &[Var]) -> Result<Var>) {
        let mut tape = Tape::without_parameters(self.device);
        let vars: Vec<Var> = inputs.iter().map(|name| tape.input(&self.tensor(name))).collect();
        let loss = loss(&mut tape, &vars).unwrap();
        let shape = tape.value(loss).unwrap().shape();
        let cotangent: Vec<f32> = self.values("cotangent").iter().map(|x| *x as f32).collect();
        tape.backward_from(loss, &Tensor::from_f32(self.device, shape, &cotangent).unwrap()).unwrap();
        let label = |what: &str| format!("{:?} {} {what}", self.device, self.case);
        let loss = tape.value(loss).unwrap().to_vec().unwrap();
        assert_conforms(&label("loss"), &loss, self.values("expect.loss"), 2e-5);
        for (name, var) in inputs.iter().zip(vars) {
            let gradient = tape.gradient(var).unwrap().unwrap().to_vec().unwrap();
            assert_conforms(&label(name), &gradient, self.values(&format!("expect.grad.{name}")), 2e-4);
        }
    }
}

/// Runs a check for each of `count` cases of a kind, on every device.
fn for_each(kind: &str, count: usize, check: impl Fn(&Fixture<'_>)) {
    let tensors = stored("loss_options");
    let found = (0..).take_while(|i| tensors.contains_key(&format!("{kind}{i}.options"))).count();
    assert_eq!(found, count, "cases {kind} of loss_options.safetensors");
    for device in devices() {
        for i in 0..count {
            check(&Fixture { tensors: &tensors, device: &device, case: format!("{kind}{i}") });
        }
    }
}

#[test]
fn losses_of_values_are_pytorchs() {
    for_each("values", 15, |fixture| {
        let (kind, delta) = (fixture.values("options")[0], fixture.values("options")[1] as f32);
        let options = RegressionLoss { reduction: fixture.reduction(), lengths: None };
        fixture.check(&["x", "target"], |tape, v| match kind as u32 {
            0 => tape.mse_loss(v[0], v[1], &options),
            1 => tape.l1_loss(v[0], v[1], &options),
            _ => tape.huber_loss(v[0], v[1], delta, &options),
        });
    });
}

#[test]
fn cross_entropy_of_probabilities_is_pytorchs() {
    for_each("soft", 24, |fixture| {
        let q = fixture.tensor("q");
        let options = fixture.cross_entropy();
        fixture.check(&["logits"], |tape, v| tape.cross_entropy_probabilities(v[0], &q, &options));
    });
}

#[test]
fn cross_entropy_of_each_row_is_pytorchs() {
    for_each("none", 16, |fixture| {
        let labels = fixture.part("labels").unwrap();
        let labels = Indices::new(fixture.device, &labels.shape[..], &labels.i32()).unwrap();
        let options = fixture.cross_entropy();
        fixture.check(&["logits"], |tape, v| tape.cross_entropy(v[0], &labels, &options));
    });
}

/// Steps, batch and width of the sequences below, and their lengths.
const SHAPE: [usize; 3] = [4, 3, 5];
const LENGTHS: [usize; 3] = [2, 4, 1];

/// Some numbers; behind the sequences' ends NaN, which must not show.
fn padded(device: &Device, phase: f32) -> Tensor {
    let within = |i: usize| i / 15 < LENGTHS[i / 5 % 3];
    let number = |i: usize| if within(i) { (i as f32 * 0.7 + phase).sin() } else { f32::NAN };
    Tensor::from_f32(device, SHAPE, &(0..60).map(number).collect::<Vec<_>>()).unwrap()
}

/// The rows of [T, B, width] that lie within their sequences.
fn kept<T: Copy>(x: &[T], width: usize) -> Vec<T> {
    let rows = x.chunks(width).enumerate().filter(|(row, _)| row / 3 < LENGTHS[row % 3]);
    rows.flat_map(|(_, row)| row.to_vec()).collect()
}

/// A loss of sequences is that of the rows within them alone, put one below the other. `loss` gets one tensor for each
/// phase, and the lengths for the padded ones.
fn ignores_what_is_behind(
    what: &str,
    phases: &[f32],
    loss: impl Fn(&mut Tape, &[Var], Reduction, Option<Lengths>) -> Result<Var>,
) {
    for device in devices() {
        for reduction in REDUCTIONS {
            let run = |inputs: &[Tensor], lengths: Option<Lengths>| {
                let mut tape = Tape::without_parameters(&device);
                let vars: Vec<Var> = inputs.iter().map(|x| tape.input(x)).collect();
                let loss = loss(&mut tape, &vars, reduction, lengths).unwrap();
                let result = tape.value(loss).unwrap().clone();
                let ones = vec![1.0; result.count()];
                tape.backward_from(loss, &Tensor::from_f32(&device, result.shape(), &ones).unwrap()).unwrap();
                (result, tape.gradient(vars[0]).unwrap().unwrap().to_vec().unwrap())
            };
            let inputs: Vec<_> = phases.iter().map(|phase| padded(&device, *phase)).collect();
            let rows = |x: &Tensor| {
                let rows = kept(&x.to_vec().unwrap(), 5);
                Tensor::from_f32(&device, [rows.len() / 5, 5], &rows).unwrap()
            };
            let rows: Vec<_> = inputs.iter().map(rows).collect();
            let (got, gradient) = run(&inputs, Some(Lengths::new(&device, &LENGTHS).unwrap()));
            let (expected, expected_gradient) = run(&rows, None);
            let label = format!("{what}, {reduction:?}, on {device:?}");
            let width = got.count().div_ceil(12);
            let got = got.to_vec().unwrap();
            let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<_>>();
            let (expected, expected_gradient) = (wide(expected.to_vec().unwrap()), wide(expected_gradient));
            if reduction == Reduction::None {
                assert_conforms(&label, &kept(&got, width), &expected, 1e-6);
                let sums = [got.iter().sum(), kept(&got, width).iter().sum::<f32>()];
                assert!((sums[0] - sums[1]).abs() <= 1e-5, "{label}: 0 behind the ends");
            } else {
                assert_conforms(&label, &got, &expected, 1e-6);
            }
            assert_conforms(&label, &kept(&gradient, 5), &expected_gradient, 1e-6);
            let rest = gradient.iter().filter(|x| **x != 0.0).count();
            assert_eq!(rest, kept(&gradient, 5).iter().filter(|x| **x != 0.0).count(), "{label}");
        }
    }
}

#[test]
fn losses_of_values_end_with_the_sequences() {
    ignores_what_is_behind("mse_loss", &[0.0, 1.0], |tape, v, reduction, lengths| {
        tape.mse_loss(v[0], v[1], &RegressionLoss { reduction, lengths })
    });
    ignores_what_is_behind("l1_loss", &[0.0, 1.0], |tape, v, reduction, lengths| {
        tape.l1_loss(v[0], v[1], &RegressionLoss { reduction, lengths })
    });
    ignores_what_is_behind("huber_loss", &[0.0, 1.0], |tape, v, reduction, lengths| {
        tape.huber_loss(v[0], v[1], 0.5, &RegressionLoss { reduction, lengths })
    });
}

#[test]
fn cross_entropy_ends_with_the_sequences() {
    for ignore_index in [-100, 2] {
        ignores_what_is_behind("cross_entropy", &[0.0], |tape, v, reduction, lengths| {
            let labels: Vec<i32> = (0..12).map(|i| i * 3 % 5).collect();
            let device = tape.device().clone();
            let labels = match &lengths {
                Some(_) => Indices::new(&device, [4, 3], &labels)?,
                None => Indices::new(&device, [7], &kept(&labels, 1))?,
            };
            let weight = Some(ClassWeights::new(&device, &[0.5, 1.5, 2.0, 0.25, 1.0])?);
            let options = CrossEntropyLoss { weight, ignore_index, reduction, label_smoothing: 0.1, lengths };
            tape.cross_entropy(v[0], &labels, &options)
        });
    }
}

#[test]
fn cross_entropy_of_probabilities_ends_with_the_sequences() {
    ignores_what_is_behind("cross_entropy_probabilities", &[0.0], |tape, v, reduction, lengths| {
        let q: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32 / 25.0).collect();
        let device = tape.device().clone();
        let q = match &lengths {
            Some(_) => Tensor::from_f32(&device, SHAPE, &q)?,
            None => Tensor::from_f32(&device, [7, 5], &kept(&q, 5))?,
        };
        let options = CrossEntropyLoss { reduction, lengths, ..CrossEntropyLoss::default() };
        tape.cross_entropy_probabilities(v[0], &q, &options)
    });
}

/// As torch.nn.functional.mse_loss of two empty tensors: nan, 0 and an empty tensor.
#[test]
fn losses_of_nothing_are_pytorchs() {
    for device in devices() {
        for reduction in REDUCTIONS {
            let mut tape = Tape::without_parameters(&device);
            let x = tape.input(&Tensor::from_f32(&device, [0, 3], &[]).unwrap());
            let options = RegressionLoss { reduction, lengths: None };
            let loss = tape.mse_loss(x, x, &options).unwrap();
            let value = tape.value(loss).unwrap().to_vec().unwrap();
            match reduction {
                Reduction::Mean => assert!(value[0].is_nan(), "{device:?}"),
                Reduction::Sum => assert_eq!(value, [0.0], "{device:?}"),
                Reduction::None => assert_eq!(value, [] as [f32; 0], "{device:?}"),
            }
        }
    }
}

/// Logits without rows in front: one row, as in PyTorch.
#[test]
fn a_single_row_needs_no_dimension() {
    for device in devices() {
        let loss = |shape: &[usize]| {
            let labels = Indices::new(&device, [1], &[2]).unwrap();
            let mut tape = Tape::without_parameters(&device);
            let x = tape.input(&Tensor::from_f32(&device, shape, &[0.5, -1.0, 2.0]).unwrap());
            let options = CrossEntropyLoss { reduction: Reduction::None, ..CrossEntropyLoss::default() };
            let loss = tape.cross_entropy(x, &labels, &options).unwrap();
            tape.backward(loss).unwrap();
            let gradient = tape.gradient(x).unwrap().unwrap().to_vec().unwrap();
            (tape.value(loss).unwrap().to_vec().unwrap(), gradient)
        };
        assert_eq!(loss(&[3]), loss(&[1, 3]), "{device:?}");
    }
}

/// The message of a failure.
fn message<T>(result: Result<T>) -> String {
    result.err().expect("must fail").to_string()
}

#[test]
fn values_that_do_not_fit_are_errors() {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let mut zeros = |shape: &[usize]| {
        let tensor = Tensor::from_f32(&device, shape, &vec![0.0; shape.iter().product()]).unwrap();
        tape.input(&tensor)
    };
    let (x, other, flat) = (zeros(&[4, 3]), zeros(&[3, 4]), zeros(&[12]));
    let options = RegressionLoss::default();
    assert_eq!(message(tape.mse_loss(x, other, &options)), "mse_loss: shapes [4, 3] and [3, 4] do not fit");
    assert_eq!(message(tape.l1_loss(x, flat, &options)), "l1_loss: shapes [4, 3] and [12] do not fit");
    for (delta, found) in [(0.0, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        assert_eq!(
            message(tape.huber_loss(x, x, delta, &options)),
            format!("huber_loss: delta must be above 0 and finite, got {found}")
        );
    }
    let with = |lengths: &[usize]| RegressionLoss {
        lengths: Some(Lengths::new(&device, lengths).unwrap()),
        ..RegressionLoss::default()
    };
    assert_eq!(
        message(tape.mse_loss(x, x, &with(&[1, 2]))),
        "mse_loss: lengths must be one for each of 3 sequences, got 2"
    );
    assert_eq!(
        message(tape.mse_loss(x, x, &with(&[1, 5, 2]))),
        "mse_loss: lengths must be at most 4, got 5 for sequence 1"
    );
    assert_eq!(
        message(tape.l1_loss(flat, flat, &with(&[1]))),
        "l1_loss: lengths take losses [T, B, ..], got [12]"
    );
}

#[test]
fn probabilities_that_do_not_fit_are_errors() {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let tensor =
        |shape: &[usize]| Tensor::from_f32(&device, shape, &vec![0.5; shape.iter().product()]).unwrap();
    let logits = tape.input(&tensor(&[2, 3]));
    let options = CrossEntropyLoss::default;
    let mut fails = |q: &[usize], options: CrossEntropyLoss| {
        message(tape.cross_entropy_probabilities(logits, &tensor(q), &options))
    };
    assert_eq!(fails(&[3, 2], options()), "cross_entropy_probabilities: shapes [2, 3] and [3, 2] do not fit");
    assert_eq!(
        fails(&[2, 3], CrossEntropyLoss { ignore_index: 1, ..options() }),
        "cross_entropy_probabilities: takes no labels to ignore, got ignore_index 1"
    );
    assert_eq!(
        fails(&[2, 3], CrossEntropyLoss { label_smoothing: 1.5, ..options() }),
        "cross_entropy_probabilities: label_smoothing must be in 0..=1, got 1.5"
    );
    let weight = Some(ClassWeights::new(&device, &[1.0; 4]).unwrap());
    assert_eq!(
        fails(&[2, 3], CrossEntropyLoss { weight, ..options() }),
        "cross_entropy_probabilities: 3 classes take 3 weights, got 4"
    );
    let lengths = Some(Lengths::new(&device, &[1]).unwrap());
    assert_eq!(
        fails(&[2, 3], CrossEntropyLoss { lengths, ..options() }),
        "cross_entropy_probabilities: lengths take losses [T, B, ..], got [2]"
    );
}
