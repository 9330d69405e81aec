//! The inspection, held to an f64 computation of its own with finite differences, and to the layers' own results.

use super::*;
use crate::data::scale::{Scaler, ScalerKind};
use crate::data::text::Unit;
use crate::device::Device;
use crate::train::{CharModelConfig, SeriesModelConfig};

const CELLS: [CellKind; 3] = [CellKind::Rnn, CellKind::Lstm, CellKind::Gru];
const HIDDEN: usize = 3;

/// The model in 64 bits, by the formulas of PyTorch's pages.
struct Reference {
    weights: Vec<(String, Vec<f64>)>,
    cell: CellKind,
    relu: bool,
    layers: usize,
}

/// Of each layer, at each step: the state and the gates.
type Traced = Vec<Vec<(Vec<f64>, Vec<Vec<f64>>)>>;

impl Reference {
    fn new(parameters: &Parameters, cell: CellKind, relu: bool, layers: usize) -> Self {
        let wide =
            |(name, _, values): (String, _, Vec<f32>)| (name, values.iter().map(|x| f64::from(*x)).collect());
        Reference {
            weights: parameters.to_host().unwrap().into_iter().map(wide).collect(),
            cell,
            relu,
            layers,
        }
    }

    fn get(&self, name: &str) -> &[f64] {
        &self.weights.iter().find(|(found, _)| found == name).unwrap().1
    }

    fn affine(&self, x: &[f64], weight: &str, bias: &str) -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        self.get(weight).chunks_exact(x.len()).map(dot).zip(self.get(bias)).map(|(sum, b)| sum + b).collect()
    }

    /// All states and gates for inputs x, where `bump` is added to one unit of one layer's state behind one step.
    fn run(&self, x: &[Vec<f64>], bump: (usize, usize, usize, f64)) -> Traced {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut below = x.to_vec();
        let mut traced = Traced::new();
        for layer in 0..self.layers {
            let (mut h, mut c) = ([0.0; HIDDEN].to_vec(), [0.0; HIDDEN]);
            let mut steps = Vec::new();
            for (step, x) in below.iter().enumerate() {
                let name = |of: &str| format!("rnn.{of}_l{layer}");
                let a = self.affine(x, &name("weight_ih"), &name("bias_ih"));
                let b = self.affine(&h, &name("weight_hh"), &name("bias_hh"));
                let unit = |k: usize| -> Vec<f64> {
                    let at = |gate: usize| a[gate * HIDDEN + k] + b[gate * HIDDEN + k];
                    match self.cell {
                        CellKind::Rnn => vec![if self.relu { at(0).max(0.0) } else { at(0).tanh() }],
                        CellKind::Lstm => vec![sigmoid(at(0)), sigmoid(at(1)), at(2).tanh(), sigmoid(at(3))],
                        CellKind::Gru => {
                            let (r, z) = (sigmoid(at(0)), sigmoid(at(1)));
                            vec![r, z, (a[2 * HIDDEN + k] + r * b[2 * HIDDEN + k]).tanh()]
                        }
                    }
                };
                let gates: Vec<_> = (0..HIDDEN).map(unit).collect();
                for (k, gates) in gates.iter().enumerate() {
                    h[k] = match gates[..] {
                        [h] => h,
                        [i, f, g, o] => {
                            c[k] = f * c[k] + i * g;
                            o * c[k].tanh()
                        }
                        [_, z, n] => (1.0 - z) * n + z * h[k],
                        _ => unreachable!("one, three or four gates"),
                    };
                }
                if (layer, step) == (bump.0, bump.1) {
                    h[bump.2] += bump.3;
                }
                steps.push((h.clone(), gates));
            }
            below = steps.iter().map(|(h, _)| h.clone()).collect();
            traced.push(steps);
        }
        traced
    }
}

#[track_caller]
fn close(found: f32, expected: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= 2e-6 * (1.0 + expected.abs()), "{found}, expected {expected}");
}

