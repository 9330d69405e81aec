//! The numbers of a walk: those of the 64-bit reference, and gradients that are finite differences.

use super::common::{assert_refused, own_devices};
use bptt::device::Device;
use bptt::explain::{LayerSizes, OfExperiment, OfLayer, Steps, Walk};
use bptt::nn::CellKind;
use bptt::parameters::Precision;
use bptt::train::{Config, Experiment, Source};

const CELLS: [CellKind; 3] = [CellKind::Rnn, CellKind::Lstm, CellKind::Gru];

/// A network that is walked through, and the sample that is followed.
#[derive(Clone, Copy, Debug)]
enum Model {
    /// The word, by so many layers, with a linear one or without: one sequence.
    Hihello(CellKind, usize, bool),
    /// Two layers and a linear one over 170 windows.
    Longseq,
    /// Squared errors of the last step, four windows.
    Timeseries(CellKind),
    /// A layer alone: squared errors of all steps, three sequences.
    Layer(CellKind, Precision),
}

impl Model {
    fn all() -> Vec<Model> {
        let of = |cell| {
            let layer = Model::Layer(cell, Precision::F32);
            [Model::Hihello(cell, 1, false), Model::Hihello(cell, 2, true), Model::Timeseries(cell), layer]
        };
        CELLS.into_iter().flat_map(of).chain([Model::Longseq]).collect()
    }

    fn steps(self, device: &Device) -> Box<dyn Steps> {
        let experiment = |experiment: Experiment, change: &dyn Fn(&mut Config)| {
            let mut config = Config::defaults(experiment);
            // The gradients are to be those of the loss.
            config.train.clip = 0.0;
            change(&mut config);
            let source = Source::read(&config).unwrap();
            let task = source.task(device, &mut config).unwrap();
            Box::new(OfExperiment::new(&config.train, task).unwrap()) as Box<dyn Steps>
        };
        match self {
            Model::Hihello(cell, layers, linear) => experiment(Experiment::Hihello, &|config| {
                (config.model.cell, config.model.layers, config.model.linear) = (cell, layers, linear);
                config.model.hidden = linear.then_some(4);
            }),
            Model::Longseq => experiment(Experiment::Longseq, &|config| config.model.hidden = Some(4)),
            Model::Timeseries(cell) => experiment(Experiment::Timeseries, &|config| {
                (config.model.cell, config.model.hidden, config.train.batch) = (cell, Some(3), 4);
            }),
            Model::Layer(cell, precision) => {
                let sizes = LayerSizes { cell, time: 4, batch: 3, input: 2, hidden: 2 };
                Box::new(OfLayer::new(device, &sizes, precision).unwrap())
            }
        }
    }

    fn sample(self) -> usize {
        match self {
            Model::Hihello(..) => 0,
            Model::Longseq => 7,
            Model::Timeseries(_) => 2,
            Model::Layer(..) => 1,
        }
    }

    fn walk(self, device: &Device) -> Walk {
        Walk::of(&mut *self.steps(device), self.sample()).unwrap()
    }
}

/// All numbers of a walk, in one order.
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(all) => all.iter().flat_map(numbers).collect(),
        serde_json::Value::Object(all) => {
            let all = all.iter().filter(|(key, _)| !key.ends_with("variant"));
            all.flat_map(|(_, value)| numbers(value)).collect()
        }
        serde_json::Value::Number(number) => vec![number.as_f64().unwrap()],
        _ => Vec::new(),
    }
}

