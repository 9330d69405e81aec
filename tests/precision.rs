//! Training in half precision: the loss scale, what is stored how, and that the result is that of 32 bits.

mod common;

use bptt::device::{Device, Host};
use bptt::kernel::Dtype;
use bptt::optim::{Adam, AdamConfig, LossScale, Optimizer, Sgd, SgdConfig, StepState};
use bptt::parameters::{Initializer, ParameterId, Parameters, Precision};
use bptt::prelude::*;
use bptt::train::{Experiment, Hooks, train};
use common::runs::{settings, task};
use common::{devices, refused};

/// A parameter w of 4 numbers, and the loss Σ w·x·y for an x that is given: the gradient is x·y.
struct Line {
    parameters: Parameters,
    w: ParameterId,
    y: f32,
}

impl Line {
    fn new(device: &Device, precision: Precision) -> Line {
        let mut init = Initializer::in_precision(device, 0, precision);
        let w = init.constant("w", [4], 0.5);
        Line { parameters: init.build().unwrap(), w, y: 1.0 }
    }

    fn backward(&self, optimizer: &dyn Optimizer, x: [f32; 4]) -> Tensor {
        let mut tape = Tape::new(&self.parameters);
        tape.set_loss_scale(optimizer.loss_scale()).unwrap();
        let w = tape.parameter(self.w).unwrap();
        let mut product = w;
        for factor in [x, [self.y; 4]] {
            let factor = Tensor::from_f32(self.parameters.device(), [4], &factor).unwrap();
            let factor = tape.constant(&factor.cast(self.parameters.precision().dtype()).unwrap());
            product = tape.mul(product, factor).unwrap();
        }
        let loss = tape.sum(product).unwrap();
        optimizer.zero_grad();
        tape.backward(loss).unwrap();
        tape.value(loss).unwrap().clone()
    }

    fn values(&self) -> Vec<f32> {
        self.parameters.value(self.w).unwrap().to_vec().unwrap()
    }

    fn gradient(&self) -> Vec<f32> {
        self.parameters.gradient(self.w).unwrap().to_vec().unwrap()
    }
}

