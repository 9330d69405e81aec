//! The numbers of a step.

use bptt::error::Result;
use bptt::explain::{Affine, Gradient, Matrix, Products, Target, Walk};
use bptt::nn::CellKind;
use serde_json::json;

use super::super::output::Output;
use super::at;

/// Rows and columns up to which a matrix that changes from step to step is printed; of larger ones the norm is.
const SHOWN: usize = 8;

/// What is shown: a walk, and what it is called.
pub struct Shown<'a> {
    pub title: &'a str,
    pub device: String,
    /// The symbols of a text's classes.
    pub vocabulary: Vec<char>,
    pub walk: &'a Walk,
}

impl Shown<'_> {
    /// The whole walk, or one unit of a layer at a step.
    pub fn show(&self, unit: Option<(usize, (usize, usize))>, output: Output) -> Result<()> {
        let at = unit.map(|(layer, (step, unit))| self.walk.at(layer, step, unit)).transpose()?;
        match &at {
            None => self.print(output)?,
            Some(found) => at::print(self, found, output)?,
        }
        output.event(&json!({
            "event": "values", "what": self.title, "device": self.device, "walk": self.walk,
            "reference_loss": self.walk.reference_loss()?, "at": at,
        }))
    }

    /// Which sample it is, of several.
    pub fn sample(&self) -> String {
        let Walk { batch, sample, .. } = self.walk;
        if *batch == 1 { String::new() } else { format!(", sample {sample} of {batch}") }
    }

    /// The symbol of a class.
    fn symbol(&self, class: usize) -> String {
        self.vocabulary.get(class).map_or(format!("class {class}"), |symbol| format!("{symbol:?}"))
    }

    fn print(&self, output: Output) -> Result<()> {
        let walk = self.walk;
        let (title, device) = (self.title, &self.device);
        output.line(format!("one training step of {title} on {device} in numbers{}", self.sample()))?;
        output.line("Each row: a name, one number for each unit, the equation, and the line of the shader that computes it.")?;
        output.line(
            "Where the equation has a product, the first line given is the one that adds it up. x·W_ihᵀ of all steps is one \
             launch of matmul.",
        )?;
        if walk.by_twins {
            output.line("The CPU runs each shader's twin: src/cpu/NAME.rs for shaders/NAME.wgsl.")?;
        }
        if !self.vocabulary.is_empty() {
            let symbol = |class| format!("{class} {}", self.symbol(class));
            let symbols: Vec<String> = (0..self.vocabulary.len()).map(symbol).collect();
            output.line(format!("classes: {}", symbols.join(", ")))?;
        }
        for (index, layer) in walk.layers.iter().enumerate() {
            output.line(format!("\nlayer {index}: parameters"))?;
            parameters(&layer.input, ["W_ih", "b_ih"], output)?;
            parameters(&layer.state, ["W_hh", "b_hh"], output)?;
        }
        if let Some(linear) = &walk.linear {
            output.line("\nlinear layer: parameters")?;
            parameters(linear, ["W", "b"], output)?;
        }
        (0..walk.time()).try_for_each(|t| self.forward(t, output))?;
        output.line(format!(
            "\nthe loss is the mean of {}, {:.6}; in 64 bits {:.6}",
            self.losses(),
            walk.outputs.loss,
            walk.reference_loss()?
        ))?;
        (0..walk.time()).rev().try_for_each(|t| self.backward(t, output))?;
        self.gradients(output)?;
        output.line("\n--at T,K shows one unit at one step, product by product, beside finite differences.")?;
        match walk.batch {
            1 => Ok(()),
            _ => output.line("--sample N walks along another sample of the batch."),
        }
    }

    /// What the loss is the mean of.
    fn losses(&self) -> String {
        let Walk { outputs, batch, .. } = self.walk;
        let kind = match outputs.target {
            Target::Classes { .. } => "cross-entropies",
            Target::Values(_) => "squared errors",
        };
        let samples = if *batch == 1 { String::new() } else { format!(" of {batch} samples") };
        format!("{} {kind}{samples}", outputs.count)
    }

    fn forward(&self, t: usize, output: Output) -> Result<()> {
        let walk = self.walk;
        let row = walk.outputs.row(t);
        let mut about = Vec::new();
        if !self.vocabulary.is_empty() {
            let read = walk.layers[0].input.x[t].iter().position(|x| *x == 1.0);
            about.extend(read.map(|class| format!("reads {}", self.symbol(class))));
        }
        if let (Target::Classes { labels, .. }, Some(row)) = (&walk.outputs.target, row) {
            about.push(format!("is to say {}", self.symbol(labels[row])));
        }
        let about = if about.is_empty() { String::new() } else { format!(": {}", about.join(", ")) };
        output.line(format!("\nforward, step {t}{about}"))?;
        for index in 0..walk.layers.len() {
            self.name_layer(index, output)?;
            forward(walk, index, t, output)?;
        }
        row.map_or(Ok(()), |row| self.outputs(row, output))
    }

    /// What comes out of a step, and its loss.
    fn outputs(&self, row: usize, output: Output) -> Result<()> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        let formula = if walk.linear.is_some() { "h_t·Wᵀ + b" } else { "h_t itself" };
        let (y, places) = (&outputs.y[row], walk.linear_places());
        let loss = |formula: &str| line(output, "loss", &outputs.losses[row], formula, &walk.loss_places("loss"));
        match &outputs.target {
            Target::Classes { labels, probabilities } => {
                line(output, "logits", y, formula, &places)?;
                line(output, "p", &probabilities[row], "softmax of the logits", &walk.loss_places("p"))?;
                loss(&format!("−ln p[{}]", labels[row]))
            }
            Target::Values(targets) => {
                line(output, "y", y, formula, &places)?;
                line(output, "target", &targets[row], "", &[])?;
                loss("(y − target)²")
            }
        }
    }

    fn backward(&self, t: usize, output: Output) -> Result<()> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        output.line(format!("\nbackward, step {t}"))?;
        if let Some(row) = outputs.row(t) {
            let count = outputs.count;
            let (name, formula, place) = match &outputs.target {
                Target::Classes { labels, .. } => {
                    ("dlogits", format!("(p − [c = {}]) / {count}", labels[row]), "dlogits")
                }
                Target::Values(_) => ("dL/dy", format!("2(y − target) / {count}"), "dy"),
            };
            line(output, name, &outputs.dy[row], &formula, &walk.loss_places(place))?;
            if let Some(linear) = &walk.linear {
                grown(linear, row, t, ["dW", &format!("{name}_sᵀ·h_s")], output)?;
            }
        }
        for index in (0..walk.layers.len()).rev() {
            self.name_layer(index, output)?;
            backward(walk, index, t, output)?;
        }
        Ok(())
    }

    /// Above the numbers of a layer, where there are several.
    fn name_layer(&self, index: usize, output: Output) -> Result<()> {
        if self.walk.layers.len() > 1 { output.line(format!(" layer {index}")) } else { Ok(()) }
    }

    fn gradients(&self, output: Output) -> Result<()> {
        let walk = self.walk;
        output.line("\nthe gradients of the parameters, each added up by the device in one launch over all steps")?;
        let gru = walk.cell == CellKind::Gru;
        for (index, layer) in walk.layers.iter().enumerate() {
            self.name_layer(index, output)?;
            self.gradient(&layer.input, ["dW_ih", "Σ_t da_tᵀ·x_t"], ["db_ih", "Σ_t da_t"], output)?;
            let state = if gru { ["Σ_t da_h_tᵀ·h", "Σ_t da_h_t"] } else { ["Σ_t da_tᵀ·h", "Σ_t da_t"] };
            self.gradient(&layer.state, ["dW_hh", state[0]], ["db_hh", state[1]], output)?;
        }
        let Some(linear) = &walk.linear else { return Ok(()) };
        output.line(" linear layer")?;
        let formulas = match walk.outputs.target {
            Target::Classes { .. } => ["Σ_t dlogits_tᵀ·h_t", "Σ_t dlogits_t"],
            Target::Values(_) => ["Σ dL/dyᵀ·h_t", "Σ dL/dy"],
        };
        self.gradient(linear, ["dW", formulas[0]], ["db", formulas[1]], output)
    }

    /// A weight's gradient as the device has it, and what it is made of.
    fn gradient(&self, of: &Affine, [dw, dw_is]: [&str; 2], [db, db_is]: [&str; 2], output: Output) -> Result<()> {
        output.line(format!("  {dw} = {dw_is}, {db} = {db_is}"))?;
        matrix(output, dw, &of.device.dw)?;
        line(output, db, &of.device.db, "", &[])?;
        let batch = self.walk.batch;
        if batch > 1 {
            let others = if batch == 2 { "the other sample".into() } else { format!("the other {} samples", batch - 1) };
            for (whose, gradient) in [("this sample".into(), &of.grown(0)), (others, &of.others)] {
                let Gradient { dw: matrix_of, db: bias_of } = gradient;
                if small(matrix_of) {
                    output.line(format!("  of these {whose} adds"))?;
                    matrix(output, dw, matrix_of)?;
                    line(output, db, bias_of, "", &[])?;
                } else {
                    let [dw_norm, db_norm] = [norm(matrix_of.iter().flatten()), norm(bias_of)];
                    output.line(format!("  of these {whose} adds {dw} of norm {dw_norm:.6}, {db} of norm {db_norm:.6}"))?;
                }
            }
        }
        let sums = if batch > 1 { "both" } else { "the steps above" };
        output.line(format!("  {sums} add up to the device's within {:.1e}", of.gap()))
    }
}