/// Holds sequence `b` of an inspection to the reference, whose loss of the last layer's states is `loss`.
fn check(
    found: &Inspection,
    b: usize,
    reference: &Reference,
    x: &[Vec<f64>],
    loss: &dyn Fn(&[Vec<f64>]) -> f64,
) {
    let traced = reference.run(x, (0, 0, 0, 0.0));
    assert_eq!((found.steps, found.hidden, found.layers.len()), (x.len(), HIDDEN, reference.layers));
    for (layer, (inspected, traced)) in found.layers.iter().zip(&traced).enumerate() {
        for (step, (h, gates)) in traced.iter().enumerate() {
            for unit in 0..HIDDEN {
                let at = (step * found.batch + b) * HIDDEN + unit;
                close(inspected.states[at], h[unit]);
                for (gate, value) in inspected.gates.iter().zip(&gates[unit]) {
                    close(gate.values[at], *value);
                }
                let bumped = |by: f64| {
                    let traced = reference.run(x, (layer, step, unit, by));
                    loss(&traced.last().unwrap().iter().map(|(h, _)| h.clone()).collect::<Vec<_>>())
                };
                // The error of a central difference is of the order of its square.
                close(inspected.gradients[at], (bumped(1e-4) - bumped(-1e-4)) / 2e-4);
            }
        }
    }
}

fn char_model(
    cell: CellKind,
    layers: usize,
    embedding: Option<usize>,
    relu: bool,
    linear: bool,
) -> CharModel {
    let config = CharModelConfig {
        format: 1,
        experiment: "text".into(),
        tokens: Unit::Characters,
        vocabulary: if linear { "abcde".into() } else { "abc".into() },
        embedding,
        cell,
        hidden: HIDDEN,
        layers,
        dropout: 0.0,
        nonlinearity: if relu { Nonlinearity::Relu } else { Nonlinearity::Tanh },
        linear,
    };
    CharModel::new(&Device::cpu(), config, 3).unwrap()
}

fn check_text(model: &CharModel, relu: bool) {
    let (tokens, targets) = ([0, 2, 1, 0, 1], [2, 1, 0, 1, 2]);
    let config = &model.config;
    let reference = Reference::new(&model.parameters, config.cell, relu, config.layers);
    let classes = model.vocabulary.len();
    let vector = |token: &i32| match config.embedding {
        Some(size) => reference.get("embedding.weight")[*token as usize * size..][..size].to_vec(),
        None => (0..classes).map(|c| f64::from(u8::from(c == *token as usize))).collect(),
    };
    let x: Vec<_> = tokens.iter().map(vector).collect();
    let step_loss = |(h, target): (&Vec<f64>, &i32)| {
        let logits = if config.linear { reference.affine(h, "fc.weight", "fc.bias") } else { h.clone() };
        logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[*target as usize]
    };
    let losses = |h: &[Vec<f64>]| h.iter().zip(&targets).map(step_loss).collect::<Vec<_>>();

    let all = inspect_text(model, &tokens, &targets, Outputs::All).unwrap();
    check(&all, 0, &reference, &x, &|h| losses(h).iter().sum::<f64>() / 5.0);
    let last = inspect_text(model, &tokens, &targets, Outputs::Last).unwrap();
    check(&last, 0, &reference, &x, &|h| losses(h)[4]);
    assert_eq!(all.layers[0].states, last.layers[0].states);

    // The layers' own kernels say the same.
    let device = model.parameters.device();
    let mut tape = Tape::new(&model.parameters);
    let [tokens, targets] = [tokens, targets].map(|tokens| Indices::new(device, [5, 1], &tokens).unwrap());
    let (logits, output) = model.forward(&mut tape, &tokens, &[]).unwrap();
    let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default()).unwrap();
    close(all.loss as f32, tape.value(loss).unwrap().to_f64().unwrap()[0]);
    let own = tape.value(output.output).unwrap().to_vec().unwrap();
    let states = &all.layers.last().unwrap().states;
    states.iter().zip(&own).for_each(|(found, own)| close(*found, (*own).into()));
    assert_eq!(states.len(), own.len());
}

