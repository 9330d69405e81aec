//! Training loops: the same bits run after run, near the same numbers on every device, and nothing created once warm.

mod common;

use std::collections::VecDeque;

use bptt::device::{GpuOptions, ReadBack, Stats};
use bptt::nn::{CellKind, RecurrentConfig};
use bptt::prelude::*;
use bptt::verify;
use bptt::verify::gradients::NMSE;
use common::{devices, open_gpu};

/// How many steps late the loss is read.
const LATE: usize = 4;

/// A character model in training, the loss read some steps late, as src/train/text.rs does it.
struct Training {
    model: verify::Training,
    losses: VecDeque<ReadBack>,
}

impl Training {
    fn new(device: &Device) -> Self {
        let config = RecurrentConfig {
            cell: CellKind::Rnn,
            nonlinearity: Nonlinearity::Tanh,
            input_size: 8,
            hidden_size: 24,
            num_layers: 2,
            dropout: 0.0,
        };
        Training { model: verify::Training::new(device, &config).unwrap(), losses: VecDeque::new() }
    }

    /// One step. Returns the loss of an earlier one.
    fn step(&mut self) -> Option<f32> {
        let loss = self.model.step().unwrap();
        self.losses.push_back(loss.read_back().unwrap());
        let due = (self.losses.len() > LATE).then(|| self.losses.pop_front()).flatten();
        due.map(|loss| loss.wait().unwrap().f32()[0])
    }

    fn parameters(&self) -> Vec<f32> {
        self.model.parameters().unwrap()
    }

    /// The parameters' bits after some steps.
    fn bits_after(device: &Device, steps: usize) -> Vec<u32> {
        let mut training = Training::new(device);
        (0..steps).for_each(|_| _ = training.step());
        training.parameters().into_iter().map(f32::to_bits).collect()
    }
}