/// A named row of numbers with its formula and places.
fn line(output: Output, name: &str, values: &[f64], formula: &str, places: &[String]) -> Result<()> {
    let numbers = values.iter().map(|x| format!("{x:9.4}")).collect::<Vec<_>>().join(" ");
    let text = format!("  {name:10} {numbers}   {formula}   {}", places.join(" "));
    output.line(text.trim_end())
}

fn matrix(output: Output, name: &str, rows: &[Vec<f64>]) -> Result<()> {
    let name_of = |row: usize| if row == 0 { name } else { "" };
    rows.iter().enumerate().try_for_each(|(row, values)| line(output, name_of(row), values, "", &[]))
}

fn parameters(of: &Affine, [w, b]: [&str; 2], output: Output) -> Result<()> {
    matrix(output, w, &of.w)?;
    line(output, b, &of.b, "", &[])
}

fn small(matrix: &Matrix) -> bool {
    matrix.len() <= SHOWN && matrix[0].len() <= SHOWN
}

fn norm<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// What a weight's gradient has grown to when the backward pass has made a step, which is row `row` of what is added up.
fn grown(of: &Affine, row: usize, t: usize, [name, terms]: [&str; 2], output: Output) -> Result<()> {
    let grown = of.grown(row).dw;
    let norm = norm(grown.iter().flatten());
    output.line(format!("  {name} so far: the sum of {terms} over steps s ≥ {t}, norm {norm:.6}"))?;
    if small(&grown) { matrix(output, "", &grown) } else { Ok(()) }
}

