//! The numbers of a layer at a step.

use bptt::error::Result;
use bptt::explain::{Products, Walk};
use bptt::nn::CellKind;

use super::super::output::Output;
use super::rows::{gates, grown, line};

/// What a layer makes of a step.
pub fn forward(walk: &Walk, index: usize, t: usize, output: Output) -> Result<()> {
    let layer = &walk.layers[index];
    let places = |name: &str, products: &[Products]| walk.places(index, false, name, products);
    // The first number that takes the sums h·W_hhᵀ.
    let state: &[Products] = &[Products::State];
    let after = |name: &str| if ["i", "r"].contains(&name) { state } else { &[] };
    let biases = if walk.cell == CellKind::Gru { "b_ih" } else { "b_ih + b_hh" };
    let hidden = layer.hidden();
    line(output, "x_t", &layer.input.x[t], "", &[])?;
    for (gate, values) in gates(walk.cell).iter().zip(layer.xw[t].chunks(hidden)) {
        let of = if gate.is_empty() { String::new() } else { format!(", the rows of {gate}") };
        let formula = format!("x_t·W_ihᵀ + {biases}{of}");
        let name = if gate.is_empty() { "xw".into() } else { format!("xw_{gate}") };
        line(output, &name, values, &formula, &places("", &[Products::Input]))?;
    }
    line(output, "h", &layer.h[t], "the state before", &[])?;
    let formulas: &[(&str, &str)] = match walk.cell {
        CellKind::Rnn => &[],
        CellKind::Lstm => {
            line(output, "c", &layer.c[t], "the cell state before", &[])?;
            &[
                ("i", "σ(a_i), a_i = xw_i + h·W_hiᵀ; so a_f, a_g, a_o"),
                ("f", "σ(a_f)"),
                ("g", "tanh(a_g)"),
                ("o", "σ(a_o)"),
            ]
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
        CellKind::Rnn => "tanh(xw + h·W_hhᵀ)",
        CellKind::Lstm => "o ⊙ tanh(c_t)",
        CellKind::Gru => "(1 − z) ⊙ n + z ⊙ h",
    };
    let sums = if walk.cell == CellKind::Rnn { state } else { &[] };
    line(output, "h_t", &layer.h[t + 1], formula, &places("h_t", sums))
}

/// What comes back to a layer at a step.
pub fn backward(walk: &Walk, index: usize, t: usize, output: Output) -> Result<()> {
    let layer = &walk.layers[index];
    let places = |name: &str, products: &[Products]| walk.places(index, true, name, products);
    let source = match (index + 1 < walk.layers.len(), walk.outputs.row(t), &walk.linear) {
        (true, ..) => "da_t·W_ih of the layer above",
        (_, None, _) => "the loss does not read this step's output",
        (_, _, Some(_)) => "by way of the linear layer",
        _ => "by way of this step's output",
    };
    line(output, "dy_t", &layer.dy[t], source, &[])?;
    let arriving = match walk.cell {
        _ if t + 1 == walk.time() => "from the next step: there is none",
        CellKind::Gru => "from the next step: da_h·W_hh + dh ⊙ z",
        _ => "from the next step: da·W_hh",
    };
    line(output, "arriving", &layer.arriving[t], arriving, &places("arriving", &[Products::State]))?;
    line(output, "dh_t", &layer.dh[t], "dy_t + arriving", &places("dh_t", &[]))?;
    let hidden = layer.hidden();
    let gates: &[(usize, &str, &str)] = match walk.cell {
        CellKind::Rnn => &[(0, "da", "dh_t ⊙ (1 − h_t²)")],
        CellKind::Lstm => {
            let formula = "dh_t ⊙ o ⊙ (1 − tanh²c_t) + dc ⊙ f of the next step";
            line(output, "dc_t", &layer.dc[t], formula, &places("dc_t", &[]))?;
            &[
                (0, "da_i", "dc_t ⊙ g ⊙ i ⊙ (1 − i)"),
                (1, "da_f", "dc_t ⊙ c ⊙ f ⊙ (1 − f)"),
                (2, "da_g", "dc_t ⊙ i ⊙ (1 − g²)"),
                (3, "da_o", "dh_t ⊙ tanh(c_t) ⊙ o ⊙ (1 − o)"),
            ]
        }
        // da_n first: the other two follow from it, or from dh_t.
        CellKind::Gru => &[
            (2, "da_n", "dh_t ⊙ (1 − z) ⊙ (1 − n²)"),
            (0, "da_r", "da_n ⊙ q ⊙ r ⊙ (1 − r)"),
            (1, "da_z", "dh_t ⊙ (h − n) ⊙ z ⊙ (1 − z)"),
        ],
    };
    for (gate, name, formula) in gates {
        let da = &layer.input.da[t][gate * hidden..][..hidden];
        line(output, name, da, formula, &places(name, &[]))?;
    }
    let mut state = "da_sᵀ·h before step s";
    if walk.cell == CellKind::Gru {
        let da = &layer.state.da[t][2 * hidden..];
        line(output, "da_h", da, "da_n ⊙ r, in the place of da_n for what h passes through", &[])?;
        state = "da_h_sᵀ·h before step s";
    }
    grown(&layer.input, t, t, ["dW_ih", "da_sᵀ·x_s"], output)?;
    grown(&layer.state, t, t, ["dW_hh", state], output)
}
