//! The memory of a training is known before it begins: the plan agrees with what devices then count, and what cannot fit is refused
//! with an option that would.

mod common;

use std::sync::Arc;

use bptt::data::csv::Table;
use bptt::data::series::synthetic_ohlcv;
use bptt::data::text::{Text, Unit};
use bptt::device::{Device, GpuOptions, Stats};
use bptt::nn::CellKind;
use bptt::parameters::Precision;
use bptt::train::{Config, Experiment, Hooks, MemoryPlan, Source, fit_memory, plan_memory, readable, train};
use common::{assert_refused, open_gpu, own_devices};

/// A text of so many characters out of eight.
fn text(tokens: usize) -> Source {
    let characters: String = (0..tokens).map(|i| char::from(b'a' + (i * i / 3 % 8) as u8)).collect();
    Source::Text(Text::from_text(&characters, Unit::Characters))
}

fn settings(experiment: Experiment, change: impl Fn(&mut Config)) -> Config {
    let mut config = Config::defaults(experiment);
    config.train.steps = 7;
    change(&mut config);
    config
}

/// Trains as the plan says, on a device that has done nothing else.
#[track_caller]
fn assert_exact(device: &Device, config: &Config, source: &Source) {
    let idle = device.stats();
    let plan = plan_memory(device, config, source).unwrap();
    assert_eq!(device.stats(), idle, "a plan takes nothing");
    let mut config = config.clone();
    let mut task = source.task(device, &mut config).unwrap();
    let mut on_event = |_| Ok(());
    let mut hooks = Hooks { show_every: 2, ..Hooks::new(&|| false, &mut on_event) };
    train(device, &config, &mut *task, None, &mut hooks).unwrap();
    let Stats { bytes_peak, bytes_held, bytes_largest, bytes_converted, .. } = device.stats();
    let about = format!("{:?} in {} parts on {device:?}", config.experiment, config.train.accumulate);
    assert_eq!(
        [plan.peak, plan.largest, plan.converted],
        [bytes_peak, bytes_largest, bytes_converted],
        "{about}"
    );
    let half = config.train.precision != Precision::F32;
    assert_eq!(plan.converted > 0, half && device.info().name == "cpu", "{about}");
    // The last batch of a pass may be a smaller one, which takes buffers of its own: at most those of a whole one.
    let last = if config.train.batch == 64 { plan.activations } else { 0 };
    assert!((plan.held..=plan.held + last).contains(&bytes_held), "{about}: {bytes_held}, {}", plan.held);
    let MemoryPlan { parameters, gradients, moments, data, activations, peak, held, largest, .. } = plan;
    assert!(if half { parameters > gradients } else { parameters == gradients }, "layers have copies");
    assert!(moments > 2 * gradients, "Adam's two, and its control buffer");
    assert!(parameters + gradients + moments + data + activations <= peak && peak <= held && largest <= peak);
    assert!((plan.longest_submission > 0.0) == (device.info().backend != "cpu"));
}

#[test]
fn a_plan_is_what_training_takes() {
    let none = |_: &mut Config| {};
    let cases = [
        (settings(Experiment::Hihello, none), Source::Sentence),
        (settings(Experiment::Charseq, none), Source::Sentence),
        (settings(Experiment::Longseq, none), Source::Sentence),
        (settings(Experiment::Longseq, |config| config.train.precision = Precision::F16), Source::Sentence),
        (settings(Experiment::Timeseries, none), Source::Table(Arc::new(synthetic_ohlcv(0, 300)))),
        (
            settings(Experiment::Timeseries, |config| {
                (config.train.batch, config.model.layers, config.model.cell) = (64, 2, CellKind::Gru);
                config.model.dropout = 0.5;
            }),
            Source::Table(Arc::new(synthetic_ohlcv(0, 300))),
        ),
        (
            settings(Experiment::Text, |config| {
                (config.train.batch, config.train.sequence, config.model.hidden) = (4, 9, Some(12));
                (config.model.layers, config.model.dropout) = (2, 0.2);
                config.train.precision = Precision::BF16;
                (config.train.validate_every, config.train.validate_chunks) = (3, 4);
            }),
            text(2000),
        ),
        (
            settings(Experiment::Text, |config| {
                (config.train.batch, config.train.sequence, config.model.hidden) = (5, 9, Some(12));
                (config.train.accumulate, config.train.validate_every) = (2, 6);
                // Outcomes wait longest where no validation comes between.
                config.train.steps = 12;
            }),
            text(2000),
        ),
    ];
    for (config, source) in cases {
        for device in own_devices() {
            assert_exact(&device, &config, &source);
        }
    }
}

