//! The numbers of a step.

use bptt::error::Result;
use bptt::explain::{At, Products, Steps, Walk, WalkLayer};
use bptt::nn::CellKind;
use serde_json::json;

use super::super::output::Output;

/// Columns up to which a gradient's matrix is printed at every step; of larger ones the norm is.
const SHOWN: usize = 8;

pub fn show(
    title: &str,
    vocabulary: &[char],
    steps: &mut dyn Steps,
    at: Option<(usize, (usize, usize))>,
    output: Output,
) -> Result<()> {
    let device = steps.tape().device().info().to_string();
    let walk = Walk::of(steps)?;
    let at = at.map(|(layer, (step, unit))| walk.at(layer, step, unit)).transpose()?;
    match &at {
        None => print(&walk, title, &device, vocabulary, output)?,
        Some(at) => show_at(at, title, &device, output)?,
    }
    output.event(&json!({
        "event": "values", "what": title, "device": device, "walk": walk, "reference_loss": walk.reference_loss()?,
        "at": at,
    }))
}

fn row(values: &[f64]) -> String {
    values.iter().map(|x| format!("{x:9.4}")).collect::<Vec<_>>().join(" ")
}

/// A named row of numbers with its formula and places.
fn line(output: Output, name: &str, values: &[f64], formula: &str, places: &[String]) -> Result<()> {
    let text = format!("  {name:10} {}   {formula}   {}", row(values), places.join(" "));
    output.line(text.trim_end())
}

fn print(walk: &Walk, title: &str, device: &str, vocabulary: &[char], output: Output) -> Result<()> {
    let symbol = |token: usize| vocabulary.get(token).map_or(String::new(), |symbol| format!("{symbol:?}"));
    output.line(format!(
        "a training step of {title} on {device}, with all its numbers: what the kernels have read and written"
    ))?;
    output.line(
        "All steps' x·W_ihᵀ are one launch of matmul, the steps of a layer one or several of its cell's kernel; each number \
         stands beside its equation and the lines of the shaders that compute it: of the products, then of the number. Units are \
         columns.",
    )?;
    if walk.by_twins {
        output.line(
            "On the CPU the twin of each shader has computed it: src/cpu/NAME.rs of shaders/NAME.wgsl.",
        )?;
    }
    output.line(format!(
        "symbols: {}",
        (0..vocabulary.len()).map(|k| format!("{k} {}", symbol(k))).collect::<Vec<_>>().join(", ")
    ))?;
    for (index, layer) in walk.layers.iter().enumerate() {
        output.line(format!("\nlayer {index}: parameters"))?;
        for (name, w) in ["W_ih", "W_hh"].into_iter().zip(&layer.w) {
            matrix(output, name, w)?;
        }
        for (name, b) in ["b_ih", "b_hh"].into_iter().zip(&layer.b) {
            line(output, name, b, "", &[])?;
        }
    }
    for t in 0..walk.time() {
        let read = walk.layers[0].x[t].iter().position(|x| *x == 1.0).map_or(String::new(), symbol);
        output.line(format!("\nforward, step {t}: reads {read}, is to say {}", symbol(walk.labels[t])))?;
        for index in 0..walk.layers.len() {
            if walk.layers.len() > 1 {
                output.line(format!(" layer {index}"))?;
            }
            forward(walk, index, t, output)?;
        }
        let formula = if walk.linear.is_some() { "h_t·Wᵀ + b" } else { "h_t itself" };
        let places = if walk.linear.is_some() { products(walk) } else { Vec::new() };
        line(output, "logits", &walk.logits[t], formula, &places)?;
        line(output, "p", &walk.probabilities[t], "softmax of the logits", &place_of("let softmax ="))?;
        line(
            output,
            "loss",
            &[walk.losses[t]],
            &format!("−ln p[{}]", walk.labels[t]),
            &place_of("var loss ="),
        )?;
    }
    output.line(format!(
        "\nthe loss is their mean, {:.6}; in 64 bits {:.6}",
        walk.loss,
        walk.reference_loss()?
    ))?;
    for t in (0..walk.time()).rev() {
        output.line(format!("\nbackward, step {t}"))?;
        let formula = format!("(p − [c = {}]) / {}", walk.labels[t], walk.time());
        line(output, "dlogits", &walk.dlogits[t], &formula, &place_of("let d = softmax"))?;
        for index in (0..walk.layers.len()).rev() {
            if walk.layers.len() > 1 {
                output.line(format!(" layer {index}"))?;
            }
            backward(walk, index, t, output)?;
        }
    }
    output.line("\nthe gradients, as the device has added them up over all steps in one launch each")?;
    for (index, layer) in walk.layers.iter().enumerate() {
        output.line(format!(" layer {index}   {}", products(walk).join(" ")))?;
        for (name, dw) in ["dW_ih", "dW_hh"].into_iter().zip(&layer.dw) {
            matrix(output, name, dw)?;
        }
        for (name, db) in ["db_ih", "db_hh"].into_iter().zip(&layer.db) {
            line(output, name, db, "Σ_t da_t", &[])?;
        }
    }
    if let Some(linear) = &walk.linear {
        output.line(" linear layer")?;
        matrix(output, "dW", &linear.dw)?;
        line(output, "db", &linear.db, "Σ_t dlogits_t", &[])?;
    }
    output.line("\none unit at one step, product by product, beside finite differences: --at T,K")
}