#[test]
fn numbers_are_those_of_the_reference() {
    for model in Model::all() {
        let reference = model.walk(&Device::reference());
        let expected = numbers(&serde_json::to_value(&reference).unwrap());
        // All numbers are within 4: sums of at most 20 products and biases (of one-hot vectors a single product), 22 roundings
        // of 2^-24 of it, and tanh's 4e-7, at each step of each layer; a step takes in what the one before was off by, as
        // weights below 1/2 in 4 or 5 places may make it up to 2.5 times as much, but saturating gates and (1 - h²) keep it
        // about the same. Gradients are divided by the number of losses, so sums over a batch are means.
        let limit = (reference.time() * reference.layers.len()) as f64 * (22.0 * 6e-8 * 4.0 + 4e-7);
        for device in own_devices() {
            let walk = model.walk(&device);
            let got = numbers(&serde_json::to_value(&walk).unwrap());
            assert_eq!(got.len(), expected.len(), "{model:?}");
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= limit, "{model:?}, {device:?}: {got}, expected {expected}");
            }
            for affine in
                walk.layers.iter().flat_map(|layer| [&layer.input, &layer.state]).chain(&walk.linear)
            {
                assert!(affine.gap() <= limit, "{model:?}, {device:?}: {}", affine.gap());
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    for model in Model::all() {
        let walk = model.walk(&Device::reference());
        assert!((walk.outputs.loss - walk.reference_loss().unwrap()).abs() < 1e-12, "{model:?}");
        for (index, layer) in walk.layers.iter().enumerate() {
            let scale = layer.input.da.iter().flatten().fold(0.0, |most: f64, da| most.max(da.abs()));
            for t in [0, walk.time() / 2, walk.time() - 1] {
                let da = &layer.input.da[t];
                let differences: Vec<f64> =
                    (0..da.len()).map(|row| walk.difference(index, t, row).unwrap()).collect();
                // Of the fifth derivative of a smooth function, within 100: 100·STEP⁴/30; and 1e-16/STEP.
                for (row, (da, difference)) in da.iter().zip(&differences).enumerate() {
                    assert!(
                        (da - difference).abs() < 1e-10,
                        "{model:?}, {index}, {t}, {row}: {da}, {difference}"
                    );
                }
                // That it can fail: the rows differ from each other. The first step may be far from a loss at the last.
                assert!(t == 0 || (da[0] - differences[1]).abs() > 1e-4 * scale, "{model:?}, {index}, {t}");
            }
            // By dh and dy the gates' gradients follow, those of one layer from the next, from the linear layer or the loss.
            let lines = (0..layer.hidden()).flat_map(|unit| {
                let steps = [0, walk.time() - 2, walk.time() - 1];
                steps.into_iter().flat_map(|t| walk.at(index, t, unit).unwrap().lines).collect::<Vec<_>>()
            });
            for line in lines {
                if let Some(device) = line.device {
                    assert!((line.computed - device).abs() < 1e-12, "{model:?}: {line:?}");
                }
                if let Some(difference) = line.difference {
                    assert!((line.computed - difference).abs() < 1e-10, "{model:?}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn gradients_of_weights_grow_to_those_of_the_batch() {
    for model in Model::all() {
        let mut walk = model.walk(&Device::reference());
        let middle = walk.time() / 2;
        for affine in walk.layers.iter().flat_map(|layer| [&layer.input, &layer.state]).chain(&walk.linear) {
            assert!(affine.gap() < 1e-12, "{model:?}: {}", affine.gap());
            if affine.x.len() > 1 {
                assert_ne!(affine.grown(0), affine.grown(middle), "{model:?}");
            }
            let others = affine.others.dw.iter().flatten().any(|dw| *dw != 0.0);
            assert_eq!(others, walk.batch > 1, "{model:?}");
        }
        // Not so where one number is another's.
        walk.layers[0].input.da[middle][0] += 1e-3;
        assert!(walk.layers[0].input.gap() > 9e-4, "{model:?}");
    }
}

#[test]
fn every_number_of_a_unit_has_its_line() {
    for model in Model::all() {
        let walk = model.walk(&Device::cpu());
        let last = walk.time() - 1;
        for index in 0..walk.layers.len() {
            for line in walk.at(index, last, 1).unwrap().lines {
                // What only adds up what another kernel's backward pass gives, and the difference that a loss squares.
                let told = ["dy_t", "e"].contains(&&*line.name);
                assert!(told || !line.places.is_empty(), "{model:?}: {line:?}");
            }
        }
        let names: Vec<String> = walk
            .at(walk.layers.len() - 1, last, 0)
            .unwrap()
            .lines
            .into_iter()
            .map(|line| line.name)
            .collect();
        assert!(names.contains(&"loss".into()), "{model:?}: {names:?}");
        if let Model::Timeseries(_) = model {
            assert!(names.contains(&"y[0]".into()) && names.contains(&"dL/dy[0]".into()), "{names:?}");
            let early = walk.at(0, 0, 0).unwrap().lines;
            assert!(early.iter().all(|line| line.name != "loss"), "{early:?}");
        }
    }
}

#[test]
fn half_precision_is_walked_through() {
    let own_devices = own_devices();
    for (precision, rounding) in [(Precision::F16, 2f64.powi(-11)), (Precision::BF16, 2f64.powi(-8))] {
        for (cell, device) in
            CELLS.into_iter().flat_map(|cell| own_devices.iter().map(move |device| (cell, device)))
        {
            let walk = Model::Layer(cell, precision).walk(device);
            let layer = &walk.layers[0];
            let scale = layer.input.da.iter().flatten().fold(0.0, |most: f64, da| most.max(da.abs()));
            // The weights are those that the device has, rounded as they are: what is off are gates, states and gradients of
            // at most 4 steps, each some 8 roundings of numbers within 1.
            let limit = 4.0 * 8.0 * rounding * scale;
            for t in 0..walk.time() {
                for (row, da) in layer.input.da[t].iter().enumerate() {
                    let difference = walk.difference(0, t, row).unwrap();
                    assert!((da - difference).abs() <= limit, "{cell:?}, {precision:?}: {da}, {difference}");
                }
            }
            // The gradients of weights are added up in 32 bits from what is stored: 12 products, within 1 all together.
            for affine in [&layer.input, &layer.state] {
                assert!(affine.gap() <= 16.0 * 6e-8, "{cell:?}, {precision:?}: {}", affine.gap());
            }
        }
    }
}

#[test]
fn what_cannot_be_walked_through() {
    let device = Device::cpu();
    let mut steps = Model::Layer(CellKind::Lstm, Precision::F32).steps(&device);
    assert_refused("a sample too far", Walk::of(&mut *steps, 3), &["--sample must be from 0 to 2", "got 3"]);
    let layer = |time, hidden| {
        let sizes = LayerSizes { cell: CellKind::Gru, time, batch: 1, input: hidden, hidden };
        Walk::of(&mut OfLayer::new(&device, &sizes, Precision::F32).unwrap(), 0)
    };
    assert!(layer(64, 32).is_ok());
    assert_refused("long", layer(65, 2), &["65 steps are more than 64", "--time"]);
    assert_refused("wide", layer(3, 33), &["rows of 33 are longer than 32", "--hidden"]);
    let mut config = Config::defaults(Experiment::Hihello);
    (config.model.layers, config.model.dropout) = (2, 0.5);
    let task = Source::read(&config).unwrap().task(&device, &mut config).unwrap();
    let mut steps = OfExperiment::new(&config.train, task).unwrap();
    assert_refused("dropout", Walk::of(&mut steps, 0), &["dropout leaves numbers out"]);
}
