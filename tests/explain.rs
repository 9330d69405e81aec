//! The numbers of a walk: those of the 64-bit reference, and gradients that are finite differences.

mod common;

use bptt::device::Device;
use bptt::explain::{OfExperiment, Walk};
use bptt::nn::CellKind;
use bptt::train::{Config, Experiment, Source};
use common::devices;

fn walk(device: &Device, change: impl Fn(&mut Config)) -> Walk {
    let mut config = Config::defaults(Experiment::Hihello);
    change(&mut config);
    let source = Source::read(&config).unwrap();
    let task = source.task(device, &mut config).unwrap();
    Walk::of(&mut OfExperiment::new(&config.train, task).unwrap()).unwrap()
}

/// The models that are walked through.
fn models() -> Vec<impl Fn(&mut Config)> {
    let cells = [CellKind::Rnn, CellKind::Lstm, CellKind::Gru];
    let all = cells.into_iter().flat_map(|cell| [(cell, 1, false), (cell, 2, true)]);
    let model = |(cell, layers, linear): (CellKind, usize, bool)| {
        move |config: &mut Config| {
            (config.model.cell, config.model.layers, config.model.linear) = (cell, layers, linear);
            if linear {
                config.model.hidden = Some(4);
            }
        }
    };
    all.map(model).collect()
}

/// All numbers of a walk, in one order.
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(all) => all.iter().flat_map(numbers).collect(),
        serde_json::Value::Object(all) => {
            all.iter().filter(|(key, _)| *key != "variants").flat_map(|(_, value)| numbers(value)).collect()
        }
        serde_json::Value::Number(number) => vec![number.as_f64().unwrap()],
        _ => Vec::new(),
    }
}

#[test]
fn numbers_are_those_of_the_reference() {
    for model in models() {
        let expected = numbers(&serde_json::to_value(walk(&Device::reference(), &model)).unwrap());
        for device in devices() {
            let got = numbers(&serde_json::to_value(walk(&device, &model)).unwrap());
            assert_eq!(got.len(), expected.len());
            // All numbers are within 4: sums of at most 20 products and biases, 22 roundings of 2^-24 of it, and tanh's
            // 4e-7, at each of 6 steps of 2 layers; a step takes in what the one before was off by, as weights below 1/2
            // in 4 or 5 places may make it up to 2.5 times as much, but saturating gates and (1 - h²) keep it about the
            // same. 12 · (22 · 6e-8 · 4 + 4e-7) = 7e-5.
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= 7e-5, "{device:?}: {got}, expected {expected}");
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    for model in models() {
        let walk = walk(&Device::reference(), &model);
        assert!((walk.loss - walk.reference_loss().unwrap()).abs() < 1e-12);
        for (index, layer) in walk.layers.iter().enumerate() {
            for t in [0, 3, 5] {
                let differences: Vec<f64> =
                    (0..layer.da[t].len()).map(|row| walk.difference(index, t, row).unwrap()).collect();
                // Of the fifth derivative of a smooth function, within 100: 100·STEP⁴/30; and 1e-16/STEP.
                for (row, (da, difference)) in layer.da[t].iter().zip(&differences).enumerate() {
                    assert!((da - difference).abs() < 1e-10, "{index}, {t}, {row}: {da}, {difference}");
                }
                // That it can fail: the rows differ from each other.
                assert!((layer.da[t][0] - differences[1]).abs() > 1e-8);
            }
            for (which, dw) in layer.dw.iter().enumerate() {
                let (grown, dw) = (layer.growing(which, 0).concat(), dw.concat());
                assert!(grown.iter().zip(&dw).all(|(a, b)| (a - b).abs() < 1e-12), "{index}, {which}");
                let later = layer.growing(which, 3).concat();
                assert!(later.iter().zip(&dw).any(|(a, b)| (a - b).abs() > 1e-6));
            }
            // dh is the gradient of h: by it the gates' gradients follow, those of the first layer from the second's.
            let hidden = layer.h[0].len();
            for line in (0..hidden).flat_map(|unit| walk.at(index, 2, unit).unwrap().lines) {
                if let Some(device) = line.device {
                    assert!((line.computed - device).abs() < 1e-12, "{line:?}");
                }
                assert!(line.name.starts_with("dc") || !line.places.is_empty(), "{line:?}");
                if let Some(difference) = line.difference {
                    assert!((line.computed - difference).abs() < 1e-10, "{line:?}");
                }
            }
        }
    }
}