fn sgd(line: &Line, scale: LossScale) -> Sgd {
    let mut sgd = Sgd::new(&line.parameters, SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap();
    sgd.scale_loss(scale).unwrap();
    sgd
}

#[test]
fn a_scale_that_is_too_large_becomes_smaller_and_then_larger_again() {
    for device in devices() {
        let line = Line::new(&device, Precision::F16);
        let scale = LossScale { init_scale: 65_536.0, growth_interval: 3, ..LossScale::default() };
        let mut sgd = sgd(&line, scale);
        let mut step = |x: f32| {
            let loss = line.backward(&sgd, [x, 0.25, 0.0, -x]);
            sgd.step(Some(&loss)).unwrap();
            (sgd.control().state().unwrap(), line.values())
        };
        // 65536, and the half of it times 3, are beyond F16: nothing changes; the quarter fits.
        for (overflowed, scale) in [(1, 32_768.0), (2, 16_384.0)] {
            let (state, values) = step(3.0);
            let StepState { steps, stopped, overflow, loss_scale, .. } = state;
            assert_eq!((steps, stopped, overflow, state.overflowed), (0, false, true, overflowed));
            assert_eq!((loss_scale, values), (Some(scale), vec![0.5; 4]));
        }
        let (state, values) = step(3.0);
        assert_eq!((state.steps, state.overflow, state.overflowed), (1, false, 2));
        assert_eq!(values, [-2.5, 0.25, 0.5, 3.5], "the step is that of the gradient itself");
        // After three steps that it was small enough for it grows.
        assert_eq!(step(0.0).0.loss_scale, Some(16_384.0));
        let (state, _) = step(0.0);
        assert_eq!((state.steps, state.loss_scale), (3, Some(32_768.0)));
        // And is then too large again.
        let (state, _) = step(3.0);
        assert_eq!(
            (state.steps, state.overflow, state.overflowed, state.loss_scale),
            (3, true, 3, Some(16_384.0))
        );
    }
}

#[test]
fn a_gradient_that_is_not_finite_without_a_scale_stops() {
    for device in devices() {
        let line = Line { y: 100.0, ..Line::new(&device, Precision::F16) };
        let mut sgd = sgd(&line, LossScale { init_scale: 2.0, ..LossScale::default() });
        line.parameters.set("w", Host::F32(&[1e-4; 4])).unwrap();
        let mut step = || {
            // The loss is 10, but 1e5 does not fit, whatever it is multiplied with.
            line.backward(&sgd, [1e3, 0.0, 0.0, 0.0]);
            sgd.step(None).unwrap();
            sgd.control().state().unwrap()
        };
        let first = step();
        assert_eq!((first.overflow, first.stopped, first.loss_scale), (true, false, Some(1.0)));
        let second = step();
        assert_eq!((second.overflow, second.stopped, second.steps), (false, true, 0));
        assert_eq!(line.values(), [1e-4; 4]);
        // A loss that is not finite is no matter of the scale.
        let line = Line::new(&device, Precision::F16);
        let mut sgd = self::sgd(&line, LossScale::default());
        line.backward(&sgd, [0.1; 4]);
        let loss = Tensor::from_f32(&device, [1], &[f32::NAN]).unwrap();
        sgd.step(Some(&loss)).unwrap();
        let state = sgd.control().state().unwrap();
        assert_eq!((state.stopped, state.overflowed, state.loss_scale), (true, 0, Some(65_536.0)));
    }
}

/// Unscale, clip, step: whatever is called, and in which number, the gradient that is clipped is the real one.
#[test]
fn clipping_sees_the_gradient_without_the_scale() {
    for device in devices() {
        let line = Line::new(&device, Precision::F16);
        let x = [0.75, 1.0, 0.0, -0.5];
        let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let sgd = sgd(&line, LossScale { init_scale: 1024.0, ..LossScale::default() });
        line.backward(&sgd, x);
        assert_eq!(line.gradient(), x.map(|x| 1024.0 * x), "what backward gives is scaled");
        sgd.clip_grad_norm(100.0).unwrap();
        assert_eq!(line.gradient(), x, "and clipping takes the scale away");
        sgd.clip_grad_norm(100.0).unwrap();
        assert_eq!(line.gradient(), x, "once");
        assert!((sgd.control().state().unwrap().grad_norm - norm).abs() <= 1e-6 * norm);
        line.backward(&sgd, x);
        sgd.clip_grad_norm(0.5).unwrap();
        let clipped = line.gradient();
        let close = |(got, x): (&f32, &f32)| (got - x * 0.5 / norm).abs() <= 1e-6;
        assert!(clipped.iter().zip(&x).all(close), "{clipped:?}");
        line.backward(&sgd, x);
        sgd.clip_grad_value(0.6).unwrap();
        assert_eq!(line.gradient(), [0.6, 0.6, 0.0, -0.5]);
    }
}

#[test]
fn a_scale_is_saved_and_goes_on() {
    for device in devices() {
        let line = Line::new(&device, Precision::F16);
        let scale = LossScale { growth_interval: 2, ..LossScale::default() };
        let make = || {
            let mut adam = Adam::new(&line.parameters, AdamConfig::default()).unwrap();
            adam.scale_loss(scale).unwrap();
            adam
        };
        let mut adam = make();
        for x in [3.0, 0.1] {
            line.backward(&adam, [x; 4]);
            adam.step(None).unwrap();
        }
        let state = adam.state().unwrap();
        let number = |name: &str| state.iter().find(|(of, ..)| of == name).unwrap().2[0];
        assert_eq!([number("step"), number("scale"), number("_growth_tracker")], [1.0, 32_768.0, 1.0]);
        let mut again = make();
        again.load_state(&state).unwrap();
        assert_eq!(again.state().unwrap(), state);
        line.backward(&again, [0.1; 4]);
        again.step(None).unwrap();
        assert_eq!(again.control().state().unwrap().loss_scale, Some(65_536.0));
        // A state without a scale, and scales that are none.
        let without: Vec<_> = state.iter().filter(|(name, ..)| name != "scale").cloned().collect();
        assert!(refused("no scale", again.load_state(&without)).contains("'scale' is missing"));
        for wrong in [0.5, f32::NAN, 1e9] {
            let mut wrong_state = state.clone();
            wrong_state.iter_mut().find(|(name, ..)| name == "scale").unwrap().2[0] = wrong;
            assert!(refused("scale", again.load_state(&wrong_state)).contains("'scale' must be from 1 to"));
        }
        let wrong = LossScale { backoff_factor: 1.0, ..LossScale::default() };
        assert!(
            refused("backoff", again.scale_loss(wrong))
                .contains("backoff_factor must be above 0 and below 1")
        );
    }
}

#[test]
fn parameters_stay_in_32_bits_and_layers_get_copies() {
    for device in devices() {
        for precision in Precision::ALL {
            let mut init = Initializer::in_precision(&device, 1, precision);
            let third = init.constant("third", [3], 1.0 / 3.0);
            let other = init.constant("other", [5], 0.7);
            let parameters = init.build().unwrap();
            let mut tape = Tape::new(&parameters);
            let seen = |tape: &mut Tape, id| {
                let var = tape.parameter(id).unwrap();
                let tensor = tape.value(var).unwrap();
                (tensor.dtype(), tensor.to_vec().unwrap()[0])
            };
            let dtype = precision.dtype();
            let wide = |id| {
                let tensor = parameters.value(id).unwrap();
                (tensor.dtype(), tensor.to_vec().unwrap()[0])
            };
            assert_eq!(seen(&mut tape, third), (dtype, dtype.round(1.0 / 3.0)));
            assert_eq!(seen(&mut tape, other), (dtype, dtype.round(0.7)));
            assert_eq!(wide(third), (Dtype::F32, 1.0 / 3.0));
            // What is overwritten is copied anew.
            parameters.set("other", Host::F32(&[0.9; 5])).unwrap();
            assert_eq!(seen(&mut tape, other), (dtype, dtype.round(0.9)));
            assert_eq!(wide(other), (Dtype::F32, 0.9));
        }
    }
}

/// A value of the tape that is a parameter is the parameter as it is now, in every precision.
#[test]
fn a_parameter_on_the_tape_follows_the_steps() {
    for device in devices() {
        for precision in Precision::ALL {
            let line = Line::new(&device, precision);
            let mut sgd = Sgd::new(&line.parameters, SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap();
            let mut tape = Tape::new(&line.parameters);
            let w = tape.parameter(line.w).unwrap();
            for step in 1..4 {
                let loss = tape.sum(w).unwrap();
                sgd.zero_grad();
                tape.backward(loss).unwrap();
                sgd.step(None).unwrap();
                let now = 0.5 - step as f32;
                assert_eq!(tape.value(w).unwrap().to_vec().unwrap(), [now; 4], "{precision:?} on {device:?}");
            }
        }
    }
}

#[test]
fn whoever_forgets_gradients_forgets_what_was_done_to_them() {
    for device in devices() {
        let line = Line::new(&device, Precision::F16);
        let mut sgd = sgd(&line, LossScale { init_scale: 1024.0, ..LossScale::default() });
        // Clipped, but left out by the caller; once with a gradient that overflowed.
        for x in [0.5, 100.0] {
            line.backward(&sgd, [x; 4]);
            sgd.clip_grad_norm(10.0).unwrap();
            line.parameters.zero_grad();
        }
        assert!(sgd.control().state().unwrap().overflow);
        line.backward(&sgd, [0.25; 4]);
        sgd.step(None).unwrap();
        let state = sgd.control().state().unwrap();
        assert_eq!((state.steps, state.overflow, state.loss_scale), (1, false, Some(1024.0)));
        assert_eq!(line.values(), [0.25; 4]);
    }
}

/// The scale that is saved where training ended is that of the step at which it did.
#[test]
fn a_stop_keeps_the_scale() {
    for device in devices() {
        let line = Line::new(&device, Precision::F16);
        let mut sgd = sgd(&line, LossScale::default());
        line.backward(&sgd, [0.1; 4]);
        let nan = Tensor::from_f32(&device, [1], &[f32::NAN]).unwrap();
        sgd.step(Some(&nan)).unwrap();
        line.backward(&sgd, [3.0; 4]);
        sgd.step(None).unwrap();
        let state = sgd.control().state().unwrap();
        assert_eq!((state.stopped, state.overflowed, state.loss_scale), (true, 0, Some(65_536.0)));
    }
}

/// Steps whose updates are too small for half precision add up all the same.
#[test]
fn small_updates_are_not_lost() {
    for device in devices() {
        let line = Line::new(&device, Precision::BF16);
        let mut sgd = Sgd::new(&line.parameters, SgdConfig { lr: 1e-4, ..SgdConfig::default() }).unwrap();
        for _ in 0..100 {
            line.backward(&sgd, [1.0; 4]);
            sgd.step(None).unwrap();
        }
        let [first, ..] = line.values()[..] else { unreachable!() };
        assert!((first - 0.49).abs() < 1e-5, "{first}");
    }
}

/// The loss of a training's last step.
fn trained(device: &Device, experiment: Experiment, precision: Precision, seed: u64) -> f64 {
    let steps = if experiment == Experiment::Charseq { 50 } else { 100 };
    let mut config = settings(experiment, steps, |config| {
        (config.train.precision, config.train.seed) = (precision, seed);
    });
    let mut task = task(device, &mut config).unwrap();
    let mut on_event = |_| Ok(());
    let mut hooks = Hooks::new(&|| false, &mut on_event);
    assert_eq!(task.model().parameters().precision(), precision);
    let summary = train(device, &config, &mut *task, None, &mut hooks).unwrap();
    summary.validation_loss.unwrap_or(summary.loss.into())
}

/// Within 2 %, and a text's validation loss within 1 %. longseq is not here: with its learning rate of 0.1 the loss after 100
/// steps jumps by a factor of two from seed to seed, in 32 bits too, and from one rounding to another.
#[test]
fn half_precision_learns_as_well() {
    let experiments = [
        (Experiment::Hihello, 0.02),
        (Experiment::Charseq, 0.02),
        (Experiment::Timeseries, 0.02),
        (Experiment::Text, 0.01),
    ];
    for (device, seeds) in devices().into_iter().zip([5, 1]) {
        for (experiment, limit) in experiments {
            let median = |precision| {
                let mut losses: Vec<f64> =
                    (0..seeds).map(|seed| trained(&device, experiment, precision, seed)).collect();
                losses.sort_by(f64::total_cmp);
                losses[losses.len() / 2]
            };
            let wide = median(Precision::F32);
            for half in [Precision::F16, Precision::BF16] {
                let loss = median(half);
                assert_ne!(loss, wide, "{experiment:?} in {half:?} on {device:?} was in 32 bits");
                let off = (loss - wide) / wide;
                assert!(off <= limit, "{experiment:?} in {half:?} on {device:?}: {loss}, in 32 bits {wide}");
            }
        }
    }
}
