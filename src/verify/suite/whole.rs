//! What kernels compute together: conversions, gradients, schedules, training.

use super::{AS_IT_COMES, Failure, Suite, Trial};
use crate::device::Device;
use crate::error::Result;
use crate::nn::{CellKind, GruConfig, LstmConfig, RecurrentConfig, RnnConfig};
use crate::ops::recurrent::Nonlinearity;
use crate::parameters::Precision;
use crate::plans::Plans;
use crate::verify::conversions::{WAYS, cast_by, wrong};
use crate::verify::gradients::{self, Computation, compare_in, gradient_check};
use crate::verify::{Layer, Training, computations, network};

/// Converts all 16-bit numbers to 32 bits, and the hardest 32-bit numbers to 16 bits, by each way of the kernel `cast`.
pub fn conversions(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for (on, device) in suite.devices() {
        for precision in [Precision::F16, Precision::BF16] {
            let native = precision == Precision::F16 && device.native_f16()?;
            let stored = if native { "native" } else { "packed" };
            for (way, plan) in WAYS {
                let mut trial = Trial::new(format!("{stored}, {way} a thread"), on, precision);
                let convert = |from, to, x: &[f32]| cast_by(plan, device, from, to, x);
                let (count, wrong) = wrong(precision.dtype(), convert)?;
                let share = if wrong.is_some() { f64::INFINITY } else { 0.0 };
                let message = || wrong.unwrap_or_default();
                trial.add(share, || Failure { message: message(), seed: 0, size: None, grid: None });
                trial.cases = count as u32;
                trials.push(trial);
            }
        }
    }
    Ok(trials)
}

/// The gradients of every operation and network: the reference's against finite differences in 64 bits, each device's
/// against the reference's.
pub fn gradients(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for computation in computations() {
        // This trial needs no device. One seed: with some others a corner of relu is within a step of the differences.
        let mut trial = Trial::new(format!("{computation:?}"), "finite differences", Precision::F32);
        add(&mut trial, &computation, &gradient_check(&computation, 0)?, 0);
        trials.push(trial);
        for (on, device) in suite.devices() {
            if on == AS_IT_COMES || suite.options().full {
                // bf16 launches the same kernels as f16, and the kernels have been checked: the quick check leaves it out.
                let skipped = |precision| precision == Precision::BF16 && !suite.options().full;
                for precision in Precision::ALL.into_iter().filter(|precision| !skipped(*precision)) {
                    let mut trial = Trial::new(format!("{computation:?}"), on, precision);
                    for seed in 0..suite.effort().seeds {
                        let report = compare_in(device, &computation, precision, seed)?;
                        add(&mut trial, &computation, &report, seed);
                    }
                    trials.push(trial);
                }
            }
        }
    }
    Ok(trials)
}

fn add(trial: &mut Trial, computation: &Computation, report: &gradients::Report, seed: u64) {
    let message = || format!("{computation:?}: {report}");
    trial.add(report.worst(), || Failure { message: message(), seed, size: None, grid: None });
}

/// Layers of each kind over several blocks of rows and units, run in every way that the device knows for them.
pub fn schedules(suite: &mut Suite) -> Result<Vec<Trial>> {
    let (input_size, hidden_size) = (5, 36);
    let layers = [
        ("rnn", Layer::Rnn(RnnConfig { input_size, hidden_size, ..RnnConfig::default() })),
        ("lstm", Layer::Lstm(LstmConfig { input_size, hidden_size, ..LstmConfig::default() })),
        ("gru", Layer::Gru(GruConfig { input_size, hidden_size, ..GruConfig::default() })),
    ];
    let mut trials = Vec::new();
    for (on, device) in suite.devices() {
        let before = device.plans();
        for (name, layer) in &layers {
            for precision in Precision::ALL {
                // What kernels make of halves is the same in every way of running them: the quick check takes one.
                if precision == Precision::F32 || suite.options().full {
                    let trial = Trial::new(*name, on, precision);
                    let trial = ways(device, &network(layer, 6, Some(19), true, false), trial);
                    device.set_plans(before.clone());
                    trials.push(trial?);
                }
            }
        }
    }
    Ok(trials)
}

