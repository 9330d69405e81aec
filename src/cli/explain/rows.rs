//! Rows of numbers.

use bptt::error::Result;
use bptt::explain::{Affine, Matrix};
use bptt::nn::CellKind;

use super::super::output::Output;
use super::number;

/// Rows and columns up to which a matrix that changes from step to step is printed; of larger ones the norm is.
const SHOWN: usize = 8;

/// A named row of numbers with its formula and places.
pub fn line(output: Output, name: &str, values: &[f64], formula: &str, places: &[String]) -> Result<()> {
    let numbers = values.iter().map(|x| format!("{:>9}", number(*x, 4))).collect::<Vec<_>>().join(" ");
    let text = format!("  {name:10} {numbers}   {formula}   {}", places.join(" "));
    output.line(text.trim_end())
}

pub fn matrix(output: Output, rows: &[Vec<f64>]) -> Result<()> {
    rows.iter().try_for_each(|values| line(output, "", values, "", &[]))
}

/// The gates of a cell, in the order of the weights' rows.
pub fn gates(cell: CellKind) -> &'static [&'static str] {
    match cell {
        CellKind::Rnn => &[""],
        CellKind::Lstm => &["i", "f", "g", "o"],
        CellKind::Gru => &["r", "z", "n"],
    }
}

/// A weight and its bias, or their gradients, gate by gate.
pub fn affine(
    output: Output,
    [w, b]: [&str; 2],
    gates: &[&str],
    weight: &Matrix,
    bias: &[f64],
) -> Result<()> {
    let units = bias.len() / gates.len();
    for (gate, rows) in gates.iter().zip(weight.chunks(units)) {
        for (unit, values) in rows.iter().enumerate() {
            let name = if unit == 0 { format!("{w} {gate}") } else { String::new() };
            line(output, &name, values, "", &[])?;
        }
    }
    gates
        .iter()
        .zip(bias.chunks(units))
        .try_for_each(|(gate, values)| line(output, &format!("{b} {gate}"), values, "", &[]))
}

pub fn small(matrix: &Matrix) -> bool {
    matrix.len() <= SHOWN && matrix[0].len() <= SHOWN
}

pub fn norm<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// What a weight's gradient has grown to when the backward pass has made a step, which is row `row` of what is added up.
pub fn grown(of: &Affine, row: usize, t: usize, [name, terms]: [&str; 2], output: Output) -> Result<()> {
    let grown = of.grown(row).dw;
    let norm = norm(grown.iter().flatten());
    let norm = number(norm, 6);
    output.line(format!("  {name} so far: the sum of {terms} over steps s ≥ {t}, norm {norm}"))?;
    if small(&grown) { matrix(output, &grown) } else { Ok(()) }
}
