//! What kernels come to together: gradients, schedules, training.

use super::{AS_IT_COMES, Failure, Suite, Trial};
use crate::device::Device;
use crate::error::Result;
use crate::nn::{CellKind, GruConfig, LstmConfig, RecurrentConfig, RnnConfig};
use crate::ops::recurrent::Nonlinearity;
use crate::plans::Plans;
use crate::verify::gradients::{self, Computation, NMSE, compare, gradient_check};
use crate::verify::{Layer, Training, computations, network};

/// The gradients of every operation and network: the reference's against finite differences in 64 bits, each device's
/// against the reference's.
pub fn gradients(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for computation in computations() {
        // No device is in this one, and of other seeds some have a corner of relu within a step of the differences.
        let mut trial = Trial::new(format!("{computation:?}"), "finite differences");
        add(&mut trial, &computation, &gradient_check(&computation, 0)?, 0);
        trials.push(trial);
        for (on, device) in suite.devices() {
            if on == AS_IT_COMES || suite.options().full {
                let mut trial = Trial::new(format!("{computation:?}"), on);
                for seed in 0..suite.effort().seeds {
                    add(&mut trial, &computation, &compare(device, &computation, seed)?, seed);
                }
                trials.push(trial);
            }
        }
    }
    Ok(trials)
}

fn add(trial: &mut Trial, computation: &Computation, report: &gradients::Report, seed: u64) {
    let message = || format!("{computation:?}: {report}");
    trial.add(share(report), || Failure { message: message(), seed, size: None, grid: None });
}

/// Of the single elements or of all together, whichever used up more of its limit.
fn share(report: &gradients::Report) -> f64 {
    report.share.max(report.nmse() / NMSE)
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
            let trial = ways(device, &network(layer, 6, Some(19), true, false), Trial::new(*name, on));
            device.set_plans(before.clone());
            trials.push(trial?);
        }
    }
    Ok(trials)
}

/// A computation once for each way that the kernel of the most ways has; the others go through theirs meanwhile.
fn ways(device: &Device, computation: &Computation, mut trial: Trial) -> Result<Trial> {
    let sites = device.record_plans(|| compare(device, computation, 0).map(drop))?;
    let most = sites.values().map(|seen| seen.ways.len()).max().unwrap_or(1);
    for turn in 0..most {
        let way = |ways: &[String]| ways[turn % ways.len()].clone();
        let plans: Plans = sites.iter().map(|(site, seen)| (site.to_string(), way(&seen.ways))).collect();
        device.set_plans(plans.clone());
        let report = compare(device, computation, 0)?;
        let message = || format!("{report} with {plans:?}");
        trial.add(share(&report), || Failure { message: message(), seed: 0, size: None, grid: None });
    }
    Ok(trial)
}

/// Models of each kind, two layers with dropout between them.
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

/// The same steps twice: every parameter has the same bits.
pub fn repeatability(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for (on, device) in suite.devices() {
        for model in models() {
            let mut trial = Trial::new(format!("{} training steps of {}", REPEATED, model.cell.name()), on);
            let trained = || {
                let mut training = Training::new(device, &model)?;
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

/// Steps of a training that must learn, and the loss that it must come to. Untrained models guess one of 11 tokens: 2.4.
const STEPS: usize = 100;
const LOSS: f64 = 0.5;

/// Models of each kind that must come to a small loss.
pub fn learning(suite: &mut Suite) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for model in models() {
        let mut trial = Trial::new(format!("{STEPS} training steps of {}", model.cell.name()), AS_IT_COMES);
        let mut training = Training::new(suite.device(), &model)?;
        let first = training.step()?.read_back()?;
        let mut last = None;
        for _ in 1..STEPS {
            last = Some(training.step()?);
        }
        let first = first.wait()?.f32()[0];
        let last = last.expect("there are steps").to_vec()?[0];
        let message =
            || format!("{}: the loss went from {first} to {last}, not below {LOSS}", model.cell.name());
        trial.add(f64::from(last) / LOSS, || Failure { message: message(), seed: 0, size: None, grid: None });
        trials.push(trial);
    }
    Ok(trials)
}