/// A line of cross_entropy.wgsl.
fn place_of(piece: &str) -> Vec<String> {
    bptt::cpu::cross_entropy::CROSS_ENTROPY.place_of(0, piece).into_iter().collect()
}

/// The line of the matrix products over all steps.
fn products(walk: &Walk) -> Vec<String> {
    walk.places(0, false, "", &[Products::Input])
}

fn forward(walk: &Walk, index: usize, t: usize, output: Output) -> Result<()> {
    let layer = &walk.layers[index];
    let places = |name: &str, products: &[Products]| walk.places(index, false, name, products);
    // The first number that takes the sums h·W_hhᵀ.
    let state: &[Products] = &[Products::State];
    let after = |name: &str| if ["i", "r"].contains(&name) { state } else { &[] };
    let biases =
        if walk.cell == CellKind::Gru { "x_t·W_ihᵀ + b_ih" } else { "x_t·W_ihᵀ + b_ih + b_hh" };
    line(output, "x_t", &layer.x[t], "", &[])?;
    line(output, "xw_t", &layer.xw[t], biases, &places("", &[Products::Input]))?;
    line(output, "h", &layer.h[t], "the state before", &[])?;
    let formulas: &[(&str, &str)] = match walk.cell {
        CellKind::Rnn => &[],
        CellKind::Lstm => {
            &[("i", "σ(a_i), a = xw_t + h·W_hhᵀ"), ("f", "σ(a_f)"), ("g", "tanh(a_g)"), ("o", "σ(a_o)")]
        }
        CellKind::Gru => &[
            ("r", "σ(xw_r + h·W_hrᵀ + b_hr)"),
            ("z", "σ(xw_z + h·W_hzᵀ + b_hz)"),
            ("q", "h·W_hnᵀ + b_hn"),
            ("n", "tanh(xw_n + r ⊙ q)"),
        ],
    };
    for (name, formula) in formulas {
        let (_, gate) = layer.gates.iter().find(|(found, _)| found == name).expect("the cell's gate");
        line(output, name, &gate[t], formula, &places(name, after(name)))?;
    }
    if walk.cell == CellKind::Lstm {
        line(output, "c_t", &layer.c[t + 1], "f ⊙ c + i ⊙ g", &places("c_t", &[]))?;
    }
    let formula = match walk.cell {
        CellKind::Rnn => "tanh(xw_t + h·W_hhᵀ)",
        CellKind::Lstm => "o ⊙ tanh(c_t)",
        CellKind::Gru => "(1 − z) ⊙ n + z ⊙ h",
    };
    let sums = if walk.cell == CellKind::Rnn { state } else { &[] };
    line(output, "h_t", &layer.h[t + 1], formula, &places("h_t", sums))
}

