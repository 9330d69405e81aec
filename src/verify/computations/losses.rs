//! The losses, with each of their options.

use crate::error::Result;
use crate::ops::cross_entropy::{ClassWeights, CrossEntropyLoss, Reduction};
use crate::ops::indices::Indices;
use crate::ops::recurrent::Lengths;
use crate::ops::regression_loss::RegressionLoss;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::verify::gradients::Computation;

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// Every loss.
pub(super) fn losses() -> Vec<Computation> {
    let mut table = labels();
    table.extend(probabilities());
    table.extend(values());
    table
}

/// Adds to the options what lies on a device.
type OnDevice = fn(&Tape, CrossEntropyLoss) -> Result<CrossEntropyLoss>;

fn plain(_: &Tape, options: CrossEntropyLoss) -> Result<CrossEntropyLoss> {
    Ok(options)
}

fn weighted(tape: &Tape, options: CrossEntropyLoss) -> Result<CrossEntropyLoss> {
    let weight = ClassWeights::new(tape.device(), &[0.5, 2.0, 0.0, 1.25])?;
    Ok(CrossEntropyLoss { weight: Some(weight), ..options })
}

fn ragged(tape: &Tape, options: CrossEntropyLoss) -> Result<CrossEntropyLoss> {
    let lengths = Lengths::new(tape.device(), &[2, 1, 2])?;
    Ok(CrossEntropyLoss { lengths: Some(lengths), ..weighted(tape, options)? })
}

fn labels() -> Vec<Computation> {
    let loss = |name, classes: usize, options: CrossEntropyLoss, on_device: OnDevice| {
        Computation::new(format!("cross_entropy, {name}"), &[("logits", &[2, 3, classes])], move |tape, v| {
            let labels = Indices::new(tape.device(), [2, 3], &[1, 0, 3, 2, 2, 1])?;
            let options = on_device(tape, options.clone())?;
            tape.cross_entropy(v[0], &labels, &options)
        })
    };
    let mean = CrossEntropyLoss::default;
    let of = |reduction| CrossEntropyLoss { reduction, ..mean() };
    let ignoring = || CrossEntropyLoss { ignore_index: 2, ..mean() };
    let smoothed = || CrossEntropyLoss { label_smoothing: 0.2, ..mean() };
    let all = |reduction| CrossEntropyLoss { label_smoothing: 0.2, reduction, ..ignoring() };
    vec![
        loss("mean", 4, mean(), plain),
        loss("sum", 4, of(Reduction::Sum), plain),
        loss("none", 4, of(Reduction::None), plain),
        loss("ignore_index", 4, ignoring(), plain),
        loss("label_smoothing", 4, smoothed(), plain),
        loss("weight", 4, mean(), weighted),
        loss("all options", 4, all(Reduction::Mean), weighted),
        loss("all options, none", 4, all(Reduction::None), weighted),
        loss("lengths", 4, mean(), ragged),
        loss("lengths, none", 4, of(Reduction::None), ragged),
        // A workgroup takes a row from some number of classes on.
        loss("many classes", 150, smoothed(), plain),
    ]
}

fn probabilities() -> Vec<Computation> {
    let loss = |name, classes: usize, options: CrossEntropyLoss, on_device: OnDevice| {
        let name = format!("cross_entropy_probabilities, {name}");
        Computation::new(name, &[("logits", &[2, 3, classes])], move |tape, v| {
            // Any numbers will do: they need not add up to 1.
            let q: Vec<f32> = (0..6 * classes).map(|i| (i * 7 % 5) as f32 / 8.0).collect();
            let q = Tensor::from_f32(tape.device(), [2, 3, classes], &q)?;
            let options = on_device(tape, options.clone())?;
            tape.cross_entropy_probabilities(v[0], &q, &options)
        })
    };
    let of = |reduction| CrossEntropyLoss { reduction, ..CrossEntropyLoss::default() };
    let smoothed = |reduction| CrossEntropyLoss { label_smoothing: 0.2, ..of(reduction) };
    vec![
        loss("mean", 4, of(Reduction::Mean), plain),
        loss("sum", 4, of(Reduction::Sum), plain),
        loss("none", 4, of(Reduction::None), plain),
        loss("all options", 4, smoothed(Reduction::Mean), weighted),
        loss("lengths", 4, smoothed(Reduction::Mean), ragged),
        loss("lengths, none", 4, smoothed(Reduction::None), ragged),
        loss("many classes", 150, smoothed(Reduction::Mean), plain),
    ]
}

/// A loss of values with its options.
type Loss = fn(&mut Tape, &[Var], &RegressionLoss) -> Result<Var>;

fn values() -> Vec<Computation> {
    let losses: [(&str, Loss); 3] = [
        ("mse_loss", |tape, v, options| tape.mse_loss(v[0], v[1], options)),
        ("l1_loss", |tape, v, options| tape.l1_loss(v[0], v[1], options)),
        // Some errors are smaller and some are larger.
        ("huber_loss", |tape, v, options| tape.huber_loss(v[0], v[1], 0.75, options)),
    ];
    let inputs: &[(_, &[usize])] = &[("x", &[3, 2, 4]), ("target", &[3, 2, 4])];
    let with = |(name, loss): (&str, Loss), reduction, lengths: Option<[usize; 2]>| {
        let ends = if lengths.is_some() { ", lengths" } else { "" };
        Computation::new(format!("{name}, {reduction:?}{ends}"), inputs, move |tape, v| {
            let lengths = lengths.map(|lengths| Lengths::new(tape.device(), &lengths)).transpose()?;
            loss(tape, v, &RegressionLoss { reduction, lengths })
        })
    };
    let each = |reduction| losses.map(|loss| with(loss, reduction, None));
    let ragged = |reduction| losses.map(|loss| with(loss, reduction, Some([3, 1])));
    REDUCTIONS
        .into_iter()
        .flat_map(|reduction| each(reduction).into_iter().chain(ragged(reduction)))
        .collect()
}