/// Compares a computation as often as the kernel with the most ways has ways; the other kernels go through theirs meanwhile.
fn ways(device: &Device, computation: &Computation, mut trial: Trial) -> Result<Trial> {
    let precision = trial.precision;
    let sites = device.record_plans(|| compare_in(device, computation, precision, 0).map(drop))?;
    let most = sites.values().map(|seen| seen.ways.len()).max().unwrap_or(1);
    for turn in 0..most {
        let way = |ways: &[String]| ways[turn % ways.len()].clone();
        let plans: Plans = sites.iter().map(|(site, seen)| (site.to_string(), way(&seen.ways))).collect();
        device.set_plans(plans.clone());
        let report = compare_in(device, computation, precision, 0)?;
        let message = || format!("{report} with {plans:?}");
        trial.add(report.worst(), || Failure { message: message(), seed: 0, size: None, grid: None });
    }
    Ok(trial)
}

/// A model of each kind, of two layers with dropout between them.
fn models() -> [RecurrentConfig; 3] {
    [CellKind::Rnn, CellKind::Lstm, CellKind::Gru].map(|cell| RecurrentConfig {
        cell,
        nonlinearity: Nonlinearity::Tanh,
        input_size: 8,
        hidden_size: 24,
        num_layers: 2,
        dropout: 0.1,
    })
}

/// Steps of a training that is repeated.
const REPEATED: usize = 5;

/// Makes the same steps twice: every parameter must have the same bits.
pub fn repeatability(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for (on, device) in suite.devices() {
        for (model, precision) in models_in(suite) {
            let of = format!("{} training steps of {}", REPEATED, model.cell.name());
            let mut trial = Trial::new(of, on, precision);
            let trained = || {
                let mut training = Training::in_precision(device, &model, precision)?;
                for _ in 0..REPEATED {
                    training.step()?;
                }
                training.parameters()
            };
            let (once, twice) = (trained()?, trained()?);
            let differ = once.iter().zip(&twice).position(|(once, twice)| once.to_bits() != twice.to_bits());
            let failure = || {
                let at = differ.unwrap_or_default();
                let message = format!(
                    "{}: parameter {at} of {} is {:e} after {REPEATED} steps, {:e} when they are repeated",
                    model.cell.name(),
                    once.len(),
                    once[at],
                    twice[at]
                );
                Failure { message, seed: 0, size: None, grid: None }
            };
            trial.add(if differ.is_some() { f64::INFINITY } else { 0.0 }, failure);
            trials.push(trial);
        }
    }
    Ok(trials)
}

/// All models in f32; in half precision the LSTM alone, or all in the full check.
fn models_in(suite: &Suite) -> impl Iterator<Item = (RecurrentConfig, Precision)> {
    let full = suite.options().full;
    let all = models().into_iter().flat_map(|model| Precision::ALL.map(|precision| (model, precision)));
    all.filter(move |(model, precision)| full || model.cell == CellKind::Lstm || *precision == Precision::F32)
}

/// Steps of a training that must learn, and the loss that it must reach. The loss of a model that guesses one of 11 tokens is 2.4.
const STEPS: usize = 100;
const LOSS: f64 = 0.5;
/// How far the loss in half precision may be from that in 32 bits, relatively: as far as it falls in some three steps at the end.
const APART: f64 = 0.1;

/// Trains a model of each kind, which must reach a small loss; in half precision about the same as in 32 bits.
pub fn learning(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let mut in_f32 = f64::NAN;
    for (model, precision) in models_in(suite) {
        let of = format!("{STEPS} training steps of {}", model.cell.name());
        let mut trial = Trial::new(of, AS_IT_COMES, precision);
        let mut training = Training::in_precision(suite.device(), &model, precision)?;
        let first = training.step()?.read_back()?;
        let mut last = None;
        for _ in 1..STEPS {
            last = Some(training.step()?);
        }
        let first = first.wait()?.f32()[0];
        let last = f64::from(last.expect("there are steps").to_vec()?[0]);
        let (name, mut share) = (model.cell.name(), last / LOSS);
        let mut message = format!("{name}: the loss went from {first} to {last}, not below {LOSS}");
        if precision == Precision::F32 {
            in_f32 = last;
        } else if share <= 1.0 {
            share = (last - in_f32).abs() / (APART * in_f32);
            message = format!("{name}: the loss went from {first} to {last}, in f32 to {in_f32}");
        }
        trial.add(share, || Failure { message, seed: 0, size: None, grid: None });
        trials.push(trial);
    }
    Ok(trials)
}