#[test]
fn text() {
    for cell in CELLS {
        check_text(&char_model(cell, 2, Some(4), false, true), false);
    }
    check_text(&char_model(CellKind::Rnn, 2, None, true, true), true);
    check_text(&char_model(CellKind::Rnn, 1, None, false, false), false);
}

#[test]
fn series() {
    for cell in CELLS {
        let columns = [&[0.0, 1.0][..], &[0.0, 1.0]];
        let config = SeriesModelConfig {
            format: 1,
            experiment: "timeseries".into(),
            columns: vec!["a".into(), "b".into()],
            target: 1,
            newest_first: false,
            window: 4,
            horizon: 1,
            scaler: Scaler::fit(ScalerKind::Minmax, &columns),
            cell,
            hidden: HIDDEN,
            layers: 2,
            dropout: 0.0,
        };
        let model = SeriesModel::new(&Device::cpu(), config, 5).unwrap();
        let number = |i: usize| (i as f32 * 0.7).sin();
        let windows: Vec<f32> = (0..4 * 3 * 2).map(number).collect();
        let targets = [0.3, -0.8, 1.5];
        let found = inspect_series(&model, &windows, &targets).unwrap();
        let reference = Reference::new(&model.parameters, cell, false, 2);
        let mut mean = 0.0;
        for (b, target) in targets.iter().enumerate() {
            let x: Vec<Vec<f64>> =
                (0..4).map(|t| (0..2).map(|c| windows[(t * 3 + b) * 2 + c].into()).collect()).collect();
            let loss = |h: &[Vec<f64>]| {
                (reference.affine(&h[3], "fc.weight", "fc.bias")[0] - f64::from(*target)).powi(2)
            };
            check(&found, b, &reference, &x, &loss);
            let traced = reference.run(&x, (0, 0, 0, 0.0));
            mean += loss(&traced[1].iter().map(|(h, _)| h.clone()).collect::<Vec<_>>()) / 3.0;
        }
        close(found.loss as f32, mean);

        let norms = found.gradient_norms();
        let norm = |b: usize| {
            let gradient = &found.layers[1].gradients[(2 * 3 + b) * HIDDEN..][..HIDDEN];
            gradient.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt()
        };
        assert_eq!((norms.len(), norms[0].len()), (2, 4));
        close(norms[1][2] as f32, (norm(0) + norm(1) + norm(2)) / 3.0);
    }
}

#[test]
fn the_models_gradients_stay_as_they_are() {
    let model = char_model(CellKind::Gru, 1, None, false, true);
    inspect_text(&model, &[0, 1], &[1, 0], Outputs::All).unwrap();
    let id = model.parameters.id("rnn.weight_hh_l0").unwrap();
    assert!(model.parameters.gradient(id).unwrap().to_vec().unwrap().iter().all(|x| *x == 0.0));
}

#[test]
fn refuses_what_does_not_fit() {
    let model = char_model(CellKind::Rnn, 1, None, false, true);
    for (tokens, targets) in [(&[][..], &[][..]), (&[0, 1], &[1]), (&[9], &[0]), (&[0], &[9])] {
        assert!(inspect_text(&model, tokens, targets, Outputs::All).is_err(), "{tokens:?}");
    }
}

#[test]
fn saturation_counts_both_ends() {
    let gate = |function, values: &[f32]| Gate { name: "i", function, values: values.to_vec() }.saturation();
    assert_eq!(gate(GateFunction::Sigmoid, &[0.0, 0.05, 0.5, 0.95]), [0.5, 0.25]);
    assert_eq!(gate(GateFunction::Tanh, &[0.0, -0.95, 0.5, 0.95]), [0.25, 0.25]);
    assert_eq!(gate(GateFunction::Relu, &[0.0, 0.0, 1.0, 9.0]), [0.5, 0.0]);
}