fn backward(walk: &Walk, index: usize, t: usize, output: Output) -> Result<()> {
    let layer: &WalkLayer = &walk.layers[index];
    let places = |name: &str, products: &[Products]| walk.places(index, true, name, products);
    line(output, "dy_t", &layer.dy[t], "by way of this step's output", &[])?;
    let arriving = match walk.cell {
        CellKind::Gru => "da_h·W_hh + dh ⊙ z of the next step",
        _ => "da·W_hh of the next step",
    };
    line(output, "arriving", &layer.arriving[t], arriving, &places("arriving", &[Products::State]))?;
    line(output, "dh_t", &layer.dh[t], "dy_t + arriving", &places("dh_t", &[]))?;
    let hidden = layer.h[0].len();
    let gates: &[(&str, &str)] = match walk.cell {
        CellKind::Rnn => &[("da", "dh_t ⊙ (1 − h_t²)")],
        CellKind::Lstm => {
            let formula = "dc ⊙ f of the next step + dh_t ⊙ o ⊙ (1 − tanh²c_t)";
            line(output, "dc_t", &layer.dc[t], formula, &places("dc_t", &[]))?;
            &[
                ("da_i", "dc_t ⊙ g ⊙ i(1 − i)"),
                ("da_f", "dc_t ⊙ c ⊙ f(1 − f)"),
                ("da_g", "dc_t ⊙ i ⊙ (1 − g²)"),
                ("da_o", "dh_t ⊙ tanh c_t ⊙ o(1 − o)"),
            ]
        }
        CellKind::Gru => &[
            ("da_r", "da_n ⊙ q ⊙ r(1 − r)"),
            ("da_z", "dh_t ⊙ (h − n) ⊙ z(1 − z)"),
            ("da_n", "dh_t ⊙ (1 − z) ⊙ (1 − n²)"),
        ],
    };
    for (gate, (name, formula)) in gates.iter().enumerate() {
        let da = &layer.da[t][gate * hidden..][..hidden];
        line(output, name, da, formula, &places(name, &[]))?;
    }
    for (which, name) in ["dW_ih", "dW_hh"].into_iter().enumerate() {
        let grown = layer.growing(which, t);
        let norm = grown.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
        let source = if which == 0 { "x_s" } else { "h before s" };
        output.line(format!("  {name} so far: Σ of da_sᵀ·{source} over s >= {t}, norm {norm:.6}"))?;
        if grown[0].len() <= SHOWN && grown.len() <= SHOWN {
            matrix(output, "", &grown)?;
        }
    }
    Ok(())
}

fn matrix(output: Output, name: &str, rows: &[Vec<f64>]) -> Result<()> {
    rows.iter()
        .enumerate()
        .try_for_each(|(k, values)| line(output, if k == 0 { name } else { "" }, values, "", &[]))
}

fn show_at(at: &At, title: &str, device: &str, output: Output) -> Result<()> {
    output.line(format!("unit {} at step {} of {title} on {device}", at.unit, at.step))?;
    for found in &at.lines {
        let text = format!("\n{} = {}   {}", found.name, found.formula, found.places.join(" "));
        output.line(text.trim_end())?;
        for term in &found.terms {
            let factors: Vec<String> = term.factors.iter().map(|x| format!("{x:.6}")).collect();
            let product: f64 = term.factors.iter().product();
            let product = if factors.len() > 1 { format!(" = {product:.6}") } else { String::new() };
            output.line(format!("    {:28} {}{product}", term.name, factors.join(" · ")))?;
        }
        if found.terms.len() > 1 {
            let sum: f64 = found.terms.iter().map(|term| term.factors.iter().product::<f64>()).sum();
            output.line(format!("    {:28} {sum:.6}", "their sum"))?;
        }
        let device = found.device.map_or(String::new(), |x| format!("; the device has {x:.8}"));
        output.line(format!("  {} = {:.8}{device}", found.name, found.computed))?;
        if let Some(difference) = found.difference {
            output.line(format!("  finite difference of the loss: {difference:.8}"))?;
        }
    }
    Ok(())
}