/// The CPU, the GPU as it comes, and the GPU with each thing that it offers taken away. Opened anew: the counters of a
/// device that other tests use would move.
fn each_device() -> Vec<Device> {
    let plain = GpuOptions::default();
    let options = [
        plain.clone(),
        GpuOptions { uniform_parameters: true, ..plain.clone() },
        GpuOptions { default_limits: true, ..plain.clone() },
        GpuOptions { checked_shaders: true, ..plain },
    ];
    std::iter::once(Device::cpu()).chain(options.iter().map(open_gpu)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for device in each_device() {
        assert_eq!(Training::bits_after(&device, 20), Training::bits_after(&device, 20), "on {device:?}");
    }
}

#[test]
fn training_begins_at_the_same_bits_everywhere() {
    let initial = Training::bits_after(&Device::reference(), 0);
    for device in each_device() {
        assert_eq!(Training::bits_after(&device, 0), initial, "on {device:?}");
    }
}

/// What training has changed after some steps is what it changes in 64 bits, to the error that single gradients are
/// allowed too. (Limits of single elements mean nothing here: Adam divides by gradients that are as small as their error.)
#[test]
fn devices_take_the_same_steps() {
    let mut reference = Training::new(&Device::reference());
    let begin = reference.parameters();
    let mut trainings = devices().map(|device| (Training::new(&device), device));
    for step in 1..=10 {
        reference.step();
        let expected = reference.parameters();
        for (training, device) in &mut trainings {
            training.step();
            let distance = |x: &[f32], y: &[f32]| -> f64 {
                x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
            };
            let nmse = distance(&training.parameters(), &expected) / distance(&begin, &expected);
            assert!(nmse <= NMSE, "NMSE {nmse:.1e} after step {step} on {device:?}");
        }
    }
}

/// A loop that makes garbage in the driver slows down and fragments memory; one that submits more than once a step
/// leaves the GPU waiting.
#[test]
fn a_warm_loop_creates_nothing() {
    for device in each_device() {
        let mut training = Training::new(&device);
        // The late losses need their buffers too.
        (0..LATE + 4).for_each(|_| _ = training.step());
        let before = device.stats();
        training.step();
        let warm = device.stats();
        let dispatches = warm.dispatches - before.dispatches;
        for step in 1..=20 {
            training.step();
            let submits = if device.info().backend == "cpu" { 0 } else { step };
            let expected = Stats {
                submits: warm.submits + submits,
                dispatches: warm.dispatches + step * dispatches,
                ..warm
            };
            assert_eq!(device.stats(), expected, "step {step} after the warm-up on {device:?}");
        }
    }
}

#[test]
fn training_learns() {
    for device in devices() {
        let mut training = Training::new(&device);
        let losses: Vec<f32> = (0..40).filter_map(|_| training.step()).collect();
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(
            (first - (verify::Training::CLASSES as f32).ln()).abs() < 0.5,
            "an untrained model guesses: {first}"
        );
        assert!(last < 0.25 * first, "the loss went from {first} to {last} on {device:?}");
    }
}

/// Layers of every kind with all that they can do, in training: the parameters' bits after 10 steps, and the counters
/// after 4 and 10.
fn all_layers(device: &Device) -> (Vec<u32>, [Stats; 2]) {
    let mut init = Initializer::new(device, 5);
    let config = LstmConfig {
        input_size: 3,
        hidden_size: 9,
        num_layers: 2,
        bidirectional: true,
        proj_size: 4,
        dropout: 0.25,
        ..LstmConfig::default()
    };
    let lstm = Lstm::new(&mut init, "lstm", &config).unwrap();
    let config = GruConfig { input_size: 8, hidden_size: 7, bidirectional: true, ..GruConfig::default() };
    let gru = Gru::new(&mut init, "gru", &config).unwrap();
    let config = LayerNormConfig { normalized_shape: [14].into(), ..LayerNormConfig::default() };
    let norm = LayerNorm::new(&mut init, "norm", &config).unwrap();
    let parameters = init.build().unwrap();
    let mut adam = AdamW::new(&parameters, AdamWConfig { amsgrad: true, ..AdamWConfig::default() }).unwrap();
    let lengths = Lengths::new(device, &[2, 5, 1, 4]).unwrap();
    let x = Tensor::uniform(device, [5, 4, 3], [-1.0, 1.0], 2, 0).unwrap();
    let target = Tensor::uniform(device, [5, 4, 14], [-1.0, 1.0], 2, 1).unwrap();
    let options = RegressionLoss { lengths: Some(lengths.clone()), ..RegressionLoss::default() };
    let mut tape = Tape::new(&parameters);
    tape.set_training(Some(DropoutStream { seed: 1, calls: 0 }));
    let mut counters = Vec::new();
    for step in 1..=10 {
        tape.clear();
        let (x, target) = (tape.constant(&x), tape.constant(&target));
        let states = lstm.forward_lengths(&mut tape, x, None, &lengths).unwrap();
        let states = gru.forward_lengths(&mut tape, states.output, None, &lengths).unwrap();
        let y = norm.forward(&mut tape, states.output).unwrap();
        let loss = tape.mse_loss(y, target, &options).unwrap();
        adam.zero_grad();
        tape.backward(loss).unwrap();
        adam.clip_grad_value(0.5).unwrap();
        adam.step(None).unwrap();
        device.submit().unwrap();
        if step == 4 || step == 10 {
            counters.push(device.stats());
        }
    }
    let bits = parameters.to_host().unwrap().into_iter().flat_map(|(.., values)| values).map(f32::to_bits);
    (bits.collect(), [counters[0], counters[1]])
}

#[test]
fn every_layer_repeats_its_bits_and_creates_nothing_once_warm() {
    for device in each_device() {
        let (bits, [warm, end]) = all_layers(&device);
        assert_eq!(bits, all_layers(&device).0, "{device:?}");
        let created = |s: &Stats| [s.buffers_created, s.bind_groups_created, s.pipelines_created];
        assert_eq!(created(&warm), created(&end), "{device:?}");
    }
}

/// A small training that ends its steps with `end`: the parameters' bits, and the submissions of the steps.
fn small_steps(device: &Device, end: impl Fn(&Device)) -> (Vec<u32>, u64) {
    let mut init = Initializer::new(device, 3);
    let config = LinearConfig { in_features: 5, out_features: 4, bias: true };
    let fc = Linear::new(&mut init, "fc", &config).unwrap();
    let parameters = init.build().unwrap();
    let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
    let mut tape = Tape::new(&parameters);
    device.submit().unwrap();
    let before = device.stats().submits;
    for step in 0..30 {
        tape.clear();
        let x: Vec<f32> = (0..15).map(|i| ((i * 7 + step) as f32).sin()).collect();
        let x = tape.constant(&Tensor::from_f32(device, [3, 5], &x).unwrap());
        let logits = fc.forward(&mut tape, x).unwrap();
        let labels = Indices::new(device, [3], &[step % 4, 1, 2]).unwrap();
        let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).unwrap();
        adam.zero_grad();
        tape.backward(loss).unwrap();
        adam.step(None).unwrap();
        end(device);
    }
    let submits = device.stats().submits - before;
    let values = parameters.to_host().unwrap().into_iter().flat_map(|(.., values)| values);
    (values.map(f32::to_bits).collect(), submits)
}

#[test]
fn steps_that_are_handed_over_together_give_the_same_bits() {
    for device in each_device() {
        let (each, all) = small_steps(&device, |device| device.submit().unwrap());
        let (together, fewer) = small_steps(&device, |device| device.end_step().unwrap());
        assert_eq!(each, together, "{device:?}");
        if device.info().backend == "cpu" {
            assert_eq!((all, fewer), (0, 0));
        } else {
            assert!(all == 30 && (5..=15).contains(&fewer), "{all} and {fewer} submissions on {device:?}");
        }
        assert_eq!(small_steps(&device, |device| device.end_step().unwrap()).1, fewer, "by no clock");
    }
}