fn forward(walk: &Walk, index: usize, t: usize, output: Output) -> Result<()> {
    let layer = &walk.layers[index];
    let places = |name: &str, products: &[Products]| walk.places(index, false, name, products);
    // The first number that takes the sums h·W_hhᵀ.
    let state: &[Products] = &[Products::State];
    let after = |name: &str| if ["i", "r"].contains(&name) { state } else { &[] };
    let biases = if walk.cell == CellKind::Gru { "x_t·W_ihᵀ + b_ih" } else { "x_t·W_ihᵀ + b_ih + b_hh" };
    line(output, "x_t", &layer.input.x[t], "", &[])?;
    line(output, "xw_t", &layer.xw[t], biases, &places("", &[Products::Input]))?;
    line(output, "h", &layer.h[t], "the state before", &[])?;
    let formulas: &[(&str, &str)] = match walk.cell {
        CellKind::Rnn => &[],
        CellKind::Lstm => {
            line(output, "c", &layer.c[t], "the cell state before", &[])?;
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
    let gates: &[(&str, &str)] = match walk.cell {
        CellKind::Rnn => &[("da", "dh_t ⊙ (1 − h_t²)")],
        CellKind::Lstm => {
            let formula = "dh_t ⊙ o ⊙ (1 − tanh²c_t) + dc ⊙ f of the next step";
            line(output, "dc_t", &layer.dc[t], formula, &places("dc_t", &[]))?;
            &[
                ("da_i", "dc_t ⊙ g ⊙ i ⊙ (1 − i)"),
                ("da_f", "dc_t ⊙ c ⊙ f ⊙ (1 − f)"),
                ("da_g", "dc_t ⊙ i ⊙ (1 − g²)"),
                ("da_o", "dh_t ⊙ tanh(c_t) ⊙ o ⊙ (1 − o)"),
            ]
        }
        CellKind::Gru => &[
            ("da_r", "da_n ⊙ q ⊙ r ⊙ (1 − r)"),
            ("da_z", "dh_t ⊙ (h − n) ⊙ z ⊙ (1 − z)"),
            ("da_n", "dh_t ⊙ (1 − z) ⊙ (1 − n²)"),
        ],
    };
    for (gate, (name, formula)) in gates.iter().enumerate() {
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
