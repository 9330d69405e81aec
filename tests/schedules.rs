//! Learning-rate schedules: compared with what PyTorch computed (tests/pytorch/schedules.safetensors), and with bad options.

mod common;

use bptt::optim::schedule::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
use common::stored;

const LR: f64 = 0.1;

fn assert_follows(name: &str, got: &[f64], expected: &[f64]) {
    assert!(expected.len() >= 30 && got.len() == expected.len(), "{name}");
    for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
        // PyTorch multiplies step by step; its roundings add up.
        let error = (got - expected).abs();
        assert!(error <= 1e-12 * expected.abs() + 1e-15, "{name}, step {step}: {got}, PyTorch's {expected}");
    }
}

#[test]
fn schedules_are_pytorchs() {
    let tensors = stored("schedules");
    let linear_down = Schedule::LinearLr { start_factor: 1.0, end_factor: 0.25, total_iters: 20 };
    let one_cycle_options =
        Schedule::OneCycleLr { total_steps: 40, pct_start: 0.45, div_factor: 10.0, final_div_factor: 100.0 };
    let cases = [
        ("constant", Schedule::Constant),
        ("step", Schedule::StepLr { step_size: 7, gamma: 0.5 }),
        ("exponential", Schedule::ExponentialLr { gamma: 0.9 }),
        ("cosine", Schedule::CosineAnnealingLr { t_max: 50, eta_min: 0.0 }),
        ("cosine_again", Schedule::CosineAnnealingLr { t_max: 12, eta_min: 0.01 }),
        ("linear", Schedule::linear()),
        ("linear_down", linear_down),
        ("one_cycle", Schedule::one_cycle(40)),
        ("one_cycle_options", one_cycle_options),
    ];
    let stored = tensors.keys().filter(|key| key.ends_with(".lr64") && !key.starts_with("plateau")).count();
    assert_eq!(stored, cases.len());
    for (name, schedule) in cases {
        let schedule = LrSchedule::new(LR, schedule).unwrap();
        let expected = &tensors[&format!("{name}.lr64")].values;
        let got: Vec<f64> = (0..expected.len() as u64).map(|step| schedule.lr(step)).collect();
        assert_follows(name, &got, expected);
    }
}

#[test]
fn plateaus_are_pytorchs_also_when_stored_on_the_way() {
    let tensors = stored("schedules");
    let default = PlateauConfig::default();
    let options = PlateauConfig {
        factor: 0.5,
        patience: 2,
        threshold: 0.05,
        cooldown: 3,
        min_lr: 0.01,
        ..PlateauConfig::default()
    };
    let impatient = PlateauConfig { factor: 0.3, patience: 0, threshold: 0.0, ..default };
    for (name, config) in
        [("plateau", default), ("plateau_options", options), ("plateau_impatient", impatient)]
    {
        let expected = &tensors[&format!("{name}.lr64")].values;
        let metrics = &tensors[&format!("{name}.metrics64")].values;
        let mut schedule = ReduceLrOnPlateau::new(LR, config).unwrap();
        let mut stored_on_the_way = schedule;
        let mut got = Vec::new();
        for metric in metrics {
            got.push(schedule.step(*metric));
            assert_eq!(stored_on_the_way.step(*metric), schedule.lr(), "{name}");
            let json = serde_json::to_string(&stored_on_the_way).unwrap();
            stored_on_the_way = serde_json::from_str(&json).unwrap();
        }
        assert_follows(name, &got, expected);
        assert!(got[got.len() - 1] < LR, "{name} must fall in this test");
    }
}

/// Behind what PyTorch allows, and where its formula divides by 0.
#[test]
fn a_cycle_has_no_gaps() {
    let cycle = |total_steps, pct_start| {
        let schedule =
            Schedule::OneCycleLr { total_steps, pct_start, div_factor: 25.0, final_div_factor: 1e4 };
        LrSchedule::new(LR, schedule).unwrap()
    };
    let last = LR / 25.0 / 1e4;
    assert!((cycle(40, 0.3).lr(39) - last).abs() <= 1e-15);
    assert_eq!(cycle(40, 0.3).lr(1000), cycle(40, 0.3).lr(39));
    for (total_steps, pct_start) in [(1, 0.0), (1, 0.5), (1, 1.0), (2, 0.5), (10, 0.0), (10, 0.1), (10, 1.0)]
    {
        for step in 0..12 {
            let lr = cycle(total_steps, pct_start).lr(step);
            assert!(
                (last..=LR).contains(&(lr + 1e-18)),
                "{total_steps} steps, {pct_start}, step {step}: {lr}"
            );
        }
    }
}

#[test]
fn bad_options_are_errors_that_name_them() {
    let linear =
        |start_factor, end_factor, total_iters| Schedule::LinearLr { start_factor, end_factor, total_iters };
    let cycle = |total_steps, pct_start, div_factor, final_div_factor| Schedule::OneCycleLr {
        total_steps,
        pct_start,
        div_factor,
        final_div_factor,
    };
    for (schedule, message) in [
        (Schedule::StepLr { step_size: 0, gamma: 0.1 }, "StepLr: step_size must be at least 1, got 0"),
        (Schedule::StepLr { step_size: 1, gamma: 0.0 }, "StepLr: gamma must be above 0 and finite, got 0"),
        (
            Schedule::ExponentialLr { gamma: f64::NAN },
            "ExponentialLr: gamma must be above 0 and finite, got NaN",
        ),
        (
            Schedule::CosineAnnealingLr { t_max: 0, eta_min: 0.0 },
            "CosineAnnealingLr: t_max must be at least 1, got 0",
        ),
        (
            Schedule::CosineAnnealingLr { t_max: 5, eta_min: -1.0 },
            "CosineAnnealingLr: eta_min must be at least 0 and finite, got -1",
        ),
        (linear(0.0, 1.0, 5), "LinearLr: start_factor must be above 0 and at most 1, got 0"),
        (linear(0.5, 1.5, 5), "LinearLr: end_factor must be in 0..=1, got 1.5"),
        (linear(0.5, 1.0, 0), "LinearLr: total_iters must be at least 1, got 0"),
        (cycle(0, 0.3, 25.0, 1e4), "OneCycleLr: total_steps must be at least 1, got 0"),
        (cycle(9, 1.1, 25.0, 1e4), "OneCycleLr: pct_start must be in 0..=1, got 1.1"),
        (cycle(9, 0.3, 0.0, 1e4), "OneCycleLr: div_factor must be above 0 and finite, got 0"),
        (cycle(9, 0.3, 25.0, -1.0), "OneCycleLr: final_div_factor must be above 0 and finite, got -1"),
    ] {
        assert_eq!(LrSchedule::new(LR, schedule).unwrap_err().to_string(), message);
    }
    assert_eq!(
        LrSchedule::new(-0.1, Schedule::Constant).unwrap_err().to_string(),
        "LrSchedule: lr must be at least 0 and finite, got -0.1"
    );
    let default = PlateauConfig::default();
    for (config, message) in [
        (PlateauConfig { factor: 1.0, ..default }, "factor must be above 0 and below 1, got 1"),
        (PlateauConfig { threshold: 1.0, ..default }, "threshold must be in 0..1, got 1"),
        (PlateauConfig { min_lr: -1.0, ..default }, "min_lr must be at least 0 and finite, got -1"),
        (PlateauConfig { eps: f64::NAN, ..default }, "eps must be at least 0 and finite, got NaN"),
    ] {
        let error = ReduceLrOnPlateau::new(LR, config).unwrap_err().to_string();
        assert_eq!(error, format!("ReduceLrOnPlateau: {message}"));
    }
}