/// The option that a refusal names fits, and twice as much does not.
#[track_caller]
fn assert_refusal(device: &Device, config: &Config, source: &Source, option: &str) {
    let says = [option, "a kernel can use at most 134.2 MB", &device.info().name, " fits"];
    let message =
        assert_refused(option, fit_memory(device, &mut config.clone(), source, false, false), &says);
    let size: usize = message.rsplit(' ').nth(1).unwrap().parse().unwrap();
    let fits = |size| {
        let mut config = config.clone();
        match option {
            "--accumulate" => config.train.accumulate = size,
            "--sequence" => config.train.sequence = size,
            "--hidden" => config.model.hidden = Some(size),
            "--layers" => config.model.layers = size,
            other => panic!("{other}"),
        }
        plan_memory(device, &config, source).unwrap().fault().is_none()
    };
    let parts = option == "--accumulate";
    let other = if parts { size / 2 } else { 2 * size };
    assert!(fits(size) && !fits(other), "{message}");
    // A run that goes on can change its parts alone.
    let begun = fit_memory(device, &mut config.clone(), source, true, false);
    assert_refused(option, begun, &[if parts { option } else { "name another --device" }]);
    // By itself, if that helps.
    let mut changed = config.clone();
    let fitted = fit_memory(device, &mut changed, source, false, true);
    match parts {
        true => assert!(fitted.unwrap().fault().is_none() && changed.train.accumulate == size),
        false => drop(assert_refused(option, fitted, &[option])),
    }
}

#[test]
fn what_cannot_be_bound_is_refused_with_what_can() {
    let device = open_gpu(&GpuOptions { default_limits: true, ..GpuOptions::default() });
    let sizes = |batch, sequence, hidden| {
        settings(Experiment::Text, move |config| {
            (config.train.batch, config.train.sequence, config.model.hidden) =
                (batch, sequence, Some(hidden));
        })
    };
    assert_refusal(&device, &sizes(1000, 100, 256), &text(1_200_000), "--accumulate");
    assert_refusal(&device, &sizes(1, 50_000, 256), &text(700_000), "--sequence");
    // The parameters alone: no batch would help.
    let wide = settings(Experiment::Hihello, |config| {
        (config.model.linear, config.model.hidden) = (true, Some(6500))
    });
    assert_refusal(&device, &wide, &Source::Sentence, "--hidden");
    let windows = settings(Experiment::Timeseries, |config| {
        (config.data.window, config.model.hidden) = (200, Some(200));
    });
    assert_refusal(
        &device,
        &windows,
        &Source::Table(Arc::<Table>::new(synthetic_ohlcv(0, 732))),
        "--accumulate",
    );
}

#[test]
fn memory_that_is_not_there_is_refused() {
    let plan =
        plan_memory(&Device::cpu(), &settings(Experiment::Hihello, |_| {}), &Source::Sentence).unwrap();
    assert_eq!(plan.fault(), None);
    let short = MemoryPlan { available: Some(plan.peak - 1), ..plan };
    let says = format!("training takes {} of memory, and", readable(plan.peak));
    assert!(short.fault().is_some_and(|fault| fault.starts_with(&says)), "{:?}", short.fault());
    assert_eq!(MemoryPlan { available: Some(plan.peak), ..plan }.fault(), None);
    assert_eq!(MemoryPlan { available: None, ..plan }.fault(), None);
}

#[test]
fn bytes_are_shown_in_units_that_suit() {
    let shown = [0, 999, 1000, 6_650, 1_000_000, 268_698_368, 5_000_000_000].map(readable);
    assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "6.7 kB", "1.0 MB", "268.7 MB", "5.0 GB"]);
}

/// What is saved for backward is half of it, and so is nearly all else of a step.
#[test]
fn half_precision_takes_half_of_a_step() {
    let step = |precision| {
        let config = settings(Experiment::Text, |config| {
            (config.train.batch, config.train.sequence, config.model.hidden) = (64, 256, Some(512));
            config.train.precision = precision;
        });
        plan_memory(common::gpu(), &config, &text(200_000)).unwrap().activations as f64
    };
    let wide = step(Precision::F32);
    for half in [Precision::F16, Precision::BF16] {
        assert!(step(half) <= 0.55 * wide, "{half:?}: {} of {wide}", step(half));
    }
}
